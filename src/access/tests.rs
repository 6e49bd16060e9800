//! URLs and paths that callers may and may not use.

use super::*;

fn url(text: &str) -> CameraUrl {
    CameraUrl::parse(text).unwrap()
}

fn problem(policy: &Policy, text: &str) -> String {
    let error = policy.check_url(&url(text)).unwrap_err();
    assert_eq!(error.field, "url");
    error.problem
}

#[test]
fn schemes_are_those_of_the_settings() {
    let policy = Policy::new(&Config::default());
    for good in ["rtsp://10.0.0.9/x", "rtsps://cam/x", "http://cam/x", "https://cam/x", "test://ball"] {
        policy.check_url(&url(good)).unwrap();
    }
    let text = problem(&policy, "v4l2:///dev/video0");
    assert!(text.contains("v4l2:///dev/video0") && text.contains("[access] schemes"), "{text}");
    assert!(problem(&policy, "file:///etc/passwd").contains("[access] video_folders"));
    let narrow = Policy::new(&Config { schemes: vec!["rtsps".into(), "v4l2".into()], ..Config::default() });
    narrow.check_url(&url("v4l2:///dev/video0")).unwrap();
    let text = problem(&narrow, "rtsp://bob:hunter2@cam/x?token=t0ken");
    assert!(!text.contains("hunter2") && !text.contains("t0ken"), "{text}");
}

#[test]
fn files_are_those_that_really_lie_under_a_folder() {
    let place = tempfile::tempdir().unwrap();
    let (clips, secret) = (place.path().join("clips"), place.path().join("secret.mp4"));
    std::fs::create_dir(&clips).unwrap();
    std::fs::create_dir(place.path().join("clips-2")).unwrap();
    for file in [&clips.join("yard.mp4"), &secret, &place.path().join("clips-2/x.mp4")] {
        std::fs::write(file, "x").unwrap();
    }
    std::os::unix::fs::symlink(&secret, clips.join("link.mp4")).unwrap();
    std::os::unix::fs::symlink("/no/such/thing", clips.join("dangling.mp4")).unwrap();
    std::os::unix::fs::symlink(place.path(), clips.join("up")).unwrap();
    // The folder itself may be reached by a link.
    let linked = place.path().join("linked");
    std::os::unix::fs::symlink(&clips, &linked).unwrap();
    let policy = Policy::new(&Config { video_folders: vec![linked.clone()], ..Config::default() });
    let check = |path: &str| policy.check_url(&url(&format!("file://{}/{path}", place.path().display())));

    for good in ["clips/yard.mp4", "linked/yard.mp4", "clips/up/clips/yard.mp4", "clips/not-yet.mp4"] {
        check(good).unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    for bad in [
        "secret.mp4",
        "clips/../secret.mp4",
        "clips/%2e%2e/secret.mp4",
        "clips/..%2fsecret.mp4",
        "clips/..%2fnot-there.mp4",
        "clips/link.mp4",
        "clips/dangling.mp4",
        "clips/up/secret.mp4",
        "clips/up/not-there.mp4",
        "clips-2/x.mp4",
        "not-there.mp4",
    ] {
        let text = check(bad).expect_err(bad).problem;
        assert!(text.contains("video_folders"), "{bad}: {text}");
    }
    let opened = policy.resolve(&url(&format!("file://{}/yard.mp4", linked.display()))).unwrap();
    let real = clips.canonicalize().unwrap().join("yard.mp4");
    assert_eq!(opened.expose().to_file_path().unwrap(), real, "no link is left to be changed");
    // A link that is changed after the camera was added.
    std::fs::remove_file(clips.join("yard.mp4")).unwrap();
    std::os::unix::fs::symlink(&secret, clips.join("yard.mp4")).unwrap();
    assert!(policy.resolve(&url(&format!("file://{}/yard.mp4", linked.display()))).is_err());
}

#[test]
fn every_spelling_of_a_denied_address_is_denied() {
    let policy = Policy::new(&Config::default());
    for scheme in ["http", "https", "rtsp", "rtsps"] {
        for host in [
            "169.254.169.254",
            "169.254.1.2:8080",
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "169.254.43518",
            "[fe80::1]",
            "[febf::1]",
            "[::ffff:169.254.169.254]",
            "[fd00:ec2::254]",
        ] {
            let text = problem(&policy, &format!("{scheme}://{host}/latest"));
            assert!(text.contains("[access] denied_networks"), "{scheme} {host}: {text}");
        }
        for host in ["10.0.0.9", "127.0.0.1", "[fd00::1]", "camera.example", "170.254.0.1"] {
            policy.check_url(&url(&format!("{scheme}://{host}/latest"))).unwrap();
        }
    }
    assert!(problem(&policy, "rtsp://169.254.169%2e254/x").contains("plainly"));
    let open = Policy::new(&Config { denied_networks: Vec::new(), ..Config::default() });
    open.check_url(&url("http://169.254.169.254/latest")).unwrap();
}

#[test]
fn names_are_looked_up_when_a_camera_is_opened() {
    let loopback = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    let policy = Policy::new(&Config { denied_networks: loopback, ..Config::default() });
    let camera = url("rtsp://localhost/x");
    policy.check_url(&camera).unwrap();
    assert!(policy.resolve(&camera).unwrap_err().problem.contains("denied_networks"));
    for itself in ["http://0.0.0.0/x", "rtsp://0/x", "http://[::]/x"] {
        assert!(policy.check_url(&url(itself)).unwrap_err().problem.contains("denied_networks"), "{itself}");
    }
    policy.resolve(&url("rtsp://no-such-host.invalid/x")).unwrap();
}

#[test]
fn models_are_those_under_their_folders() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.onnx"), "x").unwrap();
    let policy = Policy::new(&Config { model_folders: vec![folder.path().to_owned()], ..Config::default() });
    policy.check_model(&folder.path().join("a.onnx")).unwrap();
    assert!(policy.check_model(Path::new("/etc/passwd")).unwrap_err().contains("[access] model_folders"));
    assert!(Policy::new(&Config::default()).check_model(&folder.path().join("a.onnx")).is_err());
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let validate =
        |text: &str| toml::from_str::<Config>(text).map_err(|e| e.to_string()).and_then(|c| c.validate());
    assert!(validate("schemes = [\"file\"]").unwrap_err().contains("video_folders"));
    assert!(validate("schemes = [\"gopher\"]").unwrap_err().contains("gopher"));
    assert!(validate("video_folders = [\"clips\"]").unwrap_err().contains("absolute"));
    assert!(validate("denied_networks = [\"10.0.0.0\"]").is_err());
    validate("denied_networks = [\"10.0.0.0/8\"]\nvideo_folders = [\"/clips\"]").unwrap();
}

//! What is accepted, what is refused, and in which words.

use super::*;

fn error(text: &str) -> String {
    match Config::parse(text, "centerx.toml") {
        Ok(config) => config.validate().unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn an_empty_file_is_a_server_without_cameras() {
    let config = Config::parse("", "centerx.toml").unwrap();
    config.validate().unwrap();
    assert_eq!(config.models[0].source(), "coco");
}

#[test]
fn the_documented_settings_are_the_ones_there_are() {
    let text = include_str!("../../docs/configuration.md");
    let block = text.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let config = Config::parse(block, "configuration.md").unwrap();
    config.validate().unwrap();
    let defaults = Config::default();
    assert_eq!(config.ingest, defaults.ingest);
    assert_eq!(config.publisher, defaults.publisher);
    assert_eq!(config.http, defaults.http);
    assert_eq!(config.engine, defaults.engine);
    assert_eq!((config.grpc.listen, config.grpc.drain), (defaults.grpc.listen, defaults.grpc.drain));
    assert_eq!(config.grpc.limits(), defaults.grpc.limits());
    assert_eq!((config.grpc.keep_alive, config.grpc.tls), (defaults.grpc.keep_alive, defaults.grpc.tls));
    assert_eq!(config.shutdown_timeout, defaults.shutdown_timeout);
    assert_eq!((config.min_score, config.max_age), (defaults.min_score, defaults.max_age));
}

#[test]
fn the_documented_certificates_can_be_given() {
    let text = include_str!("../../docs/configuration.md");
    let block = text.split("```toml").nth(2).and_then(|rest| rest.split("```").next()).unwrap();
    let config = Config::parse(block, "configuration.md").unwrap();
    let client_ca = config.grpc.tls.unwrap().client_ca;
    assert_eq!(client_ca, Some(PathBuf::from("/etc/centerx/tls/clients.crt")));
    assert_eq!(config.http.tls.unwrap().client_ca, None);
}

#[test]
fn every_camera_setting_can_be_given() {
    let text = r#"
        [[camera]]
        id = "yard"
        name = "The yard"
        url = "rtsp://admin:secret@10.0.0.9/live"
        enabled = false
        max_fps = 5
        max_age = "1s 500ms"
        priority = 3
        model = "coco"
        min_score = 0.5
        classes = ["person"]
        transport = "udp"
        loop = true
    "#;
    let config = Config::parse(text, "centerx.toml").unwrap();
    config.validate().unwrap();
    let spec = config.cameras[0].get_ref();
    assert_eq!((spec.max_fps, spec.enabled, spec.repeat), (Some(5.0), false, true));
    assert_eq!((spec.max_age, spec.priority), (Some(std::time::Duration::from_millis(1500)), 3));
}

#[test]
fn a_typo_is_an_error_with_its_line() {
    let message = error("min_score = 0.4\n\n[[camera]]\nid = \"a\"\nurl = \"test://ball\"\nmax_fsp = 5\n");
    assert!(message.contains("line 6") && message.contains("max_fsp"), "{message}");
}

#[test]
fn a_parse_error_shows_no_password() {
    let message = error("[[camera]]\nid = \"a\"\nurl = \"ftp://bob:hunter2@host/x\"\n");
    assert!(message.contains("line 3") && message.contains("ftp"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn secrets_beside_the_url_are_hidden_too() {
    for line in ["password = hunter2", "password = \"hunter2", "\"password\" = [\"hunter2\"]"] {
        let message = error(&format!("[[camera]]\nid = \"a\"\nurl = \"rtsp://h/x\"\n{line}\n"));
        assert!(message.contains("line 4") && !message.contains("hunter2"), "{message}");
    }
    let token = "[[auth.token]]\nname = \"a\"\nrole = \"read\"\nsha256 = \"centerx_hunter2\"\n";
    let message = error(token);
    assert!(message.contains("centerx token new") && !message.contains("hunter2"), "{message}");
}

#[test]
fn a_password_may_be_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("yard");
    std::fs::write(&file, "p@ss/word\n").unwrap();
    let camera = |login: &str| format!("[[camera]]\nid = \"a\"\nurl = \"rtsp://10.0.0.9/x\"\n{login}\n");
    let text = camera(&format!("username = \"bob\"\npassword = \"file:{}\"", file.display()));
    let config = Config::parse(&text, "centerx.toml").unwrap();
    let url = config.cameras[0].get_ref().url.expose().as_str();
    assert_eq!(url, "rtsp://bob:p%40ss%2Fword@10.0.0.9/x");
    let config = Config::parse(&camera("username = \"env:PATH\"\npassword = \"x\""), "c").unwrap();
    let user = crate::camera::percent_decode(config.cameras[0].get_ref().url.expose().username());
    assert_eq!(user, std::env::var("PATH").unwrap());
    for (login, expected) in [
        ("username = \"bob\"\npassword = \"env:CENTERX_NO_SUCH\"", "CENTERX_NO_SUCH is not set"),
        ("username = \"bob\"\npassword = \"file:/no/such\"", "/no/such cannot be read"),
        ("username = \"bob\"", "password is missing"),
        ("password = \"hunter2\"", "username is missing"),
    ] {
        let message = error(&camera(login));
        assert!(message.contains(expected) && message.contains("line 1: camera a"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn two_cameras_of_one_id_are_named_with_both_lines() {
    let message = error(
        "[[camera]]\nid = \"a\"\nurl = \"test://ball\"\n[[camera]]\nid = \"a\"\nurl = \"test://ball\"\n",
    );
    assert!(
        message.contains("line 4") && message.contains("line 1") && message.contains("camera a"),
        "{message}"
    );
}

#[test]
fn an_unknown_model_is_named_with_those_there_are() {
    let message = error("[[camera]]\nid = \"a\"\nurl = \"test://ball\"\nmodel = \"yolo\"\n");
    assert!(message.contains("yolo") && message.contains("coco"), "{message}");
}

#[test]
fn values_out_of_range_are_refused() {
    assert!(error("min_score = 1.5").contains("from 0 to 1"));
    assert!(error("[engine]\nlanes = 100000\n").contains("lanes"));
    assert!(error("[engine]\nhang_timeout = \"0s\"\n").contains("[engine] hang_timeout"));
    assert!(error("[engine]\nmax_hung = 0\n").contains("max_hung"));
    assert!(error("[grpc]\nconnections = 1\n").contains("[grpc] connections"));
    assert!(error("[grpc]\nkeep_alive = \"0s\"\n").contains("[grpc] keep_alive"));
    assert!(error("[http]\nfirst_request_timeout = \"0s\"\n").contains("[http] first_request_timeout"));
    assert!(error("[ingest]\nstall_timeout = \"0s\"\n").contains("stall_timeout"));
    assert!(error("[publisher]\nstall_timeout = \"0s\"\n").contains("[publisher] stall_timeout"));
    assert!(error("[[camera]]\nid = \"a\"\nurl = \"test://ball\"\nmax_fps = 0\n").contains("max_fps"));
    assert!(error("max_age = \"0s\"").contains("from 1 ms to 1 h"));
    for setting in ["max_age = \"2h\"", "priority = 0", "priority = 11"] {
        let message = error(&format!("[[camera]]\nid = \"a\"\nurl = \"test://ball\"\n{setting}\n"));
        assert!(message.contains(setting.split(' ').next().unwrap()), "{message}");
    }
}

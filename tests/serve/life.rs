//! Starting, refusing to start, and ending.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_drains_within_two_seconds_and_ends_streams() {
    let (_camera, url) = yard();
    let data = tempfile::tempdir().unwrap();
    let mut server = ServerProcess::start(data.path(), &["--camera", &format!("yard={url}")]);
    let channel = connect(&server).await;
    let mut client = DetectionServiceClient::new(channel.clone());
    let mut stream = client.subscribe(SubscribeRequest::default()).await.unwrap().into_inner();
    watch(&channel, 2).await;
    server.signal("TERM");
    let ended = timeout(PATIENCE, async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                other => return other,
            }
        }
    });
    let status = ended.await.unwrap().unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    let (code, took) = server.wait();
    assert_eq!(code, Some(0), "{}", server.log);
    assert!(took < Duration::from_millis(2500), "{took:?}");
    assert!(!server.log.contains("abandoned") && !server.log.contains("panicked"), "{}", server.log);
}

#[test]
fn the_server_says_ready_soon_and_obeys_ctrl_c() {
    let data = tempfile::tempdir().unwrap();
    let mut server = ServerProcess::start(data.path(), &["--camera", "bars=test://smpte"]);
    println!("from start to ready: {:.2} s", server.time_to_ready.as_secs_f64());
    server.signal("INT");
    assert_eq!(server.wait().0, Some(0), "{}", server.log);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    // A camera that takes the connection and never says a word takes its time to let go of.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let camera = format!("mute=rtsp://{}/live", mute.local_addr().unwrap());
    let data = tempfile::tempdir().unwrap();
    let mut server = ServerProcess::start(data.path(), &["--camera", &camera]);
    let _connection = mute.accept().unwrap();
    server.signal("TERM");
    server.wait_for_line("shutting down", PATIENCE);
    server.signal("INT");
    let (code, took) = server.wait();
    assert_eq!(code, Some(130), "{}", server.log);
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn a_port_in_use_is_named_with_the_cure() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--grpc", "--http"] {
        let other = if flag == "--grpc" { "--http" } else { "--grpc" };
        let output = run(&["serve", flag, &address, other, "127.0.0.1:0"]);
        let message = errors(&output);
        assert!(
            output.status.code() == Some(4) && message.contains(&address) && message.contains("in use"),
            "{message}"
        );
    }
}

#[test]
fn settings_are_checked_without_serving() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("centerx.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = run(&["serve", "--check", "--config", file.to_str().unwrap()]);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &errors(&output))
    };
    let camera = "[[camera]]\nid = \"a\"\nurl = \"test://ball\"\n";
    let (code, text) = check(camera);
    assert!(code == Some(0) && text.contains("ok: 1 camera(s)"), "{text}");
    let (code, text) = check(&format!("{camera}max_fsp = 3\n"));
    assert!(code == Some(2) && text.contains("line 4") && text.contains("max_fsp"), "{text}");
    let (code, text) = check(&format!("{camera}{camera}"));
    assert!(code == Some(2) && text.contains("line 4") && text.contains("camera a"), "{text}");
    let (code, text) = check(&format!("{camera}classes = [\"tractor\"]\n"));
    assert!(code == Some(2) && text.contains("tractor") && text.contains("line 1"), "{text}");
    let (code, text) = check("[[model]]\nname = \"none\"\n");
    assert!(code == Some(3) && text.contains("none"), "{text}");
    let output = run(&["serve", "--config", "no-such.toml"]);
    assert!(output.status.code() == Some(2) && errors(&output).contains("no-such.toml"));
    let output = run(&["serve", "--camera", "rtsp://u:hunter2@h/x"]);
    let message = errors(&output);
    assert!(
        output.status.code() == Some(2) && message.contains("ID=URL") && !message.contains("hunter2"),
        "{message}"
    );
}

#[test]
fn health_is_asked_for_by_the_binary_itself() {
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &["--camera", "bars=test://smpte"]);
    let address = format!("http://{}", server.grpc);
    let check = || run(&["healthcheck", "--server", &address]);
    let well = check();
    assert_eq!((well.status.code(), &*well.stdout), (Some(0), &b"ready\n"[..]), "{}", errors(&well));
    drop(server);
    let gone = check();
    assert_eq!(gone.status.code(), Some(1));
    assert!(errors(&gone).contains("no server at"), "{}", errors(&gone));
}

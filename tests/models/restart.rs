//! What is kept across restarts.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn loaded_and_swapped_models_are_served_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let [day, dusk, night] =
        [Tiny::new("day", &["person"]), Tiny::new("dusk", &["person", "bat"]), Tiny::new("night", &["fox"])]
            .map(|tiny| tiny.write(data.path()).display().to_string());
    {
        let server = ServerProcess::start(data.path(), &["--model", &day]);
        let mut clients = Clients::of(&server).await;
        clients.load("night", &night).await.unwrap();
        clients.swap("day", &dusk).await.unwrap();
        clients.add_camera(camera("den", 10, Some("night"))).await.unwrap();
        server.signal("KILL");
    }
    {
        let server = ServerProcess::start(data.path(), &["--model", &day]);
        let mut clients = Clients::of(&server).await;
        let models = clients.list_models().await;
        let from: Vec<_> = models.iter().map(|m| (m.name.as_str(), m.loaded_from.as_str())).collect();
        assert_eq!(from, [("day", dusk.as_str()), ("night", night.as_str())]);
        let mut stream = clients.subscribe().await;
        assert_eq!(labels(&next_frame(&mut stream, |frame| frame.camera_id == "den").await), ["fox"]);
    }
    // The files are gone: what can be served is, and what cannot is told.
    std::fs::remove_file(&dusk).unwrap();
    std::fs::remove_file(&night).unwrap();
    let mut server = ServerProcess::start(data.path(), &["--model", &day]);
    for told in ["night.onnx", "dusk.onnx", "den"] {
        assert!(server.log.contains(told), "{told} in {}", server.log);
    }
    let mut clients = Clients::of(&server).await;
    let models = clients.list_models().await;
    assert_eq!((models.len(), models[0].loaded_from.as_str()), (1, day.as_str()));
    let begin = Instant::now();
    loop {
        let books = clients.list_cameras().await.remove(0).accounts.unwrap();
        assert_eq!(books.published, 0);
        if books.dropped["no_model"] >= 3 {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{books:?}");
        tokio::time::sleep(LOOK).await;
    }
    // Once the model is back, so is its camera.
    Tiny::new("night", &["fox"]).write(data.path());
    let mut stream = clients.subscribe().await;
    clients.load("night", &night).await.unwrap();
    next_frame(&mut stream, |frame| frame.camera_id == "den").await;
    server.signal("TERM");
    assert_eq!(server.wait().0, Some(0), "{}", server.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_that_changed_since_wins_over_a_swap() {
    let data = tempfile::tempdir().unwrap();
    let write = |name| Tiny::new(name, &["person"]).write(data.path()).display().to_string();
    let [first, swapped, second] = ["first", "swapped", "second"].map(write);
    let config = data.path().join("centerx.toml");
    let configure = |source: &str| {
        std::fs::write(&config, format!("[[model]]\nname = \"yard\"\nsource = {source:?}\n")).unwrap();
    };
    let arguments = ["--config", config.to_str().unwrap()];
    configure(&first);
    {
        let server = ServerProcess::start(data.path(), &arguments);
        Clients::of(&server).await.swap("yard", &swapped).await.unwrap();
    }
    configure(&second);
    let server = ServerProcess::start(data.path(), &arguments);
    assert!(server.log.contains("wins"), "{}", server.log);
    let mut clients = Clients::of(&server).await;
    assert_eq!(clients.list_models().await.remove(0).loaded_from, second);
    // Swapped back to what the config says, nothing needs to be remembered.
    clients.swap("yard", &second).await.unwrap();
    let kept = std::fs::read_to_string(data.path().join("models.json")).unwrap();
    assert!(!kept.contains("yard"), "{kept}");
}

//! Loading and unloading beside cameras that come and go.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_model_in_use_stays_and_one_that_is_gone_takes_no_camera() {
    let data = tempfile::tempdir().unwrap();
    let day = Tiny::new("day", &["person"]).write(data.path()).display().to_string();
    let night = Tiny::new("night", &["person", "fox"]).write(data.path()).display().to_string();
    let server = ServerProcess::start(data.path(), &["--model", &day]);
    let mut clients = Clients::of(&server).await;
    clients.load("night", &night).await.unwrap();
    let status = clients.load("night", &day).await.unwrap_err();
    assert_eq!((status.code(), field(&status).as_str()), (Code::AlreadyExists, "name"));
    let status = clients.load("a night", &day).await.unwrap_err();
    assert_eq!((status.code(), field(&status).as_str()), (Code::InvalidArgument, "name"));
    for status in [clients.swap("dusk", &day).await.unwrap_err(), clients.unload("dusk").await.unwrap_err()] {
        assert_eq!(status.code(), Code::NotFound);
        assert!(status.message().contains("dusk") && status.message().contains("day, night"), "{status:?}");
    }
    let mut gate = camera("gate", 10, Some("night"));
    gate.enabled = Some(false);
    clients.add_camera(gate).await.unwrap();
    for (name, why) in [("night", "used by gate"), ("day", "is the default")] {
        let status = clients.unload(name).await.unwrap_err();
        assert_eq!((status.code(), field(&status).as_str()), (Code::FailedPrecondition, "name"));
        assert!(status.message().contains(why), "{status:?}");
    }
    clients.cameras.remove_camera(RemoveCameraRequest { id: "gate".into() }).await.unwrap();
    clients.unload("night").await.unwrap();
    let status = clients.add_camera(camera("gate", 10, Some("night"))).await.unwrap_err();
    assert_eq!((status.code(), field(&status).as_str()), (Code::InvalidArgument, "camera.model"));
    assert!(server.get("/metrics").contains("\ncenterx_models 1\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_comes_while_its_model_goes_has_a_model_or_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let day = Tiny::new("day", &["person"]).write(data.path()).display().to_string();
    let server = ServerProcess::start(data.path(), &["--model", &day]);
    let mut clients = Clients::of(&server).await;
    let (mut came, mut went) = (0, 0);
    for round in 0..40 {
        clients.load("night", &day).await.unwrap();
        let (mut adder, mut unloader) = (Clients::of(&server).await, Clients::of(&server).await);
        let id = format!("c{round}");
        let added = tokio::spawn({
            let camera = camera(&id, 10, Some("night"));
            async move { adder.add_camera(camera).await }
        });
        let unloaded = tokio::spawn(async move { unloader.unload("night").await });
        let (added, unloaded) = (added.await.unwrap(), unloaded.await.unwrap());
        assert_ne!(added.is_ok(), unloaded.is_ok(), "{added:?} and {unloaded:?}");
        assert_eq!(clients.list_models().await.len(), 1 + usize::from(added.is_ok()));
        if added.is_ok() {
            came += 1;
            clients.cameras.remove_camera(RemoveCameraRequest { id }).await.unwrap();
            clients.unload("night").await.unwrap();
        } else {
            went += 1;
        }
    }
    println!("{came} cameras came in time, {went} models went first");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_model_take_turns() {
    let data = tempfile::tempdir().unwrap();
    let day = Tiny::new("day", &["person"]).write(data.path()).display().to_string();
    let server = ServerProcess::start(data.path(), &["--model", &day]);
    let mut clients = Clients::of(&server).await;
    let mut tasks = Vec::new();
    for n in 0..24 {
        let (mut client, source) = (Clients::of(&server).await, day.clone());
        tasks.push(tokio::spawn(async move {
            match n % 4 {
                0 => client.load("night", &source).await.map(drop),
                1 => client.swap("night", &source).await.map(drop),
                2 => client.unload("night").await,
                _ => client.swap("day", &source).await.map(drop),
            }
        }));
    }
    for task in tasks {
        if let Err(status) = task.await.unwrap() {
            assert!(matches!(status.code(), Code::AlreadyExists | Code::NotFound), "{status:?}");
        }
    }
    // Whatever came last, what is told is what is served.
    let served = clients.list_models().await.len() == 2;
    assert_eq!(clients.unload("night").await.is_ok(), served);
}

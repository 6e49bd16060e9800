//! Swaps under running cameras.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn no_camera_misses_a_frame_because_of_a_swap() {
    let data = tempfile::tempdir().unwrap();
    let versions = [Tiny::new("v1", &["one"]), Tiny::new("v2", &["two", "one"])];
    let paths = versions.map(|tiny| tiny.write(data.path()).display().to_string());
    let server = ServerProcess::start(data.path(), &["--model", &paths[0]]);
    let mut clients = Clients::of(&server).await;
    let mut stream = clients.subscribe().await;
    for n in 0..4 {
        let classes = if n == 0 { vec!["one".into()] } else { Vec::new() };
        // So slow that none is superseded, even on a busy machine.
        clients.add_camera(Camera { classes, ..camera(&format!("c{n}"), 5, None) }).await.unwrap();
    }
    let mut last: HashMap<String, u64> = HashMap::new();
    let mut follow = |frame: &FrameDetections| {
        let before = last.insert(frame.camera_id.clone(), frame.sequence).unwrap_or(0);
        assert_eq!(before + 1, frame.sequence, "{}", frame.camera_id);
        assert_eq!(frame.model, "v1", "the name stays");
    };
    for swap in 1..=12 {
        let new = clients.swap("v1", &paths[swap % 2]).await.unwrap();
        assert_eq!(new.loaded_from, paths[swap % 2]);
        let expected = [vec!["one"], vec!["two", "one"]][swap % 2].clone();
        let switched = |frame: &FrameDetections| {
            follow(frame);
            frame.camera_id != "c0" && labels(frame) == expected
        };
        next_frame(&mut stream, switched).await;
    }
    // The class has another number in the second model, and the camera still gets no other.
    let all = |frame: &FrameDetections| {
        follow(frame);
        frame.camera_id == "c0"
    };
    assert_eq!(labels(&next_frame(&mut stream, all).await), ["one"]);
    for camera in clients.list_cameras().await {
        let books = camera.accounts.unwrap();
        assert_eq!(books.dropped.values().sum::<u64>(), 0, "{books:?}");
        assert!(books.published >= 4, "{books:?}");
    }
    assert!(server.get("/metrics").contains("\ncenterx_model_swaps_total{outcome=\"done\"} 12\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_never_displaces_the_good_one() {
    let data = tempfile::tempdir().unwrap();
    let good = Tiny::new("good", &["person"]).write(data.path()).display().to_string();
    let server = ServerProcess::start(data.path(), &["--model", &good]);
    let mut clients = Clients::of(&server).await;
    let mut stream = clients.subscribe().await;
    clients.add_camera(camera("yard", 10, None)).await.unwrap();
    let before = clients.list_models().await;
    let broken = tiny_model::broken(data.path());
    for (path, why) in &broken {
        let status = clients.swap("good", path.to_str().unwrap()).await.unwrap_err();
        assert_eq!((status.code(), field(&status).as_str()), (Code::InvalidArgument, "source"), "{status:?}");
        assert!(status.message().contains(why), "{why} in {status:?}");
        let status = clients.load("other", path.to_str().unwrap()).await.unwrap_err();
        assert!(status.code() == Code::InvalidArgument && status.message().contains(why), "{status:?}");
    }
    // A detector, but not one for this camera.
    let mut fussy = camera("fussy", 10, None);
    fussy.classes = vec!["person".into()];
    clients.add_camera(fussy).await.unwrap();
    let birds = Tiny::new("birds", &["heron", "stork"]).write(data.path());
    let status = clients.swap("good", birds.to_str().unwrap()).await.unwrap_err();
    assert_eq!((status.code(), field(&status).as_str()), (Code::FailedPrecondition, "source"));
    assert!(
        status.message().contains("fussy for \"person\"") && !status.message().contains("yard"),
        "{status:?}"
    );

    let (mut now, mut before) = (clients.list_models().await, before);
    assert_eq!((now.len(), now.remove(0).sha256), (1, before.remove(0).sha256));
    let frame = next_frame(&mut stream, |frame| frame.camera_id == "fussy").await;
    assert_eq!(labels(&frame), ["person"]);
    let metrics = server.get("/metrics");
    let count = broken.len();
    assert!(
        metrics.contains(&format!("\ncenterx_model_swaps_total{{outcome=\"unusable\"}} {count}\n")),
        "{metrics}"
    );
    assert!(metrics.contains("\ncenterx_model_swaps_total{outcome=\"refused\"} 1\n"), "{metrics}");
    assert_balanced(&clients.list_cameras().await);
}

/// Resident memory in megabytes.
fn memory(server: &ServerProcess) -> f64 {
    let metrics = server.get("/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    line.unwrap().parse::<f64>().unwrap() / 1e6
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_swaps_leave_memory_where_it_was() {
    let data = tempfile::tempdir().unwrap();
    let good = [Tiny::new("a", &["person"]), Tiny::new("b", &["person", "car"])];
    let good = good.map(|tiny| tiny.write(data.path()).display().to_string());
    let broken = tiny_model::broken(data.path());
    let server = ServerProcess::start(data.path(), &["--model", &good[0]]);
    let mut clients = Clients::of(&server).await;
    for n in 0..3 {
        clients.add_camera(camera(&format!("c{n}"), 15, None)).await.unwrap();
    }
    let mut swap = async |number: usize| {
        if number % 4 == 3 {
            let (path, why) = &broken[number / 4 % broken.len()];
            let status = clients.swap("a", path.to_str().unwrap()).await.unwrap_err();
            assert!(status.message().contains(why), "{status:?}");
        } else {
            clients.swap("a", &good[number % 2]).await.unwrap();
        }
    };
    let mut course = Vec::new();
    for number in 0..40 {
        swap(number).await;
    }
    let warm = memory(&server);
    for number in 0..200 {
        swap(number).await;
        if number % 20 == 19 {
            course.push(memory(&server));
        }
    }
    let end = memory(&server);
    println!("resident memory: {warm:.1} MB after warm-up, {end:.1} MB at the end; {course:.1?}");
    assert!(end - warm < 5.0, "{warm:.1} MB after warm-up, {end:.1} MB at the end; {course:.1?}");
    for _ in 0..20 {
        let cameras = clients.list_cameras().await;
        assert_balanced(&cameras);
        for camera in cameras {
            let books = camera.accounts.unwrap();
            let other: u64 =
                books.dropped.iter().filter(|(why, _)| *why != "superseded").map(|(_, n)| n).sum();
            assert!(other == 0 && books.published > 0, "{books:?}");
        }
    }
}

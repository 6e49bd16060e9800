//! Stores that a disk, a power cut or a hand has damaged.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_of_a_torn_store_is_kept_and_the_rest_is_told() {
    let (models, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let arguments = ["--model", &quick_model(models.path())];
    let path = |name: &str| data.path().join(name);
    {
        let server = ServerProcess::start(data.path(), &arguments);
        let mut client = cameras_of(&server).await;
        for id in ["a", "b", "c"] {
            add(&mut client, camera(id, "")).await.unwrap();
        }
        assert_eq!(server.get("/readyz"), "ready\n");
    }
    // As an old disk leaves it: the last camera cut off, and zeros to the end of the block.
    let whole = fs::read_to_string(path("cameras.json")).unwrap();
    let mut torn = whole.as_bytes()[..whole.find(r#""c""#).unwrap()].to_vec();
    torn.resize(4096, 0);
    fs::write(path("cameras.json"), &torn).unwrap();
    {
        let server = ServerProcess::start(data.path(), &arguments);
        for told in ["cameras.json could not be read whole", "2 of its cameras were", "cameras.json.unread-1"]
        {
            assert!(server.log.contains(told), "{told} in {}", server.log);
        }
        assert!(!server.log.contains("cret"), "{}", server.log);
        let mut client = cameras_of(&server).await;
        assert_eq!(ids(&mut client).await, ["a", "b"]);
        assert_eq!(fs::read(path("cameras.json.unread-1")).unwrap(), torn);
        wait_for_metric(&server, "centerx_data_dir_unread_files", |files| files == 1.0);
        let ready = server.get("/readyz");
        assert!(ready.starts_with("ready\nwarning: ") && ready.contains("unread"), "{ready}");
        add(&mut client, camera("c", "")).await.unwrap();
    }
    // Zeros alone, as some file systems leave what was not synced.
    fs::write(path("models.json"), vec![0; 512]).unwrap();
    let server = ServerProcess::start(data.path(), &arguments);
    assert!(server.log.contains("models.json could not be read whole"), "{}", server.log);
    assert_eq!(ids(&mut cameras_of(&server).await).await, ["a", "b", "c"]);
    wait_for_metric(&server, "centerx_data_dir_unread_files", |files| files == 2.0);
    drop(server);
    // Once a person has seen to them, all is well again.
    fs::remove_file(path("cameras.json.unread-1")).unwrap();
    fs::remove_file(path("models.json.unread-1")).unwrap();
    assert_eq!(ServerProcess::start(data.path(), &arguments).get("/readyz"), "ready\n");
}

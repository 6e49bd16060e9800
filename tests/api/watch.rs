//! `centerx watch` against a server that goes and comes back.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use centerx::camera::CameraOrigin;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::backend::{Running, detection, frame};

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_goes_on_after_a_restart_of_the_server() {
    let first = Running::start().await;
    first.backend.put("yard", "test://ball", CameraOrigin::Config);
    let address = first.address;
    let watch = Command::new(env!("CARGO_BIN_EXE_centerx"))
        .args(["watch", "--server", &format!("http://{address}")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut watch = Ended(watch);
    let output = BufReader::new(watch.0.stdout.take().unwrap());
    let (send, mut lines) = mpsc::channel(64);
    std::thread::spawn(move || {
        output.lines().map_while(Result::ok).try_for_each(|line| send.blocking_send(line))
    });
    let mut next = async || {
        let line = timeout(Duration::from_secs(20), lines.recv()).await;
        line.expect("a line in time").unwrap()
    };
    assert_eq!(next().await, "yard  live: frames arrive");
    first.backend.hub.publish(frame("yard", 7, vec![detection("car", 0.5)]));
    assert_eq!(next().await, "yard  0.0 s  car 0.50 [613,232,652,341]");
    first.stop.send(()).unwrap();
    first.backend.hub.close();
    first.task.await.unwrap();
    assert_eq!(next().await, "-- the server is shutting down; trying again in 0.5 s");
    let second = Running::start_at(address).await;
    second.backend.hub.publish(frame("yard", 1, vec![detection("person", 0.71)]));
    let mut seen = Vec::new();
    while seen.last().is_none_or(|line: &String| !line.contains("person")) {
        seen.push(next().await);
    }
    assert!(seen.contains(&"-- yard  its frames are counted anew".to_owned()), "{seen:?}");
    assert_eq!(seen.last().unwrap(), "yard  0.0 s  person 0.71 [613,232,652,341]");
}

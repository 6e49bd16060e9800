//! The Python client of docs/clients/python, as a user runs it: stubs generated from the protos, real grpcio.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use centerx::camera::CameraOrigin;
use centerx::detection::{Detection, Landmark};
use image::{DynamicImage, ImageFormat};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::backend::{Running, detection, frame};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn python() -> PathBuf {
    let given = std::env::var_os("CENTERX_TEST_PYTHON").map(PathBuf::from);
    let path = given.unwrap_or_else(|| Path::new(ROOT).join(".cache/venv/bin/python"));
    assert!(path.exists(), "{} is missing: run bash scripts/test.sh, which makes it", path.display());
    path
}

/// Stubs made by the command of the client's README, in a folder of their own.
fn stubs() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display();
    let output = Command::new(python())
        .current_dir(ROOT)
        .args(["-m", "grpc_tools.protoc", "-I", "proto"])
        .args([format!("--python_out={out}"), format!("--grpc_python_out={out}")])
        .args(["cameras", "detections", "models"].map(|name| format!("proto/centerx/v1/{name}.proto")))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

fn client(stubs: &TempDir, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(python());
    command.arg(Path::new(ROOT).join("docs/clients/python").join(program)).args(args);
    command.env("CENTERX_STUBS", stubs.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // grpcio takes proxies from the environment for any address.
    command.env("no_grpc_proxy", "127.0.0.1");
    command
}

async fn run(mut command: Command) -> Output {
    spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn until_subscribed(server: &Running) {
    while server.metric("centerx_subscribers") != Some(1.0) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribe_prints_live_lines() {
    let stubs = stubs();
    let server = Running::start().await;
    server.backend.put("yard", "test://ball", CameraOrigin::Config);
    server.backend.put("gate", "test://ball", CameraOrigin::Config);
    let address = server.address.to_string();
    let args = [&address, "--camera", "yard", "--min-score", "0.5", "--count", "2", "--timeout", "60"];
    let running = tokio::spawn(run(client(&stubs, "subscribe.py", &args)));
    until_subscribed(&server).await;
    server.backend.hub.publish(frame("gate", 1, vec![detection("car", 0.99)]));
    server.backend.hub.publish(frame("yard", 1, vec![detection("person", 0.71), detection("car", 0.3)]));
    let landmarks =
        vec![Landmark { x: 620.4, y: 240.0, score: 0.9 }, Landmark { x: 640.0, y: 0.6, score: 0.8 }];
    server.backend.hub.publish(frame("yard", 2, vec![Detection { landmarks, ..detection("car", 0.6) }]));
    let output = running.await.unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let lines: Vec<_> = out.lines().collect();
    let expected = [
        "yard  0.0 s  person 0.71 [613,232,652,341]",
        "yard  0.0 s  car 0.60 [613,232,652,341] (620,240) (640,1)",
    ];
    assert_eq!(lines, expected, "{err}");
    assert_eq!(err, "yard  live: frames arrive\n");
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribe_comes_back_after_a_restart_of_the_server() {
    let stubs = stubs();
    let first = Running::start().await;
    let address = first.address;
    let args = [&address.to_string(), "--count", "2", "--timeout", "60"];
    let running = tokio::spawn(run(client(&stubs, "subscribe.py", &args)));
    until_subscribed(&first).await;
    first.backend.hub.publish(frame("yard", 7, vec![detection("car", 0.5)]));
    first.stop.send(()).unwrap();
    first.backend.hub.close();
    first.task.await.unwrap();
    let second = Running::start_at(address).await;
    until_subscribed(&second).await;
    second.backend.hub.publish(frame("yard", 1, vec![detection("person", 0.71)]));
    let output = running.await.unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let [before, after] =
        ["car 0.50", "person 0.71"].map(|found| format!("yard  0.0 s  {found} [613,232,652,341]\n"));
    assert_eq!(out, before + &after, "{err}");
    assert!(err.contains("the server is shutting down"), "{err}");
    assert!(err.contains("yard  its frames are counted anew"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribe_gives_up_with_the_reason() {
    let stubs = stubs();
    let server = Running::start().await;
    let address = server.address.to_string();
    let output = run(client(&stubs, "subscribe.py", &[&address, "--camera", "cellar"])).await;
    assert_eq!(text(&output.stderr), "NOT_FOUND: there is no camera cellar\n");
    assert_eq!(output.status.code(), Some(1));
    let output = run(client(&stubs, "subscribe.py", &[&address, "--count", "1", "--timeout", "0.3"])).await;
    assert_eq!(text(&output.stderr), "fewer than 1 objects within 0.3 s\n");
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_prints_what_is_in_each_picture_and_why_in_others_nothing_is() {
    let stubs = stubs();
    let server = Running::start().await;
    let address = server.address.to_string();
    let picture = stubs.path().join("picture.png");
    DynamicImage::new_rgb8(40, 30).save(&picture).unwrap();
    let (picture, other) = (picture.to_str().unwrap(), Path::new(ROOT).join("Cargo.toml"));
    let args = [&address, picture, other.to_str().unwrap(), picture];
    let output = run(client(&stubs, "stream.py", &args)).await;
    let expected = ["frame 0  person 0.71 [613,232,652,341]", "frame 2  person 0.71 [613,232,652,341]"]
        .join("\n")
        + "\n";
    assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
    let reason = "frame 1  frame.image: the bytes are not a JPEG, PNG or WebP picture\n";
    assert_eq!((text(&output.stderr).as_str(), output.status.code()), (reason, Some(1)));

    let raw = stubs.path().join("frames.nv12");
    std::fs::write(&raw, vec![128; 3 * (5 * 3 + 2 * 3 * 2)]).unwrap();
    let args = [&address, "--raw", "5x3", "--min-score", "0.5", raw.to_str().unwrap()];
    let output = run(client(&stubs, "stream.py", &args)).await;
    assert_eq!(text(&output.stdout).lines().count(), 3, "{}", text(&output.stderr));
    assert_eq!(server.backend.streams.choices.lock().unwrap()[1].min_score, Some(0.5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn detect_prints_what_is_in_a_picture() {
    let stubs = stubs();
    let server = Running::start().await;
    let address = server.address.to_string();
    let picture = stubs.path().join("picture.jpg");
    DynamicImage::new_rgb8(40, 30).save_with_format(&picture, ImageFormat::Jpeg).unwrap();
    let picture = picture.to_str().unwrap();
    let output = run(client(&stubs, "detect.py", &[picture, "--address", &address])).await;
    assert_eq!(text(&output.stdout), "person 0.71 [613,232,652,341]\n", "{}", text(&output.stderr));
    let requirements = Path::new(ROOT).join("docs/clients/python/requirements.txt");
    let output =
        run(client(&stubs, "detect.py", &[requirements.to_str().unwrap(), "--address", &address])).await;
    let expected = "INVALID_ARGUMENT: image: the bytes are not a JPEG, PNG or WebP picture\n";
    assert_eq!((text(&output.stderr).as_str(), output.status.code()), (expected, Some(1)));
}

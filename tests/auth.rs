//! Tokens and roles, from outside: a real server, the command's clients, plain HTTP, Python.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::str::FromStr;

use centerx::api::v1::camera_service_client::CameraServiceClient;
use centerx::api::v1::model_service_client::ModelServiceClient;
use centerx::api::v1::{
    AddCameraRequest, Camera, ListCamerasRequest, ListModelsRequest, LoadModelRequest, RemoveCameraRequest,
    UnloadModelRequest, UpdateCameraRequest,
};
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;

#[path = "support/files.rs"]
mod files;
#[path = "support/process.rs"]
mod process;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use files::{python, sample};
use process::{ServerProcess, centerx, errors, run};
use tiny_model::Tiny;

/// A folder with a model, tokens of both roles, and the settings that know them.
struct Place {
    folder: tempfile::TempDir,
    read: String,
    operate: String,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = Tiny::new("day", &["person"]).write(folder.path());
        let mut settings = format!("[[model]]\nname = \"day\"\nsource = {model:?}\n");
        let (read, operate) = (new_token("read", &mut settings), new_token("operate", &mut settings));
        std::fs::write(folder.path().join("centerx.toml"), settings).unwrap();
        std::fs::write(folder.path().join("read.token"), format!("{read}\n")).unwrap();
        Self { folder, read, operate }
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("centerx.toml")
    }

    fn serve(&self, arguments: &[&str]) -> ServerProcess {
        let settings = self.settings();
        let arguments: Vec<_> =
            ["--config", settings.to_str().unwrap()].iter().chain(arguments).copied().collect();
        ServerProcess::start(&self.folder.path().join("data"), &arguments)
    }
}

/// Makes a token by the command, and adds its lines to the settings.
fn new_token(role: &str, settings: &mut String) -> String {
    let made = run(&["token", "new", "--role", role, "--name", &format!("test-{role}")]);
    assert!(made.status.success(), "{}", errors(&made));
    settings.push_str(&errors(&made));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

/// A request that shows a token, if there is one.
fn with<T>(token: Option<&str>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value = AsciiMetadataValue::from_str(&format!("Bearer {token}")).unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

fn camera(id: &str) -> Option<Camera> {
    Some(Camera { id: id.into(), url: "test://ball?width=64&height=64&fps=5".into(), ..Default::default() })
}

/// How each call that changes something ends.
async fn changes(channel: &Channel, token: Option<&str>) -> Vec<Result<(), Status>> {
    let (mut cameras, mut models) =
        (CameraServiceClient::new(channel.clone()), ModelServiceClient::new(channel.clone()));
    let (add, id) = (AddCameraRequest { camera: camera("yard") }, "yard".to_owned());
    let mask = Some(prost_types::FieldMask { paths: vec!["name".into()] });
    let update = UpdateCameraRequest { camera: camera("yard"), update_mask: mask };
    let load = LoadModelRequest { name: "night".into(), source: "no-such-model".into() };
    vec![
        cameras.add_camera(with(token, add)).await.map(drop),
        cameras.update_camera(with(token, update)).await.map(drop),
        cameras.remove_camera(with(token, RemoveCameraRequest { id })).await.map(drop),
        models.load_model(with(token, load)).await.map(drop),
        models.unload_model(with(token, UnloadModelRequest { name: "dusk".into() })).await.map(drop),
    ]
}

async fn list(channel: &Channel, token: Option<&str>) -> Result<(), Status> {
    CameraServiceClient::new(channel.clone()).list_cameras(with(token, ListCamerasRequest {})).await?;
    ModelServiceClient::new(channel.clone()).list_models(with(token, ListModelsRequest {})).await.map(drop)
}

async fn reflect(channel: &Channel, token: Option<&str>) -> Result<(), Status> {
    let ask = ServerReflectionRequest { host: String::new(), message_request: None };
    let asked = futures_util::stream::iter([ask]);
    ServerReflectionClient::new(channel.clone()).server_reflection_info(with(token, asked)).await.map(drop)
}

fn code(outcome: &Result<(), Status>) -> Code {
    outcome.as_ref().err().map_or(Code::Ok, Status::code)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_do_what_it_says_and_no_more() {
    let place = Place::new();
    let server = place.serve(&[]);
    let channel = Channel::from_shared(format!("http://{}", server.grpc)).unwrap().connect().await.unwrap();
    let wrong = place.read.replace("centerx_", "centerx_x");
    for token in [None, Some(wrong.as_str())] {
        for outcome in changes(&channel, token).await.iter().chain([&list(&channel, token).await]) {
            assert_eq!(code(outcome), Code::Unauthenticated, "{outcome:?}");
        }
        assert_eq!(code(&reflect(&channel, token).await), Code::Unauthenticated);
    }
    let read = Some(place.read.as_str());
    for outcome in changes(&channel, read).await {
        let status = outcome.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
        assert!(
            status.message().contains("role operate") && status.message().contains("test-read"),
            "{status:?}"
        );
    }
    list(&channel, read).await.unwrap();
    reflect(&channel, read).await.unwrap();
    let operate = Some(place.operate.as_str());
    let codes: Vec<_> = changes(&channel, operate).await.iter().map(code).collect();
    assert_eq!(codes, [Code::Ok, Code::Ok, Code::Ok, Code::InvalidArgument, Code::NotFound]);
    list(&channel, operate).await.unwrap();
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();

    let metrics = page(&server, "/metrics", read);
    assert_eq!(metrics.0, 200);
    for line in [
        "centerx_auth_failures_total{reason=\"missing\"} 7",
        "centerx_auth_failures_total{reason=\"unknown\"} 7",
        "centerx_auth_failures_total{reason=\"forbidden\"} 5",
        "centerx_auth_failures_total{reason=\"malformed\"} 0",
        "centerx_grpc_requests_total{code=\"UNAUTHENTICATED\",method=\"centerx.v1.CameraService/AddCamera\"} 2",
        "centerx_grpc_requests_total{code=\"PERMISSION_DENIED\",method=\"centerx.v1.CameraService/AddCamera\"} 1",
    ] {
        assert!(metrics.1.contains(line), "{line} is not in\n{}", metrics.1);
    }
    assert_eq!(page(&server, "/metrics", None).0, 401);
    assert_eq!(page(&server, "/", None).0, 200, "the page holds no data");
    assert_eq!(page(&server, "/metrics", Some(&wrong)).0, 401);
    assert_eq!((page(&server, "/healthz", None).0, page(&server, "/readyz", None).0), (200, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_taken_back_without_a_restart() {
    let place = Place::new();
    let mut server = place.serve(&[]);
    let channel = Channel::from_shared(format!("http://{}", server.grpc)).unwrap().connect().await.unwrap();
    list(&channel, Some(&place.read)).await.unwrap();
    let settings = std::fs::read_to_string(place.settings()).unwrap();
    let (before, _) = settings.split_once("[[auth.token]]").unwrap();
    let (_, operate) = settings.rsplit_once("[[auth.token]]").unwrap();
    std::fs::write(place.settings(), format!("{before}[[auth.token]]{operate}")).unwrap();
    server.signal("HUP");
    server.wait_for_line("the tokens were read again", std::time::Duration::from_secs(10));
    assert_eq!(code(&list(&channel, Some(&place.read)).await), Code::Unauthenticated);
    list(&channel, Some(&place.operate)).await.unwrap();
    // What cannot be read changes nothing.
    std::fs::write(place.settings(), "nonsense").unwrap();
    server.signal("HUP");
    server.wait_for_line("cannot be read again", std::time::Duration::from_secs(10));
    assert_eq!(code(&list(&channel, None).await), Code::Unauthenticated);
    list(&channel, Some(&place.operate)).await.unwrap();
}

/// Status and text of a page.
fn page(server: &ServerProcess, path: &str, token: Option<&str>) -> (u16, String) {
    let agent =
        ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build());
    let mut request = agent.get(format!("http://{}{path}", server.http));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut answer = request.call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

/// All that a run of the command wrote.
fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), errors(output))
}

#[test]
fn a_token_is_never_shown_by_whoever_has_it_at_any_level_of_logging() {
    let place = Place::new();
    let log = place.folder.path().join("server.log");
    let mut server = centerx(&["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log", "trace"])
        .arg("--config")
        .arg(place.settings())
        .arg("--data-dir")
        .arg(place.folder.path().join("data"))
        .args(["--camera", "ball=test://ball?width=64&height=64&fps=5"])
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let ready = wait_for_line(&log, " ready ");
    let field =
        |name: &str| ready.split_whitespace().find_map(|word| word.strip_prefix(name)).unwrap().to_owned();
    let (grpc, http) = (format!("http://{}", field("grpc=")), field("http="));
    let file = place.folder.path().join("read.token");

    let watch = ["--log", "trace", "watch", "--seconds", "0.2", "--server", &grpc];
    let running = ["--log", "trace", "model", "running", "--server", &grpc];
    let load = ["--log", "trace", "model", "load", "night", "--server", &grpc];
    let mut said = String::new();
    for (arguments, token, code) in [
        (&watch[..], Some(&place.read), 0),
        (&running, Some(&place.read), 0),
        (&load, Some(&place.read), 1),
        (&running, Some(&place.operate), 0),
        (&running, None, 1),
    ] {
        let mut command = centerx(arguments);
        if let Some(token) = token {
            command.env("CENTERX_TOKEN", token);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", words(&output));
        said += &words(&output);
    }
    let output = centerx(&running).arg("--token-file").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    said += &words(&output);
    let header = format!("Bearer {}", place.read);
    let metrics = ureq::get(format!("{http}/metrics")).header("authorization", header).call().unwrap();
    said += &metrics.into_body().read_to_string().unwrap();
    assert!(said.contains("needs the role operate") && said.contains("asks for a token"), "{said}");

    assert!(Command::new("kill").arg(server.id().to_string()).status().unwrap().success());
    assert!(server.wait().unwrap().success());
    said += &std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("TRACE") && said.contains("was refused"), "the log is that of all levels");
    for token in [&place.read, &place.operate] {
        let bare = token.strip_prefix("centerx_").unwrap();
        let shown = said.lines().find(|line| line.contains(bare));
        assert_eq!(shown, None, "a token is shown");
    }
}

/// Waits for a line in a file that a process writes.
fn wait_for_line(path: &Path, pattern: &str) -> String {
    let begin = std::time::Instant::now();
    loop {
        let text = std::fs::read_to_string(path).unwrap();
        // What is after the last line break may be half a line.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        if let Some(line) = whole.lines().find(|line| line.contains(pattern)) {
            return line.to_owned();
        }
        assert!(begin.elapsed().as_secs() < 60, "no {pattern:?} in\n{text}");
        std::thread::yield_now();
    }
}

#[test]
fn without_tokens_no_other_machine_is_listened_to() {
    let data = tempfile::tempdir().unwrap();
    let settings = data.path().join("centerx.toml");
    for (address, text) in
        [(["--grpc", "0.0.0.0:0"], "[grpc] listen"), (["--http", "[::]:0"], "[http] listen")]
    {
        let refused = run(&["serve", address[0], address[1]]);
        assert_eq!(refused.status.code(), Some(2), "{}", errors(&refused));
        assert!(
            errors(&refused).contains(text) && errors(&refused).contains("centerx token new"),
            "{}",
            errors(&refused)
        );
    }
    let model = Tiny::new("day", &["person"]).write(data.path());
    std::fs::write(
        &settings,
        format!("[auth]\nmode = \"off\"\n[[model]]\nname = \"day\"\nsource = {model:?}\n"),
    )
    .unwrap();
    let arguments = ["--config", settings.to_str().unwrap()];
    let mut server = ServerProcess::start_at("0.0.0.0:0", data.path(), &arguments);
    // It may come before or after the server says that it is ready.
    if !server.log.contains("asks for no token") {
        server.wait_for_line("asks for no token", std::time::Duration::from_secs(10));
    }
    assert!(server.grpc.ip().is_unspecified());
}

#[test]
fn a_python_client_shows_its_token() {
    let place = Place::new();
    let server = place.serve(&[]);
    let stubs = tempfile::tempdir().unwrap();
    let out = stubs.path().display();
    let made = Command::new(python())
        .args(["-m", "grpc_tools.protoc", "-I", "proto"])
        .args([format!("--python_out={out}"), format!("--grpc_python_out={out}")])
        .args(["cameras", "detections", "models"].map(|name| format!("proto/centerx/v1/{name}.proto")))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", errors(&made));
    let detect = |token: &[&str]| {
        let mut command = Command::new(python());
        command.arg("docs/clients/python/detect.py").arg(sample("messi5.jpg"));
        command.args(["--address", &server.grpc.to_string()]).args(token);
        command.env("CENTERX_STUBS", stubs.path()).env("no_grpc_proxy", "127.0.0.1");
        command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap()
    };
    let refused = detect(&[]);
    assert!(
        errors(&refused).starts_with("UNAUTHENTICATED: this server asks for a token"),
        "{}",
        errors(&refused)
    );
    let file = place.folder.path().join("read.token");
    let seen = detect(&["--token-file", file.to_str().unwrap()]);
    assert!(seen.status.success() && words(&seen).contains("person"), "{}", words(&seen));
}

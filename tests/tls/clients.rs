//! Clients of several kinds.

use std::net::SocketAddr;
use std::process::{Command, Output};

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::pki::Pair;
use super::{Bench, files, process};

/// Asks over gRPC and HTTP with Python's own stack. Arguments: port of gRPC, port of HTTP, CA, and maybe
/// certificate and key.
const PYTHON: &str = r#"
import ssl, sys, urllib.request
import grpc
grpc_port, http_port, ca, *own = sys.argv[1:]
read = lambda path: open(path, "rb").read()
chain = (read(own[1]), read(own[0])) if own else (None, None)
credentials = grpc.ssl_channel_credentials(read(ca), *chain)
raw = lambda data: data
with grpc.secure_channel(f"localhost:{grpc_port}", credentials) as channel:
    check = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=raw, response_deserializer=raw)
    try:
        print("grpc", "serving" if check(b"", timeout=20) == b"\x08\x01" else "not serving")
    except grpc.RpcError as error:
        print("grpc", error.code().name)
context = ssl.create_default_context(cafile=ca)
if own:
    context.load_cert_chain(*own)
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
try:
    print("https", opener.open(f"https://localhost:{http_port}/healthz", timeout=20).read().decode().strip())
except OSError as error:
    print("https refused:", error)
"#;

pub fn python(server: &process::ServerProcess, files: &[&str]) -> String {
    let ports = [server.grpc.port().to_string(), server.http.port().to_string()];
    let mut command = Command::new(files::python());
    command.args(["-c", PYTHON]).args(ports).args(files).env("no_grpc_proxy", "localhost");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", process::errors(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A channel that trusts `ca`, with a certificate of its own or none.
pub async fn channel(
    address: SocketAddr,
    ca: &str,
    own: Option<&Pair>,
) -> Result<Channel, tonic::transport::Error> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
    if let Some(Pair { certificate, key }) = own {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    let url = format!("https://localhost:{}", address.port());
    Endpoint::from_shared(url).unwrap().tls_config(tls).unwrap().connect().await
}

/// Whether a server answers a client that trusts `ca`.
pub async fn is_served(address: SocketAddr, ca: &str, own: Option<&Pair>) -> bool {
    let Ok(channel) = channel(address, ca, own).await else { return false };
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.is_ok()
}

/// Runs one of our own clients, `centerx ARGUMENTS --server https://localhost:PORT FILES`.
pub async fn command(arguments: &[&str], url: &str, files: &[&str]) -> Output {
    let all = [arguments, &["--server", url], files].concat();
    let mut command = process::centerx(&all);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

impl Bench {
    /// The URL of gRPC.
    pub fn url(server: &process::ServerProcess) -> String {
        format!("https://localhost:{}", server.grpc.port())
    }
}

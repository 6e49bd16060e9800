//! Which server a command talks to, and how: the arguments that all of them share.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError};
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};

use super::UsageError;
use super::credentials::{Bearer, TokenArgs};

/// For the connection and the TLS handshake.
const PATIENCE: Duration = Duration::from_secs(5);
/// A server that is silent for so long is asked whether it lives, and has as long to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A way to a server, which shows the caller's token with each call.
pub(super) type Connection = InterceptedService<Channel, Bearer>;
const CERTIFICATE_WANTED: &str = "it asks for a certificate: give one with --cert and --key";
const CERTIFICATE_REFUSED: &str =
    "it does not accept the certificate of --cert: have one signed by the CA that it trusts";

/// The server to talk to.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// The server; an https address is encrypted.
    #[arg(long, default_value = "http://127.0.0.1:50051", value_name = "URL")]
    server: String,
    /// Trust servers whose certificate is signed by one in this file (PEM), in place of those the system
    /// trusts.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The certificate to show to the server (PEM).
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The private key of --cert (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    #[command(flatten)]
    token: TokenArgs,
}

impl ServerArgs {
    /// Connects.
    ///
    /// # Errors
    /// Arguments that make no sense together, files that cannot be read, text that is no token, a server that
    /// cannot be reached or trusted, with the cure.
    pub(super) async fn connect(&self) -> anyhow::Result<Connection> {
        let (endpoint, bearer) = (self.endpoint()?, self.token.bearer()?);
        let channel = endpoint.connect().await.map_err(|error| {
            let hint = self.explain(&error);
            let server = &self.server;
            match hint {
                Some(hint) => anyhow::anyhow!("{server} is not talked to: {hint}"),
                None => anyhow::Error::from(error).context(format!("there is no server at {server}")),
            }
        })?;
        Ok(InterceptedService::new(channel, bearer))
    }

    /// What a call's failure says, in words.
    pub(super) fn refusal(&self, status: &Status) -> String {
        match self.explain(status) {
            Some(hint) => format!("{} is not talked to: {hint}", self.server),
            None => status.message().to_owned(),
        }
    }

    /// What to do about a failure of the connection. None: it is none, or says enough itself.
    pub(super) fn explain(&self, error: &(dyn Error + 'static)) -> Option<String> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(hint) = self.explain_one(error) {
                return Some(hint);
            }
            cause = error.source();
        }
        None
    }

    fn explain_one(&self, error: &(dyn Error + 'static)) -> Option<String> {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(explain_tls(error));
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            // An I/O error does not count what it wraps as its source.
            let inner = error.get_ref().and_then(|inner| self.explain_one(inner));
            return inner.or_else(|| self.explain_end(error));
        }
        let error = error.downcast_ref::<hyper::Error>()?;
        if let Some(hint) = error.source().and_then(|cause| self.explain_end(cause)) {
            return Some(hint);
        }
        let hint = match (self.is_encrypted(), &self.cert) {
            // A server that speaks TLS answers a greeting in plain HTTP/2 with an alert, or with HTTP/1.
            (false, _) if error.source()?.to_string().contains("frame") => {
                "it does not speak plain HTTP/2; if it speaks TLS, use an https address"
            }
            // In TLS 1.3 a server looks at its clients' certificates when these are done already.
            (true, None) if error.is_canceled() => CERTIFICATE_WANTED,
            (true, Some(_)) if error.is_canceled() => CERTIFICATE_REFUSED,
            _ => return None,
        };
        Some(format!("{hint} ({error})"))
    }

    /// What HTTP/2 keeps of a failure is its text: of a refused certificate the alert, or that the server was gone
    /// before that was read.
    fn explain_end(&self, error: &(dyn Error + 'static)) -> Option<String> {
        let text = error.to_string().to_lowercase();
        let ended = ["reset by peer", "connection reset", "broken pipe", "close_notify", "aborted"];
        let guess = if self.cert.is_some() { CERTIFICATE_REFUSED } else { CERTIFICATE_WANTED };
        if !self.is_encrypted() {
            None
        } else if text.contains("received fatal alert") {
            Some(format!("{guess} ({error})"))
        } else if ended.iter().any(|end| text.contains(end)) {
            Some(format!("it ended the connection; perhaps {guess} ({error})"))
        } else {
            None
        }
    }

    fn is_encrypted(&self) -> bool {
        self.server.starts_with("https://")
    }

    fn endpoint(&self) -> anyhow::Result<Endpoint> {
        let server = &self.server;
        let uri: Option<Uri> = server.parse().ok();
        let usable = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
        let Some(uri) = uri.filter(usable) else {
            let problem = format!("--server: {server} is not a URL such as http://127.0.0.1:50051");
            return Err(UsageError(problem).into());
        };
        let endpoint = Endpoint::from(uri)
            .connect_timeout(PATIENCE)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        if !self.is_encrypted() {
            if self.ca.is_some() || self.cert.is_some() {
                let problem = format!("--ca and --cert are for https addresses, and --server is {server}");
                return Err(UsageError(problem).into());
            }
            return Ok(endpoint);
        }
        endpoint.tls_config(self.tls()?).with_context(|| "the files of --ca, --cert and --key cannot be used")
    }

    fn tls(&self) -> anyhow::Result<ClientTlsConfig> {
        let mut tls = ClientTlsConfig::new().timeout(PATIENCE);
        tls = match &self.ca {
            Some(path) => tls.ca_certificate(Certificate::from_pem(read("--ca", path)?)),
            None => tls.with_native_roots(),
        };
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            tls = tls.identity(Identity::from_pem(read("--cert", cert)?, read("--key", key)?));
        }
        Ok(tls)
    }
}

fn read(argument: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    let text = std::fs::read(path)
        .map_err(|cause| UsageError(format!("{argument}: {} cannot be read: {cause}", path.display())))?;
    if !text.windows(11).any(|window| window == b"-----BEGIN ") {
        return Err(UsageError(format!("{argument}: {} is not a PEM file", path.display())).into());
    }
    Ok(text)
}

fn explain_tls(error: &rustls::Error) -> String {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage, NoApplicationProtocol};
    let hint = match error {
        InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is signed by nobody that is trusted here: give the file of its CA with --ca"
        }
        InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another name: use the name that it was made for in --server",
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired: have it renewed, or check this machine's clock"
        }
        InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "its certificate is not valid yet: check this machine's clock"
        }
        // rustls has no name of its own for webpki's.
        InvalidCertificate(CertificateError::Other(other))
            if other.to_string().contains("CaUsedAsEndEntity") =>
        {
            "its certificate is that of an authority, as `openssl req -x509` makes it by default: have one made \
             for a server (-addext basicConstraints=critical,CA:FALSE)"
        }
        InvalidMessage(_) => "it does not speak TLS: use an http address",
        NoApplicationProtocol | AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "it speaks TLS but no gRPC; is it the right port?"
        }
        AlertReceived(AlertDescription::CertificateRequired) => CERTIFICATE_WANTED,
        AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::DecryptError
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown,
        ) => CERTIFICATE_REFUSED,
        _ => return format!("TLS failed: {error}"),
    };
    format!("{hint} ({error})")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        server: ServerArgs,
    }

    fn problem(arguments: &[&str]) -> String {
        let arguments = ["test"].iter().chain(arguments);
        match Command::try_parse_from(arguments) {
            Ok(command) => {
                let error = command.server.endpoint().unwrap_err();
                assert!(error.is::<UsageError>(), "{error}");
                error.to_string()
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn arguments_that_make_no_sense_are_explained() {
        assert!(problem(&["--server", "127.0.0.1:50051"]).contains("not a URL such as"));
        assert!(problem(&["--server", "ftp://x"]).contains("not a URL such as"));
        assert!(problem(&["--ca", "ca.pem"]).contains("for https addresses"));
        let https = ["--server", "https://x"];
        assert!(problem(&[https[0], https[1], "--ca", "none.pem"]).contains("none.pem cannot be read"));
        assert!(
            problem(&[https[0], https[1], "--ca", "Cargo.toml"]).contains("Cargo.toml is not a PEM file")
        );
        assert!(problem(&[https[0], https[1], "--cert", "c.pem"]).contains("--key"));
    }

    #[test]
    fn failures_deep_inside_are_found() {
        let inner = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let outer = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, inner));
        let server = Command::parse_from(["test"]).server;
        assert!(server.explain(&outer).unwrap().contains("--ca"));
        assert_eq!(server.explain(&io::Error::other("something else")), None);
    }
}

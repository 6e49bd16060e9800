//! Certificates, keys and the clients' CA: read from PEM files, checked, made into rustls' settings.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// A file larger than this is no certificate.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where the certificate lies.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The certificate and those that lead to its CA, the server's first (PEM).
    pub certificate: PathBuf,
    /// The certificate's private key (PEM: PKCS#8, PKCS#1 or SEC1).
    pub key: PathBuf,
    /// Clients must show a certificate signed by one of these (PEM). Without it they show none.
    pub client_ca: Option<PathBuf>,
}

impl Config {
    /// Whether clients must show a certificate.
    pub fn asks_for_certificates(&self) -> bool {
        self.client_ca.is_some()
    }
}

/// Why TLS cannot be spoken. Every message names the file, the cause and the cure.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("the {what} {} cannot be read: {cause}; check the path and who may read it", path.display())]
    Read {
        /// What is in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A file holds something else.
    #[error("there is no {what} in {}: {cause}; a PEM file with -----BEGIN {begin}----- is needed", path.display())]
    Content {
        /// What should be in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the parser said.
        cause: String,
        /// How it would begin.
        begin: &'static str,
    },
    /// Key and certificate do not belong together.
    #[error(
        "the key {} does not belong to the certificate {}; if they come from one order, check that the \
         certificate file begins with the server's own and not with its CA's", key.display(), certificate.display()
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate or the key is of a kind that cannot be used.
    #[error("the {what} {} cannot be used: {cause}; make a new one, ECDSA P-256 is understood everywhere", path.display())]
    Unusable {
        /// Which of the files.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
}

/// The files' content at one moment.
pub(super) struct Files {
    config: Config,
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// What TLS connections are made with, and what is to be told about it.
pub(super) struct Made {
    pub(super) server: Arc<ServerConfig>,
    /// When the certificate expires.
    pub(super) expiry: SystemTime,
    /// What works and is wrong all the same.
    pub(super) warnings: Vec<String>,
}

impl Files {
    /// Reads them all.
    pub(super) fn read(config: &Config) -> Result<Self, TlsError> {
        let client_ca = config.client_ca.as_deref();
        Ok(Self {
            certificate: read("certificate", &config.certificate)?,
            key: read("key", &config.key)?,
            client_ca: client_ca.map(|path| read("clients' CA", path)).transpose()?,
            config: config.clone(),
        })
    }

    /// Tells apart what they hold; not secret.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten()
        {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    /// Checks them and makes rustls' settings of them. `alpn`: the protocols' names.
    pub(super) fn make(&self, alpn: Vec<Vec<u8>>) -> Result<Made, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates("certificate", &self.config.certificate, &self.certificate)?;
        let (since, expiry) = self.validity(&chain)?;
        let key = self.key()?;
        self.check_match(chain.clone(), key.clone_key(), &provider)?;
        let unusable = |cause| self.unusable("certificate", &self.config.certificate, cause);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = match (&self.config.client_ca, &self.client_ca) {
            (Some(path), Some(pem)) => {
                let roots = Arc::new(self.client_roots(path, pem)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                builder.with_client_cert_verifier(
                    verifier.map_err(|cause| self.unusable("clients' CA", path, cause))?,
                )
            }
            _ => builder.with_no_client_auth(),
        };
        let mut server = builder.with_single_cert(chain, key).map_err(unusable)?;
        server.alpn_protocols = alpn;
        let warnings = self.warnings(since, expiry);
        Ok(Made { server: Arc::new(server), expiry, warnings })
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.key).map_err(|cause| TlsError::Content {
            what: "private key",
            path: self.config.key.clone(),
            cause: cause.to_string(),
            begin: "PRIVATE KEY",
        })
    }

    fn check_match(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<(), TlsError> {
        match CertifiedKey::from_der(chain, key, provider) {
            Ok(_) => Ok(()),
            Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::Mismatch {
                certificate: self.config.certificate.clone(),
                key: self.config.key.clone(),
            }),
            Err(cause) => Err(self.unusable("key", &self.config.key, cause)),
        }
    }

    fn client_roots(&self, path: &Path, pem: &[u8]) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for root in certificates("clients' CA", path, pem)? {
            roots.add(root).map_err(|cause| self.unusable("clients' CA", path, cause))?;
        }
        Ok(roots)
    }

    fn validity(&self, chain: &[CertificateDer<'_>]) -> Result<(SystemTime, SystemTime), TlsError> {
        let first = chain.first().map(AsRef::as_ref).unwrap_or_default();
        let certificate = Certificate::from_der(first)
            .map_err(|cause| self.unusable("certificate", &self.config.certificate, cause))?;
        let validity = certificate.tbs_certificate().validity();
        Ok((validity.not_before.to_system_time(), validity.not_after.to_system_time()))
    }

    fn warnings(&self, since: SystemTime, expiry: SystemTime) -> Vec<String> {
        let (certificate, now) = (self.config.certificate.display(), SystemTime::now());
        let mut warnings = Vec::new();
        if expiry <= now {
            let ago = humantime::format_duration(whole_minutes(now, expiry));
            warnings.push(format!(
                "the certificate {certificate} expired {ago} ago: clients refuse it; renew it"
            ));
        }
        if since > now {
            warnings.push(format!(
                "the certificate {certificate} is not valid yet: clients refuse it; check this machine's clock"
            ));
        }
        if is_readable_by_all(&self.config.key) {
            let key = self.config.key.display();
            warnings.push(format!("everybody on this machine can read the key {key}: chmod o-r it"));
        }
        warnings
    }

    fn unusable(&self, what: &'static str, path: &Path, cause: impl fmt::Display) -> TlsError {
        TlsError::Unusable { what, path: path.to_owned(), cause: cause.to_string() }
    }
}

/// The certificate's file is read, checked, and not kept: for `centerx serve --check`.
///
/// # Errors
/// What keeps it from being used.
pub fn check(config: &Config) -> Result<(), TlsError> {
    Files::read(config)?.make(Vec::new()).map(|_| ())
}

/// Seconds since 1970, for a metric.
pub(super) fn unix_seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

fn whole_minutes(later: SystemTime, earlier: SystemTime) -> Duration {
    Duration::from_secs(later.duration_since(earlier).unwrap_or_default().as_secs() / 60 * 60)
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let fail = |cause| TlsError::Read { what, path: path.to_owned(), cause };
    let size = std::fs::metadata(path).map_err(fail)?.len();
    if size > MAX_FILE_BYTES {
        return Err(fail(io::Error::other(format!("{size} bytes are too many for it"))));
    }
    std::fs::read(path).map_err(fail)
}

fn certificates(
    what: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fail = |cause| TlsError::Content { what, path: path.to_owned(), cause, begin: "CERTIFICATE" };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(fail("it holds none".into())),
        Ok(found) => Ok(found),
        Err(cause) => Err(fail(cause.to_string())),
    }
}

fn is_readable_by_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use tempfile::TempDir;

    use super::*;

    struct Bench {
        folder: TempDir,
        config: Config,
    }

    impl Bench {
        fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = |name: &str| folder.path().join(name);
            let key = KeyPair::generate().unwrap();
            let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            change(&mut parameters);
            let certificate = parameters.self_signed(&key).unwrap();
            std::fs::write(path("cert.pem"), certificate.pem()).unwrap();
            std::fs::write(path("key.pem"), key.serialize_pem()).unwrap();
            std::fs::set_permissions(path("key.pem"), PermissionsExt::from_mode(0o600)).unwrap();
            let config = Config { certificate: path("cert.pem"), key: path("key.pem"), client_ca: None };
            Self { folder, config }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn make(&self) -> Result<Made, TlsError> {
            Files::read(&self.config)?.make(vec![b"h2".to_vec()])
        }

        fn error(&self) -> String {
            self.make().err().unwrap().to_string()
        }
    }

    #[test]
    fn a_good_pair_is_used_and_its_expiry_told() {
        let bench = Bench::new(|certificate| certificate.not_after = date_time_ymd(2099, 1, 2));
        let made = bench.make().unwrap();
        assert_eq!(unix_seconds(made.expiry), 4_070_995_200);
        assert_eq!(made.server.alpn_protocols, [b"h2".to_vec()]);
        assert!(made.warnings.is_empty(), "{:?}", made.warnings);
        check(&bench.config).unwrap();
    }

    #[test]
    fn what_works_and_is_wrong_is_warned_of() {
        let bench = Bench::new(|certificate| certificate.not_after = date_time_ymd(2020, 1, 1));
        std::fs::set_permissions(&bench.config.key, PermissionsExt::from_mode(0o644)).unwrap();
        let warnings = bench.make().unwrap().warnings.join("\n");
        assert!(warnings.contains("cert.pem expired") && warnings.contains("renew"), "{warnings}");
        assert!(warnings.contains("can read the key") && warnings.contains("key.pem"), "{warnings}");
        let bench = Bench::new(|certificate| certificate.not_before = date_time_ymd(2090, 1, 1));
        assert!(bench.make().unwrap().warnings[0].contains("not valid yet"));
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_cause_and_cure() {
        let mut bench = Bench::new(|_| ());
        let other = Bench::new(|_| ());
        bench.config.key = other.config.key.clone();
        assert!(bench.error().contains("does not belong to the certificate"), "{}", bench.error());
        bench.config.key = bench.config.certificate.clone();
        assert!(bench.error().contains("no private key in") && bench.error().contains("cert.pem"));
        bench.config.key = bench.path("missing.pem");
        assert!(bench.error().contains("missing.pem cannot be read: No such file"), "{}", bench.error());
        bench.config.key = bench.path("key.pem");
        bench.config.certificate = bench.path("key.pem");
        assert!(bench.error().contains("there is no certificate in"), "{}", bench.error());
        std::fs::write(bench.path("cut.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
        bench.config.certificate = bench.path("cut.pem");
        assert!(bench.error().contains("cut.pem"), "{}", bench.error());
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(bench.path("cut.pem"), garbage).unwrap();
        assert!(bench.error().contains("cut.pem cannot be used"), "{}", bench.error());
        bench.config = Config { client_ca: Some(bench.path("key.pem")), ..other.config.clone() };
        assert!(bench.error().contains("no clients' CA in"), "{}", bench.error());
    }

    #[test]
    fn no_message_holds_a_part_of_the_key() {
        let mut bench = Bench::new(|_| ());
        bench.config.certificate = bench.path("key.pem");
        let key = std::fs::read_to_string(bench.path("key.pem")).unwrap();
        let line = key.lines().nth(1).unwrap();
        assert!(!bench.error().contains(&line[..12]));
    }

    #[test]
    fn another_content_has_another_fingerprint() {
        let (one, two) = (Bench::new(|_| ()), Bench::new(|_| ()));
        let print = |bench: &Bench| Files::read(&bench.config).unwrap().fingerprint();
        assert_eq!(print(&one), print(&one));
        assert_ne!(print(&one), print(&two));
    }
}

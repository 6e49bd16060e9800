//! Certificate authorities and certificates, made while the test runs.

// Each test uses its own part of this.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// An authority that signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate and its key, as PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    /// For a server of these names.
    pub fn server(&self, names: &[&str]) -> Pair {
        self.sign(names, ExtendedKeyUsagePurpose::ServerAuth, 2099)
    }

    /// For a server, until the first day of a year.
    pub fn server_until(&self, year: i32) -> Pair {
        self.sign(&["localhost", "127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth, year)
    }

    /// For a server, from now on for so long.
    pub fn server_for(&self, time: Duration) -> Pair {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let until = date_time_ymd(1970, 1, 1) + now + time;
        let (names, purpose) = (["localhost", "127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth);
        self.sign_until(&names, purpose, |parameters| parameters.not_after = until)
    }

    pub fn client(&self) -> Pair {
        self.sign(&["somebody"], ExtendedKeyUsagePurpose::ClientAuth, 2099)
    }

    fn sign(&self, names: &[&str], purpose: ExtendedKeyUsagePurpose, year: i32) -> Pair {
        self.sign_until(names, purpose, |parameters| parameters.not_after = date_time_ymd(year, 1, 1))
    }

    fn sign_until(
        &self,
        names: &[&str],
        purpose: ExtendedKeyUsagePurpose,
        end: impl FnOnce(&mut CertificateParams),
    ) -> Pair {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut parameters = CertificateParams::new(names).unwrap();
        parameters.extended_key_usages = vec![purpose];
        parameters.use_authority_key_identifier_extension = true;
        parameters.not_before = date_time_ymd(2015, 1, 1);
        end(&mut parameters);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Pair {
    /// Writes `NAME.crt` and `NAME.key` and returns their paths.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        use std::os::unix::fs::PermissionsExt;
        let paths = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        std::fs::write(&paths.0, &self.certificate).unwrap();
        std::fs::write(&paths.1, &self.key).unwrap();
        std::fs::set_permissions(&paths.1, PermissionsExt::from_mode(0o600)).unwrap();
        paths
    }
}

//! What callers of the API may make this server open: addresses, files, models.
//!
//! The settings file and the command line are the owner's own words and may name anything. A caller of the API
//! is only somebody with a token: without limits it could have the server look at files it should not see, or
//! knock at doors of its network on the caller's behalf.
//!
//! What does not belong here: who may call at all (`auth`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;
use url::Host;

use crate::camera::{CameraUrl, InvalidCamera, SourceKind};

mod folders;

use folders::Folders;

/// Schemes that can be allowed. Files are allowed by their folders.
const SCHEMES: [&str; 6] = ["rtsp", "rtsps", "http", "https", "test", "v4l2"];

/// The table `[access]` of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Schemes that cameras of the API may have: of `rtsp`, `rtsps`, `http`, `https`, `test`, `v4l2`.
    pub schemes: Vec<String>,
    /// Folders whose files cameras of the API may play, by absolute paths. Links that lead out do not count.
    pub video_folders: Vec<PathBuf>,
    /// Folders whose files may be loaded as models by API; pulled models may in any case.
    pub model_folders: Vec<PathBuf>,
    /// Networks that no camera of the API may lead to.
    pub denied_networks: Vec<IpNet>,
}

impl Default for Config {
    fn default() -> Self {
        let link_local = [
            // Where clouds keep the credentials of their machines (169.254.169.254, fd00:ec2::254).
            IpNet::new_assert(IpAddr::from([169, 254, 0, 0]), 16),
            IpNet::new_assert(IpAddr::from([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]), 128),
            IpNet::new_assert(IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 0]), 10),
        ];
        Self {
            schemes: ["rtsp", "rtsps", "http", "https", "test"].map(String::from).to_vec(),
            video_folders: Vec::new(),
            model_folders: Vec::new(),
            denied_networks: link_local.to_vec(),
        }
    }
}

impl Config {
    /// Checks the values that the types alone do not.
    ///
    /// # Errors
    /// The first that cannot be accepted, and what would do.
    pub fn validate(&self) -> Result<(), String> {
        for scheme in &self.schemes {
            if scheme == "file" {
                return Err("schemes: files are allowed by naming their folders in video_folders".into());
            }
            if !SCHEMES.contains(&scheme.as_str()) {
                return Err(format!("schemes: {scheme:?} is none of {}", SCHEMES.join(", ")));
            }
        }
        let folders = self.video_folders.iter().chain(&self.model_folders);
        match folders.into_iter().find(|folder| !folder.is_absolute()) {
            Some(folder) => Err(format!("{} is no absolute path, such as /srv/{0}", folder.display())),
            None => Ok(()),
        }
    }
}

/// Decides what is opened for callers of the API. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Policy(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    schemes: Vec<String>,
    videos: Folders,
    models: Folders,
    denied: Vec<IpNet>,
}

impl Policy {
    /// The policy of these settings.
    pub fn new(config: &Config) -> Self {
        Self(Arc::new(Rules {
            schemes: config.schemes.clone(),
            videos: Folders::new("video_folders", &config.video_folders),
            models: Folders::new("model_folders", &config.model_folders),
            denied: config.denied_networks.clone(),
        }))
    }

    /// Checks a URL that a caller gives, as far as that takes no name server. Blocks on the disk for a file.
    ///
    /// # Errors
    /// The rule that it breaks, and the setting.
    pub fn check_url(&self, url: &CameraUrl) -> Result<(), InvalidCamera> {
        self.file_or_scheme(url).map(drop).and_then(|()| self.check_host(url, false)).map_err(refused)
    }

    /// Checks a URL that is about to be opened, name server included, and tells which URL to open in its
    /// place: a file by its real path, so that no link is followed that was not checked. Blocks on the disk
    /// and the network.
    ///
    /// # Errors
    /// The rule that it breaks, and the setting.
    pub fn resolve(&self, url: &CameraUrl) -> Result<CameraUrl, InvalidCamera> {
        let opened = self.file_or_scheme(url).map_err(refused)?;
        self.check_host(url, true).map_err(refused)?;
        Ok(opened)
    }

    /// Checks the path of a model that a caller names. Blocks on the disk.
    ///
    /// # Errors
    /// It is not under the allowed folders.
    pub fn check_model(&self, path: &Path) -> Result<PathBuf, String> {
        self.0.models.real_path(path)
    }

    fn file_or_scheme(&self, url: &CameraUrl) -> Result<CameraUrl, String> {
        if url.kind() == SourceKind::File {
            let path =
                url.expose().to_file_path().map_err(|()| format!("{url} is not a path on this machine"))?;
            let real = self.0.videos.real_path(&path)?;
            return CameraUrl::of_file(&real).map_err(|error| error.problem);
        }
        let scheme = url.expose().scheme();
        if self.0.schemes.iter().any(|allowed| allowed == scheme) {
            return Ok(url.clone());
        }
        Err(format!(
            "{url} has a scheme that callers of the API may not use; allowed are {}: see [access] schemes in the \
             server's settings",
            self.0.schemes.join(", ")
        ))
    }

    fn check_host(&self, url: &CameraUrl, ask_name_server: bool) -> Result<(), String> {
        if !matches!(url.kind(), SourceKind::Rtsp | SourceKind::Http) || self.0.denied.is_empty() {
            return Ok(());
        }
        let address =
            host_addresses(url, ask_name_server)?.into_iter().find(|address| self.is_denied(*address));
        match address {
            Some(_) => Err(format!(
                "{url} leads into a network that callers of the API may not reach: see [access] denied_networks in \
                 the server's settings"
            )),
            None => Ok(()),
        }
    }

    fn is_denied(&self, address: IpAddr) -> bool {
        let address = match address.to_canonical() {
            // A connection to no address in particular ends at this machine.
            IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            address => address,
        };
        self.0.denied.iter().any(|network| network.contains(&address))
    }
}

fn refused(problem: String) -> InvalidCamera {
    InvalidCamera { field: "url", problem }
}

/// The addresses that a URL's host stands for: what is written there, or what the name server says.
fn host_addresses(url: &CameraUrl, ask_name_server: bool) -> Result<Vec<IpAddr>, String> {
    let name = match url.expose().host() {
        Some(Host::Ipv4(address)) => return Ok(vec![address.into()]),
        Some(Host::Ipv6(address)) => return Ok(vec![address.into()]),
        Some(Host::Domain(name)) => name,
        None => return Ok(Vec::new()),
    };
    if name.contains('%') {
        // Each reader of such a host decodes it, or not, in its own way.
        return Err(format!("{url} has an escape (%) in its host: write it plainly"));
    }
    // Addresses of `rtsp` are not parsed by the URL standard, and have more forms than four numbers: 2852039166,
    // 0xa9fea9fe, 169.254.43518. The system's resolver knows them all, and asks nobody about those.
    let is_number = name.starts_with(|c: char| c.is_ascii_digit());
    if !is_number && (!ask_name_server || (url.kind() == SourceKind::Http && behind_proxy())) {
        return Ok(Vec::new());
    }
    match (name, 0).to_socket_addrs() {
        Ok(addresses) => Ok(addresses.map(|address| address.ip()).collect()),
        // It cannot be opened either, and that is told in better words. Whose name server answers the second
        // question only could as well answer both differently, which no check before the connection sees.
        Err(_) => Ok(Vec::new()),
    }
}

/// A proxy resolves names itself, and ours may not be resolvable here.
fn behind_proxy() -> bool {
    ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests;

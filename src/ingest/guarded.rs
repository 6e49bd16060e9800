//! The source of cameras that the API added: each opening is checked against the policy, not only their adding.
//! Settings, links and name servers change meanwhile.

use std::sync::Arc;

use crate::access::Policy;
use crate::camera::{CameraSpec, FailureKind};

use super::link::Link;
use super::source::{Failure, Options, Session, Source};

/// Opens what a policy allows.
pub(super) struct Guarded {
    pub(super) source: Arc<dyn Source>,
    pub(super) policy: Policy,
}

impl Source for Guarded {
    fn open(
        &self,
        spec: &CameraSpec,
        options: &Options,
        link: Arc<Link>,
    ) -> Result<Box<dyn Session>, Failure> {
        let url = self
            .policy
            .resolve(&spec.url)
            .map_err(|refused| Failure::new(FailureKind::Forbidden, refused.problem))?;
        self.source.open(&CameraSpec { url, ..spec.clone() }, options, link)
    }
}

//! What a listener counts.

use prometheus::{IntCounter, IntGauge, Opts, Registry};

use super::places::Reason;

#[derive(Clone, Debug)]
pub(super) struct Metrics {
    open: IntGauge,
    /// In the order of [`Reason::ALL`].
    refused: Vec<IntCounter>,
    pub(super) tls: TlsMetrics,
}

#[derive(Clone, Debug)]
pub(super) struct TlsMetrics {
    pub(super) expiry: IntGauge,
    pub(super) reload_failures: IntCounter,
}

/// A connection that is counted as open until this is let go.
pub(super) struct Open(IntGauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(super) fn new(listener: &str) -> prometheus::Result<Self> {
        let opts = |name: &str, help: &str| Opts::new(name, help).const_label("listener", listener);
        let refused = Reason::ALL.into_iter().map(|reason| {
            let help = "Connections turned away, or closed before their client wished, by reason.";
            let opts = opts("centerx_connections_refused_total", help);
            IntCounter::with_opts(opts.const_label("reason", reason.label()))
        });
        let expiry = "When the certificate in use expires, in seconds since 1970.";
        let failures = "New certificates that could not be used; the old ones stay.";
        Ok(Self {
            open: IntGauge::with_opts(opts("centerx_connections_open", "Connections that are open."))?,
            refused: refused.collect::<Result<_, _>>()?,
            tls: TlsMetrics {
                expiry: IntGauge::with_opts(opts("centerx_tls_certificate_expiry_seconds", expiry))?,
                reload_failures: IntCounter::with_opts(opts("centerx_tls_reload_failures_total", failures))?,
            },
        })
    }

    pub(super) fn register(&self, registry: &Registry, encrypted: bool) -> prometheus::Result<()> {
        registry.register(Box::new(self.open.clone()))?;
        for counter in &self.refused {
            registry.register(Box::new(counter.clone()))?;
        }
        if encrypted {
            registry.register(Box::new(self.tls.expiry.clone()))?;
            registry.register(Box::new(self.tls.reload_failures.clone()))?;
        }
        Ok(())
    }

    pub(super) fn open(&self) -> Open {
        self.open.inc();
        Open(self.open.clone())
    }

    pub(super) fn refuse(&self, reason: Reason) {
        if let Some(counter) = self.refused.get(reason as usize) {
            counter.inc();
        }
    }
}

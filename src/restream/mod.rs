//! The cameras again, over RTSP, with boxes: `rtsp://host:8554/CAMERA`, for what shows video and knows no API.
//!
//! ```text
//! live pictures with boxes -> appsrc -> jpegdec -> x264enc -> RTP, for all clients of a camera
//! ```
//!
//! The pictures are those of the live stage, so that they are scaled and drawn on once for everybody who looks, and
//! not at all while nobody does. The same holds for the encoder: the first client of a camera starts it, the last one
//! ends it.
//!
//! What does not belong here: which cameras there are, and how their pictures are made.

mod auth;
mod config;
mod feed;
mod metrics;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use gstreamer as gst;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::glib;
use gstreamer_rtsp_server::prelude::*;

use crate::auth::Guard;
use crate::camera::CameraId;
use crate::listen::ListenError;
use crate::view::{LiveStream, Side, View};

pub use config::Config;
pub use metrics::Metrics;

use auth::TokenAuth;
use feed::Feed;

/// Where a camera's pictures come from.
pub type Watch = Arc<dyn Fn(&View) -> LiveStream + Send + Sync>;

/// How often sessions of clients that are gone are looked for.
const CLEAN_EVERY: Duration = Duration::from_secs(5);
/// What the encoding takes, and where Debian has it.
const ELEMENTS: [(&str, &str); 5] = [
    ("appsrc", "gstreamer1.0-plugins-base"),
    ("videoscale", "gstreamer1.0-plugins-base"),
    ("jpegdec", "gstreamer1.0-plugins-good"),
    ("rtph264pay", "gstreamer1.0-plugins-good"),
    ("x264enc", "gstreamer1.0-plugins-ugly"),
];

/// The re-stream cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Something that it takes is missing.
    #[error(
        "[restream] needs GStreamer's {element}; install {package} (Debian's name), or leave [restream] out"
    )]
    Missing {
        /// The element.
        element: &'static str,
        /// What has it.
        package: &'static str,
    },
    /// GStreamer does not start.
    #[error("[restream] needs GStreamer, which does not start: {0}")]
    GStreamer(String),
}

/// An address that is listened on, where nobody is answered yet.
pub struct Bound {
    config: Config,
    metrics: Metrics,
    server: rtsp::RTSPServer,
    listener: glib::Source,
    address: SocketAddr,
}

impl Bound {
    /// Listens; port 0 takes a free one.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn listen(config: &Config, listen: SocketAddr, metrics: Metrics) -> Result<Self, Error> {
        gst::init().map_err(|error| Error::GStreamer(error.to_string()))?;
        let missing = ELEMENTS.iter().find(|(name, _)| gst::ElementFactory::find(name).is_none());
        if let Some(&(element, package)) = missing {
            return Err(Error::Missing { element, package });
        }
        let server = rtsp::RTSPServer::new();
        server.set_address(&listen.ip().to_string());
        server.set_service(&listen.port().to_string());
        let listener =
            server.create_source(rtsp::gio::Cancellable::NONE).map_err(|error| ListenError::Address {
                what: "RTSP",
                address: listen,
                cause: io::Error::other(error.to_string()),
                cure: "free it, or set another address: [restream] listen",
            })?;
        let port = u16::try_from(server.bound_port()).unwrap_or(listen.port());
        let address = SocketAddr::new(listen.ip(), port);
        Ok(Self { config: config.clone(), metrics, server, listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers whom `guard` lets in, with the pictures that `watch` gives. Without any camera yet.
    ///
    /// # Errors
    /// The system has no thread to give.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn serve(self, watch: Watch, guard: Guard) -> io::Result<Restream> {
        let Self { config, metrics, server, listener, address } = self;
        server.set_auth(Some(&TokenAuth::new(guard)));
        limit_clients(&server, &config, &metrics);
        let context = glib::MainContext::new();
        listener.attach(Some(&context));
        clean_up(&server, &context);
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let running = main_loop.clone();
        let thread = std::thread::Builder::new().name("restream".into()).spawn(move || running.run())?;
        Ok(Restream(Arc::new(Inner {
            runtime: tokio::runtime::Handle::current(),
            config,
            metrics,
            watch,
            server,
            address,
            cameras: Mutex::default(),
            running: Mutex::new(Some(Running { listener, main_loop, thread })),
        })))
    }
}

/// A server of annotated streams. Clones are the same; it ends by [`Restream::stop`].
#[derive(Clone)]
pub struct Restream(Arc<Inner>);

struct Inner {
    config: Config,
    metrics: Metrics,
    watch: Watch,
    runtime: tokio::runtime::Handle,
    server: rtsp::RTSPServer,
    address: SocketAddr,
    /// The cameras that are served.
    cameras: Mutex<BTreeSet<CameraId>>,
    running: Mutex<Option<Running>>,
}

struct Running {
    listener: glib::Source,
    main_loop: glib::MainLoop,
    thread: JoinHandle<()>,
}

impl Restream {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// From now on these cameras are served, and no others: clients of those that are gone are hung up on.
    pub fn serve_only(&self, cameras: impl FnOnce() -> BTreeSet<CameraId>) {
        let mut served = self.0.cameras();
        let wanted = cameras();
        served.difference(&wanted).for_each(|camera| self.remove(camera));
        wanted.difference(&served).for_each(|camera| self.add(camera));
        *served = wanted;
    }

    fn add(&self, camera: &CameraId) {
        let Inner { config, metrics, watch, runtime, .. } = &*self.0;
        let factory = rtsp::RTSPMediaFactory::new();
        factory.set_launch(&feed::launch(config));
        factory.set_shared(true);
        let side = Side::at_least(config.max_side);
        let view = View {
            camera: camera.clone(),
            side,
            boxes: true,
            max_fps: Some(f64::from(config.max_fps.get())),
        };
        let (watch, runtime, metrics) = (Arc::clone(watch), runtime.clone(), metrics.clone());
        factory.connect_media_configure(move |_, media| {
            if let Some(feed) = Feed::of(media, &metrics) {
                // Watched only once somebody asks for the stream.
                runtime.spawn(feed.run(watch(&view)));
            }
        });
        if let Some(mounts) = self.0.server.mount_points() {
            mounts.add_factory(&path_of(camera), factory);
        }
    }

    fn remove(&self, camera: &CameraId) {
        let path = path_of(camera);
        if let Some(mounts) = self.0.server.mount_points() {
            mounts.remove_factory(&path);
        }
        self.0.hang_up(|client| watches(client, &path));
    }

    /// Hangs up on all clients and listens no more. Blocks until the thread is done.
    pub fn stop(&self) {
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { listener, main_loop, thread }) = running else { return };
        listener.destroy();
        self.0.hang_up(|_| true);
        // From within: a loop that does not run yet would not hear it.
        let quitting = main_loop.clone();
        let quit = glib::idle_source_new(None, glib::Priority::HIGH, move || {
            quitting.quit();
            glib::ControlFlow::Break
        });
        quit.attach(Some(&main_loop.context()));
        let _ = thread.join();
    }
}

impl Inner {
    fn cameras(&self) -> MutexGuard<'_, BTreeSet<CameraId>> {
        self.cameras.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hang_up(&self, on: impl Fn(&rtsp::RTSPClient) -> bool) {
        self.server.client_filter(Some(&mut |_, client| {
            if on(client) { rtsp::RTSPFilterResult::Remove } else { rtsp::RTSPFilterResult::Keep }
        }));
    }
}

fn path_of(camera: &CameraId) -> String {
    format!("/{camera}")
}

fn watches(client: &rtsp::RTSPClient, path: &str) -> bool {
    let sessions = client.session_filter(Some(&mut |_, _| rtsp::RTSPFilterResult::Ref));
    sessions.iter().any(|session| session.media(path).0.is_some())
}

/// Each client has one session, beyond which it is told that the service is unavailable. Connections that ask for
/// nothing have a limit of their own.
fn limit_clients(server: &rtsp::RTSPServer, config: &Config, metrics: &Metrics) {
    let clients = config.max_clients.get();
    if let Some(pool) = server.session_pool() {
        pool.set_max_sessions(clients);
    }
    let (metrics, most) = (metrics.clone(), i64::from(clients) * 2 + 8);
    server.connect_client_connected(move |_, client| {
        let count = metrics.client();
        if metrics.clients() > most {
            client.close();
        }
        // Let go when the client has closed.
        let count = Mutex::new(Some(count));
        client.connect_closed(move |_| drop(count.lock().unwrap_or_else(PoisonError::into_inner).take()));
    });
}

/// Ends sessions of clients that went without a word.
fn clean_up(server: &rtsp::RTSPServer, context: &glib::MainContext) {
    let server = server.downgrade();
    let source = glib::timeout_source_new(CLEAN_EVERY, None, glib::Priority::DEFAULT, move || {
        match server.upgrade().and_then(|server| server.session_pool()) {
            Some(pool) => {
                pool.cleanup();
                glib::ControlFlow::Continue
            }
            None => glib::ControlFlow::Break,
        }
    });
    source.attach(Some(context));
}

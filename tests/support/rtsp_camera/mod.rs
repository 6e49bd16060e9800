//! RTSP cameras on this machine: a real server that plays clips in an endless loop.
//!
//! Used by the tests, and by the example `rtsp-camera` beside it.

// Each test, and the example, uses its own part of this.
#![allow(dead_code)]

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use gstreamer as gst;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::glib;
use gstreamer_rtsp_server::prelude::*;

mod clip;
mod mount;

pub use clip::Clip;
pub use mount::Mount;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const ROLE: &str = "viewer";

/// An RTSP server; it ends when dropped.
pub struct Server {
    server: rtsp::RTSPServer,
    main_loop: glib::MainLoop,
    thread: Option<JoinHandle<()>>,
    listener: Mutex<Option<glib::Source>>,
    credentials: Option<(String, String)>,
}

impl Server {
    /// Listens on `address` and `port`; port 0 takes a free one.
    pub fn start(address: &str, port: u16, credentials: Option<(&str, &str)>) -> Result<Self> {
        gst::init()?;
        let server = rtsp::RTSPServer::new();
        server.set_address(address);
        server.set_service(&port.to_string());
        if let Some((user, password)) = credentials {
            server.set_auth(Some(&require(user, password)));
        }
        let context = glib::MainContext::new();
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let running = main_loop.clone();
        let thread = std::thread::Builder::new().name("rtsp-server".into()).spawn(move || running.run())?;
        let credentials = credentials.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let server =
            Self { server, main_loop, thread: Some(thread), listener: Mutex::default(), credentials };
        server.listen()?;
        Ok(server)
    }

    /// Serves a clip under `/name`, from its frame `start` on, at its own frame rate or at `fps`.
    pub fn mount(
        &self,
        name: &str,
        clip: Arc<Clip>,
        start: usize,
        fps: Option<gst::Fraction>,
    ) -> Result<Mount> {
        let mount = Mount::new(clip, start, fps);
        let factory = rtsp::RTSPMediaFactory::new();
        factory.set_launch(mount::LAUNCH);
        let feeding = mount.clone();
        factory.connect_media_configure(move |_, media| feeding.feed(media));
        self.add(name, &factory)?;
        Ok(mount)
    }

    /// Serves sound without video under `/name`.
    pub fn mount_audio(&self, name: &str) -> Result<()> {
        let factory = rtsp::RTSPMediaFactory::new();
        factory.set_launch("( audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 pt=8 )");
        self.add(name, &factory)
    }

    /// Breaks all connections and takes no new ones, as a camera that lost its power.
    pub fn stop(&self) {
        // The port stays known: set_service once it was chosen.
        self.server.set_service(&self.port().to_string());
        if let Some(listener) = self.lock().take() {
            listener.destroy();
        }
        self.server.client_filter(Some(&mut |_, _| rtsp::RTSPFilterResult::Remove));
    }

    /// Takes connections again, on the same port.
    pub fn listen(&self) -> Result<()> {
        let listener = self.server.create_source(None::<&rtsp::gio::Cancellable>)?;
        listener.attach(Some(&self.main_loop.context()));
        *self.lock() = Some(listener);
        Ok(())
    }

    pub fn port(&self) -> u16 {
        match u16::try_from(self.server.bound_port()) {
            Ok(port) if port > 0 => port,
            _ => self.server.service().parse().unwrap_or_default(),
        }
    }

    /// The URL of a mount, with user and password if there are.
    pub fn url(&self, name: &str) -> String {
        let address = self.server.address().unwrap_or_default();
        let plain = format!("rtsp://{address}:{}/{name}", self.port());
        let Ok(mut url) = url::Url::parse(&plain) else { return plain };
        if let Some((user, password)) = &self.credentials {
            let _ = url.set_username(user);
            let _ = url.set_password(Some(password));
        }
        url.into()
    }

    fn add(&self, name: &str, factory: &rtsp::RTSPMediaFactory) -> Result<()> {
        factory.set_shared(true);
        if self.credentials.is_some() {
            let role = gst::Structure::builder(ROLE)
                .field(rtsp::RTSP_PERM_MEDIA_FACTORY_ACCESS.as_str(), true)
                .field(rtsp::RTSP_PERM_MEDIA_FACTORY_CONSTRUCT.as_str(), true);
            factory.add_role_from_structure(&role.build());
        }
        let mounts = self.server.mount_points().ok_or("the server has no mount points")?;
        mounts.add_factory(&format!("/{name}"), factory.clone());
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<glib::Source>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        // From within: a loop that does not run yet would not hear it.
        let main_loop = self.main_loop.clone();
        let quit = glib::idle_source_new(None, glib::Priority::HIGH, move || {
            main_loop.quit();
            glib::ControlFlow::Break
        });
        quit.attach(Some(&self.main_loop.context()));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn require(user: &str, password: &str) -> rtsp::RTSPAuth {
    let auth = rtsp::RTSPAuth::new();
    let token = rtsp::RTSPToken::builder().field(rtsp::RTSP_TOKEN_MEDIA_FACTORY_ROLE.as_str(), ROLE).build();
    auth.add_basic(&rtsp::RTSPAuth::make_basic(user, password), &token);
    auth
}

//! The one thread that opens models while the server runs.
//!
//! One after the other, because each takes a core and its file's size in memory several times over. And on one
//! thread, because glibc keeps a heap a thread: opened on the threads of a pool, models leave what cannot be
//! given back in the heap of each (measured: 10 MB a thread with the default model).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::models::Loader;
use super::open_model::OpenModel;

/// Models that may wait for the thread; callers of more wait with them.
const WAITING: usize = 16;

struct Order {
    name: String,
    source: String,
    reply: oneshot::Sender<anyhow::Result<OpenModel>>,
}

/// Opens models, see [`Loader::open`]. The thread ends with it.
pub struct Opener(mpsc::Sender<Order>);

impl Opener {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has none to give.
    pub fn start(loader: Arc<Loader>) -> std::io::Result<Self> {
        let (orders, mut received) = mpsc::channel::<Order>(WAITING);
        std::thread::Builder::new().name("open-model".into()).spawn(move || {
            while let Some(Order { name, source, reply }) = received.blocking_recv() {
                // A file that brings a reader down must not end all opening.
                let opened = catch_unwind(AssertUnwindSafe(|| loader.open(&name, &source)));
                // A caller that is gone does not mind.
                let _ = reply.send(opened.unwrap_or_else(|_| Err(anyhow::anyhow!("opening it panicked"))));
            }
        })?;
        Ok(Self(orders))
    }

    /// Opens a model; `None` if the thread is gone.
    ///
    /// # Errors
    /// As [`Loader::open`].
    pub async fn open(&self, name: &str, source: &str) -> Option<anyhow::Result<OpenModel>> {
        let (reply, opened) = oneshot::channel();
        self.0.send(Order { name: name.to_owned(), source: source.to_owned(), reply }).await.ok()?;
        opened.await.ok()
    }
}

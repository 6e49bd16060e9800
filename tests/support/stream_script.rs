//! What streams of pictures meet at a scripted backend.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use centerx::api::backend::{Choice, DetectError, Pending, PictureStream};
use centerx::detection::PictureDetections;
use centerx::frame::Picture;
use tokio::sync::oneshot;

use super::found;

/// What streams of pictures meet.
#[derive(Default)]
pub struct StreamScript {
    /// What each stream asked for.
    pub choices: Mutex<Vec<Choice>>,
    /// The next stream is refused with this.
    pub refuse: Mutex<Option<DetectError>>,
    /// Pictures that wait for the test to answer them; without it they are answered at once.
    pub held: Mutex<Option<Vec<Held>>>,
    /// Objects found in each picture that is answered at once.
    pub objects: AtomicUsize,
    /// Pictures handed in whose answer was not taken yet.
    pub under_way: AtomicUsize,
    /// The most of them at a time.
    pub most_under_way: AtomicUsize,
}

/// A picture that waits for its answer.
pub struct Held {
    pub picture: Arc<Picture>,
    pub to: oneshot::Sender<Result<PictureDetections, DetectError>>,
}

impl Held {
    /// Answers with one person.
    pub fn answer(self) {
        let _ = self.to.send(Ok(found(&self.picture, 1)));
    }
}

impl StreamScript {
    /// From now on pictures wait for the test to answer them.
    pub fn hold(&self) {
        *self.held.lock().unwrap() = Some(Vec::new());
    }

    /// Waits until so many pictures wait, and takes them.
    pub async fn take_held(&self, count: usize) -> Vec<Held> {
        while self.held.lock().unwrap().as_ref().unwrap().len() < count {
            tokio::task::yield_now().await;
        }
        std::mem::take(self.held.lock().unwrap().as_mut().unwrap())
    }
}

/// A stream of pictures that does as its script says.
pub struct ScriptedStream(pub Arc<StreamScript>);

struct UnderWay(Arc<StreamScript>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tonic::async_trait]
impl PictureStream for ScriptedStream {
    async fn offer(&mut self, picture: Arc<Picture>) -> Result<Pending, DetectError> {
        let script = Arc::clone(&self.0);
        let now = script.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        script.most_under_way.fetch_max(now, Ordering::SeqCst);
        let (to, answer) = oneshot::channel();
        match &mut *script.held.lock().unwrap() {
            Some(held) => held.push(Held { picture, to }),
            None => _ = to.send(Ok(found(&picture, script.objects.load(Ordering::SeqCst)))),
        }
        let under_way = UnderWay(Arc::clone(&script));
        Ok(Box::pin(async move {
            let _under_way = under_way;
            answer.await.unwrap_or(Err(DetectError::ShuttingDown))
        }))
    }
}

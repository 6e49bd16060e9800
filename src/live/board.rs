//! Who looks at what, and which pictures are to be made of it. Takes no clock and makes none.
//!
//! A rendition is what all viewers of one camera share who ask for the same size, with or without boxes. It keeps the
//! newest frame that nobody has made a picture of, and puts itself on the list of an encoder once a viewer that is
//! due asks for more. So a frame that a newer one replaces has cost nothing, and viewers who do not ask, because they
//! want few pictures a second or read slowly, let nothing be made.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Offer;
use super::pace::Pace;
use crate::camera::CameraId;
use crate::view::{LivePicture, Side, View};

/// A picture that lay so long is not handed out if there is a newer frame.
const STALE: Duration = Duration::from_millis(500);

/// What viewers share a picture for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Look {
    pub(super) camera: CameraId,
    pub(super) side: Side,
    pub(super) boxes: bool,
}

impl From<&View> for Look {
    fn from(view: &View) -> Self {
        Self { camera: view.camera.clone(), side: view.side, boxes: view.boxes }
    }
}

/// A picture that was made; `skipped` of it is each viewer's own.
#[derive(Debug)]
pub(super) struct Made {
    /// Counts the camera's frames while it is watched.
    pub(super) number: u64,
    pub(super) at: Instant,
    pub(super) picture: LivePicture,
}

/// Where a viewer finds the newest picture.
pub(super) type Pictures = watch::Receiver<Option<Arc<Made>>>;

/// A picture to make.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) look: Look,
    pub(super) number: u64,
    pub(super) offer: Arc<Offer>,
    /// The rendition: one that is begun anew is another one.
    rendition: u64,
}

/// All that is watched.
#[derive(Debug, Default)]
pub(super) struct Board {
    cameras: HashMap<CameraId, Watched>,
    /// Renditions that wait for an encoder, each once, in the order they asked.
    waiting: VecDeque<Look>,
    /// Numbers given to viewers and renditions.
    numbers: u64,
    closed: bool,
}

#[derive(Debug, Default)]
struct Watched {
    /// Frames published since somebody looks.
    published: u64,
    renditions: HashMap<(Side, bool), Rendition>,
}

#[derive(Debug)]
struct Rendition {
    id: u64,
    viewers: HashMap<u64, Viewer>,
    /// The newest frame and its number, if no picture was made of it yet.
    newest: Option<(u64, Arc<Offer>)>,
    waits: bool,
    encoding: bool,
    pictures: watch::Sender<Option<Arc<Made>>>,
}

#[derive(Debug)]
struct Viewer {
    pace: Pace,
    /// Frames up to here are old news.
    seen: u64,
    /// Whether it has taken a picture yet.
    began: bool,
    asks: bool,
}

impl Viewer {
    fn wants(&self, number: u64, now: Instant) -> bool {
        self.asks && number > self.seen && self.pace.is_due(now)
    }
}

impl Rendition {
    /// Whether it is to be put on the list.
    fn is_due(&self, now: Instant) -> bool {
        !self.waits && !self.encoding && self.is_wanted(now)
    }

    fn is_wanted(&self, now: Instant) -> bool {
        let newest = self.newest.as_ref().map(|(number, _)| *number);
        newest.is_some_and(|number| self.viewers.values().any(|viewer| viewer.wants(number, now)))
    }
}

impl Board {
    /// Whether anybody looks at the camera.
    pub(super) fn is_watched(&self, camera: &CameraId) -> bool {
        self.cameras.contains_key(camera)
    }

    /// Whether it is over.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// A new viewer, of what is published from now on. Its number, and where it finds its pictures.
    pub(super) fn begin(&mut self, view: &View, now: Instant) -> (u64, Pictures) {
        let look = Look::from(view);
        self.numbers += 2;
        let (id, rendition_id) = (self.numbers, self.numbers - 1);
        let camera = self.cameras.entry(look.camera).or_default();
        let seen = camera.published;
        let rendition = camera.renditions.entry((look.side, look.boxes)).or_insert_with(|| Rendition {
            id: rendition_id,
            viewers: HashMap::new(),
            newest: None,
            waits: false,
            encoding: false,
            pictures: watch::Sender::new(None),
        });
        let viewer = Viewer { pace: Pace::new(view.max_fps, now), seen, began: false, asks: false };
        rendition.viewers.insert(id, viewer);
        let pictures = rendition.pictures.subscribe();
        if self.closed {
            // The sender goes, which tells the viewer.
            self.cameras.clear();
        }
        (id, pictures)
    }

    /// A viewer is gone.
    pub(super) fn leave(&mut self, look: &Look, viewer: u64) {
        let Some(camera) = self.cameras.get_mut(&look.camera) else { return };
        if let Some(rendition) = camera.renditions.get_mut(&(look.side, look.boxes)) {
            rendition.viewers.remove(&viewer);
        }
        camera.renditions.retain(|_, rendition| !rendition.viewers.is_empty());
        if camera.renditions.is_empty() {
            self.cameras.remove(&look.camera);
        }
    }

    /// A frame was published. Tells whether encoders have something to do.
    pub(super) fn offer(&mut self, offer: Offer, now: Instant) -> bool {
        let Some(camera) = self.cameras.get_mut(&offer.found.camera) else { return false };
        camera.published += 1;
        let (number, offer, mut due) = (camera.published, Arc::new(offer), false);
        for (&(side, boxes), rendition) in &mut camera.renditions {
            rendition.newest = Some((number, Arc::clone(&offer)));
            if rendition.is_due(now) {
                rendition.waits = true;
                due = true;
                self.waiting.push_back(Look { camera: offer.found.camera.clone(), side, boxes });
            }
        }
        due
    }

    /// A viewer is ready for its next picture. Tells whether encoders have something to do.
    pub(super) fn ask(&mut self, look: &Look, viewer: u64, now: Instant) -> bool {
        let Some(rendition) = self.rendition(look) else { return false };
        if let Some(viewer) = rendition.viewers.get_mut(&viewer) {
            viewer.asks = true;
        }
        self.enlist(look, now)
    }

    /// Gives a viewer a picture that was made, if it is due for it: the number of frames it missed.
    pub(super) fn take(&mut self, look: &Look, viewer: u64, made: &Made, now: Instant) -> Option<u64> {
        let rendition = self.rendition(look)?;
        let newer = rendition.newest.as_ref().is_some_and(|(number, _)| *number > made.number);
        let stale = newer && now.saturating_duration_since(made.at) > STALE;
        let viewer = rendition.viewers.get_mut(&viewer)?;
        if stale || made.number <= viewer.seen || !viewer.pace.is_due(now) {
            return None;
        }
        let missed = if viewer.began { made.number - viewer.seen - 1 } else { 0 };
        (viewer.seen, viewer.began, viewer.asks) = (made.number, true, false);
        viewer.pace.took(now);
        Some(missed)
    }

    /// The next picture to make, if any.
    pub(super) fn work(&mut self, now: Instant) -> Option<Work> {
        while let Some(look) = self.waiting.pop_front() {
            let Some(rendition) = self.rendition(&look) else { continue };
            rendition.waits = false;
            // Those who asked may have gone meanwhile.
            if !rendition.is_due(now) {
                continue;
            }
            if let Some((number, offer)) = rendition.newest.take() {
                rendition.encoding = true;
                return Some(Work { number, offer, rendition: rendition.id, look });
            }
        }
        None
    }

    /// A picture was made, or could not be. Tells whether encoders have something to do.
    pub(super) fn made(&mut self, work: &Work, picture: Option<LivePicture>, now: Instant) -> bool {
        let rendition = self.rendition(&work.look).filter(|rendition| rendition.id == work.rendition);
        let Some(rendition) = rendition else { return false };
        rendition.encoding = false;
        if let Some(picture) = picture {
            // Until they ask again, they have this one to take.
            let served = rendition.viewers.values_mut().filter(|viewer| viewer.wants(work.number, now));
            served.for_each(|viewer| viewer.asks = false);
            rendition.pictures.send_replace(Some(Arc::new(Made { number: work.number, at: now, picture })));
        }
        self.enlist(&work.look, now)
    }

    /// A camera is gone, and its viewers' pictures end.
    pub(super) fn forget(&mut self, camera: &CameraId) {
        self.cameras.remove(camera);
    }

    /// All pictures end.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.cameras.clear();
        self.waiting.clear();
    }

    fn enlist(&mut self, look: &Look, now: Instant) -> bool {
        let Some(rendition) = self.rendition(look).filter(|rendition| rendition.is_due(now)) else {
            return false;
        };
        rendition.waits = true;
        self.waiting.push_back(look.clone());
        true
    }

    fn rendition(&mut self, look: &Look) -> Option<&mut Rendition> {
        self.cameras.get_mut(&look.camera)?.renditions.get_mut(&(look.side, look.boxes))
    }
}

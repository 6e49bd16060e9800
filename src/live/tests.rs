//! The board by values, and the whole with its threads.

use std::time::SystemTime;

use futures_util::FutureExt as _;
use prometheus::Registry;

use super::board::{Look, Made, Pictures, Work};
use super::*;
use crate::detection::{Detection, FrameDetections};
use crate::frame::{CaptureQuality, CaptureTime};
use crate::view::{LivePicture, Side};

/// A frame's detections as published.
pub(super) fn published(
    camera: &str,
    sequence: u64,
    (width, height): (u32, u32),
    detections: Vec<Detection>,
) -> Arc<Published> {
    let capture = CaptureTime {
        wall: SystemTime::UNIX_EPOCH,
        monotonic: Instant::now(),
        quality: CaptureQuality::Arrival,
    };
    let camera = CameraId::new(camera).unwrap();
    let model = "coco".into();
    let frame = FrameDetections { camera, sequence, capture, width, height, model, detections };
    Arc::new(Published::new(Arc::new(frame), 7))
}

fn offer(camera: &str, sequence: u64) -> Offer {
    let picture = Arc::new(Picture::rgb(32, 16, vec![sequence as u8; 32 * 16 * 3]).unwrap());
    let found = published(camera, sequence, (32, 16), Vec::new());
    Offer { picture, found, skeleton: [].into(), age: Duration::from_millis(50) }
}

fn view(camera: &str) -> View {
    View { camera: CameraId::new(camera).unwrap(), side: Side::DEFAULT, boxes: false, max_fps: None }
}

const MS: Duration = Duration::from_millis(1);

/// A board with a clock that stands until told, and encoders that do as they are told.
struct Desk {
    board: Board,
    now: Instant,
    sequence: u64,
}

struct Sitter {
    look: Look,
    id: u64,
    pictures: Pictures,
}

impl Desk {
    fn new() -> Self {
        Self { board: Board::default(), now: Instant::now(), sequence: 0 }
    }

    fn sit(&mut self, view: &View) -> Sitter {
        let (id, pictures) = self.board.begin(view, self.now);
        let sitter = Sitter { look: Look::from(view), id, pictures };
        self.ask(&sitter);
        sitter
    }

    fn ask(&mut self, sitter: &Sitter) {
        self.board.ask(&sitter.look, sitter.id, self.now);
    }

    /// A frame is published after `later`.
    fn publish(&mut self, later: Duration) -> bool {
        self.now += later;
        self.sequence += 1;
        self.board.offer(offer("yard", self.sequence), self.now)
    }

    fn work(&mut self) -> Option<Work> {
        self.board.work(self.now)
    }

    fn finish(&mut self, work: &Work) {
        let found = Arc::clone(&work.offer.found);
        let jpeg = bytes::Bytes::from_static(b"jpeg");
        let age = work.offer.age;
        let picture = LivePicture { found, jpeg, width: 32, height: 16, age, skipped: 0 };
        self.board.made(work, Some(picture), self.now);
    }

    /// The next picture is made: the frame's sequence, if there was one to make.
    fn make(&mut self) -> Option<u64> {
        let work = self.work()?;
        self.finish(&work);
        Some(work.offer.found.sequence)
    }

    /// What a viewer takes, and then asks for more: the frame and how many it missed.
    fn take(&mut self, sitter: &mut Sitter) -> Option<(u64, u64)> {
        let made: Option<Arc<Made>> = sitter.pictures.borrow_and_update().clone();
        let taken = made.and_then(|made| {
            let skipped = self.board.take(&sitter.look, sitter.id, &made, self.now)?;
            Some((made.picture.found.sequence, skipped))
        });
        self.ask(sitter);
        taken
    }
}

#[test]
fn the_newest_frame_wins_while_encoders_are_busy() {
    let mut desk = Desk::new();
    let mut sitter = desk.sit(&view("yard"));
    assert!(desk.publish(MS));
    let first = desk.work().unwrap();
    for _ in 2..=5 {
        assert!(!desk.publish(MS), "nobody needs to be told: the viewer is being served");
    }
    assert!(desk.work().is_none(), "one at a time, so that they come in order");
    desk.finish(&first);
    assert_eq!(desk.take(&mut sitter), Some((1, 0)));
    assert_eq!((desk.make(), desk.make()), (Some(5), None));
    assert_eq!(desk.take(&mut sitter), Some((5, 3)));
    for _ in 6..=8 {
        desk.publish(MS);
    }
    assert_eq!((desk.make(), desk.make()), (Some(8), None), "a frame that waits is replaced");
}

#[test]
fn a_viewer_gets_what_is_published_after_it_came() {
    let mut desk = Desk::new();
    let _first = desk.sit(&view("yard"));
    desk.publish(MS);
    let work = desk.work().unwrap();
    let mut late = desk.sit(&view("yard"));
    desk.finish(&work);
    assert_eq!(desk.take(&mut late), None);
    desk.publish(MS);
    desk.make().unwrap();
    assert_eq!(desk.take(&mut late), Some((2, 0)));
}

#[test]
fn nothing_is_made_that_no_viewer_is_due_for() {
    let mut desk = Desk::new();
    let mut slow = desk.sit(&View { max_fps: Some(2.0), ..view("yard") });
    let made: Vec<_> = (0..20)
        .filter_map(|_| {
            desk.publish(MS * 100);
            desk.make()?;
            desk.take(&mut slow)
        })
        .collect();
    assert_eq!(made, [(1, 0), (6, 4), (11, 4), (16, 4)]);
}

#[test]
fn each_viewer_has_its_own_rate_of_the_same_pictures() {
    let mut desk = Desk::new();
    let (mut all, mut some) =
        (desk.sit(&view("yard")), desk.sit(&View { max_fps: Some(5.0), ..view("yard") }));
    let (mut of_all, mut of_some) = (0, 0);
    for _ in 0..20 {
        desk.publish(MS * 100);
        assert!(desk.make().is_some());
        of_all += u32::from(desk.take(&mut all).is_some());
        of_some += u32::from(desk.take(&mut some).is_some());
    }
    assert_eq!((of_all, of_some), (20, 10));
}

#[test]
fn a_viewer_that_reads_slowly_lets_nothing_be_made_and_gets_the_newest() {
    let mut desk = Desk::new();
    let mut sitter = desk.sit(&view("yard"));
    desk.publish(MS * 100);
    desk.make().unwrap();
    for _ in 2..=20 {
        desk.publish(MS * 100);
        assert_eq!(desk.make(), None, "it has not read the one before");
    }
    assert_eq!(desk.take(&mut sitter), None, "two seconds old, and there is a newer one");
    assert_eq!(desk.make(), Some(20));
    assert_eq!(desk.take(&mut sitter), Some((20, 0)));
    // Without a newer one, an old one is better than none.
    desk.publish(MS * 100);
    desk.make().unwrap();
    desk.now += Duration::from_secs(60);
    assert_eq!(desk.take(&mut sitter), Some((21, 0)));
}

#[test]
fn sizes_and_boxes_are_made_apart_and_viewers_that_left_need_none() {
    let mut desk = Desk::new();
    let views = [
        view("yard"),
        View { side: Side::at_least(320), ..view("yard") },
        View { boxes: true, ..view("yard") },
    ];
    let sitters = views.each_ref().map(|view| desk.sit(view));
    desk.publish(MS);
    assert_eq!((0..9).map_while(|_| desk.make()).count(), 3);
    for sitter in &sitters[1..] {
        desk.board.leave(&sitter.look, sitter.id);
    }
    desk.ask(&sitters[0]);
    desk.publish(MS);
    assert_eq!((desk.make(), desk.make()), (Some(2), None));
    desk.board.leave(&sitters[0].look, sitters[0].id);
    assert!(!desk.board.is_watched(&sitters[0].look.camera) && !desk.publish(MS));
}

#[test]
fn a_picture_for_those_who_left_is_not_given_to_those_who_came_after_them() {
    let mut desk = Desk::new();
    let before = desk.sit(&view("yard"));
    for _ in 0..3 {
        desk.publish(MS);
    }
    let work = desk.work().unwrap();
    desk.board.leave(&before.look, before.id);
    let mut after = desk.sit(&view("yard"));
    desk.finish(&work);
    assert_eq!(desk.take(&mut after), None);
    desk.publish(MS);
    desk.make().unwrap();
    assert_eq!(desk.take(&mut after), Some((4, 0)));
}

struct Stage {
    live: Live,
    registry: Registry,
}

impl Stage {
    fn new() -> Self {
        let registry = Registry::new();
        let live = Live::start(&Config::default(), Metrics::new(&registry).unwrap()).unwrap();
        Self { live, registry }
    }

    fn metric(&self, name: &str) -> f64 {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()).unwrap()
    }
}

/// Polls each stream once, so that it asks.
fn all_ask(streams: &mut [LiveStream]) {
    for stream in streams {
        assert!(stream.next().now_or_never().is_none());
    }
}

async fn next(stream: &mut LiveStream) -> Result<LivePicture, ViewError> {
    tokio::time::timeout(Duration::from_secs(10), stream.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn ten_viewers_share_one_picture() {
    let stage = Stage::new();
    let mut streams: Vec<_> = (0..10).map(|_| stage.live.watch(&[view("yard")])).collect();
    assert_eq!(stage.metric("centerx_live_viewers"), 10.0);
    for sequence in 1..=3 {
        all_ask(&mut streams);
        stage.live.offer(offer("yard", sequence));
        let mut jpegs = Vec::new();
        for stream in &mut streams {
            let picture = next(stream).await.unwrap();
            assert_eq!((picture.found.sequence, picture.skipped), (sequence, 0));
            assert_eq!((picture.width, picture.height, picture.age), (32, 16, Duration::from_millis(50)));
            jpegs.push(picture.jpeg);
        }
        assert!(jpegs.iter().all(|jpeg| jpeg.as_ptr() == jpegs[0].as_ptr()), "the same bytes");
        let decoded = image::load_from_memory(&jpegs[0]).unwrap().into_rgb8();
        assert!(decoded.get_pixel(9, 9)[0].abs_diff(sequence as u8) < 3);
    }
    assert_eq!(stage.metric("centerx_live_pictures_total"), 3.0);
    assert!(stage.metric("centerx_live_bytes_total") > 0.0);
}

#[tokio::test]
async fn nothing_happens_while_nobody_looks() {
    let stage = Stage::new();
    let yard = CameraId::new("yard").unwrap();
    assert!(!stage.live.is_watched(&yard));
    let mut other = [stage.live.watch(&[view("door")])];
    all_ask(&mut other);
    assert!(!stage.live.is_watched(&yard), "somebody looks elsewhere");
    stage.live.offer(offer("yard", 1));
    let stream = stage.live.watch(&[view("yard")]);
    assert!(stage.live.is_watched(&yard));
    drop(stream);
    assert!(!stage.live.is_watched(&yard));
    assert_eq!(stage.metric("centerx_live_pictures_total"), 0.0);
    assert_eq!(stage.metric("centerx_live_viewers"), 1.0);
}

#[tokio::test]
async fn a_camera_that_is_removed_ends_its_view_and_the_last_one_the_stream() {
    let stage = Stage::new();
    let mut streams = [stage.live.watch(&[view("yard"), view("door")])];
    all_ask(&mut streams);
    stage.live.forget(&CameraId::new("yard").unwrap());
    all_ask(&mut streams);
    stage.live.offer(offer("yard", 1));
    stage.live.offer(offer("door", 1));
    let [mut stream] = streams;
    assert_eq!(next(&mut stream).await.unwrap().found.camera.as_str(), "door");
    stage.live.forget(&CameraId::new("door").unwrap());
    assert_eq!(next(&mut stream).await.unwrap_err(), ViewError::Removed);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn the_end_of_the_server_ends_all_streams() {
    let stage = Stage::new();
    let mut streams = [stage.live.watch(&[view("yard")])];
    all_ask(&mut streams);
    stage.live.close();
    let [mut stream] = streams;
    assert_eq!(next(&mut stream).await.unwrap_err(), ViewError::ShuttingDown);
    let mut late = stage.live.watch(&[view("yard")]);
    assert_eq!(next(&mut late).await.unwrap_err(), ViewError::ShuttingDown);
}

//! What goes on in a soak, all at once: each actor does its thing again and again until it is told to stop.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use centerx::api::v1::subscribe_response::Event;
use centerx::api::v1::{Camera, DetectRequest, FrameAccounts, SwapModelRequest};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::PATIENCE;
use super::clients::{Clients, books};
use super::hostile::{self, Fault};
use super::rtsp_camera::Server;

/// Hostile cameras at a time.
const HOSTILE: usize = 3;
/// Subscribers at a time, besides the one that checks.
const SUBSCRIBERS: usize = 20;
/// What the bursts of frames are looked at with: a real model, of which this machine does some 40 a second.
pub const SLOW_MODEL: &str = "coco";
const LOOK: Duration = Duration::from_millis(10);

/// What the actors share.
pub struct World {
    pub clients: Clients,
    pub well: Server,
    pub ports: [SocketAddr; 2],
    /// Model files to swap between.
    pub models: [String; 2],
    pub stop: CancellationToken,
    /// Whether nothing new begins for now.
    pub rests: watch::Sender<bool>,
    pub totals: Mutex<Totals>,
}

/// What was done and what became of it.
#[derive(Default)]
pub struct Totals {
    /// Times by what was done.
    pub done: BTreeMap<String, u64>,
    /// Frames of all cameras that are gone, by outcome.
    pub frames: BTreeMap<String, u64>,
}

impl World {
    pub fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap()
    }

    pub fn count(&self, what: impl Into<String>) {
        *self.totals().done.entry(what.into()).or_default() += 1;
    }

    /// Waits for some of so many milliseconds. Returns whether to go on.
    async fn stay(&self, random: &mut fastrand::Rng, range: Range<u64>) -> bool {
        let time = Duration::from_millis(random.u64(range));
        tokio::time::timeout(time, self.stop.cancelled()).await.is_err()
    }

    /// As [`World::stay`], and then until there is no rest.
    async fn pause(&self, random: &mut fastrand::Rng, range: Range<u64>) -> bool {
        let mut rests = self.rests.subscribe();
        self.stay(random, range).await
            && tokio::select! {
                over = rests.wait_for(|rests| !rests) => over.is_ok(),
                () = self.stop.cancelled() => false,
            }
    }

    /// Closes a camera's books, which must balance exactly, and removes it.
    pub async fn retire(&self, id: &str) {
        let mut clients = self.clients.clone();
        let off = Camera { id: id.into(), enabled: Some(false), ..Default::default() };
        clients.update(off, "enabled").await.unwrap();
        let begin = Instant::now();
        let camera = loop {
            let camera = clients.get(id).await;
            if books(&camera).in_flight == 0 {
                break camera;
            }
            assert!(begin.elapsed() < PATIENCE, "frames stay in flight: {camera:?}");
            tokio::time::sleep(LOOK).await;
        };
        self.close_books(books(&camera));
        let begin = Instant::now();
        clients.remove(id).await.unwrap();
        // The promise is a second; a machine that is overloaded on purpose gets more.
        assert!(begin.elapsed() < Duration::from_secs(3), "{id}: {:?}", begin.elapsed());
        self.count("cameras removed");
    }

    fn close_books(&self, books: &FrameAccounts) {
        let dropped: u64 = books.dropped.values().sum();
        assert_eq!(books.received, books.published + dropped, "{books:?}");
        let mut totals = self.totals();
        let mut add = |what: &str, frames: u64| *totals.frames.entry(what.into()).or_default() += frames;
        add("received", books.received);
        add("published", books.published);
        books.dropped.iter().filter(|(_, frames)| **frames > 0).for_each(|(why, frames)| add(why, *frames));
    }
}

/// Cameras with faults picked at random come, stay a while and go.
pub async fn hostile(world: Arc<World>, mut random: fastrand::Rng) {
    let mut sessions = JoinSet::new();
    let mut number = 0;
    while world.pause(&mut random, 100..1500).await {
        while let Some(ended) = sessions.try_join_next() {
            let () = ended.unwrap();
        }
        if sessions.len() >= HOSTILE {
            continue;
        }
        let fault = Fault::ALL[random.usize(..Fault::ALL.len())];
        world.count(format!("fault {fault:?}"));
        number += 1;
        let (world, mut random, id) = (Arc::clone(&world), random.fork(), format!("hostile{number}"));
        sessions.spawn(async move {
            let camera = hostile::Camera::start(fault);
            world.clients.clone().add(&id, &camera.url()).await.unwrap();
            world.count("cameras added");
            world.stay(&mut random, 500..8000).await;
            world.retire(&id).await;
        });
    }
    while let Some(ended) = sessions.join_next().await {
        ended.unwrap();
    }
}

/// Well cameras come, change and go.
pub async fn churn(world: Arc<World>, mut random: fastrand::Rng) {
    let mut clients = world.clients.clone();
    let mut number = 0;
    while world.pause(&mut random, 50..500).await {
        number += 1;
        let id = format!("churn{number}");
        let url = world.well.url(["well2", "well3"][random.usize(..2)]);
        clients.add(&id, &url).await.unwrap();
        world.count("cameras added");
        world.stay(&mut random, 100..2000).await;
        let camera = Camera { id: id.clone(), ..Default::default() };
        let change = match random.u32(..4) {
            0 => clients.update(Camera { max_fps: Some(5.0), ..camera }, "max_fps").await,
            1 => clients.update(Camera { url: world.well.url("well1"), ..camera }, "url").await,
            2 => clients.update(Camera { min_score: Some(0.7), ..camera }, "min_score").await,
            _ => clients.update(Camera { name: "another".into(), ..camera }, "name").await,
        };
        change.unwrap();
        world.count("cameras changed");
        world.stay(&mut random, 100..1000).await;
        world.retire(&id).await;
    }
}

/// Now and then far more frames come than the machine can look at.
pub async fn overload(world: Arc<World>, mut random: fastrand::Rng) {
    let mut clients = world.clients.clone();
    let mut number = 0;
    while world.pause(&mut random, 3000..9000).await {
        number += 1;
        let ids: Vec<_> = (0..4).map(|n| format!("burst{number}-{n}")).collect();
        for id in &ids {
            let url = "test://snow?width=320&height=240&fps=60".into();
            let model = Some(SLOW_MODEL.into());
            clients.add_camera(Camera { id: id.clone(), url, model, ..Default::default() }).await.unwrap();
            world.count("cameras added");
        }
        world.count("overload bursts");
        world.stay(&mut random, 1000..3000).await;
        for id in &ids {
            world.retire(id).await;
        }
    }
}

/// Subscribers come and go; some read, and some never do.
pub async fn subscribers(world: Arc<World>, mut random: fastrand::Rng) {
    let mut open = JoinSet::new();
    while world.pause(&mut random, 50..500).await {
        while let Some(ended) = open.try_join_next() {
            let () = ended.unwrap();
        }
        if open.len() >= SUBSCRIBERS {
            continue;
        }
        let (world, mut random) = (Arc::clone(&world), random.fork());
        let reads = random.bool();
        world.count(if reads { "subscribers that read" } else { "subscribers that never read" });
        open.spawn(async move {
            let mut stream = world.clients.clone().subscribe().await;
            let leaves = world.stay(&mut random, 0..10_000);
            tokio::pin!(leaves);
            loop {
                tokio::select! {
                    _ = &mut leaves => return,
                    event = stream.message(), if reads => { event.unwrap(); }
                }
            }
        });
    }
    while let Some(ended) = open.join_next().await {
        ended.unwrap();
    }
}

/// One subscriber reads everything: no camera's numbers go back or repeat.
pub async fn reader(world: Arc<World>, _random: fastrand::Rng) {
    let mut stream = world.clients.clone().subscribe().await;
    let mut last: HashMap<String, u64> = HashMap::new();
    loop {
        let event = tokio::select! {
            () = world.stop.cancelled() => return,
            event = stream.message() => event.unwrap().unwrap().event,
        };
        if let Some(Event::Detections(frame)) = event {
            let before = last.insert(frame.camera_id.clone(), frame.sequence).unwrap_or(0);
            assert!(before < frame.sequence, "{}: {before}, then {}", frame.camera_id, frame.sequence);
        }
    }
}

/// Every camera's books balance at every moment.
pub async fn auditor(world: Arc<World>, mut random: fastrand::Rng) {
    let mut clients = world.clients.clone();
    while world.pause(&mut random, 100..1000).await {
        for camera in clients.list().await {
            books(&camera);
        }
        world.count("audits");
    }
}

fn noise(random: &mut fastrand::Rng) -> Vec<u8> {
    let length = random.usize(..5000);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// Pictures to look at, some of them none.
pub async fn pictures(world: Arc<World>, mut random: fastrand::Rng) {
    let mut clients = world.clients.clone();
    let mut jpeg = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(640, 480).write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    while world.pause(&mut random, 50..800).await {
        let image = match random.u32(..3) {
            0 => jpeg.clone(),
            1 => jpeg[..random.usize(..jpeg.len())].to_vec(),
            _ => noise(&mut random),
        };
        let answer = clients.detections.detect(DetectRequest { image, ..Default::default() }).await;
        match answer.map_err(|status| (status.code(), status)) {
            Ok(_) => world.count("pictures looked at"),
            Err((Code::InvalidArgument | Code::ResourceExhausted, _)) => world.count("pictures refused"),
            Err((_, status)) => panic!("{status:?}"),
        }
    }
}

/// The model is swapped under the running cameras.
pub async fn swaps(world: Arc<World>, mut random: fastrand::Rng) {
    let mut clients = world.clients.clone();
    for source in world.models.iter().cycle() {
        if !world.pause(&mut random, 3000..9000).await {
            return;
        }
        let request = SwapModelRequest { name: "one".into(), source: source.clone() };
        clients.models.swap_model(request).await.unwrap();
        world.count("model swaps");
    }
}

/// Connections that bring anything but what is asked for, or nothing, to both ports.
pub async fn garbage(world: Arc<World>, mut random: fastrand::Rng) {
    let mut open = JoinSet::new();
    while world.pause(&mut random, 20..300).await {
        while open.try_join_next().is_some() {}
        let (world, mut random) = (Arc::clone(&world), random.fork());
        let port = world.ports[random.usize(..2)];
        world.count("garbage connections");
        open.spawn(async move {
            let Ok(mut peer) = TcpStream::connect(port).await else { return };
            let opening: &[u8] = match random.u32(..4) {
                0 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                1 => b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Never-Ends: ",
                2 => b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
                _ => b"",
            };
            // The server may hang up at any moment, and is right to.
            let _ = peer.write_all(opening).await;
            let _ = peer.write_all(&noise(&mut random)).await;
            world.stay(&mut random, 0..3000).await;
        });
    }
}

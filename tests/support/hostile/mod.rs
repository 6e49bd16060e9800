//! RTSP cameras that misbehave on purpose: each has one fault, by name, or none.
//!
//! Plain TCP and a few lines of RTSP, so that any byte may be wrong. What they stream was encoded and packed
//! by GStreamer (`reel`), and is twisted on its way out (`stream`).

// Each test uses its own part of this.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

mod dialog;
mod reel;
mod stream;

/// What is wrong with a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nothing: a well camera, for comparison. Not among all the faults.
    Nothing,
    /// Nothing listens on its port.
    Refuses,
    /// Its machine does not answer a connection attempt, as behind a firewall.
    NoHandshake,
    /// It takes the connection and is silent.
    HangsAtOptions,
    /// It is silent from this request on.
    HangsAtDescribe,
    /// It is silent from this request on.
    HangsAtSetup,
    /// It is silent from this request on.
    HangsAtPlay,
    /// It falls silent amid the stream and answers no request either.
    HangsMidStream,
    /// The frames stop; requests are still answered.
    Freezes,
    /// It sends parameter sets for ever and no picture.
    NoPictures,
    /// It answers with bytes that are no RTSP.
    GarbageAnswers,
    /// Its description of the stream is no SDP.
    GarbageSdp,
    /// Its answer claims a body of 4 GB and stops after its first bytes.
    HugeBody,
    /// The RTP packets have heads and then anything.
    GarbagePayload,
    /// Amid the stream come bytes that are no frames of it.
    GarbageFraming,
    /// A tenth of its packets is lost.
    LosesPackets,
    /// Its time stamps jump hours ahead, and back again.
    JumpsAhead,
    /// Its time stamps jump hours back, and ahead again.
    JumpsBack,
    /// Three frames each have the same time stamp.
    RepeatsStamps,
    /// Every other frame has the time stamp of the one before.
    ReordersStamps,
    /// Every other packet comes before the one that it follows.
    ReordersPackets,
    /// Its first frames need a keyframe that was never sent.
    StartsMidGop,
    /// The pictures change their size every two seconds.
    Resizes,
    /// Another stream goes on in place of the first (RFC 3550's SSRC), every second.
    ChangesSource,
    /// The same stream goes on in another codec; a new connection is told so.
    ChangesCodec,
    /// Frames come in another order than they are shown.
    BFrames,
    /// It resets the connection every second.
    Resets,
    /// It refuses every user.
    Refuses401,
    /// It streams once, and refuses every user from then on.
    Refuses401Later,
    /// Its answers come byte by byte, one a second.
    Drips,
    /// Its stream goes on byte by byte, one a second.
    DripsMidStream,
}

impl Fault {
    /// All faults there are.
    pub const ALL: [Self; 30] = [
        Self::Refuses,
        Self::NoHandshake,
        Self::HangsAtOptions,
        Self::HangsAtDescribe,
        Self::HangsAtSetup,
        Self::HangsAtPlay,
        Self::HangsMidStream,
        Self::Freezes,
        Self::NoPictures,
        Self::GarbageAnswers,
        Self::GarbageSdp,
        Self::HugeBody,
        Self::GarbagePayload,
        Self::GarbageFraming,
        Self::LosesPackets,
        Self::JumpsAhead,
        Self::JumpsBack,
        Self::RepeatsStamps,
        Self::ReordersStamps,
        Self::ReordersPackets,
        Self::StartsMidGop,
        Self::Resizes,
        Self::ChangesSource,
        Self::ChangesCodec,
        Self::BFrames,
        Self::Resets,
        Self::Refuses401,
        Self::Refuses401Later,
        Self::Drips,
        Self::DripsMidStream,
    ];

    /// Those that leave a connection hanging, at every step there is.
    pub const HANGS: [Self; 10] = [
        Self::NoHandshake,
        Self::HangsAtOptions,
        Self::HangsAtDescribe,
        Self::HangsAtSetup,
        Self::HangsAtPlay,
        Self::HangsMidStream,
        Self::Freezes,
        Self::HugeBody,
        Self::Drips,
        Self::DripsMidStream,
    ];

    /// The number of frames that are well before the fault shows in the stream.
    pub const WELL_FRAMES: u64 = 10;
}

/// The user in the cameras' URLs.
pub const USER: &str = "admin";
/// Their password, which is to be seen nowhere.
pub const PASSWORD: &str = "hunter2-s3cret";
/// Frames a second of every stream.
pub const FPS: u64 = 10;

/// A hostile camera; it ends when dropped, and its connections with it.
pub struct Camera {
    /// Its fault.
    pub fault: Fault,
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// What one camera remembers from connection to connection.
#[derive(Default)]
struct Memory {
    /// Streams begun.
    played: AtomicU32,
}

/// All cameras share one thread, so that counting threads is no matter of how many there are.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("hostile").enable_all().build().unwrap()
    })
}

impl Camera {
    /// Starts a camera on a free port of this machine.
    pub fn start(fault: Fault) -> Self {
        // Encoded before anybody waits for it.
        reel::warm_up(fault);
        let _inside = runtime().enter();
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let task = match fault {
            // Bound and not listened on: connections are refused, and nobody else gets the port.
            Fault::Refuses => runtime().spawn(async move {
                let _bound = socket;
                std::future::pending().await
            }),
            Fault::NoHandshake => {
                let listener = socket.listen(1).unwrap();
                runtime().spawn(accept_nobody(listener, address))
            }
            _ => runtime().spawn(accept(socket.listen(128).unwrap(), fault)),
        };
        Self { fault, address, task }
    }

    /// Where it is, user and password included.
    pub fn url(&self) -> String {
        format!("rtsp://{USER}:{PASSWORD}@{}/live", self.address)
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Fills the queue of connections that wait to be taken, so that further ones get no answer at all.
async fn accept_nobody(listener: TcpListener, address: SocketAddr) {
    let mut waiting = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await
    {
        waiting.push(connected);
    }
    let _listening = listener;
    std::future::pending().await
}

async fn accept(listener: TcpListener, fault: Fault) {
    let memory = std::sync::Arc::new(Memory::default());
    // Dropped with this task, and then ends them all.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((peer, _)) = listener.accept().await else { return };
        while connections.try_join_next().is_some() {}
        let memory = std::sync::Arc::clone(&memory);
        connections.spawn(async move {
            // The peer may go at any moment; that is no failure of the test.
            let _ = dialog::hold(peer, fault, &memory).await;
        });
    }
}

//! Video as RTP packets, encoded and packed by GStreamer once.

use std::sync::OnceLock;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::{FPS, Fault};

/// The clock of RTP video.
const RTP_CLOCK: u64 = 90_000;
/// Ticks of the clock from frame to frame.
pub(super) const TICKS: u32 = (RTP_CLOCK / FPS) as u32;

/// A clip in packets, to be played again and again.
pub(super) struct Reel {
    /// What a camera says of it.
    pub(super) sdp: &'static str,
    /// Frames in the order of decoding; the first is a keyframe.
    pub(super) frames: Vec<Frame>,
}

/// One coded frame.
pub(super) struct Frame {
    /// When it is shown, in ticks from the reel's beginning.
    pub(super) stamp: u32,
    /// RTP packets.
    pub(super) packets: Vec<Vec<u8>>,
}

const H264_SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\na=control:*\r\n\
    m=video 0 RTP/AVP 96\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:96 H264/90000\r\n\
    a=fmtp:96 packetization-mode=1\r\na=control:track1\r\n";
const H265_SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\na=control:*\r\n\
    m=video 0 RTP/AVP 96\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:96 H265/90000\r\na=control:track1\r\n";

/// A keyframe a second, one frame after the other, 320x240.
pub(super) fn plain() -> &'static Reel {
    static REEL: OnceLock<Reel> = OnceLock::new();
    REEL.get_or_init(|| h264(320, 240, "tune=zerolatency"))
}

/// The same, larger.
pub(super) fn large() -> &'static Reel {
    static REEL: OnceLock<Reel> = OnceLock::new();
    REEL.get_or_init(|| h264(640, 360, "tune=zerolatency"))
}

/// With two B-frames between others.
pub(super) fn b_frames() -> &'static Reel {
    static REEL: OnceLock<Reel> = OnceLock::new();
    REEL.get_or_init(|| h264(320, 240, "bframes=2 b-adapt=false"))
}

/// In H.265.
pub(super) fn h265() -> &'static Reel {
    static REEL: OnceLock<Reel> = OnceLock::new();
    REEL.get_or_init(|| {
        let coder = "x265enc speed-preset=ultrafast tune=zerolatency key-int-max=10 log-level=none \
                     ! h265parse ! rtph265pay config-interval=-1 aggregate-mode=none mtu=400 pt=96";
        record(320, 240, coder, H265_SDP)
    })
}

fn h264(width: u32, height: u32, tune: &str) -> Reel {
    let coder = format!(
        "x264enc speed-preset=veryfast key-int-max=10 threads=1 {tune} ! h264parse \
         ! rtph264pay config-interval=-1 aggregate-mode=none mtu=400 pt=96"
    );
    record(width, height, &coder, H264_SDP)
}

/// What a connection begins with that comes after so many streams.
pub(super) fn at_start(fault: Fault, before: u32) -> &'static Reel {
    match fault {
        Fault::BFrames => b_frames(),
        Fault::ChangesCodec if before > 0 => h265(),
        _ => plain(),
    }
}

/// Encodes what a fault needs.
pub(super) fn warm_up(fault: Fault) {
    plain();
    match fault {
        Fault::BFrames => _ = b_frames(),
        Fault::ChangesCodec => _ = h265(),
        Fault::Resizes => _ = large(),
        _ => {}
    }
}

/// Two seconds of a moving ball.
fn record(width: u32, height: u32, coder: &str, sdp: &'static str) -> Reel {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(&format!(
        "videotestsrc pattern=ball num-buffers={} ! video/x-raw,width={width},height={height},\
         framerate={FPS}/1 ! {coder} seqnum-offset=0 timestamp-offset=0 ! appsink name=out sync=false",
        2 * FPS
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut frames: Vec<Frame> = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let packet = sample.buffer().unwrap().map_readable().unwrap().to_vec();
        let stamp = u32::from_be_bytes(packet[4..8].try_into().unwrap());
        match frames.last_mut().filter(|frame| frame.stamp == stamp) {
            Some(frame) => frame.packets.push(packet),
            None => frames.push(Frame { stamp, packets: vec![packet] }),
        }
    }
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(frames.len() as u64, 2 * FPS, "each frame has a time stamp of its own");
    let first = frames.iter().map(|frame| frame.stamp).min().unwrap_or_default();
    frames.iter_mut().for_each(|frame| frame.stamp -= first);
    Reel { sdp, frames }
}

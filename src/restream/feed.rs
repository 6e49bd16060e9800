//! From live pictures to one camera's stream: what its encoder is, and what feeds it.

use futures_util::StreamExt as _;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::prelude::*;
use tokio_util::sync::CancellationToken;

use super::Config;
use super::metrics::{Counted, Metrics};
use crate::view::{LivePicture, LiveStream};

/// The encoder of a camera, in GStreamer's words. What comes too fast for it is left out, oldest first. A client that
/// joins waits for a keyframe, a second at most.
pub(super) fn launch(config: &Config) -> String {
    let Config { max_fps, bitrate, .. } = config;
    format!(
        "( appsrc name=pictures is-live=true format=time do-timestamp=true max-buffers=2 max-bytes=0 \
         leaky-type=downstream caps=image/jpeg,framerate={max_fps}/1 \
         ! jpegdec ! videoconvert n-threads=1 ! videoscale n-threads=1 add-borders=true \
         ! capsfilter name=size caps=video/x-raw,format=I420 \
         ! x264enc tune=zerolatency speed-preset=veryfast threads=1 bitrate={bitrate} key-int-max={max_fps} \
         ! video/x-h264,profile=constrained-baseline ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )
}

/// Feeds the stream that all clients of a camera share.
pub(super) struct Feed {
    source: gst_app::AppSrc,
    size: gst::Element,
    /// Told when the last client has gone.
    over: CancellationToken,
    _counted: Counted,
}

impl Feed {
    /// For a stream that is about to begin.
    pub(super) fn of(media: &rtsp::RTSPMedia, metrics: &Metrics) -> Option<Self> {
        let bin = media.element().downcast::<gst::Bin>().ok()?;
        let source = bin.by_name("pictures")?.downcast::<gst_app::AppSrc>().ok()?;
        let size = bin.by_name("size")?;
        let over = CancellationToken::new();
        let ended = over.clone();
        media.connect_unprepared(move |_| ended.cancel());
        Some(Self { source, size, over, _counted: metrics.encoder() })
    }

    /// Hands on pictures until the last client or the camera has gone.
    pub(super) async fn run(self, mut pictures: LiveStream) {
        let mut sized = false;
        let over = self.over.clone();
        while let Some(Some(Ok(picture))) = over.run_until_cancelled(pictures.next()).await {
            if !std::mem::replace(&mut sized, true) {
                self.fix_size(&picture);
            }
            if self.source.push_buffer(gst::Buffer::from_slice(picture.jpeg)).is_err() {
                return;
            }
        }
        // After the last client it leads nowhere.
        let _ = self.source.end_of_stream();
    }

    /// Makes the first picture's size that of the stream: H.264 of even sides. Should the camera's size change, its
    /// pictures are fitted in, because many clients cannot follow.
    fn fix_size(&self, picture: &LivePicture) {
        let even = |side: u32| i32::try_from(side.max(16) & !1).unwrap_or(16);
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", even(picture.width))
            .field("height", even(picture.height))
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1));
        self.size.set_property("caps", caps.build());
    }
}

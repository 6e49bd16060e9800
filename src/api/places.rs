//! Room for clients' pictures, shared between `Detect` and `DetectStream`.
//!
//! `Detect` is refused where there is no place, a stream waits for one: were there one kind of place, streams
//! under way would leave none to `Detect`. So streams take half of them at most.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::Config;
use super::status::invalid;
use crate::frame::{InvalidPicture, Picture, PlaneData};
use crate::picture_file;

/// The places that there are.
pub(super) struct Places {
    /// For pictures in memory.
    pictures: Arc<Semaphore>,
    /// Those of them that streams may take.
    streamed: Arc<Semaphore>,
    /// For pictures being decoded.
    decoders: Arc<Semaphore>,
}

/// Room for one picture, until it is let go.
#[derive(Debug)]
pub(super) struct Place {
    _permits: [Option<OwnedSemaphorePermit>; 2],
}

impl Places {
    pub(super) fn new(config: &Config) -> Self {
        let places = |count: usize| Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        let pictures = config.pictures.get();
        Self {
            pictures: places(pictures),
            streamed: places(pictures / 2),
            decoders: places(config.decoders.get()),
        }
    }

    /// A place, if there is one.
    pub(super) fn take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.pictures).try_acquire_owned().ok()?;
        Some(Place { _permits: [Some(permit), None] })
    }

    /// Waits for a place for a stream's picture. Streams get theirs in the order they ask.
    pub(super) async fn wait(&self) -> Place {
        // The semaphores are never closed.
        let share = Arc::clone(&self.streamed).acquire_owned().await.ok();
        let permit = Arc::clone(&self.pictures).acquire_owned().await.ok();
        Place { _permits: [permit, share] }
    }

    /// Decodes the bytes of a picture file; `field` is where they were in the request.
    pub(super) async fn decode(&self, image: Vec<u8>, field: &'static str) -> Result<Picture, Status> {
        let decoder = Arc::clone(&self.decoders).acquire_owned().await;
        // The decoder goes along: a caller that gives up does not make room for another one.
        let decoded = tokio::task::spawn_blocking(move || {
            let _decoder = decoder;
            picture_file::decode(&image)
        });
        match decoded.await {
            Ok(decoded) => decoded.map_err(|error| invalid(field, error.to_string())),
            Err(error) => Err(Status::internal(format!("the picture decoder failed: {error}"))),
        }
    }
}

/// A picture that gives its place back when its pixels are let go, whoever holds them last.
pub(super) fn placed(picture: Picture, place: Place) -> Result<Picture, InvalidPicture> {
    struct Placed(Picture, #[expect(dead_code, reason = "held")] Place);
    impl PlaneData for Placed {
        fn plane(&self, index: usize) -> &[u8] {
            self.0.plane(index)
        }
    }
    let Picture { format, width, height, strides, colorimetry, .. } = picture;
    Picture::new(format, (width, height), strides, colorimetry, Box::new(Placed(picture, place)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn places(pictures: usize) -> Places {
        Places::new(&Config { pictures: pictures.try_into().unwrap(), ..Config::default() })
    }

    #[test]
    fn streams_leave_half_of_the_places_to_others() {
        let places = places(4);
        let streamed: Vec<_> = (0..2).filter_map(|_| places.wait().now_or_never()).collect();
        assert_eq!(streamed.len(), 2);
        assert!(places.wait().now_or_never().is_none(), "half are taken");
        let single: Vec<_> = (0..3).filter_map(|_| places.take()).collect();
        assert_eq!(single.len(), 2, "the other half is free");
        drop(streamed);
        assert!(places.wait().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_stream_that_waits_comes_before_others_that_ask_later() {
        let places = places(2);
        let (first, second) = (places.take().unwrap(), places.take().unwrap());
        let mut waiting = std::pin::pin!(places.wait());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        assert!(places.take().is_none(), "the place is promised to the stream");
        waiting.await;
        drop(second);
    }

    #[test]
    fn a_place_is_kept_as_long_as_the_pixels() {
        let places = places(1);
        let place = places.take().unwrap();
        let picture = placed(Picture::rgb(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap(), place).unwrap();
        let shared = Arc::new(picture);
        let other = Arc::clone(&shared);
        assert_eq!((shared.plane(0), places.take().is_none()), (&[1, 2, 3, 4, 5, 6][..], true));
        drop(shared);
        assert!(places.take().is_none());
        drop(other);
        assert!(places.take().is_some());
    }
}

//! The outcome of a camera's trial, as callers get it.

use crate::api::backend::{CameraTest, FirstPicture};
use crate::camera::FailureKind;
use crate::frame::Picture;
use crate::ingest::Trial;
use crate::live::Encoder;

/// Good enough to judge where a camera looks.
const QUALITY: u8 = 80;

/// What callers get to know of a trial.
pub(super) async fn told(trial: Trial) -> CameraTest {
    let outcome = match trial.outcome {
        Ok(picture) => shown(picture).await,
        Err(failure) => Err((failure.kind, failure.message)),
    };
    CameraTest { outcome, took: trial.took }
}

/// Shrinks and compresses a picture, away from the network's threads.
async fn shown(picture: Picture) -> Result<FirstPicture, (FailureKind, String)> {
    let (width, height) = (picture.width, picture.height);
    let compressed = tokio::task::spawn_blocking(move || jpeg(&picture)).await;
    let jpeg = compressed
        .unwrap_or_else(|error| Err(error.to_string()))
        .map_err(|problem| (FailureKind::Other, format!("a picture came, but cannot be shown: {problem}")))?;
    Ok(FirstPicture { width, height, jpeg })
}

fn jpeg(picture: &Picture) -> Result<Vec<u8>, String> {
    let mut encoder = Encoder::new(QUALITY).map_err(|error| error.to_string())?;
    let made = encoder.picture(picture, FirstPicture::SIDE, None);
    made.map(|jpeg| jpeg.bytes.into()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_shrink_and_never_grow() {
        for (size, expected) in [
            ((320, 240), (320, 240)),
            ((1920, 1080), (640, 360)),
            ((1080, 1920), (360, 640)),
            ((9000, 2), (640, 1)),
        ] {
            assert_eq!(FirstPicture::SIDE.fit(size), expected);
            let picture = Picture::rgb(size.0, size.1, vec![90; (size.0 * size.1 * 3) as usize]).unwrap();
            let shown = crate::picture_file::decode(&jpeg(&picture).unwrap()).unwrap();
            assert_eq!((shown.width, shown.height), expected);
            assert!(shown.plane(0).iter().all(|value| value.abs_diff(90) < 3));
        }
    }
}

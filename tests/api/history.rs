//! `LiveService.GetHistory`.

use centerx::api::v1::GetHistoryRequest;
use centerx::api::v1::live_service_client::LiveServiceClient;
use centerx::camera::CameraOrigin;
use prost_types::{Duration, Timestamp};
use tonic::Code;

use crate::backend::Running;

#[tokio::test]
async fn history_is_told_after_a_time_and_of_known_cameras() {
    let server = Running::start().await;
    server.backend.put("yard", "test://ball", CameraOrigin::Api);
    let mut client = LiveServiceClient::new(server.channel().await);
    let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let ask = |id: &str, after| GetHistoryRequest { camera_ids: vec![id.into()], after };
    let answer = client.get_history(ask("yard", at(5))).await.unwrap().into_inner().cameras;
    let points = &answer[0].points;
    assert_eq!((answer.len(), answer[0].camera_id.as_str(), points.len()), (1, "yard", 2));
    assert_eq!((points[0].time, points[1].time), (at(10), at(15)));
    assert_eq!((points[0].received, points[0].published, points[0].detections), (2, 1, 4));
    assert_eq!(points[0].max_age, Some(Duration { seconds: 0, nanos: 160_000_000 }));

    let first = client.get_history(ask("yard", None)).await.unwrap().into_inner().cameras[0].points[0];
    assert_eq!((first.published, first.mean_age, first.max_age), (0, None, None));

    let no_time = Some(Timestamp { seconds: i64::MIN, nanos: i32::MAX });
    for (request, code) in [
        (ask("street", None), Code::NotFound),
        (ask("a b", None), Code::InvalidArgument),
        (ask("yard", no_time), Code::InvalidArgument),
    ] {
        assert_eq!(client.get_history(request).await.unwrap_err().code(), code);
    }
}

//! Who may look.

use std::str::FromStr as _;

use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Request};

use super::*;
use process::{errors, run};

fn new_token(role: &str, settings: &mut String) -> String {
    let made = run(&["token", "new", "--role", role, "--name", role]);
    assert!(made.status.success(), "{}", errors(&made));
    settings.push_str(&errors(&made));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_for_those_who_may_read() {
    let data = tempfile::tempdir().unwrap();
    let mut settings = String::new();
    let read = new_token("read", &mut settings);
    let path = data.path().join("centerx.toml");
    std::fs::write(&path, settings).unwrap();
    let server = yard(data.path(), &["--config", path.to_str().unwrap()]);
    for page in ["/cameras/yard/snapshot.jpg", "/cameras/yard/live.mjpg"] {
        assert_eq!(get(server.http, page, None).status(), 401);
        assert_eq!(get(server.http, page, Some("centerx_wrong")).status(), 401);
        // What there is, too, is for those who may read.
        assert_eq!(get(server.http, &page.replace("yard", "nowhere"), None).status(), 401);
        assert_eq!(get(server.http, page, Some(&read)).status(), 200);
    }
    let channel = connect(&server).await;
    let ask = |token: Option<&str>| {
        let views = vec![v1::View { camera_id: "yard".into(), ..Default::default() }];
        let mut request = Request::new(v1::WatchRequest { views });
        if let Some(token) = token {
            let value = AsciiMetadataValue::from_str(&format!("Bearer {token}")).unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        let mut client = LiveServiceClient::new(channel.clone());
        async move { client.watch(request).await }
    };
    assert_eq!(ask(None).await.unwrap_err().code(), Code::Unauthenticated);
    let mut stream = ask(Some(&read)).await.unwrap().into_inner();
    decode(&next(&mut stream).await.jpeg);
}

//! The story of a new user: start the server as the demo does, open the page, add a second camera, see its boxes, cut
//! its cable, and be told; mend it, and see it come back.

use super::*;

#[test]
fn a_new_user_adds_a_camera_and_is_told_when_its_cable_is_cut() {
    let (_camera, yard) = rtsp("yard");
    let (second, street) = rtsp("street");
    let folder = tempfile::tempdir().unwrap();
    let bikes = sample("bikes.mp4");
    let settings = format!(
        "max_age = \"5s\"\n\n[[camera]]\nid = \"yard\"\nurl = \"{yard}\"\nmax_fps = 5\n\n\
         [[camera]]\nid = \"bikes\"\nurl = {bikes:?}\nloop = true\nmax_fps = 2\n"
    );
    let server = serve(folder.path(), &settings);
    // A Prometheus that scrapes `server.http` may be started here; after each event below it has the same story to
    // tell: `cut` is a camera down, `mend` the end of that.
    Script::new("story", server.http).with("STREET", &street).run(|word, _| {
        match word {
            "cut" => second.stop(),
            "mend" => second.listen().unwrap(),
            other => panic!("nobody knows {other}"),
        }
        String::new()
    });
}

//! Eight cameras on one page: what it costs, and the picture of it in the README.

use super::*;

const CAMERAS: [(&str, &str, &str); 8] = [
    ("courtyard", "Courtyard", "vtest.avi"),
    ("gatehouse", "Gatehouse", "vtest.avi"),
    ("taxi", "Taxi 12", "carphone_pristine.mp4"),
    ("bridge", "Bridge", "bikes.mp4"),
    ("lawn", "Lawn", "vtest.avi"),
    ("market", "Market street", "bikes.mp4"),
    ("taxi-2", "Taxi 17", "carphone_pristine.mp4"),
    ("path", "Footpath", "vtest.avi"),
];

#[test]
fn eight_cameras_fit_on_one_page() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = String::from("max_age = \"5s\"\n");
    for (id, name, file) in CAMERAS {
        let path = sample(file);
        settings += &format!(
            "\n[[camera]]\nid = \"{id}\"\nname = \"{name}\"\nurl = {path:?}\nloop = true\nmax_fps = 2\n"
        );
    }
    let server = serve(folder.path(), &settings);
    Script::new("eight", server.http).run(|word, _| match word {
        "viewers" => {
            let metrics = server.get("/metrics");
            metrics.lines().find_map(|line| line.strip_prefix("centerx_live_viewers ")).unwrap().to_owned()
        }
        other => panic!("nobody knows {other}"),
    });
}

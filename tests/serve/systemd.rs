//! What systemd is told, on a socket such as it listens on.

use std::os::unix::net::UnixDatagram;

use super::*;

/// Receives until a message contains `wanted`, and returns all of them.
fn hear(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while !heard.iter().any(|message: &String| message.contains(wanted)) {
        let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{error} after {heard:?}"));
        heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    heard
}

#[test]
fn systemd_is_told_of_ready_life_and_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "400000")];
    let mut server = ServerProcess::start_in(folder.path(), &["--camera", "bars=test://smpte"], &environment);
    let before = hear(&socket, "READY=1");
    assert_eq!(before.len(), 1, "nothing comes before it is ready: {before:?}");
    let begin = Instant::now();
    (0..8).for_each(|_| drop(hear(&socket, "WATCHDOG=1")));
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(400), "eight signs at a quarter of the time: {took:?}");
    server.signal("TERM");
    hear(&socket, "STOPPING=1");
    assert_eq!(server.wait().0, Some(0), "{}", server.log);
}

#[test]
fn without_systemd_nothing_is_told_and_nothing_said_of_it() {
    let data = tempfile::tempdir().unwrap();
    let mut server = ServerProcess::start(data.path(), &[]);
    server.signal("TERM");
    assert_eq!(server.wait().0, Some(0), "{}", server.log);
    assert!(!server.log.contains("systemd"), "{}", server.log);
}

//! A tiny HTTP server: what each path answers is up to the test.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// Serves until the process ends. `answer` gets the request's path, its `Authorization` header, and the
/// connection to write to; the connection is closed when it returns.
pub fn serve(answer: impl Fn(&str, Option<&str>, &mut TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for peer in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || handle(peer, &*answer));
        }
    });
    address
}

/// Writes a whole response.
pub fn respond(peer: &mut TcpStream, status: &str, kind: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
    let challenge =
        if status.starts_with("401") { "WWW-Authenticate: Basic realm=\"camera\"\r\n" } else { "" };
    // The client may be gone already.
    let _ = write!(peer, "{head}{challenge}Connection: close\r\n\r\n").and_then(|()| peer.write_all(body));
}

fn handle(mut peer: TcpStream, answer: &dyn Fn(&str, Option<&str>, &mut TcpStream)) {
    let mut lines = BufReader::new(peer.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let authorization = headers.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization").then_some(value)
    });
    let path = request.split(' ').nth(1).unwrap_or("/");
    answer(path, authorization, &mut peer);
}

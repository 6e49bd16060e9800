//! A connection's bytes, encrypted or not, and the moment when it has greeted in HTTP/2.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4); a SETTINGS frame follows.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The preface and the head of the frame after it.
const GREETING: usize = PREFACE.len() + 9;

/// A socket, or TLS on one.
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Whether a connection has said what HTTP/2 begins with.
#[derive(Clone, Debug, Default)]
pub(super) struct Greeted(Arc<AtomicBool>);

impl Greeted {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection's bytes, of which the first are looked at on their way.
pub(super) struct Stream {
    socket: Socket,
    /// So many of the first bytes came; past the greeting, or after other words, they are not counted.
    seen: usize,
    greeted: Greeted,
}

impl Stream {
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket, seen: 0, greeted: Greeted::default() }
    }

    pub(super) fn greeted(&self) -> Greeted {
        self.greeted.clone()
    }

    fn look_at(&mut self, bytes: &[u8]) {
        if self.seen >= GREETING {
            return;
        }
        let due = PREFACE.get(self.seen..).unwrap_or_default();
        let shared = due.len().min(bytes.len());
        if bytes[..shared] != due[..shared] {
            self.seen = usize::MAX;
            return;
        }
        self.seen += bytes.len();
        if self.seen >= GREETING {
            self.greeted.0.store(true, Ordering::Relaxed);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Socket::Tls(socket) => Pin::new(socket).poll_read(cx, buffer),
        })?;
        self.look_at(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Socket::Tls(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Socket::Tls(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Tls(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Socket::Tls(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Plain(socket) => socket.is_write_vectored(),
            Socket::Tls(socket) => socket.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Sends `bytes` in pieces and tells after which of them it counts as a greeting.
    async fn greeted_after(pieces: &[&[u8]]) -> Option<usize> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut stream = Stream::new(Socket::Plain(listener.accept().await.unwrap().0));
        let mut sent = 0;
        for piece in pieces {
            client.write_all(piece).await.unwrap();
            sent += piece.len();
            stream.read_exact(&mut vec![0; piece.len()]).await.unwrap();
            if stream.greeted().get() {
                return Some(sent);
            }
        }
        None
    }

    #[tokio::test]
    async fn only_the_whole_preface_and_a_frame_are_a_greeting() {
        let whole = [PREFACE, &[0; 9]].concat();
        assert_eq!(greeted_after(&[&whole]).await, Some(GREETING));
        let bytes: Vec<_> = whole.chunks(1).collect();
        assert_eq!(greeted_after(&bytes).await, Some(GREETING));
        assert_eq!(greeted_after(&bytes[..GREETING - 1]).await, None);
        assert_eq!(greeted_after(&[b"GET / HTTP/1.1\r\nhost: a-long-name.example\r\nx: y\r\n"]).await, None);
        assert_eq!(greeted_after(&[b"PRI * HTTP/1.1\r\n", &[0; 60]]).await, None);
    }
}

//! Listening sockets: errors that name the address and the cure, and accepting that survives overload.
//!
//! What does not belong here: what is spoken on the socket.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot listen on {address}: {cause}; {cure}")]
pub struct ListenError {
    what: &'static str,
    address: SocketAddr,
    cure: &'static str,
    cause: io::Error,
}

/// Listens on `address` for `what`; port 0 takes a free one.
///
/// # Errors
/// An address that is in use, forbidden, or not this machine's.
pub async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|cause| {
        let cure = match cause.kind() {
            io::ErrorKind::AddrInUse => {
                "another program has this port, perhaps another centerx: stop it or choose another port"
            }
            io::ErrorKind::PermissionDenied => "choose a port from 1024 up, or allow this program lower ones",
            io::ErrorKind::AddrNotAvailable => {
                "use an address of this machine, 127.0.0.1 for this machine alone or 0.0.0.0 for all networks"
            }
            _ => "choose another address",
        };
        ListenError { what, address, cure, cause }
    })
}

/// Waits for the next connection. Failures pass by themselves and are waited out.
pub async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Detections are small and urgent. A socket that refuses works all the same.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => pause_after(&error).await,
        }
    }
}

/// A caller that gave up costs nothing; a lack of file descriptors needs time, not a busy loop.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::warn!("a connection cannot be accepted: {error}; next attempt in 100 ms");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_names_the_address_and_the_cure() {
        let first = bind("gRPC", ([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = first.local_addr().unwrap();
        let text = bind("gRPC", address).await.unwrap_err().to_string();
        assert!(text.starts_with(&format!("gRPC cannot listen on {address}: ")), "{text}");
        assert!(text.contains("choose another port"), "{text}");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_explained() {
        let text = bind("HTTP", ([192, 0, 2, 1], 0).into()).await.unwrap_err().to_string();
        assert!(text.contains("use an address of this machine"), "{text}");
    }
}

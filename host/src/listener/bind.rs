//! Binding a listener's address once for every worker.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 4096;

/// A listener's address cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("listener {listener:?} cannot bind {address}: {why}; {mend}")]
pub struct BindError {
    listener: String,
    address: SocketAddr,
    /// Part of the message, so no source of the error.
    why: io::Error,
    mend: &'static str,
}

/// Binds `address` `count` times, so that each worker accepts from a queue of its own.
///
/// Port 0 takes one free port for all. Sharing is limited to this process: an address that any
/// other socket listens on is an error, even where that socket would share it.
///
/// # Errors
/// What the operating system says, with the listener's name and what to do.
pub fn bind(
    listener: &str,
    address: SocketAddr,
    count: usize,
) -> Result<Vec<TcpListener>, BindError> {
    let fail = |why: io::Error| BindError {
        listener: listener.to_owned(),
        address,
        mend: mend(&why),
        why,
    };
    // A socket that does not share finds out whether another process has the address.
    if address.port() != 0 {
        drop(socket(address, false).map_err(fail)?);
    }
    let first = socket(address, true).map_err(fail)?;
    first.listen(BACKLOG).map_err(fail)?;
    let first = TcpListener::from(first);
    let bound = first.local_addr().map_err(fail)?;
    let mut all = vec![first];
    while all.len() < count {
        let next = socket(bound, true).map_err(fail)?;
        next.listen(BACKLOG).map_err(fail)?;
        all.push(TcpListener::from(next));
    }
    Ok(all)
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Requests and replies are small and waited for. Linux hands it on to what is accepted, which
    // saves a system call a client.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn mend(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "stop what listens there, or choose another port",
        io::ErrorKind::PermissionDenied => {
            "choose a port above 1023, or grant CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => "choose an address of this machine",
        _ => "check the address",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_address_that_is_taken_is_an_error_that_names_it() {
        let first = bind("a", "127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let address = first[0].local_addr().unwrap();
        let error = anyhow::Error::from(bind("b", address, 2).unwrap_err());
        let error = format!("{error:#}");
        assert_eq!(error.matches("in use").count(), 1, "{error}");
        assert!(!error.contains('`'), "names a key of no file: {error}");
        assert!(error.contains("listener \"b\""), "{error}");
        assert!(error.contains(&address.to_string()), "{error}");
        assert!(error.contains("stop what listens there"), "{error}");
    }

    #[test]
    fn clients_are_not_kept_waiting_for_more_to_send() {
        let listener = bind("a", "127.0.0.1:0".parse().unwrap(), 1)
            .unwrap()
            .remove(0);
        listener.set_nonblocking(false).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
    }

    #[test]
    fn every_worker_gets_a_socket_on_the_same_port() {
        let all = bind("a", "127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let port = all[0].local_addr().unwrap().port();
        assert!(all.iter().all(|l| l.local_addr().unwrap().port() == port));
        assert_eq!(all.len(), 3);
    }
}

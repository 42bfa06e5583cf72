//! Endpoints that do not answer.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::upstream::Upstream;
use super::worker::{SOON, at_most, config, on_one_worker};
use crate::contract::LeaseError;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(150);

/// Listens, and answers no SYN: its backlog is full and nobody accepts.
struct Deaf {
    address: SocketAddr,
    _listener: Socket,
    _backlog: Vec<TcpStream>,
}

impl Deaf {
    fn start() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut backlog = Vec::new();
        // The kernel takes a few more than it was told to.
        while let Ok(stream) = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT * 2) {
            backlog.push(stream);
            assert!(backlog.len() < 100, "the backlog is never full");
        }
        Self {
            address,
            _listener: listener,
            _backlog: backlog,
        }
    }
}

#[test]
fn dialing_ends_after_connect_timeout_and_says_so() {
    let deaf = Deaf::start();
    let mut config = config(&[deaf.address], at_most(4));
    config.connect_timeout = CONNECT_TIMEOUT;
    on_one_worker(config, |worker| async move {
        let asked = Instant::now();
        let error = worker.lease("").await.err().unwrap();
        let took = asked.elapsed();
        let LeaseError::ConnectTimeout(text) = error else {
            panic!("{error:?}");
        };
        assert!(text.contains(&deaf.address.to_string()), "{text}");
        assert!(text.contains("connect-timeout = 150ms"), "{text}");
        assert!((CONNECT_TIMEOUT..SOON).contains(&took), "it took {took:?}");
        assert_eq!(worker.open(), 0, "the room is free again");
    });
}

#[test]
fn after_connect_timeout_the_next_endpoint_is_tried() {
    let deaf = Deaf::start();
    let upstream = Upstream::start();
    let mut config = config(&[deaf.address, upstream.address], at_most(4));
    config.connect_timeout = CONNECT_TIMEOUT;
    on_one_worker(config, |worker| async move {
        let mut waited = 0;
        for _ in 0..4 {
            let asked = Instant::now();
            let lease = worker.lease("").await.unwrap();
            assert_eq!(lease.endpoint(), upstream.address.to_string());
            waited += usize::from(asked.elapsed() >= CONNECT_TIMEOUT);
        }
        assert!(waited >= 2, "the deaf one had its turns: {waited}");
    });
}

//! A proxy in front of a real server that ends connections at a chosen moment of an exchange, so
//! that a test can tell what a relay makes of one that dies just then.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Requests and replies of these tests are far shorter: each comes in one piece.
const PIECE: usize = 64 << 10;

/// When a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The request has been taken, and the server never hears of it.
    BeforeRequest,
    /// The server has replied, and nothing of that is passed on.
    BeforeReply,
    /// The server has replied, and so many bytes of that are passed on.
    InReply(usize),
}

/// A running proxy. Ends with its value, and its connections with it.
#[derive(Debug)]
pub struct Cutter {
    address: SocketAddr,
    cuts: Arc<Mutex<VecDeque<Cut>>>,
    _serving: JoinSet<()>,
}

impl Cutter {
    /// A proxy that passes everything on, until told otherwise.
    ///
    /// # Panics
    /// There is no free loopback port.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let cuts = Arc::default();
        let theirs = Arc::clone(&cuts);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let cuts = Arc::clone(&theirs);
                // However a connection ends, the relay sees that it has.
                connections.spawn(async move { drop(pass(client, server, &cuts).await) });
            }
        });
        Self {
            address,
            cuts,
            _serving: serving,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The next requests, in this order and on whatever connection they come, meet these ends.
    pub fn cut(&self, cuts: &[Cut]) {
        self.lock().extend(cuts);
    }

    /// Ends that no request has met yet.
    #[must_use]
    pub fn left(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Cut>> {
        self.cuts.lock().expect("no holder panics")
    }
}

async fn pass(
    mut client: TcpStream,
    server: SocketAddr,
    cuts: &Mutex<VecDeque<Cut>>,
) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let (mut request, mut reply) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let count = read?;
                if count == 0 {
                    return Ok(());
                }
                let cut = cuts.lock().expect("no holder panics").pop_front();
                if cut == Some(Cut::BeforeRequest) {
                    return Ok(());
                }
                server.write_all(&request[..count]).await?;
                let passed = match cut {
                    None => continue,
                    Some(Cut::InReply(passed)) => passed,
                    Some(Cut::BeforeRequest | Cut::BeforeReply) => 0,
                };
                let count = server.read(&mut reply).await?;
                client.write_all(&reply[..passed.min(count)]).await?;
                return Ok(());
            }
            read = server.read(&mut reply) => {
                let count = read?;
                if count == 0 {
                    return Ok(());
                }
                client.write_all(&reply[..count]).await?;
            }
        }
    }
}

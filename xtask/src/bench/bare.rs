//! The least that a relay can do: one read and one write for each message that is there, and a wait
//! for the next. No limits, no half-closes, no counts; what a copy loop costs that knows nothing.
//!
//! It runs as a process of its own, as the other peers do, by a hidden command.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::Context;

use super::load::poll::Poll;

/// The name of the hidden command.
pub(crate) const COMMAND: &str = "bare-relay";

/// How long a thread may wait before it looks for new sessions.
const LOOK: Duration = Duration::from_millis(10);

/// Both ends of a session.
type Ends = [TcpStream; 2];

/// What the command line says.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    upstream: SocketAddr,
}

/// Relays until it is killed, on as many threads as there are cores.
///
/// # Errors
/// It cannot listen, or a client comes while the upstream is away.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.listen).context("cannot listen")?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let workers: Vec<Sender<Ends>> = (0..threads)
        .map(|_| {
            let (sender, sessions) = channel();
            std::thread::spawn(move || copy(&sessions));
            sender
        })
        .collect();
    for worker in workers.iter().cycle() {
        let (client, _) = listener.accept().context("cannot accept")?;
        let upstream = TcpStream::connect(options.upstream).context("cannot connect")?;
        client.set_nodelay(true)?;
        upstream.set_nodelay(true)?;
        worker
            .send([client, upstream])
            .context("a thread has ended")?;
    }
    Ok(())
}

/// Copies what comes on one end of a session to the other.
fn copy(new: &Receiver<Ends>) -> anyhow::Result<()> {
    let mut poll = Poll::new()?;
    let mut sessions: Vec<Option<Ends>> = Vec::new();
    let mut ready = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    loop {
        while let Ok(ends) = new.try_recv() {
            for (side, end) in ends.iter().enumerate() {
                poll.add(end, sessions.len() * 2 + side)?;
            }
            sessions.push(Some(ends));
        }
        ready.clear();
        ready.extend(poll.wait(LOOK)?);
        for number in ready.drain(..) {
            let session = &mut sessions[number / 2];
            let Some(ends) = session else { continue };
            let (from, to) = (number % 2, 1 - number % 2);
            let passed = match ends[from].read(&mut buffer) {
                Ok(count @ 1..) => ends[to].write_all(&buffer[..count]).is_ok(),
                Ok(0) | Err(_) => false,
            };
            if !passed {
                *session = None;
            }
        }
    }
}

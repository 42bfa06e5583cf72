//! The least that a relay can do: one read and one write for each message that is there, and a wait
//! for the next. No limits, no half-closes, no counts; what a copy loop costs that knows nothing.
//! And the least that one can do which lends connections: a message takes a connection for as long as
//! its reply is away, and waits in line if there is none. It takes each read for a whole message.
//!
//! It runs as a process of its own, as the other peers do, by a hidden command.

use std::collections::VecDeque;
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
    /// Lend so many connections in all; left out, each session has its own.
    #[arg(long)]
    connections: Option<usize>,
}

/// Relays until it is killed, on as many threads as there are cores.
///
/// # Errors
/// It cannot listen, or a client comes while the upstream is away.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.listen).context("cannot listen")?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if let Some(connections) = options.connections {
        return run_lending(&listener, options.upstream, connections, threads);
    }
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

fn run_lending(
    listener: &TcpListener,
    upstream: SocketAddr,
    connections: usize,
    threads: usize,
) -> anyhow::Result<()> {
    let workers: Vec<Sender<TcpStream>> = (0..threads)
        .map(|_| {
            let lent = (0..connections / threads).map(|_| {
                let connection = TcpStream::connect(upstream).context("cannot connect")?;
                connection.set_nodelay(true)?;
                anyhow::Ok(connection)
            });
            let lent = lent.collect::<anyhow::Result<_>>()?;
            let (sender, clients) = channel();
            std::thread::spawn(move || lend(lent, &clients));
            Ok(sender)
        })
        .collect::<anyhow::Result<_>>()?;
    for worker in workers.iter().cycle() {
        let (client, _) = listener.accept().context("cannot accept")?;
        client.set_nodelay(true)?;
        worker.send(client).context("a thread has ended")?;
    }
    Ok(())
}

/// Passes each message of a client on over a connection that nobody else has meanwhile. Ends with the
/// first connection that does.
fn lend(lent: Vec<TcpStream>, new: &Receiver<TcpStream>) -> anyhow::Result<()> {
    let mut poll = Poll::new()?;
    let mut connections: Vec<(TcpStream, Option<usize>)> = Vec::new();
    for connection in lent {
        poll.add(&connection, connections.len())?;
        connections.push((connection, None));
    }
    let mut free: Vec<usize> = (0..connections.len()).collect();
    let mut line: VecDeque<(usize, Vec<u8>)> = VecDeque::new();
    let mut clients: Vec<Option<TcpStream>> = Vec::new();
    let mut ready = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    loop {
        while let Ok(client) = new.try_recv() {
            poll.add(&client, connections.len() + clients.len())?;
            clients.push(Some(client));
        }
        ready.clear();
        ready.extend(poll.wait(LOOK)?);
        for number in ready.drain(..) {
            let Some(number) = number.checked_sub(connections.len()) else {
                let (connection, holder) = &mut connections[number];
                let count = connection.read(&mut buffer)?;
                anyhow::ensure!(count > 0, "the upstream has closed a connection");
                if let Some(client) = holder.take().and_then(|client| clients[client].as_mut()) {
                    // Who has left is found by a read.
                    let _ = client.write_all(&buffer[..count]);
                }
                match line.pop_front() {
                    Some((client, message)) => {
                        connection.write_all(&message)?;
                        *holder = Some(client);
                    }
                    None => free.push(number),
                }
                continue;
            };
            let Some(client) = &mut clients[number] else {
                continue;
            };
            match client.read(&mut buffer) {
                Ok(count @ 1..) => match free.pop() {
                    Some(connection) => {
                        let (connection, holder) = &mut connections[connection];
                        connection.write_all(&buffer[..count])?;
                        *holder = Some(number);
                    }
                    None => line.push_back((number, buffer[..count].to_vec())),
                },
                Ok(0) | Err(_) => clients[number] = None,
            }
        }
    }
}

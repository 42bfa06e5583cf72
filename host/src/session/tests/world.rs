//! A world without sockets: sessions on engines, and connections whose server replies to every
//! frame with the same frame, all moved by hand in pieces of any size.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::toy::SORRY;
use crate::contract::{Deadline, Disposition, LeaseError, Side};
use crate::copy::{BufferPool, Passing, Room};
use crate::plugin::SessionHooks;
use crate::session::{Engine, EngineLimits, LeaseFacts, Loss};

/// An upstream connection, with the server at its other end.
#[derive(Default, Debug)]
pub(super) struct Connection {
    /// Bytes on their way to the server, not yet taken by it.
    pub(super) inbound: Vec<u8>,
    /// Bytes on their way back.
    pub(super) outbound: VecDeque<u8>,
    pub(super) dead: bool,
    /// Anything was taken by the server in this lease.
    delivered: bool,
    pub(super) tag: Vec<u8>,
    /// Frames that the server has ever taken.
    pub(super) served: u64,
}

impl Connection {
    /// Nothing is under way in either direction.
    pub(super) fn is_clean(&self) -> bool {
        self.inbound.is_empty() && self.outbound.is_empty()
    }

    fn serve(&mut self, echoes_bytes: bool) {
        if echoes_bytes {
            self.outbound.extend(self.inbound.drain(..));
        }
        while let Some(&len) = self.inbound.first() {
            let len = 1 + usize::from(len);
            if self.inbound.len() < len {
                break;
            }
            self.outbound.extend(self.inbound.drain(..len));
            self.served += 1;
        }
    }
}

/// One client and its session.
pub(super) struct Session {
    pub(super) engine: Engine,
    pub(super) hooks: Box<dyn SessionHooks>,
    pub(super) to_send: VecDeque<u8>,
    pub(super) closed: bool,
    pub(super) received: Vec<u8>,
    /// The connection it holds.
    pub(super) lease: Option<usize>,
    asked: Option<bool>,
    pub(super) deadline: Option<Deadline>,
    pub(super) finished: bool,
}

/// Everything.
pub(super) struct World {
    pub(super) sessions: Vec<Session>,
    pub(super) connections: Vec<Connection>,
    pub(super) idle: Vec<usize>,
    buffers: BufferPool,
    /// The servers know no frames and send every byte back.
    pub(super) echoes_bytes: bool,
    /// Reads that went into a pipe.
    pub(super) piped: usize,
    /// Connections that may be open at a time.
    limit: usize,
    /// What `connect` says of those that are opened from now on.
    pub(super) tag: Vec<u8>,
}

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// A client's next bytes arrive.
    Send { session: usize, count: usize },
    /// A client says that it will send no more.
    Close { session: usize },
    /// A client is gone.
    Break { session: usize },
    /// A session gets to write to its upstream.
    Write { session: usize, count: usize },
    /// The server's next bytes arrive at a session.
    Read { session: usize, count: usize },
    /// A session gets to write to its client.
    Deliver { session: usize, count: usize },
    /// A session that waits for a connection gets one, if there is one.
    Lease { session: usize },
    /// A session that waits for a connection gets none.
    Refuse { session: usize },
    /// The server closes a connection.
    Kill { connection: usize },
    /// A time limit passes: the plugin's own, if it has one.
    Expire { session: usize },
}

impl World {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            sessions: Vec::new(),
            connections: Vec::new(),
            idle: Vec::new(),
            buffers: BufferPool::new(),
            echoes_bytes: false,
            piped: 0,
            limit,
            tag: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, hooks: Box<dyn SessionHooks>, to_send: Vec<u8>) {
        let limits = EngineLimits {
            max_shown: 512,
            replay_limit: 256,
            // So few that turns end in the middle of everything.
            calls_a_turn: 2,
        };
        self.sessions.push(Session {
            engine: Engine::new(hooks.has(), limits, std::rc::Rc::default(), None),
            hooks,
            to_send: to_send.into(),
            closed: false,
            received: Vec::new(),
            lease: None,
            asked: None,
            deadline: None,
            finished: false,
        });
    }

    pub(super) fn happen(&mut self, event: &Event) {
        for index in 0..self.sessions.len() {
            let session = &mut self.sessions[index];
            session.engine.take_turn(session.hooks.as_mut());
            self.settle(index);
        }
        match *event {
            Event::Send { session, count } => self.send(session, count),
            Event::Close { session } => {
                let session = &mut self.sessions[session];
                if session.to_send.is_empty() && !session.closed {
                    session.closed = true;
                    session.engine.ended(Side::Client);
                    session.engine.run(session.hooks.as_mut());
                }
            }
            Event::Break { session } => {
                let session = &mut self.sessions[session];
                session.closed = true;
                session.to_send.clear();
                session.engine.client_broke(session.hooks.as_mut());
            }
            Event::Write { session, count } => self.write(session, count),
            Event::Read { session, count } => self.read(session, count),
            Event::Deliver { session, count } => self.deliver(session, count),
            Event::Lease { session } => self.lease(session),
            Event::Refuse { session } => {
                let session = &mut self.sessions[session];
                if session.engine.is_asking() && session.asked.take().is_some() {
                    let why = LeaseError::WaitTimeout("full".to_owned());
                    session.engine.lease_failed(why, session.hooks.as_mut());
                }
            }
            Event::Kill { connection } => {
                if let Some(connection) = self.connections.get_mut(connection) {
                    connection.dead = true;
                }
            }
            Event::Expire { session } => {
                let session = &mut self.sessions[session];
                let hooks = session.hooks.as_mut();
                match session.deadline.take() {
                    Some(deadline) => session.engine.deadline_passed(&deadline, hooks),
                    None => session.engine.expire("idle-timeout", hooks),
                }
            }
        }
        for index in 0..self.sessions.len() {
            self.settle(index);
        }
    }

    fn send(&mut self, index: usize, count: usize) {
        let session = &mut self.sessions[index];
        if !session.engine.wants_read(Side::Client) || session.to_send.is_empty() {
            return;
        }
        let room = session.engine.room(Side::Client, &self.buffers);
        self.piped += usize::from(matches!(room, Room::Pipe(..)));
        let count = put(room, &mut session.to_send, count);
        session.engine.filled(Side::Client, count);
        session.engine.run(session.hooks.as_mut());
    }

    fn write(&mut self, index: usize, count: usize) {
        let session = &mut self.sessions[index];
        let Some(lease) = session.lease else { return };
        if !session.engine.has_output(Side::Upstream) {
            return;
        }
        let connection = &mut self.connections[lease];
        if connection.dead {
            session.engine.upstream_write_failed();
            session.engine.run(session.hooks.as_mut());
            return;
        }
        let bytes = take(session.engine.output(Side::Upstream), count);
        connection.delivered = true;
        connection.inbound.extend(&bytes);
        connection.serve(self.echoes_bytes);
        session.engine.wrote(Side::Upstream, bytes.len());
        session.engine.run(session.hooks.as_mut());
    }

    fn read(&mut self, index: usize, count: usize) {
        let session = &mut self.sessions[index];
        let Some(lease) = session.lease else { return };
        if !session.engine.wants_read(Side::Upstream) {
            return;
        }
        let connection = &mut self.connections[lease];
        let room = session.engine.room(Side::Upstream, &self.buffers);
        self.piped += usize::from(matches!(room, Room::Pipe(..)));
        let count = put(room, &mut connection.outbound, count);
        session.engine.filled(Side::Upstream, count);
        if count == 0 && connection.dead {
            session.engine.ended(Side::Upstream);
        }
        session.engine.run(session.hooks.as_mut());
        if session.engine.upstream_end_is_loss() {
            let loss = Loss {
                why: "killed",
                delivered: connection.delivered,
                tag: &connection.tag,
            };
            session.engine.upstream_lost(loss, session.hooks.as_mut());
        }
    }

    fn deliver(&mut self, index: usize, count: usize) {
        let session = &mut self.sessions[index];
        let bytes = take(session.engine.output(Side::Client), count);
        session.received.extend(&bytes);
        session.engine.wrote(Side::Client, bytes.len());
        session.engine.run(session.hooks.as_mut());
    }

    fn lease(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        let Some(fresh) = session.asked else { return };
        if !session.engine.is_asking() {
            return;
        }
        let reused = if fresh { None } else { self.idle.pop() };
        if fresh && !self.idle.is_empty() {
            // As the pool does: an idle connection makes room for one that must be fresh.
            let evicted = self.idle.remove(0);
            self.connections[evicted].dead = true;
        }
        let open = self.idle.len() + self.sessions.iter().filter(|s| s.lease.is_some()).count();
        let connection = match reused {
            Some(connection) => connection,
            None if open < self.limit => {
                self.connections.push(Connection {
                    tag: self.tag.clone(),
                    ..Connection::default()
                });
                self.connections.len() - 1
            }
            None => return,
        };
        self.connections[connection].delivered = false;
        let session = &mut self.sessions[index];
        session.asked = None;
        session.lease = Some(connection);
        let facts = LeaseFacts {
            tag: &self.connections[connection].tag,
            fresh: reused.is_none(),
            endpoint: "e",
        };
        session.engine.leased(facts, session.hooks.as_mut());
    }

    /// Carries out what the engine wants at once, as the driver does.
    fn settle(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        if let Some(giveback) = session.engine.take_giveback() {
            let connection = session.lease.take().expect("gives back what it holds");
            if let Some(tag) = giveback.retag {
                self.connections[connection].tag = tag.into_vec();
            }
            if giveback.disposition == Disposition::Keep && giveback.unclean.is_none() {
                self.idle.push(connection);
            } else {
                self.connections[connection].dead = true;
            }
        }
        if let Some((_, fresh)) = session.engine.take_ask() {
            assert!(session.lease.is_none(), "asks while it holds one");
            session.asked = Some(fresh);
        }
        if let Some(deadline) = session.engine.take_deadline() {
            session.deadline = deadline;
        }
        session.finished =
            session.engine.end().is_some() && !session.engine.has_output(Side::Client);
        if session.engine.end().is_some() {
            assert!(session.lease.is_none(), "ended with a lease");
            session.asked = None;
        }
        session.engine.settle(&self.buffers);
    }

    /// Lets everything that can still happen happen, in small steps, a bounded number of times.
    pub(super) fn play_out(&mut self) {
        for _ in 0..20_000 {
            let before = self.signature();
            for session in 0..self.sessions.len() {
                for event in [
                    Event::Send { session, count: 7 },
                    Event::Close { session },
                    Event::Lease { session },
                    Event::Write { session, count: 5 },
                    Event::Read { session, count: 3 },
                    Event::Deliver { session, count: 11 },
                ] {
                    self.happen(&event);
                }
            }
            if before == self.signature() {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Changes whenever anything has moved.
    fn signature(&self) -> Vec<[usize; 4]> {
        let sessions = self.sessions.iter().map(|s| {
            let unwritten = waiting(s.engine.output(Side::Upstream));
            let lease = s.lease.map_or(0, |lease| lease + 1);
            [s.to_send.len(), s.received.len(), unwritten, lease]
        });
        let connections = self.connections.iter().map(|c| {
            [
                c.inbound.len(),
                c.outbound.len(),
                usize::from(c.dead),
                usize::MAX,
            ]
        });
        sessions.chain(connections).collect()
    }
}

/// Puts the next bytes of a side where its read is to go, and says how many.
fn put(room: Room<'_>, bytes: &mut VecDeque<u8>, count: usize) -> usize {
    match room {
        Room::Memory(space) => {
            assert!(!space.is_empty(), "a read into nothing looks like an end");
            let count = count.min(space.len()).min(bytes.len());
            for (to, byte) in space.iter_mut().zip(bytes.drain(..count)) {
                *to = byte;
            }
            count
        }
        Room::Pipe(pipe, most) => {
            let count = count.min(most).min(bytes.len());
            if count == 0 {
                return 0;
            }
            let (mut sender, from) = UnixStream::pair().expect("a pair of sockets");
            sender.set_nonblocking(true).expect("can be set");
            let bytes_now: Vec<u8> = bytes.iter().take(count).copied().collect();
            let sent = sender.write(&bytes_now).expect("there is room");
            let filled = pipe.fill(&from, sent).expect("can be spliced");
            bytes.drain(..filled);
            filled
        }
    }
}

/// Takes bytes that wait to be written, about so many.
fn take((own, passing): (&[u8], Passing<'_>), count: usize) -> Vec<u8> {
    match passing {
        Passing::Memory(bytes) => own.iter().chain(bytes).take(count).copied().collect(),
        Passing::Pipe(_) if !own.is_empty() => own.iter().take(count).copied().collect(),
        Passing::Pipe(pipe) => {
            let (to, mut receiver) = UnixStream::pair().expect("a pair of sockets");
            to.set_nonblocking(true).expect("can be set");
            let mut bytes = vec![0; pipe.drain(&to).expect("can be spliced")];
            receiver.read_exact(&mut bytes).expect("all of it is there");
            bytes
        }
    }
}

fn waiting((own, passing): (&[u8], Passing<'_>)) -> usize {
    let passing = match passing {
        Passing::Memory(bytes) => bytes.len(),
        Passing::Pipe(pipe) => pipe.held(),
    };
    own.len() + passing
}

/// The frames of a byte stream, and what is left over.
pub(super) fn frames(mut bytes: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut frames = Vec::new();
    while let Some(&len) = bytes.first() {
        let len = 1 + usize::from(len);
        if bytes.len() < len {
            break;
        }
        let (frame, rest) = bytes.split_at(len);
        frames.push(frame);
        bytes = rest;
    }
    (frames, bytes)
}

/// Whether a frame is the toy plugin's error.
pub(super) fn is_sorry(frame: &[u8]) -> bool {
    frame == SORRY
}

//! The thin shell of I/O around the engine: one task per session.
//!
//! Reads what the engine wants, writes what it has, leases and gives back, and watches the clock.
//! Written as one future by hand, so that an idle session is this struct and nothing else. Makes
//! no decision that the engine could make.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::clock::{Clock, Passed};
use super::context::ListenerContext;
use super::end::End;
use super::engine::{Engine, EngineLimits};
use super::registry::{Phase, Ticket};
use super::shared::Member;
use super::stream::{Quiet, local_address, read, write};
use super::unplugged::Unplugged;
use crate::contract::{Hooks, SessionInfo, Side};
use crate::copy::{Room, is_unsupported};
use crate::lease::{Lease, Waiting};
use crate::plugin::{Fault, SessionHooks};

/// One client's session, to be spawned on its worker.
pub struct SessionTask {
    id: u64,
    pub(super) client: TcpStream,
    peer: SocketAddr,
    pub(super) engine: Engine,
    pub(super) hooks: Box<dyn SessionHooks>,
    pub(super) lease: Option<Lease>,
    pub(super) leasing: Option<Waiting>,
    /// Its part in shared connections, once it has one.
    pub(super) sharing: Option<Member>,
    pub(super) context: Rc<ListenerContext>,
    ticket: Ticket,
    clock: Clock,
    pub(super) leases: u64,
    /// Requests that went to shared connections.
    pub(super) shared: u64,
    from_client: u64,
    pub(super) from_upstream: u64,
    pub(super) quiet: Quiet,
    started: bool,
    /// Nobody waits for the client any more.
    stopping: bool,
}

impl SessionTask {
    /// A session for a client that has just been accepted.
    ///
    /// # Errors
    /// The fault of the plugin, if it cannot even begin.
    pub fn new(
        id: u64,
        client: TcpStream,
        peer: SocketAddr,
        context: Rc<ListenerContext>,
    ) -> Result<Self, Fault> {
        context.counters.accepted.inc();
        let (hooks, default_target): (Box<dyn SessionHooks>, _) = match &context.plugin {
            Some(plugin) => {
                let info = SessionInfo {
                    id,
                    listener: context.config.name.clone(),
                    client_address: peer.to_string(),
                    local_address: local_address(&client, context.config.bind).to_string(),
                };
                let hooks = plugin.open(&info);
                let hooks = Box::new(hooks.inspect_err(|fault| context.counters.not_begun(fault))?);
                let asks = hooks.has().contains(Hooks::CHOOSE_UPSTREAM);
                let target = (!asks).then(|| Arc::clone(context.caretaker.default_target()));
                (hooks, target)
            }
            None => {
                let target = Arc::clone(context.caretaker.default_target());
                (Box::new(Unplugged), Some(target))
            }
        };
        let limits = EngineLimits {
            max_shown: context.max_shown,
            replay_limit: context.config.replay_limit,
            calls_a_turn: CALLS_A_TURN,
        };
        context.counters.open.inc();
        Ok(Self {
            id,
            client,
            peer,
            engine: Engine::new(
                hooks.has(),
                limits,
                Rc::clone(&context.targets),
                default_target,
            ),
            hooks,
            lease: None,
            leasing: None,
            sharing: None,
            ticket: context.registry.enter(),
            clock: Clock::new(&context.config),
            context,
            leases: 0,
            shared: 0,
            from_client: 0,
            from_upstream: 0,
            quiet: Quiet::default(),
            started: false,
            stopping: false,
        })
    }

    fn leases_at_accept(&self) -> bool {
        self.context.plugin.as_ref().is_none_or(|plugin| {
            let info = plugin.plugin().info();
            info.speaks_first == Side::Upstream || !info.hooks.contains(Hooks::CHOOSE_UPSTREAM)
        })
    }

    /// Hears what others want of this session.
    fn listen(&mut self, cx: &mut Context<'_>) {
        if self.lease.as_ref().is_some_and(Lease::is_ended) {
            self.lose("its endpoint was ejected");
        }
        let hooks = self.hooks.as_mut();
        if let Poll::Ready(fault) = hooks.poll_fault(cx) {
            self.engine.faulted(fault, hooks);
        }
        match self.ticket.phase(cx) {
            Phase::Serving => {}
            Phase::Draining => self.engine.drain(hooks),
            Phase::Stopping | Phase::Gone => {
                self.engine.stop(hooks);
                self.stopping = true;
            }
        }
    }

    /// Tells the log of trouble, if it has not just been told of the same.
    pub(super) fn complain(&self, kind: &'static str, what: &str) {
        if let Some(left_out) = self.context.complaints.may_say(kind, now()) {
            tracing::warn!(
                session = self.id,
                listener = self.context.config.name,
                plugin = self.plugin_name(),
                kind,
                left_out,
                "{what}"
            );
        }
    }

    fn plugin_name(&self) -> &str {
        self.context.config.plugin.as_deref().unwrap_or("-")
    }

    /// Writes what is there for one side. True if anything went.
    fn flush(&mut self, side: Side, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while self.engine.has_output(side) {
            let (own, passing) = self.engine.output(side);
            let written = match (side, &mut self.lease) {
                (Side::Client, _) => write(&mut self.client, cx, own, passing),
                (Side::Upstream, Some(lease)) => write(lease.stream_mut(), cx, own, passing),
                (Side::Upstream, None) => return moved,
            };
            match written {
                Poll::Pending => break,
                Poll::Ready(Ok(count)) => {
                    if let (Side::Upstream, Some(lease)) = (side, &mut self.lease) {
                        lease.wrote(count);
                    }
                    self.engine.wrote(side, count);
                }
                Poll::Ready(Err(error)) if side == Side::Upstream => {
                    if let Some(lease) = &mut self.lease {
                        lease.failed(&error);
                    }
                    self.engine.upstream_write_failed();
                }
                Poll::Ready(Err(_)) => self.engine.client_broke(self.hooks.as_mut()),
            }
            moved = true;
        }
        if moved {
            self.engine.run(self.hooks.as_mut());
        }
        moved
    }

    /// Reads once from one side, if that is wanted. True if anything came.
    fn fill(&mut self, side: Side, cx: &mut Context<'_>) -> bool {
        if *self.quiet.of(side) || !self.engine.wants_read(side) {
            return false;
        }
        let room = self.engine.room(side, &self.context.buffers);
        if matches!(&room, Room::Memory(space) if space.is_empty()) {
            // A read into nothing would look like an end.
            return false;
        }
        let by_pipe = matches!(room, Room::Pipe(..));
        let read = match (side, &mut self.lease) {
            (Side::Client, _) => read(&mut self.client, cx, room),
            (Side::Upstream, Some(lease)) => read(lease.stream_mut(), cx, room),
            (Side::Upstream, None) => return false,
        };
        let hooks = self.hooks.as_mut();
        match (side, read) {
            (_, Poll::Pending) => {
                *self.quiet.of(side) = true;
                return false;
            }
            (_, Poll::Ready(Err(error))) if by_pipe && is_unsupported(&error) => {
                tracing::warn!("this machine does not splice, so bulk is copied: {error}");
                self.context.buffers.refuse_pipes();
            }
            (_, Poll::Ready(Ok(0))) => {
                if let (Side::Upstream, Some(lease)) = (side, &mut self.lease) {
                    lease.ended();
                }
                self.engine.ended(side);
                self.engine.run(hooks);
            }
            (Side::Upstream, Poll::Ready(Ok(_)))
                if self.lease.as_ref().is_some_and(Lease::is_unasked) =>
            {
                self.lose("it sent bytes that nobody had asked for");
            }
            (side, Poll::Ready(Ok(count))) => {
                match (side, &mut self.lease) {
                    (Side::Upstream, Some(lease)) => {
                        lease.replied();
                        self.from_upstream += count as u64;
                    }
                    _ => self.from_client += count as u64,
                }
                self.engine.filled(side, count);
                self.engine.run(hooks);
            }
            (Side::Client, Poll::Ready(Err(_))) => self.engine.client_broke(hooks),
            (Side::Upstream, Poll::Ready(Err(error))) => {
                if let Some(lease) = &mut self.lease {
                    lease.failed(&error);
                }
                self.lose(&error.to_string());
            }
        }
        true
    }

    /// Passes ends on. True if anything changed.
    fn shut(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        if self.engine.upstream_end_is_loss() {
            let delivered = self.lease.as_ref().is_none_or(Lease::delivered);
            if self.engine.passes_end_on(delivered) {
                self.engine.run(self.hooks.as_mut());
            } else {
                self.lose("the upstream closed the connection");
            }
            moved = true;
        }
        for side in [Side::Upstream, Side::Client] {
            if !self.engine.wants_shutdown(side) {
                continue;
            }
            // An error here means that the side is gone: its reading half will tell.
            let _ = match (side, &mut self.lease) {
                (Side::Client, _) => Pin::new(&mut self.client).poll_shutdown(cx),
                (Side::Upstream, Some(lease)) => {
                    lease.shut();
                    Pin::new(lease.stream_mut()).poll_shutdown(cx)
                }
                (Side::Upstream, None) => continue,
            };
            self.engine.was_shut(side);
            self.engine.run(self.hooks.as_mut());
            moved = true;
        }
        moved
    }

    /// Reads and forgets what the client still sends after its session has ended, so that
    /// closing does not destroy what it has not read yet. Ready when the client has closed.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waste = [0; 512];
        loop {
            match read(&mut self.client, cx, Room::Memory(&mut waste)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
            }
        }
    }

    fn last_words(&self, end: &End) {
        let counters = &self.context.counters;
        counters.ended(end.name());
        counters.open.dec();
        counters.from_client.inc_by(self.from_client);
        counters.from_upstream.inc_by(self.from_upstream);
        let listener = &self.context.config.name;
        let plugin = self.plugin_name();
        if matches!(end, End::Misuse(_) | End::ShownLimit(_))
            && let Some(left_out) = self.context.complaints.may_say(end.name(), now())
        {
            tracing::warn!(
                session = self.id,
                listener,
                plugin,
                peer = %self.peer,
                left_out,
                "session ended: {end}"
            );
        }
        tracing::debug!(
            session = self.id,
            listener,
            plugin,
            peer = %self.peer,
            leases = self.leases,
            shared = self.shared,
            from_client = self.from_client,
            from_upstream = self.from_upstream,
            seconds = self.clock.age().as_secs_f64(),
            end = end.name(),
            "session ended: {end}"
        );
    }
}

impl Future for SessionTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.started, true) && this.leases_at_accept() {
            this.engine.start(this.hooks.as_mut());
        }
        this.quiet = Quiet::default();
        this.engine.take_turn(this.hooks.as_mut());
        loop {
            this.listen(cx);
            let mut moved = false;
            let mut rounds = 0;
            loop {
                // In the order in which one thing leads to the next: a request, a lease, the write.
                let mut round = this.fill(Side::Upstream, cx);
                round |= this.fill(Side::Client, cx);
                round |= this.settle_lease(cx);
                round |= this.share(cx);
                round |= this.flush(Side::Upstream, cx);
                round |= this.flush(Side::Client, cx);
                round |= this.shut(cx);
                moved |= round;
                if !round {
                    break;
                }
                // The runtime's budget ends a task that always has something to read or write;
                // this ends one whose plugin goes round without either.
                rounds += 1;
                if rounds >= MAX_ROUNDS {
                    cx.waker().wake_by_ref();
                    break;
                }
            }
            if this.engine.waits_for_turn() {
                cx.waker().wake_by_ref();
            }
            if this.stopping {
                return Poll::Ready(());
            }
            this.engine.settle(&this.context.buffers);
            if moved {
                this.clock.moved();
            }
            if let Some(deadline) = this.engine.take_deadline() {
                this.clock.set_deadline(deadline);
            }
            if this.engine.end().is_some()
                && !this.engine.has_output(Side::Client)
                && (this.engine.client_has_ended()
                    || (this.clock.lingering() && this.linger(cx).is_ready()))
            {
                return Poll::Ready(());
            }
            match this.clock.poll(cx, &this.engine, &this.context.config) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(_) if this.engine.end().is_some() => return Poll::Ready(()),
                Poll::Ready(Passed::Limit(name)) => {
                    this.engine.expire(name, this.hooks.as_mut());
                }
                Poll::Ready(Passed::Deadline(deadline)) => {
                    this.engine.deadline_passed(&deadline, this.hooks.as_mut());
                }
            }
        }
    }
}

impl Drop for SessionTask {
    fn drop(&mut self) {
        let end = self.engine.end().cloned().unwrap_or(End::Drain);
        self.last_words(&end);
    }
}

/// Rounds of one wake-up before other tasks get a turn.
const MAX_ROUNDS: u32 = 64;

/// Calls of one wake-up for what a client has sent, before other tasks get a turn. One is enough for what
/// ordinary clients send at once.
const CALLS_A_TURN: u32 = 64;

/// How long an ended session waits for its client to close too.
pub(super) const LINGER: std::time::Duration = std::time::Duration::from_secs(1);

/// The time now, as tests can stop it.
pub(super) fn now() -> Instant {
    Instant::now()
}

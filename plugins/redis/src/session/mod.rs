//! One client: which of its commands go to a connection, how long it keeps that, and what
//! becomes of it.
//!
//! Owns the session's state and nothing else: bytes stay with the host, except where the plugin
//! answers itself. The hooks are here; what they do is in [`client`] (commands), [`own`]
//! (commands that the relay answers or that change who the client is), [`replies`] and
//! [`failure`].

mod client;
mod failure;
mod own;
mod pin;
mod replies;

use std::collections::VecDeque;
use std::rc::Rc;

use leaseway_sdk::{
    Choice, ChooseUpstream, Disposition, LeaseError, LeaseOutcome, OnData, OnEof, OnLeaseFailed,
    OnRequestFailed, PoolReturn, Side, Steps,
};

use crate::config::Config;
use crate::identity::Identity;
use crate::resp::reply::Replies;
use crate::resp::request::Rest;
use crate::resp::write;
use pin::Pin;

/// What all sessions of a plugin share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// Who a client is until it says otherwise.
    pub(crate) identity: Rc<Identity>,
}

/// The state of one client.
pub struct Session {
    shared: Rc<Shared>,
    identity: Rc<Identity>,
    /// For whom it has last asked for a connection.
    named: Option<Rc<Identity>>,
    /// The client has had a connection of its identity, so the server agrees to that.
    proved: bool,
    /// The client wants to be somebody else, and a connection has been asked for to find out
    /// whether it may.
    claim: Option<Claim>,
    /// What is left of the client's request under way: to be forwarded while a connection is
    /// leased, and to be swallowed while none is.
    frame: Rest,
    lease: Lease,
    /// The client sends no more.
    client_ended: bool,
}

/// What a client wants to become.
struct Claim {
    identity: Rc<Identity>,
}

/// What is known of the connection that is leased or asked for; fresh for each lease.
#[derive(Default)]
struct Lease {
    /// Bytes that the steps behind the lease cover: they still stand there if it fails.
    first: u64,
    /// Commands whose replies have not ended.
    owed: u64,
    /// Commands sent.
    taken: u64,
    /// Of these, the ones that may wait for others and have no reply yet; the first has number 1.
    blocking: VecDeque<u64>,
    /// The last command sent is unknown, and its reply has not begun. Nothing follows it.
    unknown: bool,
    replies: Replies,
    /// Replies have been covered past what was shown, and nobody knows whether they have come.
    past_shown: bool,
    /// Among the replies was an error.
    errors: bool,
    /// The client's uncovered bytes wait for replies.
    client_waits: bool,
    /// The release has been written down behind the last reply, and may still wait for it.
    releasing: bool,
    pin: Pin,
}

impl Session {
    pub(crate) fn new(shared: Rc<Shared>) -> Self {
        Self {
            identity: Rc::clone(&shared.identity),
            named: None,
            proved: false,
            shared,
            claim: None,
            frame: Rest::default(),
            lease: Lease::default(),
            client_ended: false,
        }
    }
}

impl Session {
    /// The client has ended, and only the server knows which of its commands will still have a
    /// reply: it is told of the end, and drops a client that waits. What the client has sent before
    /// goes there as it is, since nothing comes behind it.
    fn end_passes(&mut self, steps: Steps) -> Steps {
        self.lease.pin.stream();
        steps.forward_rest()
    }
}

impl Lease {
    /// Whether nothing more is expected from the server.
    fn is_quiet(&self) -> bool {
        self.owed == 0 && self.replies.at_boundary()
    }

    /// Whether the reply that is expected next may come late or never.
    fn may_wait(&self) -> bool {
        self.unknown || self.blocking.front() == Some(&(self.taken - self.owed + 1))
    }

    /// Takes note of replies.
    fn answered(&mut self, replies: u64) {
        self.owed -= replies;
        let answered = self.taken - self.owed;
        while self.blocking.front().is_some_and(|at| *at <= answered) {
            self.blocking.pop_front();
        }
    }

    /// What becomes of the connection if it has to be another's or nobody's.
    fn disposition_at_least_reset(&self) -> Disposition {
        match self.disposition() {
            Disposition::Keep => Disposition::Reset,
            worse => worse,
        }
    }

    fn disposition(&self) -> Disposition {
        if self.owed > 0 || !self.replies.at_boundary() || self.releasing {
            return Disposition::Close;
        }
        self.pin.disposition(self.errors)
    }
}

impl ChooseUpstream for Session {
    fn choose_upstream(&mut self, client_bytes: &[u8]) -> Choice {
        self.commands_without_lease(client_bytes)
    }
}

impl OnData for Session {
    fn on_data(&mut self, origin: Side, data: &[u8]) -> Steps {
        match origin {
            Side::Client => self.commands_in_lease(data),
            Side::Upstream => self.replies(data),
        }
    }
}

impl OnEof for Session {
    fn on_eof(&mut self, origin: Side) -> Steps {
        if origin == Side::Upstream {
            return Steps::new();
        }
        self.client_ended = true;
        if self.lease.pin.is_streaming() {
            return Steps::new().forward_rest();
        }
        // A request that will never be whole has no reply to wait for.
        let cut = !self.frame.is_done();
        if self.lease.is_quiet() || (cut && self.lease.owed <= 1) {
            return Steps::new().close("the client closed its side");
        }
        if cut || self.lease.may_wait() {
            return self.end_passes(Steps::new());
        }
        Steps::new()
    }
}

impl OnLeaseFailed for Session {
    fn on_lease_failed(&mut self, why: &LeaseError) -> Steps {
        self.failed(why)
    }
}

impl OnRequestFailed for Session {
    fn on_request_failed(&mut self, why: &LeaseError, replies: u32) -> Vec<u8> {
        write::own_error(why).repeat(replies as usize)
    }
}

impl PoolReturn for Session {
    fn pool_return(&mut self, _: LeaseOutcome) -> Disposition {
        if self.frame.is_done() {
            self.lease.disposition()
        } else {
            Disposition::Close
        }
    }
}

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

use std::rc::Rc;

use leaseway_sdk::{
    Choice, ChooseUpstream, Disposition, LeaseError, LeaseOutcome, OnData, OnEof, OnLeaseFailed,
    PoolReturn, Side, Steps,
};

use crate::config::Config;
use crate::identity::Identity;
use crate::resp::reply::Replies;
use crate::resp::request::Rest;
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
            shared,
            claim: None,
            frame: Rest::default(),
            lease: Lease::default(),
            client_ended: false,
        }
    }
}

impl Lease {
    /// Whether nothing more is expected from the server, as far as one can know.
    fn is_quiet(&self) -> bool {
        self.owed == 0 || self.pin.is_streaming()
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
        // A request that will never be whole has no reply to wait for.
        if self.lease.is_quiet() || !self.frame.is_done() {
            return Steps::new().close("the client closed its side");
        }
        Steps::new()
    }
}

impl OnLeaseFailed for Session {
    fn on_lease_failed(&mut self, why: &LeaseError) -> Steps {
        self.failed(why)
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

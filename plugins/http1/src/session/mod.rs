//! One client: its requests one after the other, each on a connection that it has until the response
//! has ended.
//!
//! The hooks are here; what they do is in [`begin`] (a request's head), [`upload`] (its body),
//! [`reply`] (the response) and [`failure`] (no connection, or no longer one). What is known of the
//! request under way is an [`Exchange`].

mod begin;
mod exchange;
mod failure;
mod reply;
mod upload;

use std::rc::Rc;
use std::time::Duration;

use leaseway_sdk::{
    Choice, ChooseUpstream, LeaseError, Leased, OnData, OnEof, OnLeaseFailed, OnLeased,
    SessionInfo, Side, Steps,
};

use crate::answers::Answer;
use crate::config::Config;
use crate::rewrite::{self, Persistence};
use crate::routes::Routes;
use crate::wire::Read;
use crate::wire::request::Request;

use exchange::Exchange;

/// What all sessions of an instance share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) routes: Routes,
    /// What the client is told if no response comes, and the same to `HEAD`: every request sets a
    /// deadline with it.
    late: [Vec<u8>; 2],
}

impl Shared {
    pub(crate) fn new(config: Config, routes: Routes) -> Self {
        let late = Answer {
            status: 504,
            why: "the server did not answer in time",
        };
        Self {
            config,
            routes,
            late: [false, true].map(|head| late.bytes(head, Persistence::Close)),
        }
    }

    fn late(&self, head: bool) -> &[u8] {
        &self.late[usize::from(head)]
    }
}

/// The state of one client.
pub struct Session {
    shared: Rc<Shared>,
    /// What servers are told of it.
    client: Box<str>,
    /// The address that it has connected to.
    local: Box<str>,
    timer: Timer,
    /// An empty line in front of the next request has been put up with.
    blank: bool,
    /// The request under way.
    exchange: Option<Box<Exchange>>,
}

/// What the session's deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    None,
    /// The rest of a head.
    Head,
    /// More of a body.
    Body,
    /// The beginning of a response.
    Response,
}

impl Session {
    pub(crate) fn new(shared: Rc<Shared>, info: &SessionInfo) -> Self {
        Self {
            client: rewrite::client(&info.client_address, shared.config.forwarded).into(),
            shared,
            local: info.local_address.as_str().into(),
            timer: Timer::None,
            blank: false,
            exchange: None,
        }
    }

    /// Lifts the deadline, if there is one.
    fn untimed(&mut self, steps: Steps) -> Steps {
        match std::mem::replace(&mut self.timer, Timer::None) {
            Timer::None => steps,
            Timer::Head | Timer::Body | Timer::Response => steps.no_deadline(),
        }
    }

    /// More of a head has to come.
    fn need_more(&mut self) -> Choice {
        if self.timer == Timer::Head {
            return Choice::NeedMore;
        }
        self.timer = Timer::Head;
        let within = Duration::from_secs(self.shared.config.head_timeout.into());
        let late = Answer {
            status: 408,
            why: "the request did not come in time",
        };
        let farewell = late.bytes(false, Persistence::Close);
        Choice::answer(Steps::new().deadline(within, farewell))
    }
}

impl ChooseUpstream for Session {
    fn choose_upstream(&mut self, bytes: &[u8]) -> Choice {
        if self.exchange.is_some() {
            // Whatever has come to this: these bytes may be a body.
            return Choice::answer(Steps::new().close("a request that was not sent to its end"));
        }
        match bytes {
            // RFC 9112, 2.2.
            [b'\r', b'\n', ..] if !self.blank => {
                self.blank = true;
                let steps = self.untimed(Steps::new());
                return Choice::answer(steps.discard(2));
            }
            [] | [b'\r'] => return self.need_more(),
            _ => {}
        }
        let shared = Rc::clone(&self.shared);
        match Request::read(bytes, shared.config.limits()) {
            Read::Complete(request) => self.begin(&request, bytes.len()),
            Read::Incomplete => self.need_more(),
            Read::Invalid(refusal) => {
                let answer = Answer {
                    status: refusal.status,
                    why: refusal.why,
                };
                let steps = self.untimed(Steps::new());
                let words = answer.bytes(false, Persistence::Close);
                Choice::answer(steps.send(Side::Client, words).close(refusal.why))
            }
        }
    }
}

impl OnLeased for Session {
    fn on_leased(&mut self, lease: &Leased) -> Steps {
        self.send(lease.fresh)
    }
}

impl OnData for Session {
    fn on_data(&mut self, origin: Side, data: &[u8]) -> Steps {
        match origin {
            Side::Client => self.upload(data),
            Side::Upstream => self.reply(data),
        }
    }
}

impl OnEof for Session {
    fn on_eof(&mut self, _: Side) -> Steps {
        self.client_ended()
    }
}

impl OnLeaseFailed for Session {
    fn on_lease_failed(&mut self, why: &LeaseError) -> Steps {
        self.failed(why)
    }
}

//! One client: what of its commands shares a connection, and what has one of its own.
//!
//! A command that earns exactly one reply, and is all there, shares a connection ([`share`]). All
//! others go over a connection of their own ([`batch`]), at whose end the server is asked for its
//! version: with that answer, all that came before is in, however much it was. A retrieval from
//! several servers asks one after the other ([`scatter`]). Some things need no server ([`local`]).

mod batch;
mod local;
mod scatter;
mod share;

use std::rc::Rc;

use leaseway_sdk::frame::Parsed;
use leaseway_sdk::{
    Choice, ChooseUpstream, LeaseError, OnData, OnEof, OnLeaseFailed, OnRequestFailed, Side, Steps,
    Target,
};

use crate::places::{Place, Places};
use crate::wire::binary;
use crate::wire::request::{Class, Command, ERROR, Front, front};
use batch::Batch;
use scatter::Scatter;

/// So many bytes of lines are enough for one call: each may be full of keys whose places are to be
/// worked out.
const MAX_LINES: usize = 32 * 1024;

/// The state of one client.
pub struct Session {
    places: Rc<Places>,
    /// Its servers know the meta commands.
    meta: bool,
    /// What it has last asked for.
    named: Option<Place>,
    /// What it does with the connection that is leased or asked for.
    lease: Lease,
}

#[derive(Default)]
enum Lease {
    /// There is none.
    #[default]
    None,
    Batch(Batch),
    Scatter(Scatter),
}

impl Session {
    pub(crate) fn new(places: Rc<Places>, meta: bool) -> Self {
        Self {
            places,
            meta,
            named: None,
            lease: Lease::None,
        }
    }

    /// What stands at the front. Meta commands are unknown here if they are to the servers, but for
    /// where they end.
    fn front<'a>(&self, shown: &'a [u8]) -> Parsed<Front<'a>> {
        front(shown).map(|front| match front {
            Front::Command(command) if !self.meta && command.is_meta() => Front::Refused {
                error: ERROR.to_owned(),
                length: Some(command.length),
            },
            Front::Noop(length) if !self.meta => Front::Refused {
                error: ERROR.to_owned(),
                length: Some(length),
            },
            front => front,
        })
    }

    /// What to lease; none if the host has been told of that last.
    fn target(&mut self, place: Place) -> Option<Target> {
        if self.named.replace(place) == Some(place) {
            return None;
        }
        Some(self.places.target(place))
    }

    /// Where all keys of a command are; none if they are in several places.
    fn place(&self, command: &Command<'_>) -> Option<Place> {
        let mut keys = command.keys();
        let Some(first) = keys.next() else {
            return Some(Place::Any);
        };
        let place = self.places.of(first);
        (self.places.is_single() || keys.all(|key| self.places.of(key) == place)).then_some(place)
    }

    /// The commands at the front that are all there and for this place, behind one whose line has so many
    /// bytes: as many as there is time for in one call.
    fn along<'s>(
        &self,
        place: Place,
        mut shown: &'s [u8],
        mut lines: usize,
    ) -> impl Iterator<Item = Command<'s>> {
        std::iter::from_fn(move || {
            let Parsed::Complete {
                value: Front::Command(command),
                ..
            } = self.front(shown)
            else {
                return None;
            };
            lines += command.line.len();
            let end = usize::try_from(command.length).ok()?;
            let rest = shown.get(end..).filter(|_| lines <= MAX_LINES)?;
            if self.place(&command) != Some(place) {
                return None;
            }
            shown = rest;
            Some(command)
        })
    }

    /// Whether a command is for a server as a whole, and there are several.
    fn is_for_each(&self, command: &Command<'_>) -> bool {
        matches!(command.class, Class::Admin { .. }) && !self.places.is_single()
    }

    /// A command for a server stands at the front. Where its keys are is worked out once: there may
    /// be very many of them.
    fn command(&mut self, first: &Command<'_>, shown: &[u8]) -> Choice {
        let Some(place) = self.place(first) else {
            return self.scatter(first);
        };
        let requests = self.shareable(place, first, shown);
        match requests.is_empty() {
            true => self.batch(place, first, shown),
            false => Choice::share(self.target(place), requests),
        }
    }
}

/// A line of memcached's.
fn error(text: &str) -> Vec<u8> {
    format!("{text}\r\n").into_bytes()
}

/// An error of the relay's own.
fn own_error(why: &LeaseError) -> Vec<u8> {
    // One line, whatever it was made of.
    let why = why.to_string().replace(['\r', '\n'], " ");
    error(&format!("SERVER_ERROR leaseway: {why}"))
}

impl ChooseUpstream for Session {
    fn choose_upstream(&mut self, shown: &[u8]) -> Choice {
        self.lease = Lease::None;
        match self.front(shown) {
            Parsed::Incomplete { .. } => Choice::NeedMore,
            Parsed::Invalid(why) => Choice::refuse(error(why), why),
            Parsed::Complete { value, .. } => match value {
                Front::Command(command) if !self.is_for_each(&command) => {
                    self.command(&command, shown)
                }
                Front::Quit => Choice::answer(Steps::new().close("the client said quit")),
                Front::Refused {
                    error: why,
                    length: None,
                } => Choice::refuse(error(&why), why),
                Front::Binary(header) => Choice::refuse(
                    binary::refusal(&header),
                    "the client speaks the binary protocol",
                ),
                Front::Command(_) | Front::Noop(_) | Front::Refused { .. } => self.answer(shown),
            },
        }
    }
}

impl OnData for Session {
    fn on_data(&mut self, origin: Side, data: &[u8]) -> Steps {
        match (&mut self.lease, origin) {
            (Lease::Batch(batch), Side::Client) => batch.rest(data),
            (Lease::Batch(batch), Side::Upstream) => batch.replies(data),
            // What the client sends meanwhile waits for its turn.
            (Lease::Scatter(_) | Lease::None, Side::Client) => Steps::new(),
            (Lease::Scatter(_), Side::Upstream) => self.gather(data),
            (Lease::None, Side::Upstream) => Steps::new().close("the server spoke unasked"),
        }
    }
}

impl OnEof for Session {
    fn on_eof(&mut self, _: Side) -> Steps {
        match &self.lease {
            Lease::Batch(batch) if batch.is_cut() => {
                Steps::new().close("the client closed its side in the middle of a value")
            }
            // What was asked for is answered.
            _ => Steps::new(),
        }
    }
}

impl OnLeaseFailed for Session {
    fn on_lease_failed(&mut self, why: &LeaseError) -> Steps {
        match std::mem::take(&mut self.lease) {
            Lease::Batch(batch) => batch.failed(why),
            Lease::Scatter(scatter) => scatter.failed(why),
            Lease::None => Steps::new(),
        }
    }
}

impl OnRequestFailed for Session {
    fn on_request_failed(&mut self, why: &LeaseError, replies: u32) -> Vec<u8> {
        own_error(why).repeat(replies as usize)
    }
}

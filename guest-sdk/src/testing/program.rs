//! What each step does, and in what state a lease ends: the part of [`Relay`] that the host has
//! in `session/steps.rs`. Panics where the contract says "an error".

use super::record::{LeaseEnd, SessionEnd};
use super::relay::{Relay, other};
use super::way::{Owed, Way};
use crate::{Disposition, Hooks, Side, Step};

impl Relay {
    /// Carries out one step of a side's program, or hands it back if it has to wait.
    pub(super) fn execute(&mut self, side: Side, step: Step) -> Result<Option<Step>, SessionEnd> {
        match step {
            Step::Forward(count) | Step::ForwardIdempotent(count) => {
                self.needs_lease("`forward`");
                if count > 0 {
                    self.way_mut(side).owed = Owed::Forward(count);
                }
            }
            Step::ForwardRest => {
                self.needs_lease("`forward-rest`");
                let way = self.way_mut(side);
                assert!(
                    way.program.is_empty(),
                    "there are steps behind `forward-rest`"
                );
                way.owed = Owed::Rest;
            }
            Step::Discard(count) => {
                if side == Side::Upstream {
                    self.needs_lease("`discard` of the upstream's bytes");
                }
                if count > 0 {
                    self.way_mut(side).owed = Owed::Discard(count);
                }
            }
            Step::Send((to, bytes)) => {
                if to == Side::Upstream {
                    self.needs_lease("`send` to the upstream");
                }
                if side == Side::Client && to == Side::Client && self.upstream.will_forward() {
                    // Not in the middle of a reply.
                    return Ok(Some(Step::Send((to, bytes))));
                }
                // Behind all that is on its way to that side.
                let ahead = std::mem::take(&mut self.way_mut(other(to)).passing);
                let own = &mut self.way_mut(to).own;
                own.extend(ahead);
                own.extend(bytes);
            }
            Step::Lease(target) => {
                assert!(
                    !self.held() && !self.waiting(),
                    "`lease` while a lease is held"
                );
                let target = self.named(Some(target));
                self.ask(target);
            }
            Step::Release(disposition) => {
                self.needs_lease("`release`");
                let in_reply = side == Side::Client && self.upstream.will_forward();
                if self.unwritten() || in_reply {
                    return Ok(Some(Step::Release(disposition)));
                }
                self.release(side, disposition);
            }
            Step::Retag(tag) => {
                self.needs_lease("`retag`");
                self.current().retagged = Some(tag);
            }
            Step::Deadline(deadline) => self.deadline = deadline,
            Step::Close(reason) => return Err(SessionEnd::Plugin(reason)),
        }
        Ok(None)
    }

    fn needs_lease(&self, what: &str) {
        assert!(self.held(), "{what} without a lease");
    }

    fn unwritten(&self) -> bool {
        !self.upstream.own.is_empty() || !self.client.passing.is_empty()
    }

    /// The plugin gives the connection back while the session goes on.
    fn release(&mut self, side: Side, disposition: Disposition) {
        // What stands behind it is the client's to go on with, whoever's it was.
        let behind_skip = self.client.behind_skip;
        let behind = std::mem::take(&mut self.way_mut(side).program);
        self.give_back(disposition);
        match side {
            Side::Client => {
                self.client.program = behind;
                self.client.behind_skip = behind_skip;
            }
            // There is no upstream side without a lease.
            Side::Upstream => self.client.go_last(behind),
        }
    }

    /// Why the connection cannot go to another session as it is, if there is a reason.
    pub(super) fn doubt(&self) -> Option<&'static str> {
        if self.upstream.ended {
            Some("the upstream closed it")
        } else if self.half_closed {
            Some("the client's half-close was passed on")
        } else if !self.upstream.uncovered.is_empty() {
            Some("bytes of the upstream were left unread")
        } else if self.upstream.covers_more() || self.client.covers_more() {
            Some("bytes that a step covered had not come yet")
        } else if self.client.speaks_to_upstream() || self.upstream.speaks_to_upstream() {
            Some("a `send` to the upstream had to wait")
        } else if self.client.retags() || self.upstream.retags() {
            Some("a `retag` had to wait")
        } else if self.unwritten() {
            Some("not all that was for the upstream had been written")
        } else {
            None
        }
    }

    /// Ends the lease.
    pub(super) fn give_back(&mut self, disposition: Disposition) {
        let closes = disposition == Disposition::Close || self.current().target.unpooled;
        let end = match (disposition, self.doubt()) {
            _ if closes => LeaseEnd::Returned(Disposition::Close),
            (_, Some(why)) => LeaseEnd::Doubted(why),
            (Disposition::Reset, None) if !self.has(Hooks::RESET) => {
                LeaseEnd::Returned(Disposition::Close)
            }
            (kept, None) => LeaseEnd::Returned(kept),
        };
        self.leave_connection(end);
    }

    /// Leaves both sides as they are without a connection.
    pub(super) fn leave_connection(&mut self, end: LeaseEnd) {
        self.current().end = end;
        self.half_closed = false;
        self.client.go_on_without_lease();
        self.upstream = Way {
            // Covered, and so the client's.
            passing: std::mem::take(&mut self.upstream.passing),
            ..Way::default()
        };
    }
}

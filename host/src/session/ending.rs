//! How leases and sessions end: whether the host can vouch for a connection, and what is left of both
//! sides without it.

use super::end::End;
use super::engine::{Engine, Giveback};
use super::half::Owed;
use super::held::LeaseState;
use super::sharing::Sharing;
use crate::contract::{Deadline, Disposition, Hooks, LeaseError, LeaseOutcome, Side};
use crate::plugin::SessionHooks;

impl Engine {
    /// Ends the session, giving back a connection that it still holds. The first end counts.
    pub(super) fn finish(&mut self, end: End, hooks: &mut dyn SessionHooks) {
        if self.end.is_some() {
            return;
        }
        let mut end = end;
        if let LeaseState::Held(held) = &self.lease {
            let outcome = end.reason().map(|reason| LeaseOutcome {
                reason,
                sent: held.sent,
                received: held.received,
            });
            let unclean = self.unclean();
            let disposition = match outcome {
                Some(outcome) if unclean.is_none() && self.has.contains(Hooks::POOL_RETURN) => {
                    match hooks.pool_return(outcome) {
                        Ok(disposition) => disposition,
                        Err(fault) => {
                            end = End::Fault(fault);
                            Disposition::Close
                        }
                    }
                }
                _ => Disposition::Close,
            };
            self.give_back(disposition);
        }
        self.lease = LeaseState::None;
        self.sharing = Sharing::default();
        self.ask_pending = false;
        self.deadline = None;
        self.client.steps.clear();
        self.upstream.steps.clear();
        self.client.input.truncate(0);
        self.client.kept = 0;
        self.client.passing = 0;
        self.upstream.drop_uncovered();
        self.upstream.output.clear();
        self.upstream.owed = Owed::Nothing;
        self.client.owed = Owed::Nothing;
        self.end = Some(end);
    }

    /// Why the connection cannot go to another session as it is, if there is a reason.
    pub(super) fn unclean(&self) -> Option<&'static str> {
        let LeaseState::Held(held) = &self.lease else {
            return Some("no-lease");
        };
        if self.upstream.ended {
            Some("closed-by-upstream")
        } else if held.write_failed {
            Some("write-failed")
        } else if self.upstream.shut {
            Some("half-closed")
        } else if self.upstream.uncovered() > 0 {
            Some("unread-bytes")
        } else if self.upstream.covers_more() {
            Some("reply-unfinished")
        } else if self.client.covers_more()
            || self.client.speaks_to_upstream()
            || self.upstream.speaks_to_upstream()
        {
            Some("request-unfinished")
        } else if self.client.retags() || self.upstream.retags() {
            Some("retag-unfinished")
        } else if !self.upstream.output.is_empty() || self.client.passing > 0 {
            Some("request-unwritten")
        } else {
            None
        }
    }

    /// The plugin's own time limit has passed.
    pub fn deadline_passed(&mut self, deadline: &Deadline, hooks: &mut dyn SessionHooks) {
        let may_speak = self.end.is_none() && self.is_between_messages();
        self.finish(End::Deadline(deadline.ms), hooks);
        if may_speak && !deadline.farewell.is_empty() {
            self.send(Side::Client, &deadline.farewell);
        }
    }

    /// Whether what the client gets next would not stand in the middle of anything.
    fn is_between_messages(&self) -> bool {
        self.upstream.owed != Owed::Rest
            && !self.upstream.says_more()
            && !self.client.sends_to_client()
            && self.sharing.is_quiet()
            // Nothing can be put behind what is in a pipe.
            && !self.upstream.is_piped()
    }

    /// The connection in place of a dead one has another tag than the plugin was told: it goes back
    /// as it came, and the lease is lost.
    pub(super) fn not_replaced(&mut self, why: &str, hooks: &mut dyn SessionHooks) {
        self.giveback = Some(Giveback {
            disposition: Disposition::Keep,
            unclean: None,
            retag: None,
        });
        self.leave_connection();
        let why = LeaseError::Lost(format!("{why}; its replacement has another tag"));
        let result = self.tell_lease_failed(why, hooks);
        self.settle_result(result, hooks);
        self.run(hooks);
    }

    /// Hands the connection to the driver.
    pub(super) fn give_back(&mut self, disposition: Disposition) {
        let unclean = self.unclean();
        let retag = match std::mem::replace(&mut self.lease, LeaseState::None) {
            LeaseState::Held(held) => held.retag,
            LeaseState::None | LeaseState::Asked(_) => None,
        };
        self.giveback = Some(Giveback {
            disposition,
            unclean,
            retag,
        });
        self.leave_connection();
    }

    /// Leaves both sides as they are without a connection.
    pub(super) fn leave_connection(&mut self) {
        // Bytes that were meant for it.
        self.client.kept += self.client.passing;
        self.client.passing = 0;
        self.client.drop_kept();
        self.client.go_on_without_lease();
        self.upstream.forget_connection();
    }
}

//! The server's side of a lease: replies go to the client, and with the last one the connection
//! goes back.

use std::rc::Rc;

use leaseway_sdk::{Steps, warn};

use super::{Lease, Session};

impl Session {
    /// Bytes have come from the leased connection.
    #[inline]
    pub(super) fn replies(&mut self, shown: &[u8]) -> Steps {
        if self.lease.pin.is_streaming() {
            return Steps::new().forward_rest();
        }
        let lease = &mut self.lease;
        // The host shows more only when everything covered has come.
        lease.past_shown = false;
        let covered = match lease.replies.cover(shown, lease.owed) {
            Ok(covered) => covered,
            Err(why) => {
                warn!("the server does not speak RESP: {why}");
                return Steps::new().close(why.to_string());
            }
        };
        if covered.bytes == 0 {
            if lease.owed == 0 && lease.replies.at_boundary() && shown[..1] != *b">" {
                return Steps::new().close("the server sent what nobody asked for");
            }
            return Steps::new();
        }
        lease.owed -= covered.replies;
        lease.errors |= covered.errors;
        lease.past_shown = covered.bytes > shown.len() as u64;
        let steps = Steps::new().forward(covered.bytes);
        if lease.owed > 0 || !lease.replies.at_boundary() {
            return steps;
        }
        self.all_replies_in(steps)
    }

    /// These steps bring the last reply that was expected.
    fn all_replies_in(&mut self, steps: Steps) -> Steps {
        if let Some(claim) = self.claim.take()
            && !self.lease.errors
        {
            self.identity = Rc::clone(&claim.identity);
        }
        if !self.frame.is_done() {
            // The server has answered a request before its end, so it has refused it as such.
            return steps.close("the server refused a request before its end");
        }
        if !self.lease.pin.is_held() {
            let disposition = self.lease.disposition();
            self.lease = Lease {
                releasing: true,
                ..Lease::default()
            };
            return steps.release(disposition);
        }
        if self.client_ended && !self.lease.client_waits {
            return steps.close("the client closed its side");
        }
        steps
    }
}

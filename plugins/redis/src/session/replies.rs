//! The server's side of a lease: replies go to the client, and with the last one the connection
//! goes back.

use leaseway_sdk::{Disposition, Steps, warn};

use super::{Lease, Session};
use crate::resp::reply::Invalid;

impl Session {
    /// Bytes have come from the leased connection.
    #[inline]
    pub(super) fn replies(&mut self, shown: &[u8]) -> Steps {
        if self.lease.unknown {
            match says_unknown(shown) {
                None => return Steps::new(),
                // The server has done nothing.
                Some(true) => {}
                Some(false) => self.lease.pin.stream(),
            }
            self.lease.unknown = false;
        }
        if self.lease.pin.is_streaming() {
            return Steps::new().forward_rest();
        }
        let lease = &mut self.lease;
        // The host shows more only when everything covered has come.
        lease.past_shown = false;
        let covered = match lease.replies.cover(shown, lease.owed) {
            Ok(covered) => covered,
            Err(why) => {
                match why {
                    Invalid::Depth => warn!("{why}, and cannot be measured"),
                    _ => warn!("the server does not speak RESP: {why}"),
                }
                return Steps::new().close(why.to_string());
            }
        };
        if covered.bytes == 0 {
            if lease.owed == 0 && lease.replies.at_boundary() && shown[..1] != *b">" {
                return Steps::new().close("the server sent what nobody asked for");
            }
            return Steps::new();
        }
        lease.answered(covered.replies);
        lease.errors |= covered.errors;
        if covered.pushes || covered.refused {
            // Somebody has turned pushes here, or the server is about to close.
            lease.pin.spoil();
        }
        lease.past_shown = covered.bytes > shown.len() as u64;
        let steps = Steps::new().forward(covered.bytes);
        if !lease.replies.at_boundary() {
            return steps;
        }
        if lease.owed > 0 {
            let begun = covered.bytes < shown.len() as u64;
            if self.client_ended && lease.may_wait() && !begun {
                // As a server does with a client that has gone.
                return steps.close("the client closed its side");
            }
            return steps;
        }
        self.all_replies_in(steps)
    }

    /// These steps bring the last reply that was expected.
    fn all_replies_in(&mut self, steps: Steps) -> Steps {
        if let Some(claim) = self.claim.take() {
            if self.lease.errors {
                // The connection is not as the client wanted it, and the client is who it was.
                let disposition = self.lease.disposition_at_least_reset();
                return self.give_back(steps, disposition);
            }
            self.identity = claim.identity;
        }
        self.proved |= !self.lease.errors;
        if !self.frame.is_done() {
            // The server has answered a request before its end, so it has refused it as such.
            return steps.close("the server refused a request before its end");
        }
        if !self.lease.pin.is_held() {
            let disposition = self.lease.disposition();
            return self.give_back(steps, disposition);
        }
        if self.client_ended && !self.lease.client_waits {
            return steps.close("the client closed its side");
        }
        steps
    }
    fn give_back(&mut self, steps: Steps, disposition: Disposition) -> Steps {
        self.lease = Lease {
            releasing: true,
            ..Lease::default()
        };
        steps.release(disposition)
    }
}

/// How servers refuse what they do not know. Those before 7.0 write the second with a capital.
const UNKNOWN: [&[u8]; 2] = [b"-ERR unknown command", b"-ERR unknown subcommand"];

/// Whether a reply that begins so is that of a server which does not know the command either.
fn says_unknown(shown: &[u8]) -> Option<bool> {
    let begins = |with: &&[u8]| {
        let len = with.len().min(shown.len());
        shown[..len].eq_ignore_ascii_case(&with[..len])
    };
    match UNKNOWN.iter().find(|with| begins(with)) {
        None => Some(false),
        Some(with) if shown.len() < with.len() => None,
        Some(_) => Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::says_unknown;

    #[test]
    fn a_reply_says_early_whether_its_command_was_unknown() {
        for (text, says) in [
            ("", None),
            ("-ERR unkn", None),
            ("-ERR unknown ", None),
            ("-ERR unknown s", None),
            ("-ERR unknown command `X`", Some(true)),
            ("-ERR Unknown subcommand or wrong", Some(true)),
            ("-ERR unknown so", Some(false)),
            ("-ERR wrong number", Some(false)),
            ("-NOPERM", Some(false)),
            ("+OK", Some(false)),
            (">", Some(false)),
        ] {
            assert_eq!(says_unknown(text.as_bytes()), says, "{text}");
        }
    }
}

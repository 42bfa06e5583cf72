//! No connection, or no longer one: as many errors as the client expects replies, so that it
//! never takes one command's error for another's reply.

use leaseway_sdk::{LeaseError, Side, Steps};

use super::{Claim, Lease, Session};
use crate::config::MOST_COMMANDS_PER_LEASE;
use crate::resp::write;

/// How many errors are written at once. Only a pinned connection may be owed more replies, and
/// when that is lost the session ends all the same.
const MAX_ERRORS: u64 = MOST_COMMANDS_PER_LEASE as u64;

impl Session {
    /// A lease failed, or was lost.
    pub(super) fn failed(&mut self, why: &LeaseError) -> Steps {
        let lease = std::mem::take(&mut self.lease);
        let claim = self.claim.take();
        match why {
            LeaseError::Lost(_) => lost(&lease, why),
            _ => never_came(&lease, claim.as_ref(), why),
        }
    }
}

/// The commands still stand in front of the client's bytes, and no server has seen them.
fn never_came(lease: &Lease, claim: Option<&Claim>, why: &LeaseError) -> Steps {
    let steps = match (claim, why) {
        // What the server said of the client's credentials is for the client.
        (Some(_), LeaseError::HandshakeFailed(text)) if is_server_error(text) => {
            Steps::new().send(Side::Client, write::error(text))
        }
        (Some(_), _) => Steps::new().send(Side::Client, write::own_error(why)),
        (None, _) => errors(Steps::new(), lease.owed, why),
    };
    if lease.pin.is_transaction() {
        // What the client sends next belongs to a transaction that never began.
        return steps.close(format!("no connection for a transaction: {why}"));
    }
    // Behind the errors, since it may wait for a large value that is still to come.
    steps.discard(lease.first)
}

/// The commands are gone with the connection; nobody knows which of them were carried out.
fn lost(lease: &Lease, why: &LeaseError) -> Steps {
    let cut = lease.past_shown || lease.releasing || !lease.replies.at_boundary();
    if cut || lease.pin.is_streaming() {
        // Anything said now would be taken for a part of the reply.
        return Steps::new().close(format!("in the middle of a reply: {why}"));
    }
    let steps = errors(Steps::new(), lease.owed, why);
    if lease.pin.is_held() || lease.owed == 0 {
        return steps.close(format!("with the client's state on it: {why}"));
    }
    steps
}

/// One error for each command that has no reply.
fn errors(steps: Steps, count: u64, why: &LeaseError) -> Steps {
    match usize::try_from(count.min(MAX_ERRORS)) {
        Ok(count) if count > 0 => steps.send(Side::Client, write::own_error(why).repeat(count)),
        _ => steps,
    }
}

/// Whether this is a server's error, which begins with a code in capitals, and not the host's
/// or this plugin's.
fn is_server_error(text: &str) -> bool {
    let code = text.split(' ').next().unwrap_or_default();
    !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

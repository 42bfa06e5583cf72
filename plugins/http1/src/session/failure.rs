//! No connection for a request, or no longer one: it is tried again where that does no harm, and else
//! its client is told.

use leaseway_sdk::{LeaseError, Side, Steps};

use super::Session;
use super::exchange::{Reply, Upload};
use crate::answers::Answer;
use crate::rewrite::Persistence;

impl Session {
    /// There is no lease now.
    pub(super) fn failed(&mut self, error: &LeaseError) -> Steps {
        let Some(exchange) = &mut self.exchange else {
            return Steps::new();
        };
        if exchange.reply != Reply::Head {
            // The client has a part of a response, and must not take anything for the rest.
            return Steps::new().close("the server was lost in the middle of a response");
        }
        let unheard = matches!(error, LeaseError::Lost(_)) && !exchange.heard;
        if std::mem::take(&mut exchange.repeats) && unheard {
            return Steps::new().lease(exchange.target.clone());
        }
        let answer = Answer::of(error);
        let persistence = match (error, exchange.upload) {
            (LeaseError::Draining, _) => Persistence::Close,
            (_, Upload::Done) => exchange.persistence,
            // The rest of the body is not waited for.
            _ => Persistence::Close,
        };
        let words = answer.bytes(exchange.asked.head, persistence);
        let swallowed = std::mem::take(&mut exchange.client_head);
        let mut steps = self.untimed(Steps::new());
        if swallowed > 0 {
            steps = steps.discard(swallowed as u64);
        }
        steps = steps.send(Side::Client, words);
        if persistence == Persistence::Close {
            return steps.close(answer.why);
        }
        self.exchange = None;
        steps
    }
}

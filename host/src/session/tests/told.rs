//! A plugin that answers each hook with what its test has put down for it, in order.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use super::toy::target;
use crate::contract::{
    Choice, Disposition, Hooks, LeaseError, LeaseOutcome, LeaseRequest, Leased, Side, Step,
};
use crate::plugin::{Fault, SessionHooks};

type Answers = VecDeque<Vec<Step>>;

/// See the module. A hook without an answer returns nothing; one to choose, a lease of nothing
/// special.
#[derive(Default)]
pub(super) struct Told {
    choices: Answers,
    client: Answers,
    upstream: Answers,
    failed: Answers,
}

impl Told {
    /// The next time it is to choose: a lease, and these steps on it.
    pub(super) fn lease(mut self, then: impl Into<Vec<Step>>) -> Self {
        self.choices.push_back(then.into());
        self
    }

    /// The next time it is shown bytes of a side.
    pub(super) fn data(mut self, side: Side, steps: impl Into<Vec<Step>>) -> Self {
        match side {
            Side::Client => self.client.push_back(steps.into()),
            Side::Upstream => self.upstream.push_back(steps.into()),
        }
        self
    }

    /// The next time it has lost its lease.
    pub(super) fn failed(mut self, steps: impl Into<Vec<Step>>) -> Self {
        self.failed.push_back(steps.into());
        self
    }
}

impl SessionHooks for Told {
    fn has(&self) -> Hooks {
        Hooks::CHOOSE_UPSTREAM | Hooks::ON_DATA | Hooks::ON_LEASE_FAILED | Hooks::POOL_RETURN
    }

    fn choose_upstream(&mut self, _: &[u8]) -> Result<Choice, Fault> {
        Ok(Choice::Lease(LeaseRequest {
            target: target(),
            then: self.choices.pop_front().unwrap_or_default(),
        }))
    }

    fn on_leased(&mut self, _: &Leased) -> Result<Vec<Step>, Fault> {
        unreachable!("the hook is left out")
    }

    fn on_lease_failed(&mut self, _: &LeaseError) -> Result<Vec<Step>, Fault> {
        Ok(self.failed.pop_front().unwrap_or_default())
    }

    fn on_data(&mut self, origin: Side, _: &[u8]) -> Result<Vec<Step>, Fault> {
        let answers = match origin {
            Side::Client => &mut self.client,
            Side::Upstream => &mut self.upstream,
        };
        Ok(answers.pop_front().unwrap_or_default())
    }

    fn on_eof(&mut self, _: Side) -> Result<Vec<Step>, Fault> {
        unreachable!("the hook is left out")
    }

    fn pool_return(&mut self, _: LeaseOutcome) -> Result<Disposition, Fault> {
        Ok(Disposition::Keep)
    }

    fn poll_fault(&mut self, _: &mut Context<'_>) -> Poll<Fault> {
        Poll::Pending
    }
}

//! A plugin that answers each hook with what its test has put down for it, in order.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::toy::target;
use crate::contract::{
    Choice, Disposition, Hooks, LeaseError, LeaseOutcome, LeaseRequest, Leased, Side, Step,
};
use crate::plugin::{Fault, SessionHooks};

type Answers = VecDeque<Vec<Step>>;

/// See the module. A hook without an answer returns nothing; one to choose, a lease of nothing
/// special.
pub(super) struct Told {
    has: Hooks,
    choices: Answers,
    leased: Answers,
    client: Answers,
    upstream: Answers,
    failed: Answers,
    /// Covers all that it is shown, where nothing else is put down.
    passes: bool,
    outcomes: Outcomes,
    tags: Tags,
}

/// What it was told at the ends of its leases.
pub(super) type Outcomes = Rc<RefCell<Vec<LeaseOutcome>>>;

/// The tags that it was told at their beginnings.
pub(super) type Tags = Rc<RefCell<Vec<String>>>;

impl Default for Told {
    fn default() -> Self {
        Self {
            has: Hooks::CHOOSE_UPSTREAM
                | Hooks::ON_DATA
                | Hooks::ON_LEASE_FAILED
                | Hooks::POOL_RETURN,
            choices: Answers::new(),
            leased: Answers::new(),
            client: Answers::new(),
            upstream: Answers::new(),
            failed: Answers::new(),
            passes: false,
            outcomes: Outcomes::default(),
            tags: Tags::default(),
        }
    }
}

impl Told {
    /// Leaves a hook out.
    pub(super) fn without(mut self, hook: Hooks) -> Self {
        self.has &= !hook;
        self
    }

    /// Passes everything on, a message at a time.
    pub(super) fn passing(mut self) -> Self {
        self.passes = true;
        self
    }

    /// Where it writes down what it is told at the ends of its leases.
    pub(super) fn outcomes(&self) -> Outcomes {
        Rc::clone(&self.outcomes)
    }

    /// Is told of its leases; these steps the next time.
    pub(super) fn leased(mut self, steps: impl Into<Vec<Step>>) -> Self {
        self.has |= Hooks::ON_LEASED;
        self.leased.push_back(steps.into());
        self
    }

    /// Where it writes down the tags that it is told.
    pub(super) fn tags(&self) -> Tags {
        Rc::clone(&self.tags)
    }

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
        self.has
    }

    fn choose_upstream(&mut self, _: &[u8]) -> Result<Choice, Fault> {
        Ok(Choice::Lease(LeaseRequest {
            target: Some(target()),
            then: self.choices.pop_front().unwrap_or_default(),
        }))
    }

    fn on_leased(&mut self, lease: &Leased) -> Result<Vec<Step>, Fault> {
        let tag = String::from_utf8_lossy(&lease.tag).into_owned();
        self.tags.borrow_mut().push(tag);
        Ok(self.leased.pop_front().unwrap_or_default())
    }

    fn on_lease_failed(&mut self, _: &LeaseError) -> Result<Vec<Step>, Fault> {
        Ok(self.failed.pop_front().unwrap_or_default())
    }

    fn on_data(&mut self, origin: Side, data: &[u8]) -> Result<Vec<Step>, Fault> {
        let answers = match origin {
            Side::Client => &mut self.client,
            Side::Upstream => &mut self.upstream,
        };
        let passed = self.passes.then(|| vec![Step::Forward(data.len() as u64)]);
        Ok(answers.pop_front().or(passed).unwrap_or_default())
    }

    fn on_eof(&mut self, _: Side) -> Result<Vec<Step>, Fault> {
        unreachable!("the hook is left out")
    }

    fn pool_return(&mut self, outcome: LeaseOutcome) -> Result<Disposition, Fault> {
        self.outcomes.borrow_mut().push(outcome);
        Ok(Disposition::Keep)
    }

    fn on_request_failed(&mut self, _: &LeaseError, _: u32) -> Result<Vec<u8>, Fault> {
        Ok(Vec::new())
    }

    fn poll_fault(&mut self, _: &mut Context<'_>) -> Poll<Fault> {
        Poll::Pending
    }
}

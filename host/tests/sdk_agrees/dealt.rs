//! A plugin that answers its hooks with what it was dealt, in order, and keeps a list of the calls.
//! The same one for the host and for the SDK.

use std::cell::Cell;
use std::collections::VecDeque;

use leaseway_sdk::{
    Choice, Disposition, Hooks, LeaseError, LeaseOutcome, LeaseRequest, Request, Share, Side, Span,
    Step, Target,
};

/// Bytes of every reply on a shared connection.
pub(crate) const REPLY: usize = 3;

/// What a hook answers; which parts of it count depends on the hook.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) steps: Vec<Step>,
    /// Which kind of choice the steps are for.
    pub(crate) choice: u8,
    /// Steps that the contract forbids here are left out.
    pub(crate) sane: bool,
    pub(crate) disposition: Disposition,
}

/// A plugin.
#[derive(Clone, Debug)]
pub(crate) struct Deal {
    pub(crate) has: Hooks,
    pub(crate) answers: Vec<Answer>,
}

/// One session of it.
#[derive(Debug)]
pub(crate) struct Dealt {
    answers: VecDeque<Answer>,
    pub(crate) calls: Vec<String>,
}

impl Dealt {
    pub(crate) fn new(deal: &Deal) -> Self {
        Self {
            answers: deal.answers.clone().into(),
            calls: Vec::new(),
        }
    }

    fn next(&mut self, call: String) -> Answer {
        self.calls.push(call);
        self.answers.pop_front().unwrap_or(Answer {
            steps: Vec::new(),
            choice: 1,
            sane: true,
            disposition: Disposition::Keep,
        })
    }

    fn steps(&mut self, call: String, held: bool) -> Vec<Step> {
        let answer = self.next(call);
        answer.steps(held)
    }

    pub(crate) fn choose_upstream(&mut self, bytes: &[u8]) -> Choice {
        let answer = self.next(format!("choose-upstream {}", bytes.escape_ascii()));
        match answer.choice {
            0 => Choice::NeedMore,
            2 if answer.steps.len() == 3 => Choice::Lease(LeaseRequest {
                target: Some(Target::new("user=2").unpooled()),
                then: answer.steps(true),
            }),
            // The third leases what was named last.
            1..4 => Choice::Lease(LeaseRequest {
                target: (answer.choice < 3).then(|| Target::new(format!("user={}", answer.choice))),
                then: answer.steps(true),
            }),
            4..6 => answer.share(bytes),
            _ => match answer.steps(false) {
                steps if steps.is_empty() && answer.sane => Choice::NeedMore,
                steps => Choice::Answer(steps),
            },
        }
    }

    pub(crate) fn on_request_failed(&mut self, why: &LeaseError, replies: u32) -> Vec<u8> {
        assert!(matches!(why, LeaseError::Lost(_)), "{why:?}");
        match self
            .next(format!("on-request-failed {replies}"))
            .disposition
        {
            Disposition::Close => Vec::new(),
            _ => vec![b'!'; replies as usize],
        }
    }

    pub(crate) fn on_leased(&mut self, tag: &[u8], endpoint: &str, identity: &str) -> Vec<Step> {
        let tag = tag.escape_ascii();
        self.steps(format!("on-leased {tag} {endpoint} {identity}"), true)
    }

    pub(crate) fn on_lease_failed(&mut self, why: &LeaseError) -> Vec<Step> {
        let why = match why {
            // In whose words does not matter.
            LeaseError::Lost(_) => "lost".to_owned(),
            other => format!("{other:?}"),
        };
        self.steps(format!("on-lease-failed {why}"), false)
    }

    pub(crate) fn on_data(&mut self, origin: Side, data: &[u8]) -> Vec<Step> {
        let data = data.escape_ascii();
        self.steps(format!("on-data {origin:?} {data}"), true)
    }

    pub(crate) fn on_eof(&mut self, origin: Side) -> Vec<Step> {
        self.steps(format!("on-eof {origin:?}"), true)
    }

    pub(crate) fn pool_return(&mut self, outcome: LeaseOutcome) -> Disposition {
        self.next(format!("pool-return {outcome:?}")).disposition
    }
}

/// Where replies end. One that begins with `Z` is none.
pub(crate) fn measure(data: &[u8]) -> Result<Vec<Span>, String> {
    let reply = |reply: &[u8]| match reply[0] {
        b'Z' => Err("no reply".to_owned()),
        _ => Ok(Span {
            length: REPLY as u64,
            ends: true,
        }),
    };
    data.chunks(REPLY).map(reply).collect()
}

impl Answer {
    /// Requests of one to four bytes at the front of these, with none to two replies each.
    fn share(&self, bytes: &[u8]) -> Choice {
        let mut left = if self.sane { bytes.len() } else { usize::MAX };
        let mut requests = Vec::new();
        for n in 0..=self.steps.len() {
            let length = left.min(1 + (n + self.steps.len()) % 4);
            if length == 0 {
                break;
            }
            left -= length;
            requests.push(Request {
                length: length as u32,
                replies: ((n + usize::from(self.choice)) % 3) as u32,
                idempotent: false,
            });
        }
        if requests.is_empty() {
            return Choice::NeedMore;
        }
        let target = (self.choice == 4 || self.steps.len() == 2)
            .then(|| Target::new(format!("user={}", self.steps.len() % 2)));
        Choice::Share(Share { target, requests })
    }

    /// Its steps, for a hook that is called with a lease held or without one.
    fn steps(&self, mut held: bool) -> Vec<Step> {
        let mut steps = self.steps.clone();
        if !self.sane {
            return steps;
        }
        if let Some(rest) = steps.iter().position(|step| *step == Step::ForwardRest) {
            steps.truncate(rest + 1);
        }
        steps.retain(|step| match step {
            Step::Forward(_)
            | Step::ForwardIdempotent(_)
            | Step::ForwardRest
            | Step::Retag(_)
            | Step::Send((Side::Upstream, _)) => held,
            Step::Discard(_)
            | Step::Send((Side::Client, _))
            | Step::Deadline(_)
            | Step::Close(_) => true,
            Step::Lease(_) => !std::mem::replace(&mut held, true),
            Step::Release(_) => std::mem::replace(&mut held, false),
        });
        steps
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`, whose panics are expected and need no words on stderr.
pub(crate) fn quietly<T>(f: impl FnOnce() -> T) -> T {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                loud(panic);
            }
        }));
    });
    QUIET.set(true);
    let result = f();
    QUIET.set(false);
    result
}

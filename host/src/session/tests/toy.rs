//! Plugins for engine tests, in plain Rust: one that pools a small framed protocol per request,
//! and one that answers with whatever it was dealt.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use crate::contract::{
    Choice, Disposition, Hooks, LeaseError, LeaseOutcome, LeaseRequest, Leased, Side, Step, Target,
};
use crate::plugin::{Fault, SessionHooks};

pub(super) fn target() -> Target {
    Target {
        group: None,
        endpoint: None,
        identity: String::new(),
        secret: Vec::new(),
        affinity: None,
        unpooled: false,
    }
}

/// A frame is a length byte, at least 1, and so many bytes. Every request earns one reply frame;
/// an error is the frame `[1, b'!']`.
pub(super) const SORRY: [u8; 2] = [1, b'!'];

/// Length of the frame at the start, header included; may exceed what is there.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    bytes.first().map(|&len| 1 + usize::from(len))
}

/// Pools per request: leases for the frames at hand, and releases after the last reply.
#[derive(Default)]
pub(super) struct Toy {
    /// Requests that are safe to send twice.
    idempotent: bool,
    outstanding: u32,
    /// The reply being forwarded began in this lease.
    in_reply: bool,
}

impl Toy {
    pub(super) fn new(idempotent: bool) -> Self {
        Self {
            idempotent,
            ..Self::default()
        }
    }

    /// Steps that forward every frame that begins in `bytes`.
    fn requests(&mut self, bytes: &[u8]) -> Vec<Step> {
        let mut covered = 0;
        while let Some(len) = bytes.get(covered..).and_then(frame_len) {
            covered += len;
            self.outstanding += 1;
        }
        if covered == 0 {
            return Vec::new();
        }
        let covered = covered as u64;
        vec![if self.idempotent {
            Step::ForwardIdempotent(covered)
        } else {
            Step::Forward(covered)
        }]
    }
}

impl SessionHooks for Toy {
    fn has(&self) -> Hooks {
        Hooks::CHOOSE_UPSTREAM
            | Hooks::ON_DATA
            | Hooks::ON_EOF
            | Hooks::ON_LEASE_FAILED
            | Hooks::POOL_RETURN
    }

    fn choose_upstream(&mut self, bytes: &[u8]) -> Result<Choice, Fault> {
        let then = self.requests(bytes);
        Ok(Choice::Lease(LeaseRequest {
            target: Some(target()),
            then,
        }))
    }

    fn on_leased(&mut self, _: &Leased) -> Result<Vec<Step>, Fault> {
        unreachable!("the hook is left out")
    }

    fn on_lease_failed(&mut self, why: &LeaseError) -> Result<Vec<Step>, Fault> {
        let owed = std::mem::take(&mut self.outstanding);
        if self.in_reply {
            return Ok(vec![Step::Close(Some("a reply was cut".to_owned()))]);
        }
        if !matches!(why, LeaseError::Lost(_)) {
            // The requests were never sent: they stand in front still.
            return Ok(vec![Step::Close(None)]);
        }
        let mut steps: Vec<Step> = (0..owed)
            .map(|_| Step::Send((Side::Client, SORRY.to_vec())))
            .collect();
        if steps.is_empty() {
            steps.push(Step::Discard(0));
        }
        Ok(steps)
    }

    fn on_data(&mut self, origin: Side, data: &[u8]) -> Result<Vec<Step>, Fault> {
        if origin == Side::Client {
            return Ok(self.requests(data));
        }
        let Some(len) = frame_len(data) else {
            return Ok(Vec::new());
        };
        // A reply is forwarded past what is shown, so that its second half is never seen here.
        self.outstanding = self.outstanding.saturating_sub(1);
        self.in_reply = len > data.len();
        let mut steps = vec![Step::Forward(len as u64)];
        if self.outstanding == 0 {
            steps.push(Step::Release(Disposition::Keep));
        }
        Ok(steps)
    }

    fn on_eof(&mut self, _: Side) -> Result<Vec<Step>, Fault> {
        Ok(if self.outstanding == 0 {
            vec![Step::Close(None)]
        } else {
            Vec::new()
        })
    }

    fn pool_return(&mut self, _: LeaseOutcome) -> Result<Disposition, Fault> {
        Ok(if self.outstanding == 0 {
            Disposition::Keep
        } else {
            Disposition::Close
        })
    }

    fn on_request_failed(&mut self, _: &LeaseError, _: u32) -> Result<Vec<u8>, Fault> {
        Ok(Vec::new())
    }

    fn poll_fault(&mut self, _: &mut Context<'_>) -> Poll<Fault> {
        Poll::Pending
    }
}

/// As [`Toy`], and keeps in the tag how many requests its connection has had.
pub(super) struct Counting {
    toy: Toy,
    /// Before this lease.
    before: u64,
    /// In this lease.
    sent: u64,
}

impl Counting {
    pub(super) fn new(idempotent: bool) -> Self {
        Self {
            toy: Toy::new(idempotent),
            before: 0,
            sent: 0,
        }
    }
}

impl SessionHooks for Counting {
    fn has(&self) -> Hooks {
        self.toy.has() | Hooks::ON_LEASED
    }

    fn choose_upstream(&mut self, bytes: &[u8]) -> Result<Choice, Fault> {
        let choice = self.toy.choose_upstream(bytes);
        self.sent = u64::from(self.toy.outstanding);
        choice
    }

    fn on_leased(&mut self, lease: &Leased) -> Result<Vec<Step>, Fault> {
        self.before = String::from_utf8_lossy(&lease.tag).parse().unwrap();
        Ok(Vec::new())
    }

    fn on_lease_failed(&mut self, why: &LeaseError) -> Result<Vec<Step>, Fault> {
        self.toy.on_lease_failed(why)
    }

    fn on_data(&mut self, origin: Side, data: &[u8]) -> Result<Vec<Step>, Fault> {
        let outstanding = self.toy.outstanding;
        let mut steps = self.toy.on_data(origin, data)?;
        if origin == Side::Client {
            self.sent += u64::from(self.toy.outstanding - outstanding);
        } else if let Some(Step::Release(_)) = steps.last() {
            let tag = (self.before + self.sent).to_string();
            steps.insert(steps.len() - 1, Step::Retag(tag.into_bytes()));
        }
        Ok(steps)
    }

    fn on_eof(&mut self, side: Side) -> Result<Vec<Step>, Fault> {
        self.toy.on_eof(side)
    }

    fn pool_return(&mut self, outcome: LeaseOutcome) -> Result<Disposition, Fault> {
        self.toy.pool_return(outcome)
    }

    fn on_request_failed(&mut self, _: &LeaseError, _: u32) -> Result<Vec<u8>, Fault> {
        Ok(Vec::new())
    }

    fn poll_fault(&mut self, _: &mut Context<'_>) -> Poll<Fault> {
        Poll::Pending
    }
}

/// Answers with step lists dealt beforehand, sensible or not.
pub(super) struct Dealt {
    pub(super) has: Hooks,
    pub(super) answers: VecDeque<Vec<Step>>,
}

impl Dealt {
    fn next(&mut self) -> Vec<Step> {
        self.answers.pop_front().unwrap_or_default()
    }
}

impl SessionHooks for Dealt {
    fn has(&self) -> Hooks {
        self.has
    }

    fn choose_upstream(&mut self, _: &[u8]) -> Result<Choice, Fault> {
        let steps = self.next();
        Ok(match steps.len() % 3 {
            0 => Choice::Lease(LeaseRequest {
                target: Some(target()),
                then: steps,
            }),
            1 => Choice::Answer(steps),
            _ => Choice::NeedMore,
        })
    }

    fn on_leased(&mut self, _: &Leased) -> Result<Vec<Step>, Fault> {
        Ok(self.next())
    }

    fn on_lease_failed(&mut self, _: &LeaseError) -> Result<Vec<Step>, Fault> {
        Ok(self.next())
    }

    fn on_data(&mut self, _: Side, _: &[u8]) -> Result<Vec<Step>, Fault> {
        Ok(self.next())
    }

    fn on_eof(&mut self, _: Side) -> Result<Vec<Step>, Fault> {
        Ok(self.next())
    }

    fn pool_return(&mut self, _: LeaseOutcome) -> Result<Disposition, Fault> {
        Ok(Disposition::Keep)
    }

    fn on_request_failed(&mut self, _: &LeaseError, _: u32) -> Result<Vec<u8>, Fault> {
        Ok(Vec::new())
    }

    fn poll_fault(&mut self, _: &mut Context<'_>) -> Poll<Fault> {
        Poll::Pending
    }
}

//! The hooks of a session as the relay calls them, and what the host refuses of their answers
//! before it looks at any step.

use super::connection::MAX_TAG;
use crate::export::Exported;
use crate::{
    Choice, Disposition, LeaseError, LeaseOutcome, LeaseRequest, Leased, MeasureReplies, Side,
    Step, Target,
};

/// Steps that one call may return.
const MAX_STEPS: usize = 4096;
/// Bytes that one call may hand to the host; four times `max-shown`, if that is more.
const MAX_HANDED: usize = 4 << 20;
/// The longest identity of a target.
const MAX_IDENTITY: usize = 1 << 10;
/// The longest secret of a target.
const MAX_SECRET: usize = 64 << 10;

/// The longest farewell of a deadline.
const MAX_FAREWELL: usize = 64 << 10;

/// A session's hooks.
pub(super) trait Hooked {
    fn choose_upstream(&mut self, client_bytes: &[u8]) -> Choice;
    fn on_leased(&mut self, lease: &Leased) -> Vec<Step>;
    fn on_lease_failed(&mut self, why: &LeaseError) -> Vec<Step>;
    fn on_data(&mut self, origin: Side, data: &[u8]) -> Vec<Step>;
    fn on_eof(&mut self, origin: Side) -> Vec<Step>;
    fn pool_return(&mut self, outcome: LeaseOutcome) -> Disposition;
    fn on_request_failed(&mut self, why: &LeaseError, replies: u32) -> Vec<u8>;
    fn replies(&self) -> Box<dyn MeasureReplies>;
}

/// The hooks of a plugin's session.
pub(super) struct Hooks<'s, P: Exported> {
    pub(super) plugin: &'s P,
    pub(super) session: &'s mut P::Session,
    pub(super) max_shown: usize,
}

impl<P: Exported> Hooks<'_, P> {
    fn checked(&self, hook: &str, steps: impl Into<Vec<Step>>) -> Vec<Step> {
        let steps = steps.into();
        self.check(hook, &steps);
        steps
    }

    fn check(&self, hook: &str, steps: &[Step]) {
        let count = steps.len();
        assert!(
            count <= MAX_STEPS,
            "`{hook}` returned {count} steps, at most {MAX_STEPS} a call are allowed"
        );
        let handed: usize = steps.iter().map(handed).sum();
        let limit = MAX_HANDED.max(self.max_shown.saturating_mul(4));
        assert!(
            handed <= limit,
            "`{hook}` handed {handed} bytes to the host, at most {limit} a call are allowed"
        );
        for step in steps {
            let (what, length, most) = match step {
                Step::Retag(tag) => ("put on a tag", tag.len(), MAX_TAG),
                Step::Deadline(Some(deadline)) => {
                    let length = deadline.farewell.len();
                    ("set a deadline with a farewell", length, MAX_FAREWELL)
                }
                _ => continue,
            };
            assert!(
                length <= most,
                "`{hook}` {what} of {length} bytes, at most {most} are allowed"
            );
        }
    }
}

impl<P: Exported> Hooked for Hooks<'_, P> {
    fn choose_upstream(&mut self, client_bytes: &[u8]) -> Choice {
        let choice = P::choose_upstream(self.session, client_bytes);
        match &choice {
            Choice::NeedMore => {}
            Choice::Share(share) => {
                let count = share.requests.len();
                assert!(
                    (1..=MAX_STEPS).contains(&count),
                    "`choose-upstream` shared {count} requests, 1 to {MAX_STEPS} are allowed"
                );
            }
            Choice::Lease(LeaseRequest { then: steps, .. }) | Choice::Answer(steps) => {
                self.check("choose-upstream", steps);
            }
        }
        choice
    }

    fn on_leased(&mut self, lease: &Leased) -> Vec<Step> {
        let steps = P::on_leased(self.session, lease);
        self.checked("on-leased", steps)
    }

    fn on_lease_failed(&mut self, why: &LeaseError) -> Vec<Step> {
        let steps = P::on_lease_failed(self.session, why);
        self.checked("on-lease-failed", steps)
    }

    fn on_data(&mut self, origin: Side, data: &[u8]) -> Vec<Step> {
        let steps = P::on_data(self.session, origin, data);
        self.checked("on-data", steps)
    }

    fn on_eof(&mut self, origin: Side) -> Vec<Step> {
        let steps = P::on_eof(self.session, origin);
        self.checked("on-eof", steps)
    }

    fn pool_return(&mut self, outcome: LeaseOutcome) -> Disposition {
        P::pool_return(self.session, outcome)
    }

    fn on_request_failed(&mut self, why: &LeaseError, replies: u32) -> Vec<u8> {
        P::on_request_failed(self.session, why, replies)
    }

    fn replies(&self) -> Box<dyn MeasureReplies> {
        P::replies(self.plugin)
    }
}

/// The bytes in a step.
fn handed(step: &Step) -> usize {
    match step {
        Step::Send((_, bytes)) | Step::Retag(bytes) => bytes.len(),
        Step::Lease(target) => target.identity.len() + target.secret.len(),
        Step::Deadline(deadline) => deadline.as_ref().map_or(0, |one| one.farewell.len()),
        Step::Close(reason) => reason.as_ref().map_or(0, String::len),
        Step::Forward(_)
        | Step::ForwardIdempotent(_)
        | Step::ForwardRest
        | Step::Discard(_)
        | Step::Release(_) => 0,
    }
}

/// Panics if no host would look for this target.
pub(super) fn check_target(target: &Target) {
    let identity = target.identity.len();
    assert!(
        identity <= MAX_IDENTITY,
        "the target's identity has {identity} bytes, at most {MAX_IDENTITY} are allowed"
    );
    let secret = target.secret.len();
    assert!(
        secret <= MAX_SECRET,
        "the target's secret has {secret} bytes, at most {MAX_SECRET} are allowed"
    );
}

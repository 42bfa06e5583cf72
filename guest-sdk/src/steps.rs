//! Writing down what the host is to do: [`Steps`], and short forms of [`Choice`].
//!
//! A hook builds its answer here. Nothing is interpreted: the host does that, and in tests
//! `testing::ScriptedSession`.

use std::time::Duration;

use crate::{Choice, Deadline, Disposition, LeaseRequest, Request, Share, Side, Step, Target};

/// A list of steps, written in the order in which they are carried out.
///
/// Each method adds one step at the end, and costs a push. Passing on or swallowing bytes right
/// after more of the same makes the last step longer instead of adding one, so that a pipeline
/// of a thousand small messages is one step for the host.
///
/// ```
/// use leaseway_sdk::{Disposition, Side, Steps};
///
/// let reply = Steps::new()
///     .discard(6)
///     .send(Side::Client, *b"BYE\r\n")
///     .release(Disposition::Keep)
///     .close("client said QUIT");
/// assert_eq!(reply.as_slice().len(), 4);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "steps do nothing unless the hook returns them"]
pub struct Steps(Vec<Step>);

impl Steps {
    /// No steps: what was shown is shown again once there is more.
    #[inline]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Pass the next `n` bytes of this side on, also past what was shown.
    #[inline]
    pub fn forward(mut self, n: u64) -> Self {
        self.push(Step::Forward(n));
        self
    }

    /// Pass the next `n` bytes on, and vouch that the upstream may get them twice.
    #[inline]
    pub fn forward_idempotent(mut self, n: u64) -> Self {
        self.push(Step::ForwardIdempotent(n));
        self
    }

    /// Copy this side plainly from here on, unseen, until the lease ends. Must be the last.
    #[inline]
    pub fn forward_rest(mut self) -> Self {
        self.push(Step::ForwardRest);
        self
    }

    /// Swallow the next `n` bytes of this side.
    #[inline]
    pub fn discard(mut self, n: u64) -> Self {
        self.push(Step::Discard(n));
        self
    }

    /// Send bytes of the plugin's own.
    #[inline]
    pub fn send(mut self, to: Side, bytes: impl Into<Vec<u8>>) -> Self {
        self.push(Step::Send((to, bytes.into())));
        self
    }

    /// Borrow a connection. Only without a lease.
    #[inline]
    pub fn lease(mut self, target: Target) -> Self {
        self.push(Step::Lease(target));
        self
    }

    /// Give the connection back. Only with a lease.
    #[inline]
    pub fn release(mut self, disposition: Disposition) -> Self {
        self.push(Step::Release(disposition));
        self
    }

    /// Put another tag on the leased connection, which its next lease is told. Only with a lease.
    #[inline]
    pub fn retag(mut self, tag: impl Into<Vec<u8>>) -> Self {
        self.push(Step::Retag(tag.into()));
        self
    }

    /// End the session, unless another deadline has been set, or this one lifted, within so long
    /// (in whole milliseconds). The client is then told the farewell, unless it is in the middle of
    /// something; empty: nothing.
    #[inline]
    pub fn deadline(mut self, within: Duration, farewell: impl Into<Vec<u8>>) -> Self {
        self.push(Step::Deadline(Some(Deadline {
            ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
            farewell: farewell.into(),
        })));
        self
    }

    /// Lift the deadline that there is.
    #[inline]
    pub fn no_deadline(mut self) -> Self {
        self.push(Step::Deadline(None));
        self
    }

    /// End the session, with a reason for the log, once what was sent has been written.
    #[inline]
    pub fn close(mut self, reason: impl Into<String>) -> Self {
        self.push(Step::Close(Some(reason.into())));
        self
    }

    /// Add one step at the end: for loops, where the other methods read less well.
    #[inline]
    pub fn push(&mut self, step: Step) {
        if let Some(last) = self.0.last_mut()
            && let Some(longer) = joined(last, &step)
        {
            *last = longer;
            return;
        }
        self.0.push(step);
    }

    /// The steps so far.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[Step] {
        &self.0
    }

    /// Whether there are none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Two steps in a row as one, if they only cover bytes, in the same way.
#[inline]
fn joined(last: &Step, next: &Step) -> Option<Step> {
    match (last, next) {
        (Step::Forward(a), Step::Forward(b)) => a.checked_add(*b).map(Step::Forward),
        (Step::ForwardIdempotent(a), Step::ForwardIdempotent(b)) => {
            a.checked_add(*b).map(Step::ForwardIdempotent)
        }
        (Step::Discard(a), Step::Discard(b)) => a.checked_add(*b).map(Step::Discard),
        _ => None,
    }
}

impl From<Vec<Step>> for Steps {
    fn from(steps: Vec<Step>) -> Self {
        Self(steps)
    }
}

impl From<Steps> for Vec<Step> {
    fn from(steps: Steps) -> Self {
        steps.0
    }
}

impl Extend<Step> for Steps {
    fn extend<I: IntoIterator<Item = Step>>(&mut self, steps: I) {
        for step in steps {
            self.push(step);
        }
    }
}

impl FromIterator<Step> for Steps {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        let mut all = Self::new();
        all.extend(steps);
        all
    }
}

impl Choice {
    /// Borrow this. What the client has sent is then shown to `on-data`, unless
    /// [`then`](Self::then) covers it. Without a target it is what the session has named last, which
    /// costs less.
    #[must_use]
    pub fn lease(target: impl Into<Option<Target>>) -> Self {
        Self::Lease(LeaseRequest {
            target: target.into(),
            then: Vec::new(),
        })
    }

    /// Carry these out once the lease is there, behind what `on-leased` returns. On an
    /// [`answer`](Self::answer) they are added at its end. [`Choice::NeedMore`] and
    /// [`Choice::Share`] stay as they are: they have no steps to add to.
    #[must_use]
    pub fn then(mut self, steps: impl Into<Vec<Step>>) -> Self {
        match &mut self {
            Self::NeedMore | Self::Share(_) => {}
            Self::Lease(request) => request.then.extend(steps.into()),
            Self::Answer(answer) => answer.extend(steps.into()),
        }
        self
    }

    /// Send these requests, which the client's bytes begin with, on a shared connection. Without a
    /// target it is what the session has named last, which costs less.
    #[must_use]
    pub fn share(target: impl Into<Option<Target>>, requests: Vec<Request>) -> Self {
        Self::Share(Share {
            target: target.into(),
            requests,
        })
    }

    /// No connection needed. Must not be empty.
    #[must_use]
    pub fn answer(steps: impl Into<Vec<Step>>) -> Self {
        Self::Answer(steps.into())
    }

    /// Send these last words to the client, and end the session, with a reason for the log.
    #[must_use]
    pub fn refuse(words: impl Into<Vec<u8>>, reason: impl Into<String>) -> Self {
        Self::answer(Steps::new().send(Side::Client, words).close(reason))
    }
}

impl Disposition {
    /// [`Keep`](Self::Keep) if the connection is fit, else [`Close`](Self::Close).
    #[inline]
    #[must_use]
    pub const fn keep_if(fit: bool) -> Self {
        if fit { Self::Keep } else { Self::Close }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covering_steps_in_a_row_become_one() {
        let steps = Steps::new()
            .forward(2)
            .forward(3)
            .discard(1)
            .discard(1)
            .forward_idempotent(4)
            .forward_idempotent(5)
            .forward(1);
        assert_eq!(
            Vec::from(steps),
            [
                Step::Forward(5),
                Step::Discard(2),
                Step::ForwardIdempotent(9),
                Step::Forward(1)
            ]
        );
    }

    #[test]
    fn joining_never_overflows() {
        let steps = Steps::new().forward(u64::MAX).forward(1);
        assert_eq!(
            Vec::from(steps),
            [Step::Forward(u64::MAX), Step::Forward(1)]
        );
    }

    #[test]
    fn sends_are_kept_apart_and_in_order() {
        let steps: Steps = [
            Step::Send((Side::Client, b"a".to_vec())),
            Step::Send((Side::Client, b"b".to_vec())),
        ]
        .into_iter()
        .collect();
        assert_eq!(steps.as_slice().len(), 2);
    }

    #[test]
    fn then_adds_to_a_lease() {
        let choice = Choice::lease(Target::new("a")).then(Steps::new().forward(3));
        assert_eq!(
            choice,
            Choice::Lease(LeaseRequest {
                target: Some(Target::new("a")),
                then: vec![Step::Forward(3)],
            })
        );
    }

    #[test]
    fn refuse_speaks_and_then_closes() {
        assert_eq!(
            Choice::refuse(*b"-ERR no\r\n", "not allowed"),
            Choice::Answer(vec![
                Step::Send((Side::Client, b"-ERR no\r\n".to_vec())),
                Step::Close(Some("not allowed".into())),
            ])
        );
    }
}

//! Carrying out steps: the part of [`Relay`] that moves bytes and ends leases.

use super::record::{Lease, LeaseEnd, SessionEnd};
use super::relay::{Lending, Relay};
use super::way::Way;
use crate::{Disposition, Hooks, Side, Step, Target};

impl Relay {
    /// Carries out this side's program as far as its bytes go; whether anything was done.
    pub(super) fn run(&mut self, side: Side) -> bool {
        let mut ran = false;
        while self.pending.is_none() && self.end.is_none() && !self.waiting() {
            let Some(step) = self.way(side).program.pop_front() else {
                break;
            };
            match step {
                Step::Forward(n) => {
                    let left = self.forward(side, n);
                    if left > 0 {
                        self.way(side).program.push_front(Step::Forward(left));
                        ran |= left < n;
                        break;
                    }
                }
                Step::ForwardIdempotent(n) => {
                    let left = self.forward(side, n);
                    if left > 0 {
                        let step = Step::ForwardIdempotent(left);
                        self.way(side).program.push_front(step);
                        ran |= left < n;
                        break;
                    }
                }
                Step::Discard(n) => {
                    let left = n - self.take(side, n).len() as u64;
                    if left > 0 {
                        self.way(side).program.push_front(Step::Discard(left));
                        ran |= left < n;
                        break;
                    }
                }
                Step::ForwardRest => {
                    self.needs_lease("forward-rest");
                    let way = self.way(side);
                    assert!(
                        way.program.is_empty(),
                        "there are steps behind `forward-rest`"
                    );
                    way.plain = true;
                }
                Step::Send((Side::Client, bytes)) => self.to_client.extend(bytes),
                Step::Send((Side::Upstream, bytes)) => {
                    self.needs_lease("send to the upstream");
                    self.write_upstream(&bytes);
                }
                Step::Lease(target) => self.ask(target),
                Step::Release(disposition) => {
                    self.needs_lease("release");
                    self.give_back(disposition, Some(side));
                }
                Step::Close(reason) => {
                    self.finish(SessionEnd::Plugin(reason));
                    return true;
                }
            }
            ran = true;
        }
        let way = self.way(side);
        if way.plain && way.program.is_empty() && !way.uncovered.is_empty() && self.held() {
            self.forward(side, u64::MAX);
            ran = true;
        }
        if ran {
            let other = match side {
                Side::Client => Side::Upstream,
                Side::Upstream => Side::Client,
            };
            self.way(other).news = true;
            if !self.held() {
                // `choose-upstream` goes on with what its answer has left.
                self.client.news = true;
            }
        }
        ran
    }

    fn needs_lease(&self, step: &str) {
        assert!(self.held(), "`{step}` without a lease");
    }

    fn ask(&mut self, target: Target) {
        assert!(!self.held(), "`lease` while a lease is held");
        self.leases.push(Lease {
            target,
            sent: Vec::new(),
            received: 0,
            end: LeaseEnd::Waiting,
        });
        match &self.lending {
            Lending::Grant => self.grant(),
            Lending::Hold => {}
            Lending::Fail(why) => {
                let why = why.clone();
                self.fail(why);
            }
        }
    }

    fn take(&mut self, side: Side, n: u64) -> Vec<u8> {
        let uncovered = &mut self.way(side).uncovered;
        let count = usize::try_from(n).map_or(uncovered.len(), |n| n.min(uncovered.len()));
        uncovered.drain(..count).collect()
    }

    /// Passes on up to n bytes; how many are still to come.
    fn forward(&mut self, side: Side, n: u64) -> u64 {
        self.needs_lease("forward");
        let bytes = self.take(side, n);
        match side {
            Side::Client => self.write_upstream(&bytes),
            Side::Upstream => self.to_client.extend_from_slice(&bytes),
        }
        n - bytes.len() as u64
    }

    fn write_upstream(&mut self, bytes: &[u8]) {
        self.to_upstream.extend_from_slice(bytes);
        self.current().sent.extend_from_slice(bytes);
    }

    /// Ends the lease, by a step of this side or at the session's end.
    pub(super) fn give_back(&mut self, disposition: Disposition, by: Option<Side>) {
        let owed = (by != Some(Side::Client) && self.client.owes())
            || (by != Some(Side::Upstream) && self.upstream.owes());
        let doubt = if owed {
            Some("bytes that a step covered had not come yet")
        } else if !self.upstream.uncovered.is_empty() {
            Some("bytes of the upstream were left unread")
        } else if self.upstream_saw_eof {
            Some("the client's half-close was passed on")
        } else if self.upstream.eof {
            Some("the upstream closed it")
        } else {
            None
        };
        self.current().end = match (disposition, doubt) {
            (Disposition::Close, _) => LeaseEnd::Returned(Disposition::Close),
            (_, Some(why)) => LeaseEnd::Doubted(why),
            (Disposition::Reset, None) if !self.has(Hooks::RESET) => {
                LeaseEnd::Returned(Disposition::Close)
            }
            (kept, None) => LeaseEnd::Returned(kept),
        };
        if by == Some(Side::Upstream) {
            let rest = std::mem::take(&mut self.upstream.program);
            self.drop_client_program();
            self.drop_upstream();
            self.upstream.program = rest;
        } else {
            self.drop_upstream();
        }
        self.client.plain = false;
        self.client.news = true;
    }

    /// The lease that the client's program worked for is gone. What it still covered is part of
    /// messages that nobody can use any more, and must not be taken for the start of new ones.
    pub(super) fn drop_client_program(&mut self) {
        self.client.skip = self.client.skip.saturating_add(self.client.owed());
        self.client.program.clear();
        self.client.plain = false;
    }

    pub(super) fn drop_upstream(&mut self) {
        self.upstream = Way::default();
    }
}

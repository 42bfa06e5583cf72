//! What each step does.

use super::end::End;
use super::engine::{Engine, OUTPUT_HIGH_WATER, other};
use super::half::Owed;
use super::held::{LeaseState, Replay};
use crate::contract::{Disposition, Side, Step};

impl Engine {
    /// Carries out one step of a side's program, or hands it back if it has to wait.
    pub(super) fn execute(&mut self, side: Side, step: Step) -> Result<Option<Step>, End> {
        match step {
            Step::Forward(count) => self.forward(side, count, false)?,
            Step::ForwardIdempotent(count) => self.forward(side, count, true)?,
            Step::ForwardRest => {
                self.needs_lease("forward-rest")?;
                if !self.half(side).steps.is_empty() {
                    return Err(misuse("steps stand behind forward-rest"));
                }
                self.copy_rest(side);
            }
            Step::Discard(count) => {
                if side == Side::Upstream {
                    self.needs_lease("discard of the upstream's bytes")?;
                }
                if count > 0 {
                    self.half_mut(side).owed = Owed::Discard(count);
                }
            }
            Step::Send((to, bytes)) => {
                if to == Side::Upstream {
                    self.needs_lease("send to the upstream")?;
                }
                if side == Side::Client && to == Side::Client && self.upstream.will_forward() {
                    // Not in the middle of a reply.
                    return Ok(Some(Step::Send((to, bytes))));
                }
                // Behind what is in a pipe it has to wait: that cannot be put in front of it.
                let piped = self.half(other(to)).is_piped();
                if piped || self.half(to).output.pending().len() >= OUTPUT_HIGH_WATER {
                    return Ok(Some(Step::Send((to, bytes))));
                }
                self.send(to, &bytes);
            }
            Step::Lease(target) => {
                if !matches!(self.lease, LeaseState::None) {
                    return Err(misuse("lease while a lease is held"));
                }
                let target = self.named(Some(target))?;
                self.ask(target)?;
            }
            Step::Release(disposition) => {
                self.needs_lease("release")?;
                let unwritten = !self.upstream.output.is_empty() || self.client.passing > 0;
                // A reply that the client has got half of cannot be mended.
                let in_reply = side == Side::Client && self.upstream.will_forward();
                if unwritten || in_reply {
                    return Ok(Some(Step::Release(disposition)));
                }
                self.release(side, disposition);
            }
            Step::Retag(tag) => {
                self.needs_lease("retag")?;
                if let LeaseState::Held(held) = &mut self.lease {
                    held.retag = Some(tag.into_boxed_slice());
                }
            }
            Step::Deadline(deadline) => self.deadline = Some(Box::new(deadline)),
            Step::Close(why) => return Err(End::Plugin(why)),
        }
        Ok(None)
    }

    /// This side passes plainly from here on; nobody vouches for what its client sends.
    pub(super) fn copy_rest(&mut self, side: Side) {
        if side == Side::Client {
            self.not_safe_to_repeat();
        }
        self.half_mut(side).owed = Owed::Rest;
    }

    fn forward(&mut self, side: Side, count: u64, idempotent: bool) -> Result<(), End> {
        self.needs_lease("forward")?;
        if count == 0 {
            return Ok(());
        }
        if side == Side::Client && !idempotent {
            self.not_safe_to_repeat();
        }
        self.half_mut(side).owed = Owed::Forward(count);
        Ok(())
    }

    /// Bytes of the plugin's own, behind all that is on its way to that side.
    pub(super) fn send(&mut self, to: Side, bytes: &[u8]) {
        if to == Side::Upstream {
            self.keep_in_prefix();
            if let LeaseState::Held(held) = &mut self.lease {
                held.sent += bytes.len() as u64;
                if let Replay::Recording { prefix, safe } = &mut held.replay {
                    prefix.extend_from_slice(self.client.passing_bytes());
                    prefix.extend_from_slice(bytes);
                    *safe = false;
                    if prefix.len() > self.limits.replay_limit {
                        held.replay = Replay::Off;
                    }
                }
            }
        }
        let from = other(to);
        if self.half(from).passing > 0 {
            let (from, to) = match from {
                Side::Client => (&mut self.client, &mut self.upstream),
                Side::Upstream => (&mut self.upstream, &mut self.client),
            };
            to.output.push(from.passing_bytes());
            let gone = from.passing;
            from.passing = 0;
            from.input.consume(gone);
        }
        self.half_mut(to).output.push(bytes);
    }

    /// The plugin gives the connection back while the session goes on.
    fn release(&mut self, side: Side, disposition: Disposition) {
        let behind_skip = self.client.behind_skip;
        let behind = std::mem::take(&mut self.half_mut(side).steps);
        self.give_back(disposition);
        match side {
            Side::Client => {
                self.client.steps = behind;
                self.client.behind_skip = behind_skip;
            }
            // There is no upstream side without a lease; what is left of its program is the
            // client's to go on with.
            Side::Upstream => self.client.go_last(behind),
        }
    }

    fn needs_lease(&self, what: &str) -> Result<(), End> {
        if self.holds_lease() {
            Ok(())
        } else {
            Err(misuse(&format!("{what} without a lease")))
        }
    }

    fn not_safe_to_repeat(&mut self) {
        if let LeaseState::Held(held) = &mut self.lease {
            held.not_safe_to_repeat();
        }
    }
}

pub(super) fn misuse(what: &str) -> End {
    End::Misuse(what.to_owned())
}

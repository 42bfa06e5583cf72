//! Where a side's next bytes are read to, and what is to be written: in memory, or through a pipe.

use super::engine::{Engine, other};
use super::half::Owed;
use super::held::LeaseState;
use super::pump::up_to;
use crate::contract::Side;
use crate::copy::{BUFFER_SIZE, BULK_SIZE, BufferPool, PIPE_SIZE, Passing, Room};

impl Engine {
    /// Room for the next read of this side. Empty only where nothing is wanted.
    pub fn room(&mut self, side: Side, pool: &BufferPool) -> Room<'_> {
        let most = self.may_pipe(side);
        let max_shown = self.limits.max_shown;
        let half = self.half_mut(side);
        if most > 0 && half.input.pipe(pool).is_some() {
            // Asked once more, for a borrow that ends where there is no pipe.
            return match half.input.pipe(pool) {
                Some(pipe) => Room::Pipe(pipe, most),
                None => Room::Memory(&mut []),
            };
        }
        // More than may be shown only of what will not be.
        let unseen = match half.owed {
            Owed::Rest => BULK_SIZE,
            Owed::Forward(left) if half.uncovered() == 0 => up_to(left, BULK_SIZE),
            _ => 0,
        };
        let limit = half.kept + half.passing + unseen.max(max_shown).max(BUFFER_SIZE);
        Room::Memory(half.input.space(pool, limit, half.hungry))
    }

    /// How many of this side's next bytes may go through a pipe: those that nobody will see, that
    /// need not be kept, that come in bulk, and that nothing of ours waits in front of.
    fn may_pipe(&self, side: Side) -> usize {
        let half = self.half(side);
        let unseen = match half.owed {
            Owed::Rest => PIPE_SIZE,
            Owed::Forward(left) => up_to(left, PIPE_SIZE),
            Owed::Nothing | Owed::Discard(_) => 0,
        };
        let kept = !matches!(&self.lease, LeaseState::Held(held) if !held.recording());
        // What is to be skipped comes first, and nothing can be taken out of a pipe.
        let in_bulk = half.hungry && unseen >= BUFFER_SIZE && half.skip == 0;
        if in_bulk && !kept && half.input.is_empty() && self.half(other(side)).output.is_empty() {
            unseen
        } else {
            0
        }
    }

    /// What is to be written to this side now, in order. Both empty: nothing.
    pub fn output(&self, side: Side) -> (&[u8], Passing<'_>) {
        if !self.may_write(side) {
            return (&[], Passing::Memory(&[]));
        }
        let from = self.half(other(side));
        let passing = match from.input.piped() {
            Some(pipe) => Passing::Pipe(pipe),
            None => Passing::Memory(from.passing_bytes()),
        };
        (self.half(side).output.pending(), passing)
    }

    /// Whether there is anything to write to this side.
    pub fn has_output(&self, side: Side) -> bool {
        self.may_write(side)
            && (!self.half(side).output.is_empty() || self.half(other(side)).passing > 0)
    }

    fn may_write(&self, side: Side) -> bool {
        side == Side::Client || matches!(&self.lease, LeaseState::Held(held) if !held.write_failed)
    }
}

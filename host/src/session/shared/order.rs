//! The order of one shared connection: whose requests are on it, and whose each reply is.
//!
//! Sans-I/O. Requests are written in the order in which they were added, and replies come in that
//! order; nothing in a reply says whose it is, so this order is all that keeps sessions apart. In
//! doubt there is an error, and whoever drives the connection closes it.

use std::collections::VecDeque;

use crate::contract::LeaseError;

/// Whoever waits for replies, and may have left.
pub(super) trait Owner {
    /// Takes bytes of a reply.
    fn deliver(&self, bytes: &[u8]);
    /// A request of its has had all its replies.
    fn finished(&self);
    /// A request of its gets no reply any more.
    fn failed(&self, failure: Failure);
    /// Bytes delivered that it has not passed on yet.
    fn buffered(&self) -> usize;
    /// Nobody waits any more: what is delivered is dropped.
    fn is_gone(&self) -> bool;
    /// Somebody who has gone.
    fn nobody() -> Self;
    /// Whether the two are the same.
    fn is(&self, other: &Self) -> bool;
}

/// A request that gets no reply any more.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Why.
    pub why: LeaseError,
    /// Replies that are missing.
    pub replies: u32,
    /// The first of these has been delivered in part.
    pub cut: bool,
}

/// What a plugin says of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Earns {
    /// Replies.
    pub(super) replies: u32,
    /// It may be sent twice.
    pub(super) idempotent: bool,
}

/// Bytes came that belong to no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stray {
    /// Nobody waits for a reply.
    #[error("it sent bytes that nobody had asked for")]
    Unasked,
    /// The request has not all been written.
    #[error("it replied to a request that it had not been sent yet")]
    Early,
    /// A part of a reply without bytes.
    #[error("the plugin measured an empty part of a reply")]
    Empty,
}

#[derive(Debug)]
struct Entry<M> {
    owner: M,
    length: usize,
    earns: Earns,
    /// A byte of a reply has come.
    begun: bool,
    /// The last byte that came was not the last of its reply.
    midway: bool,
    /// Connections that it had to leave.
    lost: u8,
}

/// A request that goes from one connection to another.
#[derive(Debug)]
pub(super) struct Moved<M> {
    pub(super) owner: M,
    bytes: Vec<u8>,
    earns: Earns,
    lost: u8,
}

impl<M: Owner> Entry<M> {
    fn fail(self, why: LeaseError) {
        self.owner.failed(Failure {
            why,
            replies: self.earns.replies,
            cut: self.midway,
        });
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Order<M> {
    entries: VecDeque<Entry<M>>,
    /// The requests' bytes, from the first entry on.
    wire: Vec<u8>,
    /// Where they begin in `wire`.
    start: usize,
    /// How many of them have been written.
    written: usize,
    /// So many more bytes belong to the reply under way, and need not be measured.
    passing: u64,
    /// With those the reply ends.
    ends: bool,
}

impl<M> Default for Order<M> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            wire: Vec::new(),
            start: 0,
            written: 0,
            passing: 0,
            ends: false,
        }
    }
}

impl<M: Owner + Clone> Order<M> {
    /// Requests that are not done.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of requests that are not done.
    pub(super) fn held(&self) -> usize {
        self.wire.len() - self.start
    }

    /// Adds a request behind all others.
    pub(super) fn push(&mut self, owner: &M, bytes: &[u8], earns: Earns) {
        self.append(owner.clone(), bytes, earns, 0);
    }

    /// Adds a request that comes from another connection.
    pub(super) fn adopt(&mut self, moved: Moved<M>) {
        self.append(moved.owner, &moved.bytes, moved.earns, moved.lost);
    }

    fn append(&mut self, owner: M, bytes: &[u8], earns: Earns, lost: u8) {
        self.wire.extend_from_slice(bytes);
        self.entries.push_back(Entry {
            owner,
            length: bytes.len(),
            earns,
            begun: false,
            midway: false,
            lost,
        });
    }

    /// What is to be written next.
    pub(super) fn unwritten(&self) -> &[u8] {
        &self.wire[self.start + self.written..]
    }

    /// Takes note of a write. Returns how many requests are done by it: those without a reply.
    pub(super) fn wrote(&mut self, count: usize) -> usize {
        self.written = (self.written + count).min(self.held());
        self.settle()
    }

    /// Whether the reply under way, if there is one, goes to an owner that has this much to pass on.
    pub(super) fn is_held_up(&self, limit: usize) -> bool {
        self.entries
            .front()
            .is_some_and(|front| !front.owner.is_gone() && front.owner.buffered() >= limit)
    }

    /// Whether a reply has come in part, or is owed to somebody who has left.
    pub(super) fn is_given_up(&self) -> bool {
        self.is_midway() || self.front().is_some_and(Owner::is_gone)
    }

    /// Whether a reply has come in part.
    pub(super) fn is_midway(&self) -> bool {
        self.entries.front().is_some_and(|front| front.midway)
    }

    /// Whose reply is next.
    pub(super) fn front(&self) -> Option<&M> {
        self.entries.front().map(|front| &front.owner)
    }

    /// Requests of others than the first, that somebody waits for.
    pub(super) fn others(&self) -> usize {
        let Some(front) = self.entries.front() else {
            return 0;
        };
        let is_other = |entry: &&Entry<M>| !entry.owner.is(&front.owner) && !entry.owner.is_gone();
        self.entries.iter().filter(is_other).count()
    }

    /// Bytes that belong to the reply under way and need not be measured.
    pub(super) fn passing(&self) -> u64 {
        self.passing
    }

    /// The next so many bytes belong to the reply that is under way or begins now; with `ends`
    /// they are its last.
    pub(super) fn begin(&mut self, length: u64, ends: bool) -> Result<(), Stray> {
        debug_assert_eq!(self.passing, 0, "a part begins within a part");
        let Some(front) = self.entries.front() else {
            return Err(Stray::Unasked);
        };
        if self.written < front.length {
            return Err(Stray::Early);
        }
        if length == 0 {
            return Err(Stray::Empty);
        }
        self.passing = length;
        self.ends = ends;
        Ok(())
    }

    /// Delivers bytes of the reply under way: at most [`Order::passing`] of them are taken. Returns
    /// how many were, and how many requests are done by it.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> (usize, usize) {
        let count = usize::try_from(self.passing)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let Some(front) = self.entries.front_mut().filter(|_| count > 0) else {
            return (0, 0);
        };
        front.begun = true;
        front.midway = true;
        front.owner.deliver(&bytes[..count]);
        self.passing -= count as u64;
        if self.passing > 0 || !std::mem::take(&mut self.ends) {
            return (count, 0);
        }
        front.earns.replies = front.earns.replies.saturating_sub(1);
        front.midway = false;
        (count, self.settle())
    }

    /// Takes out what is done at the front.
    fn settle(&mut self) -> usize {
        let mut done = 0;
        while let Some(front) = self.entries.front() {
            if front.earns.replies > 0 || self.written < front.length {
                break;
            }
            let Some(front) = self.entries.pop_front() else {
                break;
            };
            self.start += front.length;
            self.written -= front.length;
            front.owner.finished();
            done += 1;
        }
        if self.start == self.wire.len() {
            self.wire.clear();
            self.start = 0;
        } else if self.start > self.wire.len() / 2 && self.start > COMPACT_FROM {
            self.wire.drain(..self.start);
            self.start = 0;
        }
        done
    }

    /// The connection is gone. Requests that may be sent again stay, to be written on another;
    /// all others fail. `delivered`: bytes that were written may have arrived.
    ///
    /// Of each owner those that fail are the first, so that it hears of them in its order: what
    /// was sent in front of a write that may have been carried out fails with that, for its reply
    /// would tell of what came after it.
    pub(super) fn lose(&mut self, why: &LeaseError, delivered: bool) {
        let entries = std::mem::take(&mut self.entries);
        let wire = std::mem::take(&mut self.wire);
        let begin = std::mem::take(&mut self.start);
        let sent_to = match delivered {
            true => begin + self.written,
            false => begin,
        };
        self.written = 0;
        self.passing = 0;
        self.ends = false;
        let mut end = wire.len();
        let mut writers: Vec<M> = Vec::new();
        let mut goes_again = Vec::with_capacity(entries.len());
        for entry in entries.iter().rev() {
            end -= entry.length;
            let was_sent = end < sent_to;
            if was_sent
                && !entry.earns.idempotent
                && !writers.iter().any(|writer| writer.is(&entry.owner))
            {
                writers.push(entry.owner.clone());
            }
            let lost = if was_sent { 0 } else { MAX_LOST };
            let in_doubt = was_sent && writers.iter().any(|writer| writer.is(&entry.owner));
            goes_again.push(!entry.begun && !in_doubt && entry.lost <= lost);
        }
        let mut at = begin;
        for (mut entry, goes_again) in entries.into_iter().zip(goes_again.into_iter().rev()) {
            let bytes = &wire[at..at + entry.length];
            at += entry.length;
            if entry.owner.is_gone() {
                continue;
            }
            if goes_again {
                entry.lost += 1;
                self.wire.extend_from_slice(bytes);
                self.entries.push_back(entry);
            } else {
                entry.fail(why.clone());
            }
        }
    }

    /// Takes out the requests of all others than the first in order that may go to another
    /// connection: those of each that has sent nothing here but what may be sent twice. Replies to
    /// what has been sent are dropped when they come.
    pub(super) fn release_others(&mut self) -> Vec<Moved<M>> {
        let Some(first) = self.front().cloned() else {
            return Vec::new();
        };
        let sent_to = self.start + self.written;
        let mut staying: Vec<M> = vec![first];
        let mut at = self.start;
        for entry in &self.entries {
            let may_move = at >= sent_to || (entry.earns.idempotent && entry.lost == 0);
            at += entry.length;
            if !may_move && !staying.iter().any(|one| one.is(&entry.owner)) {
                staying.push(entry.owner.clone());
            }
        }
        let entries = std::mem::take(&mut self.entries);
        let wire = std::mem::take(&mut self.wire);
        let mut at = self.start;
        self.start = 0;
        let mut moved = Vec::new();
        for mut entry in entries {
            let bytes = &wire[at..at + entry.length];
            let was_sent = at < sent_to;
            at += entry.length;
            let moves = !entry.owner.is_gone() && !staying.iter().any(|one| one.is(&entry.owner));
            if moves {
                moved.push(Moved {
                    owner: entry.owner.clone(),
                    bytes: bytes.to_vec(),
                    earns: entry.earns,
                    lost: entry.lost + u8::from(was_sent),
                });
                entry.owner = M::nobody();
            }
            if was_sent || !moves {
                self.wire.extend_from_slice(bytes);
                self.entries.push_back(entry);
            }
        }
        moved
    }

    /// Gives back memory, once nothing is under way, that only a rush has needed.
    pub(super) fn shrink(&mut self) {
        if self.entries.is_empty() {
            self.wire.shrink_to(COMPACT_FROM);
            self.entries.shrink_to(KEPT_ENTRIES);
        }
    }

    /// Nothing of this will be answered.
    pub(super) fn fail(&mut self, why: &LeaseError) {
        for entry in std::mem::take(&mut self.entries) {
            entry.fail(why.clone());
        }
        *self = Self::default();
    }
}

/// Entries that there is room for while nothing is under way.
const KEPT_ENTRIES: usize = 64;

/// Connections that a request may see breaking before any of it was written.
const MAX_LOST: u8 = 2;

/// Done requests' bytes that are left standing in front of the others.
const COMPACT_FROM: usize = 16 << 10;

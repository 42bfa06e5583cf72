//! How much a store holds, against how much it may hold.
//!
//! Counted in atomics, since its shards have a lock each and none for the whole. The counts are
//! also what the metrics show.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Refusal;

/// All of [`Refusal`], as metrics name them, in the order of their discriminants.
pub(in crate::plugin) const REFUSALS: [&str; 3] = ["full", "too-long", "bad-ttl"];

/// What one store holds, and what it has refused.
#[derive(Debug, Default)]
pub(in crate::plugin) struct Usage {
    pub(in crate::plugin) entries: AtomicU64,
    pub(in crate::plugin) bytes: AtomicU64,
    pub(in crate::plugin) refused: [AtomicU64; REFUSALS.len()],
}

impl Usage {
    pub(super) fn refuse(&self, why: Refusal) {
        self.refused[why as usize].fetch_add(1, Relaxed);
    }
}

/// The limits of one store. An entry takes its room before it is added, and gives it back after it
/// has been removed, so that no limit is ever exceeded.
#[derive(Debug)]
pub(super) struct Room {
    usage: Arc<Usage>,
    max_entries: u64,
    max_bytes: u64,
}

impl Room {
    pub(super) fn new(usage: Arc<Usage>, max_entries: u64, max_bytes: u64) -> Self {
        Self {
            usage,
            max_entries,
            max_bytes,
        }
    }

    pub(super) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Whether an entry of this weight would find room now.
    pub(super) fn has(&self, weight: u64) -> bool {
        self.usage.entries.load(Relaxed) < self.max_entries
            && self.usage.bytes.load(Relaxed).saturating_add(weight) <= self.max_bytes
    }

    /// Takes the room of an entry, or none.
    pub(super) fn take(&self, weight: u64) -> bool {
        if !add(&self.usage.entries, 1, self.max_entries) {
            return false;
        }
        let taken = add(&self.usage.bytes, weight, self.max_bytes);
        if !taken {
            self.usage.entries.fetch_sub(1, Relaxed);
        }
        taken
    }

    /// Turns the room of an entry into that of another, or changes nothing.
    pub(super) fn change(&self, from: u64, to: u64) -> bool {
        if from >= to {
            self.usage.bytes.fetch_sub(from - to, Relaxed);
            return true;
        }
        add(&self.usage.bytes, to - from, self.max_bytes)
    }

    pub(super) fn give_back(&self, weight: u64) {
        self.usage.entries.fetch_sub(1, Relaxed);
        self.usage.bytes.fetch_sub(weight, Relaxed);
    }
}

/// What is dropped holds nothing any more; what it refused has been refused.
impl Drop for Room {
    fn drop(&mut self) {
        self.usage.entries.store(0, Relaxed);
        self.usage.bytes.store(0, Relaxed);
    }
}

fn add(to: &AtomicU64, more: u64, most: u64) -> bool {
    let sum = |now: u64| now.checked_add(more).filter(|sum| *sum <= most);
    to.fetch_update(Relaxed, Relaxed, sum).is_ok()
}

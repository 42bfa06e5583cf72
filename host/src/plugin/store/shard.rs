//! The entries of one shard: found by key, and in the order in which they expire.
//!
//! Knows neither clocks nor limits nor locks: the store tells it what to add and to remove. Adding
//! and removing cost the logarithm of the number of entries, and a step or two where all live for
//! the same time.

use hashbrown::HashTable;
use slab::Slab;

/// Where an entry is in `Shard::entries`.
pub(super) type Place = usize;

/// What an entry is taken to weigh beside key and value: itself, its places in the tables, the
/// room that those have to spare, and what the allocator adds.
pub(super) const ENTRY_WEIGHT: u64 = 128;
/// Children of a node of the queue. Four lie in one line of the cache, more or less.
const BRANCHES: usize = 4;

/// One key with its value.
#[derive(Debug)]
pub(super) struct Entry {
    /// The value, and the key behind it: one allocation, of which `take` cuts off the key.
    bytes: Vec<u8>,
    value_length: u32,
    /// Where it stands in the queue.
    rank: u32,
    hash: u64,
    expires: u64,
}

impl Entry {
    /// `hash` is that of the key; `expires` is in nanoseconds of the store's clock.
    pub(super) fn new(hash: u64, key: &[u8], value: &[u8], expires: u64) -> Self {
        let mut entry = Self {
            bytes: Vec::new(),
            value_length: 0,
            rank: 0,
            hash,
            expires,
        };
        entry.fill(key, value);
        entry
    }

    /// An allocation of just the right size: room to spare would be memory that nobody counts.
    fn fill(&mut self, key: &[u8], value: &[u8]) {
        let mut bytes = Vec::with_capacity(value.len() + key.len());
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(key);
        self.value_length = value.len() as u32;
        self.bytes = bytes;
    }

    pub(super) fn value(&self) -> &[u8] {
        &self.bytes[..self.value_length as usize]
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.bytes[self.value_length as usize..]
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn into_value(mut self) -> Vec<u8> {
        self.bytes.truncate(self.value_length as usize);
        self.bytes
    }

    /// What it counts against the limit on bytes.
    pub(super) fn weight(&self) -> u64 {
        weight(self.bytes.len())
    }

    pub(super) fn is_over(&self, now: u64) -> bool {
        self.expires <= now
    }
}

/// What an entry counts whose key and value have so many bytes together.
pub(super) fn weight(bytes: usize) -> u64 {
    bytes as u64 + ENTRY_WEIGHT
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Shard {
    entries: Slab<Entry>,
    by_key: HashTable<Place>,
    /// A heap: what expires first is first.
    queue: Vec<Place>,
}

impl Shard {
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let entries = &self.entries;
        let is_it = |place: &Place| entries[*place].key() == key;
        self.by_key.find(hash, is_it).copied()
    }

    pub(super) fn entry(&self, place: Place) -> &Entry {
        &self.entries[place]
    }

    /// Adds an entry whose key is not there.
    pub(super) fn add(&mut self, entry: Entry) {
        let hash = entry.hash;
        let place = self.entries.insert(entry);
        let entries = &self.entries;
        self.by_key
            .insert_unique(hash, place, |place| entries[*place].hash);
        self.queue.push(place);
        self.rise(self.queue.len() - 1);
    }

    /// Puts an entry in the place of another with the same key, which it returns.
    pub(super) fn exchange(&mut self, place: Place, mut entry: Entry) -> Entry {
        let rank = self.entries[place].rank;
        entry.rank = rank;
        let old = std::mem::replace(&mut self.entries[place], entry);
        self.settle(rank as usize);
        old
    }

    /// Gives an entry another value.
    pub(super) fn set_value(&mut self, place: Place, value: &[u8]) {
        let entry = &mut self.entries[place];
        let length = entry.value_length as usize;
        if value.len() == length {
            entry.bytes[..length].copy_from_slice(value);
        } else {
            let old = std::mem::take(&mut entry.bytes);
            entry.fill(&old[length..], value);
        }
    }

    pub(super) fn remove(&mut self, place: Place) -> Entry {
        let entry = self.entries.remove(place);
        if let Ok(found) = self.by_key.find_entry(entry.hash, |other| *other == place) {
            found.remove();
        }
        let rank = entry.rank as usize;
        self.queue.swap_remove(rank);
        if rank < self.queue.len() {
            self.settle(rank);
        }
        entry
    }

    /// Removes one entry that is over, if there is one.
    pub(super) fn remove_over(&mut self, now: u64) -> Option<Entry> {
        let place = *self.queue.first()?;
        self.entries[place].is_over(now).then(|| self.remove(place))
    }

    fn expiry(&self, rank: usize) -> u64 {
        self.entries[self.queue[rank]].expires
    }

    /// Finds the right rank for what may have a wrong one.
    fn settle(&mut self, rank: usize) {
        let rank = self.rise(rank);
        self.sink(rank);
    }

    fn rise(&mut self, mut rank: usize) -> usize {
        while rank > 0 {
            let parent = (rank - 1) / BRANCHES;
            if self.expiry(parent) <= self.expiry(rank) {
                break;
            }
            self.swap(parent, rank);
            rank = parent;
        }
        self.note(rank);
        rank
    }

    fn sink(&mut self, mut rank: usize) {
        loop {
            let first = rank * BRANCHES + 1;
            let children = first..self.queue.len().min(first + BRANCHES);
            let Some(child) = children.min_by_key(|child| self.expiry(*child)) else {
                break;
            };
            if self.expiry(rank) <= self.expiry(child) {
                break;
            }
            self.swap(rank, child);
            rank = child;
        }
        self.note(rank);
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.queue.swap(one, other);
        self.note(one);
        self.note(other);
    }

    /// Tells the entry of this rank which it has.
    fn note(&mut self, rank: usize) {
        self.entries[self.queue[rank]].rank = rank as u32;
    }
}

#[cfg(test)]
impl Shard {
    pub(super) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// Panics if the three parts do not tell of the same entries.
    pub(super) fn check(&self) {
        assert_eq!(self.by_key.len(), self.entries.len());
        assert_eq!(self.queue.len(), self.entries.len());
        for (place, entry) in &self.entries {
            assert_eq!(self.find(entry.hash, entry.key()), Some(place));
            let rank = entry.rank as usize;
            assert_eq!(self.queue[rank], place);
            assert!(self.expiry(rank.saturating_sub(1) / BRANCHES) <= entry.expires);
            assert_eq!(entry.bytes.len(), entry.bytes.capacity());
        }
    }
}

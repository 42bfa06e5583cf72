//! The key-value store of one plugin section, shared by its instances on all workers.
//!
//! Split into shards by a hash whose key is random, since clients may choose what they are found
//! under. Each shard has a lock, held for a look-up and a copy, and never together with another.
//! Expired entries go where they are touched, two with each `put`, and as many as are in the way
//! where the store is full: there is no thread that sweeps. The time is passed in.

mod calls;
mod room;
mod shard;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use self::room::Room;
use self::shard::{Entry, Shard, weight};
use crate::config::PluginLimits;
use crate::contract::session_side::leaseway::plugin::store::Refusal;

pub(super) use self::calls::define;
pub(super) use self::room::{REFUSALS, Usage};

/// The longest key that the contract allows.
pub(super) const MAX_KEY: usize = 256;
/// The longest value that the contract allows.
pub(super) const MAX_VALUE: usize = 64 << 10;
/// The longest time to live that the contract allows, in milliseconds: seven days.
pub(super) const MAX_TTL: u64 = 7 * 24 * 3600 * 1000;
/// Many more than workers, so that two of them seldom meet.
const SHARDS: usize = 64;
/// Expired entries that a `put` removes in passing: more than it adds, so that they become fewer.
const SWEPT: usize = 2;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct SharedStore {
    shards: Box<[Padded]>,
    hasher: RandomState,
    room: Room,
    /// Times are nanoseconds from here.
    epoch: Instant,
}

/// Shards of different workers do not share a line of the cache.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(Mutex<Shard>);

impl SharedStore {
    /// An empty one. `usage` is where it counts.
    pub(super) fn new(limits: &PluginLimits, usage: Arc<Usage>) -> Arc<Self> {
        let entries = u64::from(limits.store_entries);
        Arc::new(Self {
            shards: (0..SHARDS).map(|_| Padded::default()).collect(),
            hasher: RandomState::new(),
            room: Room::new(usage, entries, limits.store_bytes),
            epoch: Instant::now(),
        })
    }

    /// The value under this key.
    pub(super) fn get(&self, key: &[u8], now: Instant) -> Option<Vec<u8>> {
        let hash = self.hash(key)?;
        let now = self.at(now);
        let mut shard = self.shard(hash);
        let place = shard.find(hash, key)?;
        let entry = shard.entry(place);
        if !entry.is_over(now) {
            return Some(entry.value().to_vec());
        }
        let over = shard.remove(place);
        drop(shard);
        self.room.give_back(over.weight());
        None
    }

    /// Removes what is under this key and returns it.
    pub(super) fn take(&self, key: &[u8], now: Instant) -> Option<Vec<u8>> {
        let hash = self.hash(key)?;
        let now = self.at(now);
        let mut shard = self.shard(hash);
        let place = shard.find(hash, key)?;
        let entry = shard.remove(place);
        drop(shard);
        self.room.give_back(entry.weight());
        (!entry.is_over(now)).then(|| entry.into_value())
    }

    /// Sets the value under this key for so many milliseconds.
    pub(super) fn put(
        &self,
        key: &[u8],
        value: &[u8],
        ttl_ms: u64,
        now: Instant,
    ) -> Result<(), Refusal> {
        let put = self.try_put(key, value, ttl_ms, now);
        put.inspect_err(|why| self.room.usage().refuse(*why))
    }

    fn try_put(&self, key: &[u8], value: &[u8], ttl_ms: u64, now: Instant) -> Result<(), Refusal> {
        let hash = self.hash(key).ok_or(Refusal::TooLong)?;
        if value.len() > MAX_VALUE {
            return Err(Refusal::TooLong);
        }
        if ttl_ms == 0 || ttl_ms > MAX_TTL {
            return Err(Refusal::BadTtl);
        }
        let now = self.at(now);
        let expires = now.saturating_add(ttl_ms * NANOS_PER_MILLI);
        let entry = Entry::new(hash, key, value, expires);
        let Err(entry) = self.enter(entry, now) else {
            return Ok(());
        };
        self.make_room(hash, entry.weight(), now);
        // Somebody else may have been quicker to use it; then it is full indeed.
        self.enter(entry, now).map_err(|_| Refusal::Full)
    }

    /// Adds an entry if there is room for it; else gives it back.
    fn enter(&self, entry: Entry, now: u64) -> Result<(), Entry> {
        let mut shard = self.shard(entry.hash());
        for _ in 0..SWEPT {
            let Some(over) = shard.remove_over(now) else {
                break;
            };
            self.room.give_back(over.weight());
        }
        // What is there gives its room, whether it has expired or not.
        let Some(place) = shard.find(entry.hash(), entry.key()) else {
            if !self.room.take(entry.weight()) {
                return Err(entry);
            }
            shard.add(entry);
            return Ok(());
        };
        let before = shard.entry(place).weight();
        if !self.room.change(before, entry.weight()) {
            return Err(entry);
        }
        let old = shard.exchange(place, entry);
        drop(shard);
        drop(old);
        Ok(())
    }

    /// Removes expired entries until there is room for one of this weight, or none is left. Every
    /// entry weighs something, so they are a few hundred at most.
    fn make_room(&self, hash: u64, weight: u64, now: u64) {
        let home = Self::shard_of(hash);
        for away in 0..SHARDS {
            let mut shard = lock(&self.shards[(home + away) % SHARDS]);
            while !self.room.has(weight) {
                let Some(over) = shard.remove_over(now) else {
                    break;
                };
                self.room.give_back(over.weight());
            }
        }
    }

    /// Puts `value` in the place of `expected`, if that is what is there.
    pub(super) fn replace(&self, key: &[u8], expected: &[u8], value: &[u8], now: Instant) -> bool {
        let Some(hash) = self.hash(key) else {
            return false;
        };
        if value.len() > MAX_VALUE {
            return false;
        }
        let now = self.at(now);
        let weight = weight(key.len() + value.len());
        for roomy in [false, true] {
            if roomy {
                self.make_room(hash, weight, now);
            }
            let mut shard = self.shard(hash);
            let Some(place) = shard.find(hash, key) else {
                return false;
            };
            let entry = shard.entry(place);
            if entry.is_over(now) || entry.value() != expected {
                return false;
            }
            if self.room.change(entry.weight(), weight) {
                shard.set_value(place, value);
                return true;
            }
        }
        false
    }

    /// None for a key that is longer than any.
    fn hash(&self, key: &[u8]) -> Option<u64> {
        (key.len() <= MAX_KEY).then(|| self.hasher.hash_one(key))
    }

    fn at(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        lock(&self.shards[Self::shard_of(hash)])
    }

    /// By bits in the middle: the table of a shard uses those at both ends.
    fn shard_of(hash: u64) -> usize {
        (hash >> 40) as usize % SHARDS
    }
}

/// Nothing that is done under the lock panics; if it did, what is lost would be entries, and a relay
/// goes on without them.
fn lock(shard: &Padded) -> MutexGuard<'_, Shard> {
    shard.0.lock().unwrap_or_else(PoisonError::into_inner)
}

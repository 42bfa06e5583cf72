#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use proptest::prelude::*;

use super::shard::ENTRY_WEIGHT;
use super::*;

const HOUR: u64 = 3_600_000;

fn store(entries: u32, bytes: u64) -> (Arc<SharedStore>, Arc<Usage>) {
    let usage = Arc::new(Usage::default());
    let limits = PluginLimits {
        store_entries: entries,
        store_bytes: bytes,
        ..PluginLimits::default()
    };
    (SharedStore::new(&limits, Arc::clone(&usage)), usage)
}

fn large() -> Arc<SharedStore> {
    store(1_000_000, 1 << 30).0
}

impl SharedStore {
    /// Panics if a shard is not sound, or if the counts are not those of what is there.
    fn check(&self) {
        let usage = self.room.usage();
        let mut count = (0, 0);
        for shard in &self.shards {
            let shard = lock(shard);
            shard.check();
            for entry in shard.all() {
                count = (count.0 + 1, count.1 + entry.weight());
            }
        }
        let counted = (usage.entries.load(Relaxed), usage.bytes.load(Relaxed));
        assert_eq!(counted, count);
    }
}

/// What the store does, with no thought of how.
struct Model {
    entries: HashMap<Vec<u8>, (Vec<u8>, u64)>,
    max_entries: usize,
    max_bytes: u64,
}

impl Model {
    fn forget(&mut self, now: u64) {
        self.entries.retain(|_, (_, expires)| *expires > now);
    }

    fn bytes(&self) -> u64 {
        let weights = self.entries.iter();
        weights
            .map(|(key, (value, _))| (key.len() + value.len()) as u64 + ENTRY_WEIGHT)
            .sum()
    }

    fn fits(&self) -> bool {
        self.entries.len() <= self.max_entries && self.bytes() <= self.max_bytes
    }

    fn put(&mut self, key: &[u8], value: &[u8], expires: u64) -> Result<(), Refusal> {
        let entry = (value.to_vec(), expires);
        let old = self.entries.insert(key.to_vec(), entry);
        if self.fits() {
            return Ok(());
        }
        self.entries.remove(key);
        self.entries.extend(old.map(|old| (key.to_vec(), old)));
        Err(Refusal::Full)
    }

    fn replace(&mut self, key: &[u8], expected: &[u8], value: &[u8]) -> Option<bool> {
        let entry = self.entries.get_mut(key)?;
        if entry.0 != expected {
            return Some(false);
        }
        entry.0 = value.to_vec();
        if self.fits() {
            return Some(true);
        }
        self.entries.get_mut(key)?.0 = expected.to_vec();
        Some(false)
    }
}

#[derive(Debug, Clone)]
enum Op {
    Get(u8),
    Put(u8, usize, u64),
    Take(u8),
    Replace(u8, Option<usize>, usize),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0..24u8;
    let length = || prop_oneof![0..40usize, Just(300)];
    prop_oneof![
        2 => key().prop_map(Op::Get),
        6 => (key(), length(), 1..50u64).prop_map(|(key, length, ttl)| Op::Put(key, length, ttl)),
        2 => key().prop_map(Op::Take),
        2 => (key(), proptest::option::weighted(0.2, length()), length())
            .prop_map(|(key, expected, length)| Op::Replace(key, expected, length)),
        2 => (0..30u64).prop_map(Op::Wait),
    ]
}

/// Of different lengths, so that they weigh differently.
fn key(key: u8) -> Vec<u8> {
    vec![key; usize::from(key)]
}

fn value(length: usize) -> Vec<u8> {
    vec![b'v'; length]
}

proptest! {
    #[test]
    fn it_does_as_a_simple_map_whose_entries_expire(
        ops in proptest::collection::vec(op(), 1..200),
        (entries, bytes) in (1..20u32, 300..6000u64),
    ) {
        let (store, _) = store(entries, bytes);
        let mut model = Model {
            entries: HashMap::new(),
            max_entries: entries as usize,
            max_bytes: bytes,
        };
        let mut now = 0;
        for op in ops {
            let at = store.epoch + Duration::from_millis(now);
            model.forget(now);
            match op {
                Op::Wait(time) => now += time,
                Op::Get(name) => {
                    let expected = model.entries.get(&key(name)).map(|(value, _)| value.clone());
                    prop_assert_eq!(store.get(&key(name), at), expected);
                }
                Op::Take(name) => {
                    let expected = model.entries.remove(&key(name)).map(|(value, _)| value);
                    prop_assert_eq!(store.take(&key(name), at), expected);
                }
                Op::Put(name, length, ttl) => {
                    let expected = model.put(&key(name), &value(length), now + ttl);
                    let put = store.put(&key(name), &value(length), ttl, at);
                    prop_assert_eq!(put, expected);
                }
                Op::Replace(name, expected, length) => {
                    let there = model.entries.get(&key(name)).map_or(0, |(value, _)| value.len());
                    let expected = value(expected.unwrap_or(there));
                    let replaced = model.replace(&key(name), &expected, &value(length));
                    let replaced = replaced.unwrap_or(false);
                    prop_assert_eq!(store.replace(&key(name), &expected, &value(length), at), replaced);
                }
            }
            store.check();
        }
    }
}

#[test]
fn an_entry_is_there_until_its_time_is_over_and_replace_does_not_prolong_it() {
    let store = large();
    let start = store.epoch;
    let later = |ms| start + Duration::from_millis(ms);
    store.put(b"k", b"one", 1000, start).unwrap();
    assert!(store.replace(b"k", b"one", b"other", later(999)));
    assert_eq!(store.get(b"k", later(999)).unwrap(), b"other");
    assert!(!store.replace(b"k", b"other", b"x", later(1000)));
    assert_eq!(store.get(b"k", later(1000)), None);
    store.put(b"k", b"two", 1000, later(1000)).unwrap();
    assert_eq!(store.take(b"k", later(2000)), None);
    store.check();
}

#[test]
fn what_is_too_long_or_lives_too_long_is_refused_and_counted() {
    let (store, usage) = store(10, 1 << 20);
    let now = store.epoch;
    let key = [b'k'; MAX_KEY + 1];
    let value = [b'v'; MAX_VALUE + 1];
    store.put(&key[1..], &value[1..], MAX_TTL, now).unwrap();
    assert_eq!(store.get(&key[1..], now).unwrap(), &value[1..]);
    assert_eq!(store.put(&key, b"", 1, now), Err(Refusal::TooLong));
    assert_eq!(store.put(b"", &value, 1, now), Err(Refusal::TooLong));
    assert_eq!(store.put(b"", b"", 0, now), Err(Refusal::BadTtl));
    assert_eq!(store.put(b"", b"", MAX_TTL + 1, now), Err(Refusal::BadTtl));
    assert_eq!(store.get(&key, now), None);
    assert_eq!(store.take(&key, now), None);
    assert!(!store.replace(&key, b"", b"", now));
    assert!(!store.replace(&key[1..], &value[1..], &value, now));
    let refused = usage.refused.each_ref().map(|count| count.load(Relaxed));
    assert_eq!(refused, [0, 2, 2]);
    drop(store);
    assert_eq!(usage.bytes.load(Relaxed), 0);
}

#[test]
fn a_full_store_refuses_until_something_expires_in_whatever_shard() {
    let (store, _) = store(1000, 1 << 20);
    let now = store.epoch;
    for number in 0..1000u32 {
        // The last one to come is the first to expire.
        let ttl = if number == 999 { 10 } else { HOUR };
        store.put(&number.to_le_bytes(), b"", ttl, now).unwrap();
    }
    assert_eq!(store.put(b"one more", b"", HOUR, now), Err(Refusal::Full));
    assert_eq!(store.put(&[0; 4], b"again", HOUR, now), Ok(()));
    let later = now + Duration::from_millis(10);
    assert_eq!(store.put(b"one more", b"", HOUR, later), Ok(()));
    assert_eq!(store.put(b"yet one", b"", HOUR, later), Err(Refusal::Full));
    store.take(b"one more", later).unwrap();
    assert_eq!(store.put(b"yet one", b"", HOUR, later), Ok(()));
    store.check();
}

#[test]
fn what_expires_untouched_is_swept_by_later_puts() {
    let (store, usage) = store(100_000, 1 << 30);
    let now = store.epoch;
    for number in 0..10_000u32 {
        store.put(&number.to_le_bytes(), b"old", 10, now).unwrap();
    }
    let later = now + Duration::from_secs(1);
    for number in 10_000..30_000u32 {
        store
            .put(&number.to_le_bytes(), b"new", HOUR, later)
            .unwrap();
    }
    assert_eq!(usage.entries.load(Relaxed), 20_000);
    store.check();
}

#[test]
fn a_value_that_shrinks_gives_back_its_room() {
    let (store, usage) = store(10, 1 << 20);
    let now = store.epoch;
    store.put(b"k", &[0; 60_000], HOUR, now).unwrap();
    assert!(store.replace(b"k", &[0; 60_000], b"v", now));
    assert_eq!(usage.bytes.load(Relaxed), 2 + ENTRY_WEIGHT);
    store.check();
}

/// Runs this on eight threads that start together; what each has returned.
fn together<T: Send>(run: impl Fn(usize) -> T + Sync) -> Vec<T> {
    const THREADS: usize = 8;
    let barrier = Barrier::new(THREADS);
    let run = |thread| {
        barrier.wait();
        run(thread)
    };
    std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || run(thread)))
            .collect();
        let threads = threads.into_iter();
        threads.map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn of_many_threads_one_takes_each_entry() {
    const KEYS: u32 = 20_000;
    let store = large();
    let now = store.epoch;
    for key in 0..KEYS {
        store
            .put(&key.to_le_bytes(), &key.to_be_bytes(), HOUR, now)
            .unwrap();
    }
    let taken = together(|_| {
        let keys = (0..KEYS).filter_map(|key| store.take(&key.to_le_bytes(), now));
        keys.map(|value| u32::from_be_bytes(value.try_into().unwrap()))
            .collect::<Vec<_>>()
    });
    let mut taken = taken.concat();
    taken.sort_unstable();
    assert!(taken.into_iter().eq(0..KEYS));
    store.check();
}

#[test]
fn counters_that_many_threads_replace_lose_nothing() {
    const ROUNDS: u64 = 2_000;
    let store = large();
    let now = store.epoch;
    for key in 0..3 {
        store.put(&[key], &0u64.to_le_bytes(), HOUR, now).unwrap();
    }
    let threads = together(|thread| {
        for round in 0..ROUNDS {
            let key = [(round as usize + thread) as u8 % 3];
            loop {
                let value = store.get(&key, now).unwrap();
                let next = u64::from_le_bytes(value[..].try_into().unwrap()) + 1;
                if store.replace(&key, &value, &next.to_le_bytes(), now) {
                    break;
                }
            }
        }
    });
    let sum: u64 = (0..3)
        .map(|key| u64::from_le_bytes(store.get(&[key], now).unwrap().try_into().unwrap()))
        .sum();
    assert_eq!(sum, ROUNDS * threads.len() as u64);
}

#[test]
fn many_threads_together_never_hold_more_than_the_limits() {
    let (store, usage) = store(500, 500 * (ENTRY_WEIGHT + 12));
    let now = store.epoch;
    together(|thread| {
        for round in 0..20_000u32 {
            let key = (round % 1000).to_le_bytes();
            let value = [thread as u8; 16];
            let at = now + Duration::from_micros(u64::from(round));
            let _ = store.put(
                &key,
                &value[..round as usize % 17],
                1 + u64::from(round % 5),
                at,
            );
            if round % 3 == 0 {
                store.take(&key, at);
            }
            assert!(usage.entries.load(Relaxed) <= 500);
            assert!(usage.bytes.load(Relaxed) <= 500 * (ENTRY_WEIGHT + 12));
        }
    });
    store.check();
}

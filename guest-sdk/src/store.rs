//! The store: a small map from bytes to bytes that all sessions and conversations of the plugin
//! share, on all workers.
//!
//! For what one session must know of another: by which key a client cancels the query of its other
//! connection, how many requests it has made of late, which endpoint it was sent to last. It belongs
//! to the plugin's section in the config, is in memory, and is gone with the process. Every function
//! is atomic and none waits, so session hooks may call them. Keys have at most 256 bytes and values
//! at most 64 KiB; how much fits is the operator's `limits.store-entries` and `limits.store-bytes`.
//!
//! ```no_run
//! use std::time::Duration;
//! use leaseway_sdk::store;
//!
//! /// Counts one more request of this client; false if it has made too many within the minute.
//! fn may_go_on(client: &str) -> bool {
//!     // Another worker may count at the same time: then look again.
//!     for _ in 0..10 {
//!         let Some(before) = store::get(client.as_bytes()) else {
//!             return store::put(client.as_bytes(), &[1], Duration::from_secs(60)).is_ok();
//!         };
//!         let [count @ 0..100] = before[..] else {
//!             return false;
//!         };
//!         if store::replace(client.as_bytes(), &before, &[count + 1]) {
//!             return true;
//!         }
//!     }
//!     false
//! }
//! ```
//!
//! In native builds each thread has a store of its own, for tests: see
//! `testing::clear_store`.

use std::time::Duration;

use crate::bindings::leaseway::plugin::store::Refusal;

/// Why [`put`] has changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The store holds `limits.store-entries` entries, or `limits.store-bytes` of keys, values and
    /// 128 bytes for each entry. Nothing is thrown out to make room but what has expired.
    #[error("the store is full")]
    Full,
    /// The key has more than 256 bytes, or the value more than 64 KiB.
    #[error("a key of more than 256 bytes, or a value of more than 64 KiB")]
    TooLong,
    /// The time to live is zero, or more than seven days.
    #[error("a time to live of zero, or of more than seven days")]
    BadTtl,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full => Self::Full,
            Refusal::TooLong => Self::TooLong,
            Refusal::BadTtl => Self::BadTtl,
        }
    }
}

/// The value under this key, if there is one that has not expired.
#[must_use]
pub fn get(key: &[u8]) -> Option<Vec<u8>> {
    sink::get(key)
}

/// Sets the value under this key, whatever was there before. It expires after `ttl`, of at most
/// seven days, which counts from now in whole milliseconds: a part of one is another one.
///
/// # Errors
///
/// The store is full, or key, value or `ttl` are past their limits. Then nothing has changed.
pub fn put(key: &[u8], value: &[u8], ttl: Duration) -> Result<(), Refused> {
    let millis = ttl.as_nanos().div_ceil(1_000_000);
    // More than any limit, which is for the host to say.
    let millis = u64::try_from(millis).unwrap_or(u64::MAX);
    Ok(sink::put(key, value, millis)?)
}

/// Removes what is under this key and returns it. Of many that take one entry at the same time,
/// one gets it.
#[must_use = "what is taken is gone"]
pub fn take(key: &[u8]) -> Option<Vec<u8>> {
    sink::take(key)
}

/// Puts `value` in the place of `expected`, if that is what is under the key; when it expires stays
/// as it was. False, and nothing has changed, if something else or nothing is there; also if
/// `value` has more than 64 KiB, or is longer than `expected` and there is no room for it. So bound
/// a loop that tries again.
#[must_use = "it may not have been replaced"]
pub fn replace(key: &[u8], expected: &[u8], value: &[u8]) -> bool {
    sink::replace(key, expected, value)
}

#[cfg(target_arch = "wasm32")]
mod sink {
    //! The host.

    pub(super) use crate::bindings::leaseway::plugin::store::{get, put, replace, take};
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod sink {
    //! A map for each thread, which does what the host does.

    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::time::{Duration, Instant};

    use super::Refusal;

    const MAX_KEY: usize = 256;
    const MAX_VALUE: usize = 64 << 10;
    const MAX_TTL: u64 = 7 * 24 * 3600 * 1000;
    const MAX_ENTRIES: usize = 100_000;

    struct Store {
        /// Values, and when they expire.
        entries: HashMap<Vec<u8>, (Vec<u8>, Instant)>,
        max_entries: usize,
        /// Time that has passed by the word of a test.
        passed: Duration,
    }

    impl Default for Store {
        fn default() -> Self {
            Self {
                entries: HashMap::new(),
                max_entries: MAX_ENTRIES,
                passed: Duration::ZERO,
            }
        }
    }

    impl Store {
        fn now(&self) -> Instant {
            Instant::now() + self.passed
        }

        fn forget(&mut self) {
            let now = self.now();
            self.entries.retain(|_, (_, expires)| *expires > now);
        }
    }

    thread_local! {
        static STORE: RefCell<Store> = RefCell::default();
    }

    /// The store of this thread, without what has expired.
    fn with<T>(run: impl FnOnce(&mut Store) -> T) -> T {
        STORE.with_borrow_mut(|store| {
            store.forget();
            run(store)
        })
    }

    pub(super) fn get(key: &[u8]) -> Option<Vec<u8>> {
        with(|store| store.entries.get(key).map(|(value, _)| value.clone()))
    }

    pub(super) fn put(key: &[u8], value: &[u8], ttl_ms: u64) -> Result<(), Refusal> {
        if key.len() > MAX_KEY || value.len() > MAX_VALUE {
            return Err(Refusal::TooLong);
        }
        if ttl_ms == 0 || ttl_ms > MAX_TTL {
            return Err(Refusal::BadTtl);
        }
        with(|store| {
            if store.entries.len() >= store.max_entries && !store.entries.contains_key(key) {
                return Err(Refusal::Full);
            }
            let expires = store.now() + Duration::from_millis(ttl_ms);
            let entry = (value.to_vec(), expires);
            store.entries.insert(key.to_vec(), entry);
            Ok(())
        })
    }

    pub(super) fn take(key: &[u8]) -> Option<Vec<u8>> {
        with(|store| store.entries.remove(key).map(|(value, _)| value))
    }

    pub(super) fn replace(key: &[u8], expected: &[u8], value: &[u8]) -> bool {
        with(|store| match store.entries.get_mut(key) {
            Some((there, _)) if there == expected && value.len() <= MAX_VALUE => {
                *there = value.to_vec();
                true
            }
            _ => false,
        })
    }

    pub(crate) fn clear() {
        STORE.take();
    }

    pub(crate) fn pass(time: Duration) {
        STORE.with_borrow_mut(|store| store.passed += time);
    }

    pub(crate) fn limit(entries: usize) {
        STORE.with_borrow_mut(|store| store.max_entries = entries);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{clear_store, limit_store, pass_store_time};

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_put_can_be_got_replaced_and_taken_once() {
        clear_store();
        put(b"k", b"one", MINUTE).unwrap();
        assert!(!replace(b"k", b"other", b"two"));
        assert!(replace(b"k", b"one", b"two"));
        assert_eq!(get(b"k").unwrap(), b"two");
        assert_eq!(take(b"k").unwrap(), b"two");
        assert_eq!(take(b"k"), None);
        assert!(!replace(b"k", b"two", b"three"));
    }

    #[test]
    fn time_that_a_test_lets_pass_ends_entries() {
        clear_store();
        put(b"k", b"v", MINUTE).unwrap();
        pass_store_time(MINUTE / 2);
        assert!(replace(b"k", b"v", b"w"));
        pass_store_time(MINUTE / 2);
        assert_eq!(get(b"k"), None);
        put(b"k", b"v", Duration::from_nanos(1)).unwrap();
    }

    #[test]
    fn what_the_host_refuses_is_refused() {
        clear_store();
        limit_store(1);
        put(b"k", b"v", MINUTE).unwrap();
        put(b"k", b"again", MINUTE).unwrap();
        assert_eq!(put(b"l", b"v", MINUTE), Err(Refused::Full));
        assert_eq!(put(b"k", b"v", Duration::ZERO), Err(Refused::BadTtl));
        let long = Duration::from_secs(7 * 24 * 3600);
        put(b"k", b"v", long).unwrap();
        let longer = long + Duration::from_nanos(1);
        assert_eq!(put(b"k", b"v", longer), Err(Refused::BadTtl));
        assert_eq!(put(b"k", b"v", Duration::MAX), Err(Refused::BadTtl));
        assert_eq!(put(&[0; 257], b"v", MINUTE), Err(Refused::TooLong));
        assert_eq!(put(b"k", &[0; 65_537], MINUTE), Err(Refused::TooLong));
        assert!(!replace(b"k", b"v", &[0; 65_537]));
        clear_store();
        put(b"l", b"v", MINUTE).unwrap();
        put(b"m", b"v", MINUTE).unwrap();
    }
}

//! One worker's part of one endpoint's pool: its idle connections and its line.
//!
//! Plain data with rules and no I/O, generic over the connection, so that the rules can be tested
//! with anything. Limits and other workers are the caller's business.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::contract::Target;

/// A head of line that needs another identity lets same-identity waiters pass for so long; then
/// the next connection is closed to make room for it.
pub(crate) const HEAD_PATIENCE: Duration = Duration::from_millis(50);

/// What one can tell of a connection without looking into it.
pub(crate) trait Suits {
    /// Whether a waiter for this can use it.
    fn suits(&self, key: Key<'_>) -> bool;
}

/// What makes connections interchangeable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key<'a> {
    pub(crate) caretaker: &'a str,
    pub(crate) identity: &'a str,
}

/// A key that somebody in line keeps.
#[derive(Debug, Clone)]
pub(crate) struct OwnedKey {
    pub(crate) caretaker: Arc<str>,
    pub(crate) target: Arc<Target>,
}

impl OwnedKey {
    pub(crate) fn key(&self) -> Key<'_> {
        Key {
            caretaker: &self.caretaker,
            identity: &self.target.identity,
        }
    }
}

/// An idle connection.
#[derive(Debug)]
pub(crate) struct Idle<C> {
    pub(crate) connection: C,
    /// When it came back.
    pub(crate) since: Instant,
    /// When it was last seen alive: `since`, or its last probe.
    pub(crate) proved: Instant,
}

/// Somebody in line.
#[derive(Debug)]
pub(crate) struct Waiter<W> {
    pub(crate) id: u64,
    pub(crate) key: OwnedKey,
    pub(crate) since: Instant,
    pub(crate) to: W,
}

/// Who gets a connection that has come free.
#[derive(Debug)]
pub(crate) enum Next<C, W> {
    /// This waiter, as it is.
    Serve(Waiter<W>, C),
    /// This waiter needs another identity: the connection is to be closed, and a new one opened in
    /// its room.
    Replace(Waiter<W>, C),
    /// Nobody waits.
    Nobody(C),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shelf<C, W> {
    /// Oldest first: taken from the back, evicted from the front.
    idle: VecDeque<Idle<C>>,
    line: VecDeque<Waiter<W>>,
}

impl<C: Suits, W> Shelf<C, W> {
    pub(crate) fn new() -> Self {
        Self {
            idle: VecDeque::new(),
            line: VecDeque::new(),
        }
    }

    /// The idle connection of this key that came back last.
    pub(crate) fn take(&mut self, key: Key<'_>) -> Option<C> {
        let at = self
            .idle
            .iter()
            .rposition(|idle| idle.connection.suits(key))?;
        self.idle.remove(at).map(|idle| idle.connection)
    }

    /// The idle connection that has been idle longest, of any key.
    pub(crate) fn evict(&mut self) -> Option<C> {
        self.idle.pop_front().map(|idle| idle.connection)
    }

    /// Takes out all idle connections that `unwanted` names.
    pub(crate) fn take_if(&mut self, mut unwanted: impl FnMut(&Idle<C>) -> bool) -> Vec<Idle<C>> {
        let mut taken = Vec::new();
        let mut at = 0;
        while let Some(idle) = self.idle.get(at) {
            if unwanted(idle) {
                taken.extend(self.idle.remove(at));
            } else {
                at += 1;
            }
        }
        taken
    }

    /// Takes out the first idle connection that `wanted` names.
    pub(crate) fn take_first(&mut self, wanted: impl Fn(&Idle<C>) -> bool) -> Option<Idle<C>> {
        let at = self.idle.iter().position(wanted)?;
        self.idle.remove(at)
    }

    pub(crate) fn idle(&self) -> impl Iterator<Item = &Idle<C>> {
        self.idle.iter()
    }

    /// Puts a connection by; `since` tells when it came back, so that one that was only probed
    /// keeps its place in the order.
    pub(crate) fn put(&mut self, connection: C, since: Instant, proved: Instant) {
        let at = self
            .idle
            .iter()
            .rposition(|idle| idle.since <= since)
            .map_or(0, |at| at + 1);
        self.idle.insert(
            at,
            Idle {
                connection,
                since,
                proved,
            },
        );
    }

    /// Joins the line. The number is higher than those of all who have joined before.
    pub(crate) fn wait(&mut self, id: u64, key: OwnedKey, since: Instant, to: W) {
        self.line.push_back(Waiter { id, key, since, to });
    }

    /// Leaves the line; none if already served.
    pub(crate) fn leave(&mut self, id: u64) -> Option<Waiter<W>> {
        // Numbers grow along the line. Most who leave it have been served, and stand there no more.
        let at = self.line.binary_search_by_key(&id, |waiter| waiter.id);
        self.line.remove(at.ok()?)
    }

    /// Since when the head of the line waits.
    pub(crate) fn head_since(&self) -> Option<Instant> {
        self.line.front().map(|waiter| waiter.since)
    }

    /// Nothing idle, nobody in line.
    pub(crate) fn is_empty(&self) -> bool {
        self.idle.is_empty() && self.line.is_empty()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.line.len()
    }

    /// The head of the line, for room to open a connection.
    pub(crate) fn head(&mut self) -> Option<Waiter<W>> {
        self.line.pop_front()
    }

    /// Everybody in line.
    pub(crate) fn dismiss(&mut self) -> VecDeque<Waiter<W>> {
        std::mem::take(&mut self.line)
    }

    /// The key that the head of the line waits for.
    pub(crate) fn head_key(&self) -> Option<&OwnedKey> {
        self.line.front().map(|waiter| &waiter.key)
    }

    /// Who gets a connection that has come free. The first in line whom it suits, unless a head
    /// whom it does not suit has been patient long enough.
    pub(crate) fn next(&mut self, connection: C, now: Instant) -> Next<C, W> {
        let suited = self
            .line
            .iter()
            .position(|waiter| connection.suits(waiter.key.key()));
        let patience_left = self
            .head_since()
            .is_some_and(|since| now.saturating_duration_since(since) < HEAD_PATIENCE);
        match suited {
            Some(at) if at == 0 || patience_left => match self.line.remove(at) {
                Some(waiter) => Next::Serve(waiter, connection),
                None => Next::Nobody(connection),
            },
            _ => match self.line.pop_front() {
                Some(waiter) => Next::Replace(waiter, connection),
                None => Next::Nobody(connection),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    impl Suits for (&'static str, u32) {
        fn suits(&self, key: Key<'_>) -> bool {
            self.0 == key.identity
        }
    }

    fn key(identity: &str) -> Key<'_> {
        Key {
            caretaker: "p",
            identity,
        }
    }

    fn owned(identity: &str) -> OwnedKey {
        OwnedKey {
            caretaker: "p".into(),
            target: Arc::new(Target {
                group: None,
                endpoint: None,
                identity: identity.to_owned(),
                secret: Vec::new(),
                affinity: None,
                unpooled: false,
            }),
        }
    }

    type Toy = Shelf<(&'static str, u32), u32>;

    #[test]
    fn the_last_to_come_back_is_the_first_to_go_and_the_oldest_is_evicted() {
        let mut shelf = Toy::new();
        let now = Instant::now();
        for n in 0..3 {
            shelf.put(("a", n), now + Duration::from_secs(n.into()), now);
        }
        shelf.put(("b", 9), now + Duration::from_secs(9), now);
        assert_eq!(shelf.take(key("a")), Some(("a", 2)));
        assert_eq!(shelf.evict(), Some(("a", 0)));
        assert_eq!(shelf.take(key("c")), None);
    }

    #[test]
    fn a_probed_connection_keeps_its_place() {
        let mut shelf = Toy::new();
        let now = Instant::now();
        shelf.put(("a", 1), now + Duration::from_secs(5), now);
        shelf.put(("a", 0), now, now);
        assert_eq!(shelf.take(key("a")), Some(("a", 1)));
    }

    #[test]
    fn a_line_is_served_in_order_within_a_key() {
        let mut shelf = Toy::new();
        let now = Instant::now();
        for n in 0..3 {
            shelf.wait(n.into(), owned("a"), now, n);
        }
        for n in 0..3 {
            match shelf.next(("a", 7), now) {
                Next::Serve(waiter, connection) => assert_eq!((waiter.to, connection.1), (n, 7)),
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(shelf.next(("a", 7), now), Next::Nobody(("a", 7))));
    }

    #[test]
    fn a_patient_head_is_passed_for_a_while_and_then_gets_the_room() {
        let mut shelf = Toy::new();
        let now = Instant::now();
        shelf.wait(1, owned("b"), now, 0);
        shelf.wait(2, owned("a"), now, 1);
        shelf.wait(3, owned("a"), now, 2);
        assert!(matches!(
            shelf.next(("a", 7), now),
            Next::Serve(Waiter { to: 1, .. }, _)
        ));
        let later = now + HEAD_PATIENCE;
        assert!(matches!(
            shelf.next(("a", 7), later),
            Next::Replace(Waiter { to: 0, .. }, _)
        ));
        assert!(matches!(
            shelf.next(("a", 7), later),
            Next::Serve(Waiter { to: 2, .. }, _)
        ));
    }

    #[test]
    fn who_leaves_is_not_served() {
        let mut shelf = Toy::new();
        let now = Instant::now();
        shelf.wait(1, owned("a"), now, 0);
        shelf.wait(2, owned("a"), now, 1);
        assert_eq!(shelf.leave(1).map(|waiter| waiter.to), Some(0));
        assert!(shelf.leave(1).is_none());
        assert!(matches!(
            shelf.next(("a", 7), now),
            Next::Serve(Waiter { to: 1, .. }, _)
        ));
    }
}

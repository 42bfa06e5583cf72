//! The targets that sessions name, each kept once: most clients of a listener name the same few.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use crate::contract::Target;

/// Below so many nothing is tidied up.
const FEW: usize = 64;

/// The targets that the sessions of one listener on one worker have named.
#[derive(Debug)]
pub struct Targets {
    known: RefCell<HashSet<Arc<Target>>>,
    /// When there are so many, those that nobody names any more are forgotten.
    many: Cell<usize>,
}

impl Default for Targets {
    fn default() -> Self {
        Self {
            known: RefCell::default(),
            many: Cell::new(FEW),
        }
    }
}

impl Targets {
    /// The target, in one place for all who name it. One that is leased outside of the pool is named once.
    fn keep(&self, target: Target) -> Arc<Target> {
        if target.unpooled {
            return Arc::new(target);
        }
        let mut known = self.known.borrow_mut();
        if let Some(one) = known.get(&target) {
            return Arc::clone(one);
        }
        if known.len() >= self.many.get() {
            known.retain(|one| Arc::strong_count(one) > 1);
            known.shrink_to_fit();
            self.many.set((known.len() * 2).max(FEW));
        }
        let target = Arc::new(target);
        known.insert(Arc::clone(&target));
        target
    }

    /// Somebody does not name it any more. With the last one goes the secret in it; unless it is leased yet: then it is
    /// there until it is named and left once more, or until there are many.
    fn leave(&self, target: &Arc<Target>) {
        // The one here, and the one in the set.
        if Arc::strong_count(target) == 2 {
            self.known.borrow_mut().remove(target);
        }
    }
}

/// What one session has named last.
#[derive(Debug)]
pub(super) struct Named {
    targets: Rc<Targets>,
    last: Option<Arc<Target>>,
}

impl Named {
    pub(super) fn new(targets: Rc<Targets>) -> Self {
        Self {
            targets,
            last: None,
        }
    }

    /// None before the first one.
    pub(super) fn last(&self) -> Option<&Arc<Target>> {
        self.last.as_ref()
    }

    /// It names this one now.
    pub(super) fn name(&mut self, target: Target) {
        if self.last.as_deref() != Some(&target) {
            self.leave();
            self.last = Some(self.targets.keep(target));
        }
    }

    fn leave(&mut self) {
        if let Some(last) = self.last.take() {
            self.targets.leave(&last);
        }
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(identity: usize, secret: &[u8]) -> Target {
        Target {
            group: None,
            endpoint: None,
            identity: identity.to_string(),
            secret: secret.to_vec(),
            affinity: None,
            unpooled: false,
        }
    }

    #[test]
    fn the_same_are_one_and_others_are_not() {
        let targets = Targets::default();
        let one = targets.keep(target(1, b"a"));
        assert!(Arc::ptr_eq(&one, &targets.keep(target(1, b"a"))));
        for other in [target(2, b"a"), target(1, b"b")] {
            let kept = targets.keep(other.clone());
            assert_eq!(*kept, other);
            assert!(!Arc::ptr_eq(&one, &kept));
        }
    }

    #[test]
    fn the_last_to_leave_takes_it_along() {
        let targets = Targets::default();
        let (one, other) = (targets.keep(target(1, b"a")), targets.keep(target(1, b"a")));
        targets.leave(&one);
        drop(one);
        assert_eq!(targets.known.borrow().len(), 1);
        targets.leave(&other);
        assert_eq!(targets.known.borrow().len(), 0);
        // Another one, which nobody keeps, takes nothing along.
        let kept = targets.keep(target(2, b""));
        targets.leave(&Arc::new(target(2, b"")));
        assert!(Arc::ptr_eq(&kept, &targets.keep(target(2, b""))));
    }

    #[test]
    fn a_session_leaves_what_it_has_named() {
        let targets = Rc::new(Targets::default());
        let mut named = Named::new(Rc::clone(&targets));
        assert_eq!(named.last(), None);
        for identity in [1, 1, 2] {
            named.name(target(identity, b""));
            assert_eq!(
                named.last().map(|last| &**last),
                Some(&target(identity, b""))
            );
            assert_eq!(targets.known.borrow().len(), 1);
        }
        drop(named);
        assert!(targets.known.borrow().is_empty());
    }

    #[test]
    fn one_outside_of_the_pool_is_not_kept() {
        let targets = Targets::default();
        let unpooled = Target {
            unpooled: true,
            ..target(1, b"a")
        };
        assert_eq!(*targets.keep(unpooled.clone()), unpooled);
        assert!(targets.known.borrow().is_empty());
    }

    #[test]
    fn those_that_nobody_names_any_more_are_forgotten() {
        let targets = Targets::default();
        let held: Vec<_> = (0..100).map(|n| targets.keep(target(n, b""))).collect();
        for n in 100..100_000 {
            targets.keep(target(n, b""));
            assert!(targets.known.borrow().len() <= 2 * held.len() + FEW);
        }
        for (n, one) in held.iter().enumerate() {
            assert!(Arc::ptr_eq(one, &targets.keep(target(n, b""))));
        }
    }
}

//! Log lines about what goes wrong with sessions, so few that the log can be read: one for each kind
//! of trouble in a while, with the number of those that were left out.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// The time between two lines of one kind.
const INTERVAL: Duration = Duration::from_secs(5);

/// What was said, of one listener on one worker.
#[derive(Debug, Default)]
pub struct Complaints(RefCell<HashMap<&'static str, Said>>);

#[derive(Debug)]
struct Said {
    last: Instant,
    left_out: u64,
}

impl Complaints {
    /// Whether a line of this kind may be written now, and how many were not since the last.
    pub(super) fn may_say(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut all = self.0.borrow_mut();
        match all.get_mut(kind) {
            None => {
                let said = Said {
                    last: now,
                    left_out: 0,
                };
                all.insert(kind, said);
                Some(0)
            }
            Some(said) if now.saturating_duration_since(said.last) < INTERVAL => {
                said.left_out += 1;
                None
            }
            Some(said) => {
                said.last = now;
                Some(std::mem::take(&mut said.left_out))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_line_in_a_while_and_nothing_is_forgotten() {
        let complaints = Complaints::default();
        let now = Instant::now();
        assert_eq!(complaints.may_say("a", now), Some(0));
        for _ in 0..3 {
            assert_eq!(complaints.may_say("a", now), None);
        }
        assert_eq!(complaints.may_say("b", now), Some(0));
        assert_eq!(complaints.may_say("a", now + INTERVAL), Some(3));
        assert_eq!(complaints.may_say("a", now + INTERVAL), None);
    }
}

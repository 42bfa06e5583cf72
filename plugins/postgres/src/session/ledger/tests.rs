//! What is sent and what is answered, in the orders in which that may happen.

use proptest::prelude::*;

use super::*;
use crate::statements::{Catalog, Key};

fn ledger(sent: impl IntoIterator<Item = Sent>) -> Ledger {
    let mut ledger = Ledger::default();
    for one in sent {
        ledger.push(one);
    }
    ledger
}

fn answer(ledger: &mut Ledger, kinds: &[u8]) {
    for kind in kinds {
        match kind {
            b'Z' => drop(ledger.ready(b'I')),
            b'c' => ledger.copied(),
            kind => drop(ledger.answered(*kind)),
        }
    }
}

fn own_parse() -> Sent {
    Sent::Parse(Some(Box::new(Parsing {
        key: Key::default(),
        segment: 0,
        by: By::Own,
        statement: Catalog::default().get(b"SELECT 1"),
        name: None,
    })))
}

fn answered_close() -> Sent {
    Sent::Close(Some(Box::new(Closing::Answered(None))))
}

/// Each may have to be undone at once.
#[test]
fn only_so_many_statements_are_under_way() {
    let mut ledger = ledger([Sent::Bind]);
    let mut count = 0;
    while !ledger.holds_up(b'P') {
        ledger.push(own_parse());
        count += 1;
    }
    assert!((500..1100).contains(&count), "{count}");
    answer(&mut ledger, b"21");
    assert!(!ledger.holds_up(b'P'));
}

#[test]
fn each_answer_ends_what_it_is_for() {
    use Sent::{Bind, Describe, Execute, Parse, Query, Sync};
    let mut ledger = ledger([Parse(None), Bind, Describe, Execute, Sync, Query]);
    answer(&mut ledger, b"12TDDCZTDDC");
    assert!(matches!(ledger.front(), Some(Query)));
    assert!(!ledger.is_idle() && ledger.is_one_query());
    answer(&mut ledger, b"TDCZ");
    assert!(ledger.is_idle());
}

#[test]
fn an_error_passes_over_everything_up_to_a_sync() {
    use Sent::{Bind, Execute, Parse, Query, Sync};
    let mut ledger = ledger([Parse(None), Bind, own_parse(), Query, Sync, Bind, Execute]);
    assert!(ledger.answered(b'1').is_some());
    assert!(ledger.answered(b'E').is_none());
    let over = ledger.ready(b'I');
    assert!(
        matches!(over[..], [Bind, Parse(Some(_)), Query]),
        "{over:?}"
    );
    answer(&mut ledger, b"2E");
    ledger.passed_over();
    assert!(
        ledger.passes_over() && !ledger.is_at_rest(),
        "there is no Sync behind it"
    );
    ledger.push(Sync);
    answer(&mut ledger, b"Z");
    assert!(ledger.is_idle());
}

#[test]
fn what_is_answered_here_waits_for_its_turn() {
    use Sent::{Bind, Execute, Sync};
    let mut ledger = ledger([Bind, Execute, answered_close(), answered_close(), Sync]);
    answer(&mut ledger, b"2D");
    assert!(ledger.answers_itself().is_none());
    answer(&mut ledger, b"C");
    for _ in 0..2 {
        assert!(matches!(ledger.answers_itself(), Some((b'3', _))));
    }
    assert!(ledger.answers_itself().is_none());
    answer(&mut ledger, b"Z");
    assert!(ledger.is_idle());
    // Nor is it answered where the server would have passed over it.
    let mut ledger = self::ledger([Bind, answered_close(), Sync]);
    answer(&mut ledger, b"E");
    assert!(ledger.answers_itself().is_none());
    assert_eq!(ledger.ready(b'I').len(), 2);
    assert!(ledger.is_idle());
}

#[test]
fn a_sync_in_the_middle_of_data_is_passed_over() {
    use Sent::{Bind, CopyEnd, Execute, Parse, Query, Sync};
    let mut extended = ledger([Parse(None), Bind, Execute, Sync, CopyEnd, Sync]);
    answer(&mut extended, b"12GcCZ");
    assert!(extended.is_idle());
    let mut simple = ledger([Query, CopyEnd, Query]);
    answer(&mut simple, b"GcCZ");
    assert!(simple.is_one_query());
    answer(&mut simple, b"CZ");
    assert!(simple.is_idle());
    // It failed: a `Sync` behind the data counts as ever.
    let mut failed = ledger([Execute, CopyEnd, Sync]);
    answer(&mut failed, b"GEZ");
    assert!(failed.is_idle() && !failed.asks());
}

/// It may have been passed over, or not: the server is asked.
#[test]
fn a_sync_in_the_middle_of_data_that_are_refused_is_asked_for() {
    use Sent::{CopyEnd, Execute, Sync};
    for sent in [vec![Execute, Sync, CopyEnd, Sync], vec![Execute, Sync]] {
        for another in [&b""[..], b"Z"] {
            let mut failed = ledger(sent.iter().map(|one| match one {
                Execute => Execute,
                Sync => Sync,
                _ => CopyEnd,
            }));
            answer(&mut failed, b"GE");
            assert!(!failed.holds_up(b'S') && failed.holds_up(b'P'));
            answer(&mut failed, b"Z");
            assert!(failed.asks() && !failed.asks());
            assert!(failed.holds_up(b'S') && !failed.is_idle());
            answer(&mut failed, another);
            assert!(!failed.is_answer_to_doubt(b'Z'));
            assert!(failed.is_answer_to_doubt(b'I') && failed.is_answer_to_doubt(b'Z'));
            answer(&mut failed, b"Z");
            assert!(failed.is_idle() && !failed.holds_up(b'P'));
        }
    }
}

/// Where more was sent behind it, it is taken for passed over; and if it was not, nothing is at rest before
/// the server has been asked.
#[test]
fn what_is_sent_behind_refused_data_is_answered_and_then_asked_for() {
    use Sent::{CopyEnd, Execute, Query, Sync};
    for another in [&b""[..], b"Z"] {
        let sent = [Execute, Sync, CopyEnd, Sync, answered_close(), Sync];
        let mut failed = ledger(sent);
        answer(&mut failed, b"GEZ");
        assert!(!failed.asks());
        assert!(matches!(failed.answers_itself(), Some((b'3', _))));
        answer(&mut failed, b"Z");
        assert!(!failed.is_idle() && failed.asks());
        answer(&mut failed, another);
        assert!(failed.is_answer_to_doubt(b'I'));
        answer(&mut failed, b"Z");
        assert!(failed.is_idle());
    }
    // One too many in front of the answer to a query.
    let mut failed = ledger([Execute, Sync, CopyEnd, Sync, Query]);
    answer(&mut failed, b"GEZZ");
    assert!(failed.is_lost());
    // The client itself has ended the data with an error, and the server has come to that.
    let mut failed = ledger([Execute, Sync, CopyEnd, Sync, Query]);
    answer(&mut failed, b"G");
    failed.data_failed();
    answer(&mut failed, b"EZCZ");
    assert!(failed.is_idle());
}

#[test]
fn a_query_of_which_nothing_was_answered_is_not_over() {
    let mut ledger = ledger([Sent::Query]);
    answer(&mut ledger, b"Z");
    assert!(!ledger.is_idle() && ledger.is_lost());
}

#[test]
fn an_end_of_no_data_is_ignored() {
    use Sent::{CopyEnd, Query};
    assert!(ledger([CopyEnd]).is_idle());
    let mut late = ledger([Query, Query, CopyEnd, Query]);
    answer(&mut late, b"CZCZ");
    assert!(late.is_one_query());
}

#[test]
fn an_answer_that_nobody_asked_for_is_doubtful() {
    for kinds in [&b"1"[..], b"Z", b"3", b"2"] {
        let mut ledger = Ledger::default();
        answer(&mut ledger, kinds);
        assert!(!ledger.is_idle(), "{kinds:?}");
    }
    let mut ledger = ledger([Sent::Bind, Sent::Sync]);
    answer(&mut ledger, b"1");
    answer(&mut ledger, b"2Z");
    assert!(!ledger.is_idle());
}

proptest! {
    /// Whatever comes, nothing panics, and nothing is at rest that has not been answered.
    #[test]
    fn any_answers_to_anything(
        events in prop::collection::vec((any::<bool>(), 0_usize..9), 0..60),
    ) {
        let mut ledger = Ledger::default();
        for (is_sent, which) in events {
            if is_sent {
                ledger.push(match which {
                    0 => Sent::Query,
                    1 => Sent::OwnQuery,
                    2 => own_parse(),
                    3 => Sent::Bind,
                    4 => Sent::Describe,
                    5 => Sent::Execute,
                    6 => answered_close(),
                    7 => Sent::CopyEnd,
                    _ => Sent::Sync,
                });
            } else {
                answer(&mut ledger, &[b"123TCEGcZ"[which]]);
            }
            while ledger.answers_itself().is_some() {}
            prop_assert!(!ledger.is_idle() || ledger.front().is_none());
        }
    }
}

//! Conversations of chance: however the bytes are split, the same comes of them; and whatever they are,
//! nothing that the contract forbids.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_mysql::settings::Tracked;
use leaseway_plugin_mysql::sql;
use leaseway_plugin_mysql::wire::capability::{AUTOCOMMIT, IN_TRANS, MORE_RESULTS};
use proptest::collection::vec;
use proptest::prelude::*;

/// A command of a client, all that the server answers, and whether a transaction is open then.
fn exchange_of_chance(capabilities: u32) -> impl Strategy<Value = (Vec<u8>, Vec<u8>, bool)> {
    let rows = || vec(vec(any::<u8>(), 0..60), 0..4);
    let result = move |rows: &[Vec<u8>], status| {
        let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        result(capabilities, &rows, status)
    };
    prop_oneof![
        rows().prop_map(move |rows| (query("SELECT 1"), result(&rows, AUTOCOMMIT), false)),
        rows().prop_map(move |rows| {
            let status = AUTOCOMMIT | IN_TRANS;
            (query("SELECT 1"), result(&rows, status), true)
        }),
        Just((query("BEGIN"), ok(1, AUTOCOMMIT | IN_TRANS), true)),
        Just((query("COMMIT"), ok(1, AUTOCOMMIT), false)),
        rows().prop_map(move |rows| {
            let first = result(&rows, AUTOCOMMIT | MORE_RESULTS);
            let second = result(&rows, AUTOCOMMIT);
            (query("SELECT 1; SELECT 2"), [first, second].concat(), false)
        }),
        Just((command(9, b""), command(b'U', b"ptime: 1"), false)),
        Just((command(0x0e, b""), ok(1, AUTOCOMMIT), false)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn however_packets_are_split_the_same_passes(
        old in vec(exchange_of_chance(OLD), 1..8),
        modern in vec(exchange_of_chance(MODERN), 1..8),
        pieces in 1_usize..50,
    ) {
        for (capabilities, exchanges) in [(OLD, old), (MODERN, modern)] {
            let mut session = ready("transaction", capabilities).in_pieces_of(pieces);
            let mut is_open = false;
            for (sent, answer, opens) in exchanges {
                // What says nothing of transactions leaves them as they are.
                is_open = opens || (is_open && sent[4] == 9);
                session.client(&sent);
                prop_assert_eq!(session.take_upstream(), sent);
                session.upstream(&answer);
                prop_assert_eq!(session.take_client(), answer);
                prop_assert_eq!(session.is_leased(), is_open);
            }
        }
    }

    #[test]
    fn whatever_is_sent_the_contract_is_kept(
        events in vec((any::<bool>(), vec(any::<u8>(), 0..40)), 0..20),
        is_known: bool,
        is_modern: bool,
        pieces in 1_usize..20,
    ) {
        let mut session = match is_known {
            true => ready("transaction", if is_modern { MODERN } else { OLD }),
            false => session("session"),
        };
        session = session.in_pieces_of(pieces);
        for (is_client, bytes) in events {
            if session.end().is_some() {
                break;
            }
            match is_client {
                true => session.client(&bytes),
                false if session.is_leased() => session.upstream(&bytes),
                false => {}
            }
        }
    }

    #[test]
    fn packets_of_chance_keep_the_contract(
        events in vec((any::<bool>(), 0_u8..32, vec(any::<u8>(), 0..20)), 0..20),
        is_modern: bool,
    ) {
        let mut session = ready("transaction", if is_modern { MODERN } else { OLD });
        for (is_client, code, rest) in events {
            if session.end().is_some() {
                break;
            }
            match is_client {
                true => session.client(&command(code, &rest)),
                false if session.is_leased() => session.upstream(&command(code, &rest)),
                false => {}
            }
        }
    }

    #[test]
    fn no_text_is_too_odd_to_be_read(text in "[@`'\"\\\\;()*/!#a-z \\-]{0,60}", is_whole: bool) {
        let tracked = Tracked::new(&[]).unwrap();
        for escapes in [None, Some(true), Some(false)] {
            for are_names in [None, Some(true), Some(false)] {
                let quotes = sql::Quotes { escapes, are_names };
                let _ = sql::read(text.as_bytes(), is_whole, quotes, &tracked);
            }
        }
    }
}

//! Conversations of chance: however the bytes are split, the same comes of them; and whatever they are,
//! nothing that the contract forbids.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_postgres::wire::write;
use proptest::collection::vec;
use proptest::prelude::*;

/// A request of a client and all that the server answers.
fn exchange_of_chance() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let rows = || vec(vec(any::<u8>(), 0..60), 0..4);
    let answers = |rows: Vec<Vec<u8>>, tag: &str, status: u8| {
        let rows: Vec<u8> = rows
            .iter()
            .flat_map(|row| write::message(b'D', row))
            .collect();
        [rows, complete(tag), ready(status)].concat()
    };
    prop_oneof![
        rows().prop_map(move |rows| (query("SELECT 1"), answers(rows, "SELECT 1", b'I'))),
        Just((query("BEGIN"), answers(Vec::new(), "BEGIN", b'T'))),
        Just((query("COMMIT"), answers(Vec::new(), "COMMIT", b'I'))),
        Just((query("SET LOCAL a.b = 1"), answers(Vec::new(), "SET", b'T'))),
        rows().prop_map(move |rows| {
            let messages = [parse("", "SELECT $1"), bind(""), execute(""), sync()];
            let begun = [parsed(), bound()].concat();
            (
                messages.concat(),
                [begun, answers(rows, "SELECT 2", b'T')].concat(),
            )
        }),
        rows().prop_map(move |rows| {
            let copy = [
                query("COPY t FROM STDIN"),
                write::message(b'd', &rows.concat()),
            ];
            let data = [copy.concat(), write::message(b'c', b"")].concat();
            let copy_in = write::message(b'G', b"\0\0\0");
            (data, [copy_in, complete("COPY 1"), ready(b'I')].concat())
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn however_messages_are_split_the_same_passes(
        exchanges in vec(exchange_of_chance(), 1..8),
        pieces in 1_usize..50,
    ) {
        let mut session = greeted("transaction").in_pieces_of(pieces);
        for (messages, answers) in exchanges {
            let messages_shown = messages.escape_ascii().to_string();
            session.client(&messages);
            prop_assert_eq!(session.take_upstream(), messages);
            session.upstream(&answers);
            let is_open = answers.ends_with(b"T");
            prop_assert_eq!(session.take_client(), answers);
            prop_assert_eq!(session.is_leased(), is_open, "after {}", messages_shown);
        }
    }

    #[test]
    fn whatever_is_sent_the_contract_is_kept(
        events in vec((any::<bool>(), vec(any::<u8>(), 0..40)), 0..20),
        is_known: bool,
        pieces in 1_usize..20,
    ) {
        let mut session = match is_known {
            true => greeted("transaction"),
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
}

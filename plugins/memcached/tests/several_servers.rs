//! Keys on several servers: where they are, and a client that asks for many at once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_memcached::Memcached;
use leaseway_sdk::testing::ScriptedSession;
use leaseway_sdk::{Choice, ChooseUpstream, LeaseError, OnData, OnLeaseFailed, Side, Step};

/// Which servers these keys are on, by the vectors of libmemcached: 1, 2, 0.
const KEYS: [&str; 3] = ["key:0", "key:1", "key:2"];

#[test]
fn keys_lead_to_their_server() {
    for (key, server) in KEYS
        .iter()
        .zip(["127.0.0.1:22002", "127.0.0.1:11211", "127.0.0.1:22001"])
    {
        let mut session = ScriptedSession::<Memcached>::new(RING);
        alone(&mut session, &format!("delete {key} noreply\r\n"), "");
        assert_eq!(session.leases()[0].target.endpoint.as_deref(), Some(server));
    }
    let slots = r#"{"distribution": "hash", "slots": 8}"#;
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..200 {
        let mut session = ScriptedSession::<Memcached>::new(slots);
        alone(&mut session, &format!("delete k{number} noreply\r\n"), "");
        seen.insert(session.leases()[0].target.affinity.unwrap());
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        (0..8).collect::<Vec<_>>()
    );
}

#[test]
fn a_name_is_taken_to_the_letter() {
    let servers = |name: &str| {
        let config = format!(
            r#"{{"distribution": "ketama", "servers": ["a:1", {{"address": "b:11211"{name}}}]}}"#
        );
        let mut session = ScriptedSession::<Memcached>::new(&config);
        for number in 0..100 {
            alone(&mut session, &format!("delete k{number} noreply\r\n"), "");
        }
        let leases = session.leases().iter();
        leases
            .map(|lease| lease.target.endpoint.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(servers(""), servers(r#", "name": "b""#));
    assert_ne!(servers(""), servers(r#", "name": "b:11211""#));
}

#[test]
fn a_retrieval_from_several_servers_is_one_to_the_client() {
    for pieces in [1, 7, 1000] {
        let mut session = ScriptedSession::<Memcached>::new(RING).in_pieces_of(pieces);
        session.client(b"gat 10 key:0 key:1 key:2 key:0\r\nget key:0\r\n");
        assert_eq!(
            escaped(&session.take_upstream()),
            escaped(b"gat 10 key:0 key:0\r\n")
        );
        session.upstream(b"VALUE key:0 0 5\r\nEND\r\n\r\nEND\r\n");
        assert_eq!(
            escaped(&session.take_upstream()),
            escaped(b"gat 10 key:1\r\n")
        );
        session.upstream(b"END\r\n");
        assert_eq!(
            escaped(&session.take_upstream()),
            escaped(b"gat 10 key:2\r\n")
        );
        session.upstream(b"VALUE key:2 0 0\r\n\r\nEND\r\n");
        let said = b"VALUE key:0 0 5\r\nEND\r\n\r\nVALUE key:2 0 0\r\n\r\nEND\r\n";
        assert_eq!(escaped(&session.take_client()), escaped(said));
        let places: Vec<_> = session
            .leases()
            .iter()
            .map(|lease| lease.target.endpoint.clone())
            .collect();
        assert_eq!(places.len(), 3);
        // What came behind it goes on.
        assert_eq!(session.take_upstream(), b"get key:0\r\n");
        session.upstream(b"END\r\n");
        assert_eq!(session.take_client(), b"END\r\n");
    }
}

#[test]
fn a_retrieval_that_fails_in_part_fails() {
    let mut session = ScriptedSession::<Memcached>::new(RING);
    session.client(b"get key:0 key:1\r\n");
    session.upstream(b"VALUE key:0 0 1\r\nx\r\n");
    session.fail_leases(LeaseError::ConnectFailed("127.0.0.1:11211 refused".into()));
    session.upstream(b"END\r\n");
    let said = escaped(&session.take_client());
    assert!(
        said.starts_with("VALUE key:0 0 1\\r\\nx\\r\\nSERVER_ERROR leaseway: "),
        "{said}"
    );
    assert!(said.ends_with("\\r\\n") && !said.contains("END"), "{said}");
    session.grant_leases();
    session.take_upstream();
    exchange(&mut session, "get key:0\r\n", "END\r\n");
    // A server's own error is the end, too.
    session.client(b"get key:0 key:1\r\n");
    session.upstream(b"SERVER_ERROR out of memory\r\n");
    assert_eq!(session.take_client(), b"SERVER_ERROR out of memory\r\n");
    assert_eq!(session.take_upstream(), b"get key:0\r\n");
    assert!(!session.is_leased());
}

#[test]
fn a_server_that_was_never_asked_is_not_taken_for_the_last_one() {
    let mut session = unscripted(RING);
    session.choose_upstream(b"get key:0 key:1\r\n");
    let steps = session.on_data(Side::Upstream, b"VALUE key:0 0 1\r\nx\r\nEND\r\n");
    assert!(matches!(
        steps.as_slice().iter().rev().nth(1),
        Some(Step::Lease(_))
    ));
    // The connection is lost while a slow client keeps these steps from being carried out.
    let steps = session.on_lease_failed(&LeaseError::Lost("its endpoint was ejected".into()));
    assert_eq!(steps.as_slice().len(), 1);
    let Choice::Share(share) = session.choose_upstream(b"get key:1\r\n") else {
        panic!("it does not share");
    };
    let endpoint = share.target.and_then(|target| target.endpoint);
    assert_eq!(endpoint.as_deref(), Some("127.0.0.1:11211"));
}

#[test]
fn what_is_for_each_server_is_refused_where_there_are_several() {
    let mut session = ScriptedSession::<Memcached>::new(RING);
    session.client(b"flush_all\r\nversion\r\n");
    assert!(escaped(&session.take_client()).contains("`flush_all` is for one server"));
    assert_eq!(session.take_upstream(), b"version\r\n");
    // Who asks for no reply gets none, as from a memcached that does not allow it.
    let mut session = ScriptedSession::<Memcached>::new(RING);
    session.client(b"flush_all 0 noreply\r\nmn\r\n");
    assert_eq!(escaped(&session.take_client()), "MN\\r\\n");
}

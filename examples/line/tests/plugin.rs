//! The example plugin, without any wasm: its hooks against a scripted session, its conversations
//! against a scripted connection.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use leaseway_example_line::Line;
use leaseway_sdk::testing::{self, LeaseEnd, ScriptedConnection, ScriptedSession, SessionEnd};
use leaseway_sdk::{Disposition, Hooks, LeaseError, NoConfig, Plugin, Side, Target};

/// A session whose client has been greeted.
fn greeted() -> ScriptedSession<Line> {
    let mut session = ScriptedSession::new("{}").with_tag(b"HELLO test");
    assert_eq!(session.take_client(), b"HELLO test\r\n");
    session
}

#[test]
fn a_client_is_greeted_from_the_tag_and_holds_no_connection() {
    let mut session = greeted();
    assert!(!session.is_leased());
    assert_eq!(session.leases().len(), 1);
    assert_eq!(
        session.leases()[0].end,
        LeaseEnd::Returned(Disposition::Keep)
    );
}

#[test]
fn ping_is_forwarded_and_the_connection_kept_after_the_reply() {
    let mut session = greeted();
    session.client(b"PING\r\n");
    assert_eq!(session.take_upstream(), b"PING\r\n");
    assert!(session.is_leased());
    session.upstream(b"PONG\r\n");
    assert_eq!(session.take_client(), b"PONG\r\n");
    assert!(!session.is_leased());
    assert_eq!(
        session.leases()[1].end,
        LeaseEnd::Returned(Disposition::Keep)
    );
}

#[test]
fn pipelines_survive_any_split_and_quit_waits_for_their_replies() {
    for pieces in 1..20 {
        let mut session = ScriptedSession::<Line>::new("{}").in_pieces_of(pieces);
        session.take_client();
        session.client(b"PING\r\none\r\ntwo\nQUIT\r\n");
        assert_eq!(session.take_upstream(), b"PING\r\none\r\ntwo\n");
        assert_eq!(session.end(), None, "QUIT must wait");
        session.upstream(b"PONG\r\nECHO one\r\nECHO two\r\n");
        assert_eq!(
            session.take_client(),
            b"PONG\r\nECHO one\r\nECHO two\r\nBYE\r\n",
            "in pieces of {pieces}"
        );
        assert_eq!(
            session.end(),
            Some(&SessionEnd::Plugin(Some("QUIT".into())))
        );
        assert_eq!(session.take_upstream(), b"", "QUIT is never forwarded");
        let last = session.leases().last().unwrap();
        assert_eq!(last.end, LeaseEnd::Returned(Disposition::Keep));
    }
}

#[test]
fn a_client_that_leaves_in_mid_reply_costs_the_connection() {
    let mut session = greeted();
    session.client(b"PING\r\nPING\r\n");
    session.upstream(b"PONG\r\n");
    session.client_error();
    assert_eq!(
        session.leases()[1].end,
        LeaseEnd::Returned(Disposition::Close)
    );
}

#[test]
fn half_a_line_leases_nothing() {
    let mut session = greeted();
    session.client(b"PIN");
    assert!(!session.is_leased());
    session.client_eof();
    assert_eq!(session.end(), Some(&SessionEnd::ClientClosed));
    assert_eq!(session.leases().len(), 1);
}

#[test]
fn an_endless_line_is_refused_without_a_connection() {
    let mut session = greeted();
    session.client(&[b'x'; 4096]);
    assert!(session.take_client().starts_with(b"ERR "));
    assert!(matches!(session.end(), Some(SessionEnd::Plugin(Some(_)))));
    assert_eq!(session.leases().len(), 1);
}

#[test]
fn a_reply_that_nobody_asked_for_reaches_no_client() {
    let mut session = greeted();
    session.client(b"PING\r\n");
    session.upstream(b"PONG\r\nPONG\r\n");
    assert_eq!(session.take_client(), b"PONG\r\n");
    assert!(matches!(session.leases()[1].end, LeaseEnd::Doubted(_)));
}

#[test]
fn a_session_without_a_connection_ends() {
    let mut session = greeted();
    session.fail_leases(LeaseError::Draining);
    session.client(b"PING\r\n");
    assert_eq!(
        session.end(),
        Some(&SessionEnd::LeaseFailed(LeaseError::Draining))
    );
}

#[test]
fn connect_keeps_the_greeting_as_tag() {
    let server = ScriptedConnection::new()
        .reply(b"HELLO 127.0.0.1:7000\r\n")
        .in_pieces_of(3);
    let tag = testing::connect(&plugin(), server, &Target::default());
    assert_eq!(tag.unwrap(), b"HELLO 127.0.0.1:7000");
}

#[test]
fn probe_takes_the_exact_reply_and_nothing_else() {
    let probe = |reply: &[u8]| {
        let server = ScriptedConnection::new().expect(b"PING\r\n").reply(reply);
        testing::probe(&plugin(), server.close(), &Target::default(), 1000)
    };
    assert_eq!(probe(b"PONG\r\n"), Ok(()));
    assert!(probe(b"PUNG\r\n").unwrap_err().contains("PUNG"));
    assert!(probe(b"PO").unwrap_err().contains("closed"));
    assert!(probe(b"PONG\r\nPONG\r\n").unwrap_err().contains("PONG"));
}

#[test]
fn the_plugin_says_what_it_is() {
    let info = testing::describe::<Line>();
    assert_eq!(info.name, "line");
    assert_eq!(info.speaks_first, Side::Upstream);
    let expected = Hooks::CHOOSE_UPSTREAM
        | Hooks::ON_LEASED
        | Hooks::ON_DATA
        | Hooks::ON_EOF
        | Hooks::CONNECT
        | Hooks::PROBE;
    assert_eq!(info.hooks, expected);
}

fn plugin() -> Line {
    Line::configure(NoConfig {}).unwrap()
}

#[test]
fn a_client_that_has_said_all_still_gets_its_replies() {
    let mut session = greeted();
    session.client(b"PING\r\nPING\r\n");
    session.client_eof();
    session.upstream(b"PONG\r\n");
    assert!(session.end().is_none());
    session.upstream(b"PONG\r\n");
    assert_eq!(session.take_client(), b"PONG\r\nPONG\r\n");
    assert!(session.end().is_some());
}

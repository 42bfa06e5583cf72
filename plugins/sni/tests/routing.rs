//! Where clients go, and what those are told who go nowhere.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_sni::Sni;
use leaseway_sdk::testing::{LeaseEnd, ScriptedSession, SessionEnd};
use leaseway_sdk::{Disposition, LeaseError};
use proptest::prelude::*;

const INTERNAL_ERROR: u8 = 80;

/// The group that a session went to.
fn group(session: &mut ScriptedSession<Sni>) -> Option<String> {
    session.leases().last().unwrap().target.group.clone()
}

/// Why a session was closed.
fn reason(session: &mut ScriptedSession<Sni>) -> String {
    match session.end() {
        Some(SessionEnd::Plugin(Some(reason))) => reason.clone(),
        other => panic!("the session ended {other:?}"),
    }
}

#[track_caller]
fn assert_refused(sent: &[u8], description: u8, why: &str) {
    let mut session = session();
    session.client(sent);
    assert_eq!(session.take_client(), alert(description));
    let reason = reason(&mut session);
    assert!(reason.contains(why), "{reason}");
    assert!(session.leases().is_empty());
}

#[test]
fn the_name_and_the_protocols_lead_to_a_group_and_all_passes() {
    for (name, protocols, to) in [
        ("www.example.org", &[][..], "web"),
        ("WWW.Example.Org.", &["http/1.1"], "web"),
        ("www.example.org", &["http/1.1", "h2"], "h2"),
        ("a.db.example.org", &["postgresql"], "db"),
        ("b.a.db.example.org", &["x", "postgresql"], "db"),
    ] {
        let mut session = session();
        let hello = hello(name, protocols).bytes();
        session.client(&hello);
        assert_eq!(group(&mut session).as_deref(), Some(to), "{name}");
        assert_eq!(session.take_upstream(), hello);
        session.upstream(b"\x16 server hello, and anything");
        assert_eq!(session.take_client(), b"\x16 server hello, and anything");
        session.client(b"secrets");
        session.upstream(b"more secrets");
        assert_eq!(session.take_upstream(), b"secrets");
        assert_eq!(session.take_client(), b"more secrets");
        assert_eq!(session.end(), None);
    }
}

#[test]
fn a_client_without_a_way_gets_the_alert_that_says_so() {
    for (name, protocols, description, why) in [
        (
            "else.example.org",
            &["h2"][..],
            112,
            "no route for else.example.org",
        ),
        ("db.example.org", &[], 112, "no route for db.example.org"),
        (
            "a.db.example.org",
            &["h2"],
            120,
            "any of the protocols [h2]",
        ),
        ("a.db.example.org", &[], 120, "any of the protocols []"),
        ("", &["h2"], 109, "names no server"),
        ("192.0.2.1", &[], 47, "is an IP address"),
        ("2001:db8::1", &[], 47, "is an IP address"),
        ("www..example.org", &[], 47, "is no host name"),
        (
            "www.example.org\0",
            &[],
            47,
            "\"www.example.org\\x00\" is no host name",
        ),
    ] {
        assert_refused(&hello(name, protocols).bytes(), description, why);
    }
}

#[test]
fn a_default_takes_whom_nobody_else_wants_but_no_malformed_names() {
    let config =
        r#"{"default": "rest", "routes": [{"name": "a.org", "alpn": "h2", "upstream": "a"}]}"#;
    for (name, protocols, to) in [
        ("a.org", &["h2"][..], "a"),
        ("a.org", &["h3"], "rest"),
        ("b.org", &["h2"], "rest"),
        ("", &[], "rest"),
        ("10.0.0.1", &[], "rest"),
        ("2001:db8::1", &["h2"], "rest"),
    ] {
        let mut session = ScriptedSession::<Sni>::new(config);
        session.client(&hello(name, protocols).bytes());
        assert_eq!(group(&mut session).as_deref(), Some(to), "{name}");
    }
    let mut session = ScriptedSession::<Sni>::new(config);
    session.client(&hello("a..org", &[]).bytes());
    assert_eq!(session.take_client(), alert(47));
}

#[test]
fn without_routes_everybody_goes_to_the_first_group_or_to_the_default() {
    for (config, to) in [("{}", None), (r#"{"default": "x"}"#, Some("x"))] {
        for name in ["a.org", "", "10.0.0.1"] {
            let mut session = ScriptedSession::<Sni>::new(config);
            session.client(&hello(name, &[]).bytes());
            assert_eq!(group(&mut session).as_deref(), to);
        }
    }
}

#[test]
fn of_an_encrypted_hello_the_outer_name_counts() {
    // Type 0: the outer hello; its contents are of no interest here.
    let outer = [&[0, 0, 1, 0, 1, 42, 0, 4][..], b"key!", &[0, 6], b"cipher"].concat();
    let mut session = session();
    session.client(
        &hello("www.example.org", &[])
            .extension(0xfe0d, &outer)
            .bytes(),
    );
    assert_eq!(group(&mut session).as_deref(), Some("web"));
}

#[test]
fn a_hello_may_come_in_any_records() {
    let hello = hello("a.db.example.org", &["postgresql"]);
    for bytes in 1..100 {
        let mut session = session();
        let sent = hello.in_records_of(bytes);
        session.client(&sent);
        assert_eq!(group(&mut session).as_deref(), Some("db"), "{bytes}");
        assert_eq!(session.take_upstream(), sent);
    }
}

#[test]
fn what_is_no_client_hello_is_refused() {
    let hello = hello("www.example.org", &[]);
    let good = hello.message();
    assert_refused(b"GET / HTTP/1.1\r\n", 10, "does not speak TLS");
    assert_refused(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f], 10, "does not speak TLS");
    assert_refused(&[0x80, 0x2e, 1, 3, 1], 70, "SSLv2");
    assert_refused(&record(22, &message(2, b"")), 10, "of type 2");
    assert_refused(&record(22, b""), 10, "an empty record");
    assert_refused(&[22, 3, 1, 0x40, 1], 22, "a record of 16385 bytes");
    assert_refused(&record(22, &[1, 0, 0x40, 1]), 50, "at most 16384");
    let split = [record(22, &good[..9]), record(23, &good[9..])].concat();
    assert_refused(&split, 10, "in the middle of a ClientHello");
    let mut old = hello;
    old.version = Some(0x0300);
    let mut session = session();
    session.client(&old.bytes());
    assert_eq!(session.take_client(), [21, 3, 3, 0, 2, 2, 70]);
}

#[test]
fn lengths_that_do_not_fit_are_refused_wherever_they_are() {
    let good = hello("www.example.org", &["h2"]).message();
    let mut refused = 0;
    for end in 4..good.len() {
        let mut session = session();
        session.client(&record(22, &message(1, &good[4..end])));
        // Without extensions it is a hello of old, without a name.
        let said = session.take_client();
        assert!([alert(50), alert(109)].contains(&said), "{end}: {said:?}");
        refused += usize::from(said == alert(50));
    }
    assert!(refused > good.len() - 10, "{refused}");
    let longer = [&good[4..], b"x"].concat();
    assert_refused(&record(22, &message(1, &longer)), 50, "behind its end");
    let name = |data: &[u8]| Hello::default().extension(0, data).bytes();
    assert_refused(&name(b""), 50, "a length goes past");
    assert_refused(&name(&vector16(b"")), 50, "server names");
    assert_refused(&name(&vector16(&[0, 0, 0])), 50, "server name is empty");
    assert_refused(&name(&[0, 4, 0, 0, 9, b'a']), 50, "a length goes past");
    let list = [name_list(&[(0, "a.org")]), vec![0]].concat();
    assert_refused(&name(&list), 50, "server names");
    let protocols = |data: &[u8]| Hello::default().extension(16, data).bytes();
    assert_refused(&protocols(&vector16(b"")), 50, "protocols");
    assert_refused(&protocols(&vector16(&[0])), 50, "has no name");
    assert_refused(
        &protocols(&vector16(&[3, b'h', b'2'])),
        50,
        "a length goes past",
    );
}

#[test]
fn a_client_may_offer_hundreds_of_protocols_and_no_more() {
    let many = vec!["x"; 255];
    let last = [many.clone(), vec!["postgresql"]].concat();
    let mut session = session();
    session.client(&hello("a.db.example.org", &last).bytes());
    assert_eq!(group(&mut session).as_deref(), Some("db"));
    let more = [many, vec!["x", "postgresql"]].concat();
    let more = hello("a.db.example.org", &more).bytes();
    assert_refused(&more, 50, "with 257 protocols, at most 256");
}

#[test]
fn the_log_is_told_only_the_beginning_of_what_is_long() {
    let protocol = "\u{1}".repeat(200);
    let protocols = vec![protocol.as_str(); 60];
    let long = "\u{1}".repeat(10_000);
    for hello in [hello("a.db.example.org", &protocols), hello(&long, &[])] {
        let mut session = session();
        session.client(&hello.bytes());
        let why = reason(&mut session);
        assert!(why.contains("\\x01...") && why.len() < 1500, "{why}");
    }
}

#[test]
fn what_is_said_twice_is_refused() {
    let list = name_list(&[(0, "www.example.org")]);
    let twice = Hello::default().extension(0, &list).extension(0, &list);
    assert_refused(&twice.bytes(), 47, "two extensions server_name");
    let two = name_list(&[(0, "www.example.org"), (0, "b.org")]);
    assert_refused(
        &Hello::default().extension(0, &two).bytes(),
        47,
        "two host names",
    );
    let list = protocol_list(&["h2"]);
    let twice = Hello::default().extension(16, &list).extension(16, &list);
    assert_refused(&twice.bytes(), 47, "two extensions application");
    // Names of a type that nobody knows yet do not count.
    let other = name_list(&[(1, "?"), (0, "www.example.org"), (2, "")]);
    let mut session = session();
    session.client(&Hello::default().extension(0, &other).bytes());
    assert_eq!(group(&mut session).as_deref(), Some("web"));
}

#[test]
fn an_old_hello_without_extensions_names_no_server() {
    let old = Hello {
        without_extensions: true,
        version: Some(0x0301),
        ..Hello::default()
    };
    let mut session = session();
    session.client(&old.bytes());
    // In the version that it knows.
    assert_eq!(session.take_client(), [21, 3, 1, 0, 2, 2, 109]);
}

#[test]
fn without_an_upstream_the_client_gets_an_alert() {
    for why in [
        LeaseError::UnknownGroup("web".into()),
        LeaseError::WaitTimeout("127.0.0.1:1".into()),
        LeaseError::Draining,
    ] {
        let mut session = session();
        session.fail_leases(why);
        session.client(&hello("www.example.org", &[]).bytes());
        assert_eq!(session.take_client(), alert(INTERNAL_ERROR));
        assert!(reason(&mut session).starts_with("no upstream: "));
    }
}

#[test]
fn an_upstream_that_is_lost_before_its_first_word_is_told_and_later_no_more() {
    let mut early = session();
    early.client(&hello("www.example.org", &[]).bytes());
    early.lose("reset by peer");
    assert_eq!(early.take_client(), alert(INTERNAL_ERROR));
    assert!(early.end().is_some());
    let mut early = session();
    early.client(&hello("www.example.org", &[]).bytes());
    early.upstream_eof();
    assert_eq!(early.take_client(), alert(INTERNAL_ERROR));

    let mut late = session();
    late.client(&hello("www.example.org", &[]).bytes());
    late.upstream(b"x");
    late.lose("reset by peer");
    assert_eq!(late.take_client(), b"x");
    assert_eq!(late.end(), Some(&SessionEnd::UpstreamClosed));
}

#[test]
fn half_closes_pass_and_no_connection_is_ever_kept() {
    let mut session = session();
    let sent = [
        hello("www.example.org", &[]).bytes(),
        b"early data".to_vec(),
    ]
    .concat();
    session.client(&sent);
    session.upstream(b"half");
    session.client_eof();
    assert_eq!(session.take_upstream(), sent);
    assert!(session.upstream_saw_eof());
    assert_eq!(session.end(), None);
    session.upstream(b" and half");
    assert_eq!(session.take_client(), b"half and half");
    session.upstream_eof();
    assert!(session.end().is_some());
    assert_eq!(
        session.leases()[0].end,
        LeaseEnd::Returned(Disposition::Close)
    );
}

#[test]
fn a_client_that_half_closes_at_once_is_served_all_the_same() {
    let mut session = session();
    session.hold_leases();
    session.client(&hello("www.example.org", &[]).bytes());
    session.client_eof();
    assert_eq!(session.end(), None);
    session.grant();
    assert!(session.upstream_saw_eof());
    session.upstream(b"\x15 an alert");
    assert_eq!(session.take_client(), b"\x15 an alert");
}

#[test]
fn clients_are_spread_by_address_or_by_name() {
    let affinity = |config: &str, name: &str| {
        let mut session = ScriptedSession::<Sni>::new(config);
        session.client(&hello(name, &[]).bytes());
        session.leases()[0].target.affinity
    };
    let by_client = affinity("{}", "a.org");
    assert!(by_client.is_some());
    assert_eq!(affinity("{}", "b.org"), by_client);
    let by_name = r#"{"affinity": "name"}"#;
    assert_eq!(affinity(by_name, "a.org"), affinity(by_name, "A.org."));
    assert_ne!(affinity(by_name, "a.org"), affinity(by_name, "b.org"));
    assert_eq!(affinity(by_name, ""), None);
}

#[test]
fn a_client_has_so_much_time_from_when_it_connects_to_say_hello() {
    let hello = hello("www.example.org", &[]).bytes();
    for said in [0, 1, hello.len() - 1] {
        let mut session = session();
        assert_eq!(session.deadline().unwrap().ms, 10_000);
        session.client(&hello[..said]);
        session.deadline_passes();
        assert_eq!(session.end(), Some(&SessionEnd::Deadline));
        assert_eq!(session.take_client(), b"");
    }
    // Whoever has done so has all the time that there is, while it waits for a connection too.
    let mut session = session();
    session.hold_leases();
    session.client(&hello);
    assert_eq!(session.deadline(), None);
    session.grant();
    assert_eq!(session.take_upstream(), hello);
    assert_eq!(session.deadline(), None);
    let mut patient = ScriptedSession::<Sni>::new(r#"{"hello-timeout": 0}"#);
    assert_eq!(patient.deadline(), None);
    patient.client(&hello);
    assert!(patient.is_leased());
}

proptest! {
    /// Whatever the pieces and the records, the outcome is that of the whole.
    #[test]
    fn no_split_changes_anything(
        records in 1usize..300,
        pieces in 1usize..300,
        name in prop::sample::select(vec!["www.example.org", "a.db.example.org", "no.org", ""]),
        protocols in prop::sample::subsequence(vec!["h2", "postgresql", "http/1.1"], 0..=3),
    ) {
        let hello = hello(name, &protocols);
        let mut whole = session();
        whole.client(&hello.bytes());
        let mut split = ScriptedSession::<Sni>::new(CONFIG).in_pieces_of(pieces);
        let sent = [hello.in_records_of(records), b"tail".to_vec()].concat();
        split.client(&sent);
        prop_assert_eq!(split.end(), whole.end());
        prop_assert_eq!(split.take_client(), whole.take_client());
        prop_assert_eq!(split.leases().len(), whole.leases().len());
        if split.is_leased() {
            prop_assert_eq!(group(&mut split), group(&mut whole));
            prop_assert_eq!(split.take_upstream(), sent);
        }
    }

    /// A hello with some bytes changed, shown in any pieces, is routed, refused or waited for in the
    /// same way; and who is not routed hears nothing but one alert.
    #[test]
    fn no_bytes_do_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        end in any::<prop::sample::Index>(),
        pieces in 1usize..40,
    ) {
        let mut bytes = hello("www.example.org", &["h2"]).in_records_of(60);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(end.index(bytes.len()) + 1);
        let mut whole = session();
        whole.client(&bytes);
        let mut split = ScriptedSession::<Sni>::new(CONFIG).in_pieces_of(pieces);
        split.client(&bytes);
        // The reason for the log tells what had come so far.
        prop_assert_eq!(split.end().is_some(), whole.end().is_some());
        let said = split.take_client();
        prop_assert_eq!(&said, &whole.take_client());
        match split.is_leased() {
            true => prop_assert_eq!(split.take_upstream(), bytes),
            false => prop_assert_eq!(said.len(), if split.end().is_some() { 7 } else { 0 }),
        }
    }
}

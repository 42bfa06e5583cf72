//! What shares a connection, what has one of its own, and what the relay answers itself.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_memcached::Memcached;
use leaseway_sdk::testing::{self, ScriptedConnection, ScriptedSession, SessionEnd};
use leaseway_sdk::{
    Choice, ChooseUpstream, Disposition, Hooks, LeaseError, Plugin, SessionInfo, Side, Step, Target,
};

#[test]
fn commands_of_one_reply_share() {
    let mut session = session();
    exchange(
        &mut session,
        "set a 0 0 1\r\nx\r\nget a b\r\n",
        "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n",
    );
    exchange(
        &mut session,
        "mg a v\r\nms a 1\r\ny\r\n",
        "VA 1\r\nx\r\nHD\r\n",
    );
    exchange(
        &mut session,
        "version\r\nincr n 1\r\n",
        "VERSION 1\r\nNOT_FOUND\r\n",
    );
    assert!(session.leases().is_empty());
}

#[test]
fn what_may_stay_silent_has_its_own_connection_and_a_sentinel() {
    let mut session = session();
    alone(
        &mut session,
        "set a 0 0 1 noreply\r\nx\r\nget a\r\n",
        "VALUE a 0 1\r\nx\r\nEND\r\n",
    );
    alone(
        &mut session,
        "set a 0 0 1 noreply\r\nx\r\n",
        "SERVER_ERROR out of memory\r\n",
    );
    alone(&mut session, "delete a noreply\r\n", "");
    // From 1.6.40 on a server takes the key for the word.
    alone(&mut session, "delete noreply\r\n", "");
    alone(&mut session, "delete noreply\r\n", "DELETED\r\n");
    alone(
        &mut session,
        "stats\r\n",
        "STAT pid 1\r\nSTAT x END\r\nEND\r\n",
    );
    alone(&mut session, "flush_all\r\n", "OK\r\n");
    // A client's own `mn` comes behind all that is quiet.
    session.client(b"mg a v q\r\nmg b v q\r\nmn\r\n");
    assert_eq!(
        escaped(&session.take_upstream()),
        escaped(b"mg a v q\r\nmg b v q\r\nversion\r\n")
    );
    session.upstream(b"VA 1\r\nx\r\n");
    assert_eq!(session.take_client(), b"VA 1\r\nx\r\n");
    session.upstream(ANSWER.as_bytes());
    assert_eq!(session.take_client(), b"MN\r\n");
    // The client's own `version` is not mixed with the sentinel.
    session.client(b"touch a 1 noreply\r\nversion\r\n");
    assert_eq!(session.take_upstream(), b"touch a 1 noreply\r\nversion\r\n");
    session.upstream(ANSWER.as_bytes());
    assert_eq!(session.take_client(), b"");
    assert_eq!(session.take_upstream(), b"version\r\n");
    session.upstream(ANSWER.as_bytes());
    assert_eq!(session.take_client(), ANSWER.as_bytes());
}

#[test]
fn a_long_value_passes_unseen_but_for_its_end() {
    let value = "v".repeat(1_000_000);
    let line = "set a 0 0 1000000\r\n";
    let mut session = session();
    session.client(line.as_bytes());
    assert_eq!(session.take_upstream(), line.as_bytes());
    session.client(value.as_bytes());
    session.client(b"\r");
    assert_eq!(session.take_upstream(), value.as_bytes());
    session.client(b"\nget a\r\n");
    assert_eq!(session.take_upstream(), b"\r\nversion\r\n");
    session.upstream(b"STORED\r\nVERSION 1\r\n");
    assert_eq!(session.take_client(), b"STORED\r\n");
    assert_eq!(session.take_upstream(), b"get a\r\n");
    let reply = ["VALUE a 0 1000000\r\n", &value, "\r\nEND\r\n"].concat();
    session.upstream(reply.as_bytes());
    assert_eq!(session.take_client(), reply.as_bytes());
    assert_eq!(session.leases().len(), 1);
}

#[test]
fn a_long_value_with_a_wrong_end_costs_its_connection() {
    let mut session = session();
    session.client(b"set a 0 0 20000\r\n");
    session.client(&[b'v'; 20_000]);
    session.client(b"xx");
    assert_eq!(session.take_client(), b"CLIENT_ERROR bad data chunk\r\n");
    assert!(session.end().is_some());
    assert_eq!(returned(&mut session), Disposition::Close);
}

#[test]
fn a_short_value_is_waited_for_without_a_connection() {
    let mut session = session();
    session.client(b"set a 0 0 16000\r\n");
    session.client(&[b'v'; 16_000]);
    assert!(!session.is_sharing() && session.leases().is_empty());
    session.client(b"\r\n");
    assert!(session.is_sharing());
}

#[test]
fn the_relay_answers_what_needs_no_server() {
    for (sent, said) in [
        ("mn\r\n", "MN\r\n"),
        ("nonsense\r\n", "ERROR\r\n"),
        (
            "set a x 0 3\r\nmn\n\r\nmn\r\n",
            "CLIENT_ERROR bad command line format\r\nMN\r\n",
        ),
        // Who asks for no reply is not told of mistakes either, as by memcached.
        (
            "set a x 0 3 noreply\r\nmn\n\r\nincr a x noreply\r\ndelete a 5 noreply\r\nmn\r\n",
            "MN\r\n",
        ),
    ] {
        let mut session = session();
        session.client(sent.as_bytes());
        assert_eq!(escaped(&session.take_client()), escaped(said.as_bytes()));
        assert_eq!(session.end(), None);
        assert!(session.leases().is_empty() && !session.is_sharing());
    }
    let mut session = session();
    session.client(b"get a\r\nquit\r\nget b\r\n");
    assert_eq!(session.take_upstream(), b"get a\r\n");
    session.upstream(b"END\r\n");
    assert_eq!(session.take_client(), b"END\r\n");
    assert!(matches!(session.end(), Some(SessionEnd::Plugin(_))));
    assert_eq!(session.take_upstream(), b"");
}

#[test]
fn what_needs_no_server_is_answered_at_once() {
    let mut session = unscripted(RING);
    let shown = "\n".repeat(2_000) + "mn\r\nstats\r\nset a x 0 9 noreply\r\n";
    let Choice::Answer(steps) = session.choose_upstream(shown.as_bytes()) else {
        panic!("it needs a server");
    };
    let [Step::Send((Side::Client, said)), Step::Discard(length)] = steps.as_slice() else {
        panic!("{} steps", steps.len());
    };
    assert!(said.starts_with(&b"ERROR\r\n".repeat(2_000)));
    assert!(escaped(said).contains("ERROR\\r\\nMN\\r\\nCLIENT_ERROR leaseway: `stats`"));
    assert_eq!(*length, shown.len() as u64 + 11);
}

#[test]
fn not_all_of_many_long_lines_is_read_in_one_call() {
    // Ten thousand keys, and a buffer with ten such lines: `max-shown` may be as large as that.
    let line = "get".to_owned() + &" a".repeat(10_000) + "\r\n";
    let lines = line.repeat(10);
    let plugin: Memcached = testing::configure(RING).unwrap();
    let session = || {
        plugin.session(&SessionInfo {
            id: 1,
            listener: String::new(),
            client_address: String::new(),
            local_address: String::new(),
        })
    };
    let Choice::Share(share) = session().choose_upstream(lines.as_bytes()) else {
        panic!("it does not share");
    };
    assert_eq!(share.requests.len(), 1);
    let quiet = "delete a noreply\r\n";
    let Choice::Lease(lease) = session().choose_upstream((quiet.to_owned() + &lines).as_bytes())
    else {
        panic!("it does not lease");
    };
    let length = (quiet.len() + line.len()) as u64;
    assert_eq!(lease.then.first(), Some(&Step::Forward(length)));
}

#[test]
fn who_cannot_be_understood_is_told_and_ends() {
    let mut binary = vec![0x80, 0x0b];
    binary.resize(24, 0);
    for (sent, said) in [
        (&b"set a 0 0 -1\r\n"[..], "CLIENT_ERROR bad data chunk"),
        (b"set a 0 0 1\r\nxxx\r\n", "CLIENT_ERROR bad data chunk"),
        (&[b'x'; 2048], "CLIENT_ERROR line too long"),
        (&binary, "only the text and meta protocols"),
    ] {
        let mut session = session();
        session.client(sent);
        assert!(escaped(&session.take_client()).contains(said));
        assert!(session.end().is_some());
    }
}

#[test]
fn a_server_that_cannot_be_had_is_a_server_error() {
    let line = |why: &LeaseError| format!("SERVER_ERROR leaseway: {why}\r\n");
    let why = LeaseError::WaitTimeout("127.0.0.1:1 has all 1 leased".into());
    for (sent, errors) in [
        ("set a 0 0 1 noreply\r\nx\r\n", 0),
        ("set a 0 0 1 noreply\r\nx\r\nget a\r\n", 1),
        ("mg a q\r\n", 1),
        ("stats\r\n", 1),
    ] {
        let mut session = session();
        session.fail_leases(why.clone());
        session.client(sent.as_bytes());
        let said = line(&why).repeat(errors);
        assert_eq!(
            escaped(&session.take_client()),
            escaped(said.as_bytes()),
            "{sent}"
        );
        assert_eq!(session.end(), None);
        session.grant_leases();
        exchange(&mut session, "get b\r\n", "END\r\n");
    }
    // The rest of a long value is swallowed.
    let mut session = session();
    session.fail_leases(why.clone());
    session.client(b"set a 0 0 20000\r\n");
    session.client(&[b'v'; 20_000]);
    session.client(b"\r\n");
    assert_eq!(session.take_client(), line(&why).as_bytes());
    session.grant_leases();
    exchange(&mut session, "get b\r\n", "END\r\n");
}

#[test]
fn a_connection_that_is_lost_is_a_server_error_or_the_end() {
    let said = "SERVER_ERROR leaseway: the connection was lost: gone\r\n";
    let mut shared = session();
    shared.client(b"get a\r\nincr n 1\r\n");
    shared.lose("gone");
    assert_eq!(
        escaped(&shared.take_client()),
        escaped(said.repeat(2).as_bytes())
    );
    shared.take_upstream();
    exchange(&mut shared, "get b\r\n", "END\r\n");

    let mut own = session();
    own.client(b"stats\r\n");
    own.lose("gone");
    assert_eq!(escaped(&own.take_client()), escaped(said.as_bytes()));
    own.take_upstream();
    exchange(&mut own, "get b\r\n", "END\r\n");

    let mut long = session();
    long.client(b"set a 0 0 20000\r\n");
    long.client(&[b'v'; 10_000]);
    long.lose("gone");
    assert_eq!(escaped(&long.take_client()), escaped(said.as_bytes()));
    long.client(&[b'v'; 10_000]);
    long.client(b"\r\n");
    long.take_upstream();
    exchange(&mut long, "get b\r\n", "END\r\n");

    let mut quiet = session();
    quiet.client(b"set a 0 0 1 noreply\r\nx\r\nget a\r\n");
    quiet.lose("gone");
    assert_eq!(quiet.take_client(), b"");
    assert!(quiet.end().is_some());
}

#[test]
fn a_client_that_half_closes_gets_its_replies() {
    let mut session = session();
    session.client(b"set a 0 0 1 noreply\r\nx\r\nget a\r\n");
    session.client_eof();
    session.upstream(b"END\r\nVERSION 1\r\n");
    assert_eq!(session.take_client(), b"END\r\n");
    assert!(session.end().is_some());
    assert_eq!(returned(&mut session), Disposition::Keep);
}

#[test]
fn what_could_pass_for_other_replies_costs_its_connection() {
    // In base64 the key "x\r\nVERSION 1\r\n", which memcached 1.6 gives back as it is where `mg` has
    // made the item, and `me` and `stats cachedump` as well.
    for sent in [
        "mg eA0KVkVSU0lPTiAxDQo= b N30 k\r\n",
        "mg eA0KVkVSU0lPTiAxDQo= b k q\r\n",
        "me eA0KVkVSU0lPTiAxDQo= b\r\n",
        "stats cachedump 1 0\r\n",
        "stats c 1 0\r\n",
    ] {
        let mut session = session();
        session.client(sent.as_bytes());
        let all = [sent, SENTINEL].concat();
        assert_eq!(escaped(&session.take_upstream()), escaped(all.as_bytes()));
        session.upstream(b"HD kx\r\nVERSION 1\r\n");
        assert_eq!(escaped(&session.take_client()), "HD kx\\r\\n");
        assert_eq!(returned(&mut session), Disposition::Close, "{sent}");
    }
    let mut session = session();
    exchange(&mut session, "mg YQ== b k\r\n", "HD kYQ== b\r\n");
    exchange(&mut session, "md eA0KVkVSU0lPTiAxDQo= b\r\n", "NF\r\n");
}

#[test]
fn a_store_that_an_old_server_may_have_carried_out_as_commands_costs_its_connection() {
    // Where there is no room for it memcached before 1.6 says nothing and goes on with the data block:
    // its `version` is answered first, and its `set` is left to wait for what others send.
    let block = "version\r\nset b 0 0 99 noreply\r\n";
    let length = block.len();
    let sent = format!("set a 0 0 {length} noreply\r\n{block}\r\n");
    for (sent, answer, disposition) in [
        (sent.as_str(), "VERSION 1.5.22\r\n", Disposition::Close),
        (&sent, "VERSION 1.6.0\r\n", Disposition::Keep),
        (
            "delete a noreply\r\n",
            "VERSION 1.5.22\r\n",
            Disposition::Keep,
        ),
    ] {
        let mut session = ScriptedSession::<Memcached>::new(r#"{"meta": false}"#);
        session.client(sent.as_bytes());
        session.take_upstream();
        session.upstream(answer.as_bytes());
        assert_eq!(returned(&mut session), disposition, "{sent}{answer}");
        assert_eq!(session.end(), None);
    }
}

#[test]
fn a_reply_that_was_left_out_costs_its_connection() {
    let mut session = session();
    session.client(b"set a 0 0 1 noreply\r\nx\r\nget a\r\n");
    session.upstream(ANSWER.as_bytes());
    assert!(session.end().is_some());
    assert_eq!(returned(&mut session), Disposition::Close);
}

#[test]
fn a_server_that_speaks_unasked_is_not_heard() {
    let mut session = session();
    session.client(b"stats\r\n");
    session.upstream(b"END\r\nEND\r\nVERSION 1\r\n");
    assert!(session.end().is_some());
    assert_eq!(returned(&mut session), Disposition::Close);
}

#[test]
fn the_plugin_says_what_it_is_and_probes() {
    let info = testing::describe::<Memcached>();
    assert_eq!(info.name, "memcached");
    assert_eq!(info.speaks_first, Side::Client);
    let hooks = Hooks::CHOOSE_UPSTREAM
        | Hooks::ON_LEASE_FAILED
        | Hooks::ON_DATA
        | Hooks::ON_EOF
        | Hooks::ON_REQUEST_FAILED
        | Hooks::REPLIES
        | Hooks::CONNECT
        | Hooks::PROBE;
    assert_eq!(info.hooks, hooks);
    let plugin: Memcached = testing::configure("{}").unwrap();
    let probe = |reply: &[u8]| {
        let server = ScriptedConnection::new()
            .expect(b"version\r\n")
            .reply(reply);
        testing::probe(&plugin, server.close(), &Target::default(), 1000)
    };
    assert_eq!(probe(b"VERSION 1.6.18\r\n"), Ok(()));
    assert!(
        probe(b"ERROR\r\n")
            .unwrap_err()
            .contains("unexpected reply")
    );
    assert!(probe(b"VERSION 1\r\nx").is_err());
    assert_eq!(plugin.default_target(), Target::default());
}

#[test]
fn a_server_that_takes_values_for_commands_is_not_connected_to() {
    let connect = |config: &str, replies: &[u8]| {
        let plugin: Memcached = testing::configure(config).unwrap();
        let mut server = ScriptedConnection::new();
        if !replies.is_empty() {
            server = server
                .expect(b"ms leaseway 2 M?\r\nmn\r\nversion\r\n")
                .reply(replies)
                .close();
        }
        testing::connect(&plugin, server, &Target::default())
    };
    let known = b"CLIENT_ERROR invalid mode for ms M token\r\nVERSION 1.6.18\r\n";
    assert_eq!(connect("{}", known), Ok(Vec::new()));
    for old in [
        // 1.5.6 and before, and 1.6.9.
        &b"ERROR\r\nERROR\r\nVERSION 1.5.6\r\n"[..],
        b"CLIENT_ERROR invalid flag\r\nMN\r\nVERSION 1.6.9\r\n",
    ] {
        let why = connect("{}", old).unwrap_err();
        assert!(why.contains("`meta = false`"), "{why}");
    }
    let why = connect("{}", b"CLIENT_ERROR unauthenticated\r\n").unwrap_err();
    assert!(why.contains("wants a login"), "{why}");
    let why = connect("{}", b"ERROR Too many open connections\r\n").unwrap_err();
    assert!(why.contains("\"ERROR Too many open connections\""), "{why}");
    assert_eq!(connect(r#"{"meta": false}"#, b""), Ok(Vec::new()));
}

#[test]
fn meta_commands_can_be_left_out() {
    let mut session = ScriptedSession::<Memcached>::new(r#"{"meta": false}"#);
    session.client(
        b"mn\r\nmg a\r\nms a 5 q\r\nget b\r\nset a 0 0 1 noreply\r\nx\r\nmg a\r\nget a\r\n",
    );
    assert_eq!(escaped(&session.take_client()), "ERROR\\r\\n".repeat(3));
    assert_eq!(
        escaped(&session.take_upstream()),
        escaped(b"set a 0 0 1 noreply\r\nx\r\nversion\r\n")
    );
    session.upstream(ANSWER.as_bytes());
    assert_eq!(escaped(&session.take_client()), "ERROR\\r\\n");
    assert_eq!(escaped(&session.take_upstream()), "get a\\r\\n");
}

#[test]
fn a_bad_config_is_explained() {
    for (config, why) in [
        (
            r#"{"distribution": "crc"}"#,
            "expected one of `single`, `hash`, `ketama`",
        ),
        (
            r#"{"distribution": "ketama"}"#,
            "`servers`: must list the group's endpoints",
        ),
        (
            r#"{"servers": ["a:1"]}"#,
            "only with `distribution = \"ketama\"`",
        ),
        (
            r#"{"distribution": "hash", "slots": 2000}"#,
            "`slots`: must be 1 to 1024, not 2000",
        ),
        (
            r#"{"distribution": "ketama", "servers": ["a"]}"#,
            "`servers[0]`: \"a\" must be an address",
        ),
        (
            r#"{"distribution": "ketama", "servers": ["a:1", "a:1"]}"#,
            "listed twice",
        ),
        (
            r#"{"distribution": "ketama", "servers": [{"address": "a:1", "weight": 1001}]}"#,
            "`weight` must be 1 to 1000",
        ),
    ] {
        let said = testing::configure::<Memcached>(config)
            .map(drop)
            .unwrap_err();
        assert!(said.contains(why), "{said}");
    }
}

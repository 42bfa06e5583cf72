//! Opening, resetting and probing connections, against a scripted server.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::requests;
use leaseway_plugin_redis::Redis;
use leaseway_plugin_redis::identity::{Credentials, Identity, Protocol};
use leaseway_sdk::Target;
use leaseway_sdk::testing::{self, ScriptedConnection, configure};

fn redis() -> Redis {
    configure("{}").unwrap()
}

fn target(user: Option<&[u8]>, database: u32, protocol: Protocol) -> Target {
    Identity {
        credentials: Some(Credentials::new(user, b"pw")),
        database,
        protocol,
    }
    .target()
}

fn asked(script: ScriptedConnection, text: &str, reply: &str) -> ScriptedConnection {
    script.expect(&requests(text)).reply(reply.as_bytes())
}

fn script(lines: &[(&str, &str)]) -> ScriptedConnection {
    lines
        .iter()
        .fold(ScriptedConnection::new(), |script, (text, reply)| {
            asked(script, text, reply)
        })
}

const HELLO: &str = "%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nmodules\r\n*0\r\n";

#[test]
fn a_connection_becomes_what_its_identity_says() {
    let connect = |lines: &[(&str, &str)], target: &Target| {
        for pieces in [1, 1000] {
            let script = script(lines).in_pieces_of(pieces);
            assert_eq!(testing::connect(&redis(), script, target), Ok(Vec::new()));
        }
    };
    connect(&[], &Target::default());
    connect(&[], &Identity::default().target());
    connect(&[("AUTH pw", "+OK\r\n")], &target(None, 0, Protocol::Resp2));
    connect(
        &[("AUTH app pw", "+OK\r\n"), ("SELECT 3", "+OK\r\n")],
        &target(Some(b"app"), 3, Protocol::Resp2),
    );
    connect(
        &[("HELLO 3 AUTH app pw", HELLO), ("SELECT 3", "+OK\r\n")],
        &target(Some(b"app"), 3, Protocol::Resp3),
    );
    connect(
        &[("AUTH pw", "+OK\r\n"), ("HELLO 3", HELLO)],
        &target(None, 0, Protocol::Resp3),
    );
    connect(
        &[("HELLO 3 AUTH default pw", HELLO)],
        &target(Some(b"default"), 0, Protocol::Resp3),
    );
    connect(
        &[("AUTH default pw", "+OK\r\n")],
        &target(Some(b"default"), 0, Protocol::Resp2),
    );
}

#[test]
fn the_servers_error_comes_back_word_for_word() {
    for (lines, target, error) in [
        (
            &[("AUTH pw", "-WRONGPASS invalid.\r\n")][..],
            target(None, 0, Protocol::Resp2),
            "WRONGPASS invalid.",
        ),
        (
            &[("HELLO 3 AUTH a pw", "-NOPERM no\r\n")],
            target(Some(b"a"), 0, Protocol::Resp3),
            "NOPERM no",
        ),
        (
            &[
                ("AUTH pw", "+OK\r\n"),
                ("SELECT 99", "-ERR DB index is out of range\r\n"),
            ],
            target(None, 99, Protocol::Resp2),
            "ERR DB index is out of range",
        ),
    ] {
        assert_eq!(
            testing::connect(&redis(), script(lines), &target),
            Err(error.into())
        );
    }
}

#[test]
fn anything_unexpected_is_an_error() {
    let auth = target(None, 0, Protocol::Resp2);
    for reply in ["+QUEUED\r\n", ":1\r\n", "+OK\r\n+OK\r\n", "garbage\r\n"] {
        let error = testing::connect(&redis(), script(&[("AUTH pw", reply)]), &auth).unwrap_err();
        assert!(error.starts_with(|c: char| c.is_lowercase()), "{error}");
    }
    let closed = ScriptedConnection::new()
        .expect(&requests("AUTH pw"))
        .close();
    assert!(testing::connect(&redis(), closed, &auth).is_err());
}

#[test]
fn reset_makes_everything_anew() {
    let lines = [
        ("RESET", "+RESET\r\n"),
        ("HELLO 3 AUTH app pw", HELLO),
        ("SELECT 2", "+OK\r\n"),
    ];
    let target = target(Some(b"app"), 2, Protocol::Resp3);
    assert_eq!(testing::reset(&redis(), script(&lines), &target), Ok(()));
    for reply in [
        "+OK\r\n",
        "-ERR no\r\n",
        "*1\r\n+RESET\r\n",
        "+RESET\r\n+X\r\n",
    ] {
        let plain = Identity::default().target();
        assert!(
            testing::reset(&redis(), script(&[("RESET", reply)]), &plain).is_err(),
            "{reply}"
        );
    }
}

const UNKNOWN: &str = "-ERR unknown command `RESET`, with args beginning with: \r\n";

/// `CLIENT SETNAME` with an empty name, which words by spaces cannot write.
const NO_NAME: &[u8] = b"*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$0\r\n\r\n";

#[test]
fn a_server_without_reset_is_talked_back_step_by_step() {
    let target = target(None, 2, Protocol::Resp2);
    let old = script(&[
        ("RESET", UNKNOWN),
        ("DISCARD", "-ERR DISCARD without MULTI\r\n"),
        ("UNWATCH", "+OK\r\n"),
    ])
    .expect(NO_NAME)
    .reply(b"+OK\r\n");
    let old = asked(old, "CLIENT TRACKING OFF", "-ERR Unknown subcommand\r\n");
    let old = asked(
        old,
        "READWRITE",
        "-ERR This instance has cluster support disabled\r\n",
    );
    let old = asked(old, "AUTH pw", "+OK\r\n");
    let old = asked(old, "SELECT 2", "+OK\r\n");
    assert_eq!(testing::reset(&redis(), old, &target), Ok(()));
    let odd = script(&[("RESET", UNKNOWN), ("DISCARD", "-NOPERM no\r\n")]);
    assert!(testing::reset(&redis(), odd, &target).is_err());
    let odd = script(&[
        ("RESET", UNKNOWN),
        ("DISCARD", "+OK\r\n"),
        ("UNWATCH", "+QUEUED\r\n"),
    ]);
    assert!(testing::reset(&redis(), odd, &target).is_err());
}

#[test]
fn only_a_server_at_work_is_alive() {
    for reply in [
        "+PONG\r\n",
        "-NOAUTH Authentication required.\r\n",
        "-NOPERM this user has no permissions to run the 'ping' command\r\n",
    ] {
        let script = script(&[("PING", reply)]);
        assert_eq!(
            testing::probe(&redis(), script, &Target::default(), 10),
            Ok(()),
            "{reply}"
        );
    }
    for reply in [
        "+PONG",
        "-NOAUTH Authentication",
        "-NOAUTHX no\r\n",
        "-ERR no\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-MASTERDOWN Link with MASTER is down\r\n",
        "+PONGS\r\n",
        "+PONG\r\n+PONG\r\n",
        "$4\r\nPONG\r\n",
    ] {
        let script = ScriptedConnection::new()
            .expect(&requests("PING"))
            .reply(reply.as_bytes())
            .close();
        assert!(
            testing::probe(&redis(), script, &Target::default(), 10).is_err(),
            "{reply}"
        );
    }
}

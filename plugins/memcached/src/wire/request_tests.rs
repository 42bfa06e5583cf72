//! Which lines are commands, how long they are, and what is refused in which words.

use super::*;

/// What stands at the front, which must be all there.
#[track_caller]
fn at_front(text: &str) -> Front<'_> {
    match front(text.as_bytes()) {
        Parsed::Complete { value, .. } => value,
        other => panic!("{text:?}: {other:?}"),
    }
}

#[track_caller]
fn class(text: &str) -> (Class, u64) {
    match at_front(text) {
        Front::Command(command) => (command.class, command.length),
        other => panic!("{text:?}: {other:?}"),
    }
}

const KEYED: Class = Class::Keyed { idempotent: false };
const NOREPLY: Class = Class::Quiet { errors: false };
const READ: Class = Class::Keyed { idempotent: true };

#[test]
fn commands_are_known_and_measured() {
    let get = Class::Retrieve {
        keys: 1,
        idempotent: true,
    };
    let gat = Class::Retrieve {
        keys: 2,
        idempotent: false,
    };
    for (text, is) in [
        ("get a\r\n", get),
        ("gets a  b c\n", get),
        ("gat 0 a b\r\n", gat),
        ("gats -1 a\r\n", gat),
        ("set a 0 0 2\r\nxx\r\n", KEYED),
        ("set a 4294967295 -1 0 noreply\r\n\r\n", NOREPLY),
        ("set noreply 0 0 1\r\nx\r\n", KEYED),
        ("cas a 0 0 1 18446744073709551615\r\nx\r\n", KEYED),
        ("cas a 0 0 1 1 noreply\r\nx\r\n", NOREPLY),
        ("delete a\r\n", KEYED),
        ("delete noreply\r\n", Class::Quiet { errors: true }),
        ("delete noreply 0\r\n", KEYED),
        ("delete a 0 noreply\r\n", NOREPLY),
        ("incr a 1\r\n", KEYED),
        ("decr a 18446744073709551615 noreply\r\n", NOREPLY),
        ("touch a 10\r\n", KEYED),
        ("mg a\r\n", READ),
        ("mg a v t O123 Lpath/\r\n", READ),
        ("mg a O1234567890123456789012345678901\r\n", READ),
        ("mg a v N30\r\n", KEYED),
        ("mg YQ== b k q\r\n", Class::Quiet { errors: true }),
        ("ms a 2 T0 F5 MS I c\r\nxx\r\n", KEYED),
        ("ms a 0 q\r\n\r\n", Class::Quiet { errors: true }),
        ("md a I T30\r\n", KEYED),
        ("md a x\r\n", KEYED),
        ("ma a N0 J13 D2 MD v\r\n", KEYED),
        ("me a\r\n", READ),
        ("version\r\n", Class::Version),
        ("stats\r\n", Class::Admin { quiet: false }),
        ("flush_all 10 noreply\r\n", Class::Admin { quiet: true }),
    ] {
        assert_eq!(class(text), (is, text.len() as u64), "{text:?}");
    }
    assert_eq!(at_front("mn\r\n"), Front::Noop(4));
    assert_eq!(at_front("quit\r\nget a\r\n"), Front::Quit);
    // What stands behind these, servers do not look at.
    assert_eq!(at_front("mn x\r\n"), Front::Noop(6));
    assert_eq!(class("version x\r\n").0, Class::Version);
}

#[test]
fn what_a_server_might_take_otherwise_is_refused_in_its_own_words() {
    let key = "k".repeat(251);
    let whole = |text: &str| Some(text.len() as u64);
    for (text, error, length) in [
        ("get\r\n", ERROR, whole("get\r\n")),
        ("\r\n", ERROR, Some(2)),
        (" get a\r\n", ERROR, Some(8)),
        ("GET a\r\n", ERROR, Some(7)),
        ("nonsense\r\n", ERROR, Some(10)),
        ("gat x a\r\n", BAD_TIME, Some(9)),
        ("get a\tb\r\n", BAD_LINE, Some(9)),
        (&format!("get a {key}\r\n"), BAD_LINE, Some(259)),
        (&format!("set {key} 0 0 1\r\nx\r\n"), BAD_LINE, Some(266)),
        ("set a 0 0\r\n", ERROR, Some(11)),
        ("set a x 0 1\r\nx\r\n", BAD_LINE, Some(16)),
        ("set a 0 x 1\r\nx\r\n", BAD_LINE, Some(16)),
        ("set a 4294967296 0 1\r\nx\r\n", BAD_LINE, Some(25)),
        ("set a 0 2147483648 1\r\nx\r\n", BAD_LINE, Some(25)),
        ("set a 0 0 -1\r\n", BAD_DATA, None),
        ("set a 0 0 1073741825\r\n", BAD_DATA, None),
        // From 1.6.40 on a server takes no number of more than 11 characters, and the block for commands.
        ("set a 0 0 000000000001\r\nx\r\n", BAD_DATA, None),
        ("ms a 000000000001\r\nx\r\n", BAD_DATA, None),
        ("set a 0 0 1 2\r\nx\r\n", BAD_LINE, None),
        ("set a 0 0 1 2 noreply\r\nx\r\n", BAD_LINE, None),
        ("cas a 0 0 1\r\nx\r\n", BAD_LINE, None),
        ("set a 0 0 1\r\nxx\r\n", BAD_DATA, None),
        ("set a 0 0 1\r\nx\n\r", BAD_DATA, None),
        ("ms a S1\r\nx\r\n", BAD_DATA, None),
        ("ms a 1 T\r\nx\r\n", "CLIENT_ERROR invalid flag", Some(13)),
        ("ms a 1 b\r\nx\r\n", "CLIENT_ERROR invalid flag", Some(13)),
        ("ms a 1 c c\r\nx\r\n", "CLIENT_ERROR invalid flag", Some(15)),
        (
            "mg a O12345678901234567890123456789012\r\n",
            "CLIENT_ERROR invalid flag",
            Some(40),
        ),
        ("mg\r\n", ERROR, Some(4)),
        ("delete a 5\r\n", BAD_DELETE, Some(12)),
        ("incr a\r\n", ERROR, Some(8)),
        (
            "incr a x\r\n",
            "CLIENT_ERROR invalid numeric delta argument",
            Some(10),
        ),
        ("incr a 1 2\r\n", BAD_LINE, Some(12)),
    ] {
        let error = error.to_owned();
        assert_eq!(at_front(text), Front::Refused { error, length }, "{text:?}");
    }
    for text in [
        "watch\r\n",
        "lru_crawler metadump all\r\n",
        "stats detail on\r\n",
        "stats d on\r\n",
        "shutdown\r\n",
    ] {
        match at_front(text) {
            Front::Refused { error, .. } => assert!(error.contains("is not relayed"), "{error}"),
            other => panic!("{text:?}: {other:?}"),
        }
    }
}

#[test]
fn a_line_has_an_end_or_is_too_long() {
    assert!(matches!(
        front(b"get a"),
        Parsed::Incomplete { at_least: 6 }
    ));
    for (name, most) in [
        ("get ", MAX_KEYS_LINE),
        ("gat ", MAX_LINE),
        ("set ", MAX_LINE),
    ] {
        let line = name.to_owned() + &"x ".repeat(most);
        let before = &line[..most - 1];
        assert!(matches!(
            front(before.as_bytes()),
            Parsed::Incomplete { .. }
        ));
        assert_eq!(at_front(&line), refused(TOO_LONG, None));
    }
}

#[test]
fn a_block_may_be_longer_than_what_is_there() {
    assert_eq!(class("set a 0 0 1000\r\nx").1, 1018);
    assert_eq!(class("set a 0 0 1000\r\n").1, 1018);
}

#[test]
fn the_binary_protocol_waits_for_its_header() {
    let mut request = [7; 30];
    request[0] = 0x80;
    assert!(matches!(
        front(&request[..23]),
        Parsed::Incomplete { at_least: 24 }
    ));
    match front(&request) {
        Parsed::Complete {
            value: Front::Binary(header),
            ..
        } => {
            let reply = binary::refusal(&header);
            assert_eq!(reply[..2], [0x81, 7]);
            assert_eq!(reply[12..16], [7; 4]);
            assert_eq!(reply.len(), 24 + usize::from(reply[11]));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_are_found_behind_what_is_for_all_of_them() {
    for (text, head, keys) in [
        ("get a  b\r\n", &["get"][..], &["a", "b"][..]),
        ("gat 10 a b\r\n", &["gat", "10"], &["a", "b"]),
        ("set a 0 0 0\r\n\r\n", &["set"], &["a"]),
        ("stats items\r\n", &["stats"], &[]),
    ] {
        match at_front(text) {
            Front::Command(command) => {
                let text = |words: Vec<&[u8]>| -> Vec<String> {
                    words
                        .into_iter()
                        .map(|word| String::from_utf8_lossy(word).into())
                        .collect()
                };
                assert_eq!(text(command.head().collect()), head);
                assert_eq!(text(command.keys().collect()), keys);
            }
            other => panic!("{other:?}"),
        }
    }
}

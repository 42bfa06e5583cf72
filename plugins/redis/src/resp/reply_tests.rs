#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

/// What is covered of these bytes, with any number of replies expected.
fn cover(bytes: &[u8]) -> Result<Covered, Invalid> {
    Replies::default().cover(bytes, u64::MAX)
}

/// One reply, all there, and nothing behind it is touched.
fn is_one_reply(reply: &[u8]) {
    let covered = cover(reply).unwrap();
    assert_eq!(covered.replies, 1, "{}", reply.escape_ascii());
    assert_eq!(
        covered.bytes,
        reply.len() as u64,
        "{}",
        reply.escape_ascii()
    );
    let more = [reply, b"+next\r\n"].concat();
    let mut replies = Replies::default();
    assert_eq!(replies.cover(&more, 1), Ok(covered));
    assert!(replies.at_boundary());
}

#[test]
fn every_type_is_measured() {
    for reply in [
        &b"+OK\r\n"[..],
        b"+a\rb\nc\r\r\n",
        b"-ERR no\r\n",
        b":-12\r\n",
        b"$5\r\na\r\nbc\r\n",
        b"$0\r\n\r\n",
        b"$-1\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*2\r\n:1\r\n*1\r\n$1\r\nx\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",1.5e3\r\n",
        b"(3492890328409238509324850943850943825024385\r\n",
        b"!3\r\nERR\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"%2\r\n+a\r\n:1\r\n+b\r\n*0\r\n",
        b"%0\r\n",
        b"~2\r\n:1\r\n:2\r\n",
        b"$?\r\n;4\r\nHell\r\n;1\r\no\r\n;0\r\n",
        b"*?\r\n:1\r\n*?\r\n.\r\n.\r\n",
        b"%?\r\n+a\r\n:1\r\n.\r\n",
    ] {
        is_one_reply(reply);
    }
}

#[test]
fn attributes_and_pushes_are_no_replies() {
    is_one_reply(b"|1\r\n+ttl\r\n:3600\r\n$1\r\nx\r\n");
    is_one_reply(b"|0\r\n:1\r\n");
    is_one_reply(b"*2\r\n:1\r\n|1\r\n+a\r\n+b\r\n:2\r\n");
    is_one_reply(b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n+OK\r\n");
    is_one_reply(b">0\r\n+OK\r\n");
    let mut replies = Replies::default();
    let attribute = b"|1\r\n+a\r\n+b\r\n";
    let covered = replies.cover(attribute, 1).unwrap();
    assert_eq!((covered.bytes, covered.replies), (12, 0));
    assert!(!replies.at_boundary(), "the reply is still to come");
}

#[test]
fn errors_are_told_from_values() {
    assert!(cover(b"+OK\r\n-ERR\r\n").unwrap().errors);
    assert!(cover(b"!3\r\nERR\r\n").unwrap().errors);
    assert!(cover(b"|0\r\n-ERR\r\n").unwrap().errors);
    assert!(!cover(b"+OK\r\n*1\r\n-ERR\r\n").unwrap().errors);
    assert!(!cover(b">1\r\n-ERR\r\n+OK\r\n").unwrap().errors);
}

#[test]
fn a_body_is_covered_before_it_comes() {
    let mut replies = Replies::default();
    let covered = replies.cover(b"*2\r\n$9000000000\r\nab", 1).unwrap();
    assert_eq!(
        (covered.bytes, covered.replies),
        (4 + 13 + 9_000_000_002, 0)
    );
    let covered = replies.cover(b"$1\r\n", 1).unwrap();
    assert_eq!((covered.bytes, covered.replies), (7, 1));
}

#[test]
fn half_a_header_is_left_to_be_shown_again() {
    let mut replies = Replies::default();
    assert_eq!(replies.cover(b"*2\r\n$1", 1).unwrap().bytes, 4);
    assert_eq!(replies.cover(b"$1", 1).unwrap().bytes, 0);
    assert_eq!(replies.cover(b"$1\r", 1).unwrap().bytes, 0);
    assert_eq!(replies.cover(b"$1\r\nx\r\n", 1).unwrap().bytes, 7);
}

#[test]
fn nothing_is_covered_that_nobody_asked_for() {
    let mut replies = Replies::default();
    assert_eq!(replies.cover(b"+OK\r\n", 0), Ok(Covered::default()));
    assert_eq!(replies.cover(b">1\r\n+a\r\n:1\r\n", 0).unwrap().bytes, 8);
    assert_eq!(replies.cover(b"+OK\r\n>1\r\n+a\r\n", 1).unwrap().bytes, 5);
}

#[test]
fn limits_hold_where_they_say() {
    let deep = b"*1\r\n".repeat(MAX_DEPTH);
    assert_eq!(cover(&deep).unwrap().bytes, deep.len() as u64);
    assert_eq!(cover(&b"*1\r\n".repeat(MAX_DEPTH + 1)), Err(Invalid::Depth));
    let line = |digits: usize| [b",", &b"1".repeat(digits)[..], b"\r\n"].concat();
    assert_eq!(cover(&line(MAX_HEADER - 3)).unwrap().replies, 1);
    assert_eq!(cover(&line(MAX_HEADER - 2)), Err(Invalid::Header));
    let text = [b"+", &b"x".repeat(100_000)[..], b"\r\n"].concat();
    assert_eq!(cover(&text).unwrap().replies, 1);
}

#[test]
fn what_is_not_resp_is_refused() {
    for (bytes, why) in [
        (&b"OK\r\n"[..], Invalid::Type),
        (b"$x\r\n", Invalid::Length),
        (b"$-2\r\n", Invalid::Length),
        (b"$01\r\n", Invalid::Length),
        (b"$\r\n", Invalid::Length),
        (b"$18446744073709551615\r\n", Invalid::Length),
        (b"*18446744073709551616\r\n", Invalid::Length),
        (b"%9223372036854775808\r\n", Invalid::Length),
        (b"|-1\r\n", Invalid::Length),
        (b"*1\r\n>0\r\n", Invalid::Place),
        (b";1\r\n", Invalid::Place),
        (b".\r\n", Invalid::Place),
        (b"*1\r\n.\r\n", Invalid::Place),
        (b"$?\r\n+x\r\n", Invalid::Place),
        (b"$?\r\n;?\r\n", Invalid::Length),
    ] {
        assert_eq!(cover(bytes), Err(why), "{}", bytes.escape_ascii());
    }
}

/// Feeds the bytes in pieces cut at these places, as the host would: what is covered is gone, and
/// what is not is shown again. Returns how far it came, and what was found.
fn in_pieces(bytes: &[u8], cuts: &[usize], most: u64) -> (u64, Result<(u64, bool), Invalid>) {
    let mut replies = Replies::default();
    let (mut covered, mut count, mut errors) = (0u64, 0, false);
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    for end in ends {
        let Some(shown) = usize::try_from(covered)
            .ok()
            .and_then(|at| bytes.get(at..end))
        else {
            continue;
        };
        if count == most || shown.is_empty() {
            continue;
        }
        match replies.cover(shown, most - count) {
            Err(why) => return (0, Err(why)),
            Ok(found) => {
                assert!(found.replies <= most - count);
                covered = covered.saturating_add(found.bytes);
                count += found.replies;
                errors |= found.errors;
            }
        }
    }
    (covered, Ok((count, errors)))
}

/// A value of any type, as bytes.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let join = |head: String, parts: Vec<Vec<u8>>| [head.into_bytes(), parts.concat()].concat();
    let bulk = |mark: &str, body: &[u8]| {
        [
            format!("{mark}{}\r\n", body.len()).as_bytes(),
            body,
            b"\r\n",
        ]
        .concat()
    };
    let leaf = prop_oneof![
        "[ -~]{0,12}".prop_map(|text| format!("+{text}\r\n").into_bytes()),
        "[ -~]{0,12}".prop_map(|text| format!("-{text}\r\n").into_bytes()),
        any::<i64>().prop_map(|number| format!(":{number}\r\n").into_bytes()),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(move |body| bulk("$", &body)),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(move |body| bulk("!", &body)),
        prop::collection::vec(any::<u8>(), 1..9).prop_map(move |body| [
            &b"$?\r\n"[..],
            &bulk(";", &body),
            b";0\r\n"
        ]
        .concat()),
        Just(b"$-1\r\n".to_vec()),
        Just(b"*-1\r\n".to_vec()),
        Just(b"_\r\n".to_vec()),
        Just(b"#f\r\n".to_vec()),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let many = prop::collection::vec(inner.clone(), 0..4);
        let pairs = prop::collection::vec((inner.clone(), inner.clone()), 0..3)
            .prop_map(|pairs| pairs.into_iter().map(|(a, b)| [a, b].concat()).collect());
        prop_oneof![
            many.clone()
                .prop_map(move |all| join(format!("*{}\r\n", all.len()), all)),
            many.clone()
                .prop_map(move |all| join(format!("~{}\r\n", all.len()), all)),
            pairs
                .clone()
                .prop_map(move |all: Vec<Vec<u8>>| join(format!("%{}\r\n", all.len()), all)),
            (pairs, inner).prop_map(move |(all, value): (Vec<Vec<u8>>, _)| [
                join(format!("|{}\r\n", all.len()), all),
                value
            ]
            .concat()),
            many.prop_map(move |all| [join("*?\r\n".into(), all), b".\r\n".to_vec()].concat()),
        ]
    })
}

proptest! {
    #[test]
    fn replies_end_where_they_were_written_to_end(
        values in prop::collection::vec(value(), 1..6),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let bytes = values.concat();
        let count = values.len() as u64;
        let (covered, found) = in_pieces(&bytes, &cuts, count);
        prop_assert_eq!(covered, bytes.len() as u64);
        prop_assert_eq!(found.unwrap().0, count);
        // One less is asked for: the last one is not touched.
        let (covered, found) = in_pieces(&bytes, &cuts, count - 1);
        prop_assert_eq!(covered as usize, bytes.len() - values[values.len() - 1].len());
        prop_assert_eq!(found.unwrap().0, count - 1);
    }

    #[test]
    fn any_input_in_any_split_has_the_same_outcome(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64),
            prop::collection::vec(prop::sample::select(b"*$+-:;.>|%~?_#=!(,0123\r\n\r\n".to_vec()), 0..64),
            prop::collection::vec(value(), 0..4).prop_map(|values| values.concat()),
        ],
        cuts in prop::collection::vec(any::<usize>(), 0..12),
        most in 0u64..6,
    ) {
        let whole = in_pieces(&bytes, &[], most);
        let every: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(in_pieces(&bytes, &cuts, most), whole);
        prop_assert_eq!(in_pieces(&bytes, &every, most), whole);
    }
}

#[test]
fn a_servers_refusal_to_read_on_is_seen_in_any_split() {
    let refusal = b"+OK\r\n-ERR Protocol error: expected '$'\r\n";
    for cut in 0..refusal.len() {
        let mut replies = Replies::default();
        let first = replies.cover(&refusal[..cut], 9).unwrap();
        let rest = &refusal[usize::try_from(first.bytes).unwrap()..];
        let second = replies.cover(rest, 9).unwrap();
        assert!(first.refused || second.refused, "cut at {cut}");
    }
    for other in [
        &b"-ERR Protocol"[..],
        b"-ERR protocol error\r\n",
        b"+ERR Protocol error\r\n",
        b"--ERR Protocol error\r\n",
        b"*1\r\n-ERR Protocol error\r\n",
        b"-ERR\r\n+-ERR Protocol error\r\n",
    ] {
        assert!(!cover(other).unwrap().refused, "{}", other.escape_ascii());
    }
}

#[test]
fn pushes_are_told_of() {
    assert!(cover(b">1\r\n+x\r\n+OK\r\n").unwrap().pushes);
    assert!(cover(b">0\r\n").unwrap().pushes);
    assert!(!cover(b"*1\r\n$1\r\n>\r\n").unwrap().pushes);
}

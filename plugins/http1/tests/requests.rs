//! The corpus of requests: each has the outcome that RFC 9112 asks for, in one piece and byte by byte.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod corpus;

use common::*;
use corpus::ALL;
use corpus::Outcome::{self, Answered, Broken, Passed, Refused};

#[test]
fn each_request_has_the_outcome_that_its_section_asks_for() {
    let mut wrong = Vec::new();
    for (section, about, request, outcome) in ALL.iter().copied().flatten() {
        for pieces in [usize::MAX, 1] {
            if let Err(why) = try_out(request, outcome, pieces) {
                wrong.push(format!("{section}: {about}, in pieces of {pieces}: {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn there_are_enough_of_them() {
    let is_bad = |case: &&corpus::Case| matches!(case.3, Refused(_) | Broken(_));
    let bad = ALL.iter().copied().flatten().filter(is_bad).count();
    assert!(bad >= 60, "{bad} are malformed or ambiguous");
}

fn try_out(request: &str, outcome: &Outcome, pieces: usize) -> Result<(), String> {
    let mut session = session().in_pieces_of(pieces);
    session.client(request.as_bytes());
    let (sent, told) = (sent(&mut session), told(&mut session));
    let statuses = statuses(&told);
    let ended = session.end().is_some();
    let said_close = told.contains("\r\nConnection: close\r\n");
    let is_right = match outcome {
        Refused(status) => {
            sent.is_empty()
                && statuses == [*status]
                && ended
                && said_close
                && session.leases().is_empty()
        }
        Passed(expected) => sent == *expected && told.is_empty() && !ended && session.is_leased(),
        Broken(status) => {
            statuses == [*status] && ended && said_close && ends(&mut session) == [closed()]
        }
        Answered(status) => sent.is_empty() && statuses == [*status] && !ended && !said_close,
    };
    if !is_right {
        return Err(format!("sent {sent:?}, told {told:?}, ended {ended}"));
    }
    Ok(())
}

/// Whatever a session has refused, what comes behind it is never read.
#[test]
fn nothing_behind_a_refused_request_reaches_a_server() {
    for (section, about, request, outcome) in ALL.iter().copied().flatten() {
        if !matches!(outcome, Refused(_) | Broken(_)) {
            continue;
        }
        let mut session = session();
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
        session.client([request, smuggled].concat().as_bytes());
        let sent = sent(&mut session);
        assert!(
            !sent.contains("smuggled HTTP"),
            "{section}: {about}: {sent}"
        );
        assert!(session.end().is_some(), "{section}: {about}");
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let with = |config: &str, request: &[u8]| {
        for pieces in [usize::MAX, 1] {
            let mut session = Session::new(config).in_pieces_of(pieces);
            session.client(request);
            let told = told(&mut session);
            assert!(session.end().is_some(), "{told}");
            if pieces == 1 {
                return statuses(&told);
            }
        }
        Vec::new()
    };
    let target = [
        &b"GET /"[..],
        &[b'a'; 9000],
        b" HTTP/1.1\r\nHost: h\r\n\r\n",
    ]
    .concat();
    assert_eq!(with("{}", &target), [414]);
    let endless = [&b"GET /"[..], &[b'a'; 40000]].concat();
    assert_eq!(with("{}", &endless), [414]);
    let short = br"GET /aaaaaaaaaa HTTP/1.1";
    let short = [&short[..], b"\r\nHost: h\r\n\r\n"].concat();
    assert_eq!(with(r#"{"max-target": 10}"#, &short), [414]);
    assert_eq!(with("{}", &[b'A'; 9000]), [501]);
    let field = [&GET[..GET.len() - 2], b"A: ", &[b'a'; 20000], b"\r\n\r\n"].concat();
    assert_eq!(with("{}", &field), [431]);
    let fields = [&GET[..GET.len() - 2], &b"A: b\r\n".repeat(100), b"\r\n"].concat();
    assert_eq!(with("{}", &fields), [431]);
    let body = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n";
    assert_eq!(with(r#"{"max-body": 5}"#, body), [413]);
    let chunks =
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\nabc\r\n";
    assert_eq!(with(r#"{"max-body": 5}"#, chunks), [413]);
    let head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
    let trailers = [&head[..], b"A: ", &[b'a'; 20000]].concat();
    assert_eq!(with("{}", &trailers), [431]);
    let line = [&head[..head.len() - 3], b"5;", &[b'a'; 2000]].concat();
    assert_eq!(with("{}", &line), [400]);
    let options = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: {}\r\n\r\n",
        "a,".repeat(33)
    );
    assert_eq!(with("{}", options.as_bytes()), [400]);
}

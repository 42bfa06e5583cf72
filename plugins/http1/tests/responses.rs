//! The corpus of responses: what each of them is by RFC 9112 (and RFC 9110 where that is said), and what
//! becomes of it, of the connection that it has come on, and of the client's. Each is tried in one piece
//! and byte by byte.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_sdk::testing::LeaseEnd;

/// What becomes of a response.
enum Outcome {
    /// The client gets this; the server's connection is kept.
    Kept(&'static str),
    /// The client gets this and goes on; the server's connection is closed.
    Spent(&'static str),
    /// The client gets this, and both connections are closed.
    Last(&'static str),
    /// The client gets this, which is not the end.
    Open(&'static str),
    /// 502 and nothing of it; the server's connection is closed, and the client goes on.
    Bad,
}
use Outcome::{Bad, Kept, Last, Open, Spent};

/// The section, what it is about, the request, the response, and what becomes of it.
type Case = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Outcome,
);

const G: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const H: &str = "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n";
const OLD: &str = "GET / HTTP/1.0\r\n\r\n";
const OLD_KEPT: &str = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
const LAST: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
const CONNECT: &str = "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n";

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("4", "a response", G, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Kept("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")),
    ("4", "no reason", G, "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", Kept("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n")),
    ("4", "nor a blank in front of it", G, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", Kept("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n")),
    ("4", "no status", G, "HTTP/1.1 OK\r\n\r\n", Bad),
    ("4", "a status of four digits", G, "HTTP/1.1 2000 OK\r\n\r\n", Bad),
    ("4", "two blanks", G, "HTTP/1.1  200 OK\r\n\r\n", Bad),
    ("RFC 9110, 15", "a status that there cannot be", G, "HTTP/1.1 600 OK\r\n\r\n", Bad),
    ("2.3", "another version", G, "HTTP/2.0 200 OK\r\n\r\n", Bad),
    ("2.3", "no version", G, "ICY 200 OK\r\n\r\n", Bad),
    ("2.2", "a bare LF ends the status line", G, "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", Bad),
    ("2.2", "a bare LF ends a header", G, "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n", Bad),
    ("2.2", "a bare CR in a header", G, "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", Bad),
    ("5.1", "a blank in front of a colon is taken out", G, "HTTP/1.1 200 OK\r\nA : b\r\nContent-Length : 0\r\n\r\n", Kept("HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 0\r\n\r\n")),
    ("5.2", "a folded line", G, "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n", Bad),
    ("5.1", "no colon", G, "HTTP/1.1 200 OK\r\nA\r\n\r\n", Bad),
    ("RFC 9110, 5.5", "a NUL", G, "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", Bad),
    ("6.3", "lengths that differ", G, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", Bad),
    ("6.3", "one length twice", G, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", Kept("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")),
    ("6.3", "a length that is none", G, "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok", Bad),
    ("6.3", "a length that overflows", G, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok", Bad),
    ("6.3", "both lengths", G, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Bad),
    ("6.1", "a coding in HTTP/1.0", G, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Bad),
    ("6.1", "a coding that nobody has asked for", G, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Bad),
    ("6.3", "chunked is not the last", G, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", Bad),
    ("6.3", "HEAD has no body, whatever the length", H, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", Kept("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")),
    ("6.3", "nor chunks", H, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Kept("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")),
    ("6.3", "nor does it end with the connection", H, "HTTP/1.1 200 OK\r\n\r\n", Kept("HTTP/1.1 200 OK\r\n\r\n")),
    ("6.3", "304 has none", G, "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", Kept("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n")),
    ("6.3", "204 has none", G, "HTTP/1.1 204 No Content\r\n\r\n", Kept("HTTP/1.1 204 No Content\r\n\r\n")),
    ("RFC 9110, 8.6", "nor a length; a server that says one may send one", G, "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", Spent("HTTP/1.1 204 No Content\r\n\r\n")),
    ("6.1", "and so may one that says chunked", G, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", Spent("HTTP/1.1 204 No Content\r\n\r\n")),
    ("RFC 9110, 8.6", "but not one that says 0", G, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", Kept("HTTP/1.1 204 No Content\r\n\r\n")),
    ("6.3", "no length: until the connection ends", G, "HTTP/1.1 200 OK\r\n\r\nok", Open("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok")),
    ("7.1", "chunks", G, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Kept("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")),
    ("7.1.1", "extensions end here", G, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n", Kept("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")),
    ("7.1.2", "trailers", G, "HTTP/1.1 200 OK\r\nTrailer: A\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n", Kept("HTTP/1.1 200 OK\r\nTrailer: A\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n")),
    ("RFC 9110, 7.6.1", "but not those that Connection may name", G, "HTTP/1.1 200 OK\r\nConnection: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n", Kept("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
    ("7.1", "a chunk that is none", G, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", Last("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")),
    ("7.1", "a chunk that is too long", G, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n0\r\n\r\n", Last("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no")),
    ("RFC 9110, 6.5.1", "a length among the trailers", G, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 1\r\n\r\n", Last("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")),
    ("6.1", "HTTP/1.0 gets no chunks", OLD_KEPT, "HTTP/1.1 200 OK\r\nTrailer: A\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n", Last("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok")),
    ("9.3", "HTTP/1.0 ends", OLD, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Last("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")),
    ("9.3", "or goes on, if it asks", OLD_KEPT, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Kept("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok")),
    ("9.3", "a server of HTTP/1.0 ends", G, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", Spent("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")),
    ("9.3", "or goes on, if it says so", G, "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok", Kept("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")),
    ("9.6", "the server closes", G, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", Spent("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")),
    ("9.6", "the client closes", LAST, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Last("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")),
    ("RFC 9110, 7.6.1", "what is for one hop ends here", G, "HTTP/1.1 200 OK\r\nConnection: x\r\nX: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: y\r\nContent-Length: 0\r\n\r\n", Kept("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")),
    ("RFC 9110, 7.6.1", "a length that is named for one hop", G, "HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\nok", Bad),
    ("RFC 9110, 7.6.1", "a coding is for one hop indeed", G, "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n", Kept("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n")),
    ("RFC 9110, 15.2", "1xx and then the response", G, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Kept("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")),
    ("RFC 9110, 15.2", "which HTTP/1.0 does not get", OLD, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Last("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")),
    ("6.3", "1xx has no body; what looks like the response may be that", G, "HTTP/1.1 102 Processing\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Spent("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")),
    ("RFC 9110, 7.8", "101 that nobody has asked for", G, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", Bad),
    ("RFC 9110, 7.8", "101", UPGRADE, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\0raw", Open("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\0raw")),
    ("RFC 9110, 7.8", "the server does not change", UPGRADE, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Kept("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")),
    ("RFC 9110, 15.5.22", "it wants another protocol", G, "HTTP/1.1 426 Upgrade Required\r\nUpgrade: x\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n", Kept("HTTP/1.1 426 Upgrade Required\r\nUpgrade: x\r\nContent-Length: 0\r\nConnection: upgrade\r\n\r\n")),
    ("6.3; RFC 9110, 9.3.6", "a tunnel, whatever the length", CONNECT, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\0raw", Open("HTTP/1.1 200 OK\r\n\r\n\0raw")),
    ("RFC 9110, 9.3.6", "no tunnel", CONNECT, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", Kept("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")),
];

#[test]
fn each_response_has_the_outcome_that_its_section_asks_for() {
    let mut wrong = Vec::new();
    for (section, about, request, response, outcome) in CASES {
        for pieces in [usize::MAX, 1] {
            if let Err(why) = try_out(request, response, outcome, pieces) {
                wrong.push(format!("{section}: {about}, in pieces of {pieces}: {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn there_are_enough_of_them() {
    assert!(CASES.len() >= 30, "{}", CASES.len());
}

fn try_out(request: &str, response: &str, outcome: &Outcome, pieces: usize) -> Result<(), String> {
    let mut session = session().in_pieces_of(pieces);
    session.client(request.as_bytes());
    // What is left of a response that nobody waits for any more is never read.
    let mut lease_ends = Vec::new();
    for piece in response.as_bytes().chunks(pieces.min(response.len())) {
        if session.is_leased() {
            session.upstream(piece);
        }
        lease_ends = ends(&mut session);
    }
    let told = told(&mut session);
    let is = |expected: &LeaseEnd| lease_ends == [expected.clone()];
    let ended = session.end().is_some();
    let is_right = match outcome {
        Kept(expected) => told == *expected && is(&kept()) && !ended,
        Spent(expected) => told == *expected && is(&closed()) && !ended,
        // To end the client's connection is no reason to end the server's.
        Last(expected) => told == *expected && !is(&LeaseEnd::Held) && ended,
        Open(expected) => told == *expected && is(&LeaseEnd::Held) && !ended,
        Bad => statuses(&told) == [502] && is(&closed()) && !ended,
    };
    if !is_right {
        return Err(format!("told {told:?}, {lease_ends:?}, ended {ended}"));
    }
    Ok(())
}

/// Whatever has come of a response, what comes behind it reaches nobody.
#[test]
fn nothing_behind_a_response_reaches_a_client() {
    for (section, about, request, response, outcome) in CASES {
        if matches!(outcome, Open(_)) {
            continue;
        }
        let mut session = session();
        session.client(request.as_bytes());
        session.upstream(
            [response, "HTTP/1.1 200 smuggled\r\n\r\n"]
                .concat()
                .as_bytes(),
        );
        let told = told(&mut session);
        assert!(!told.contains("smuggled"), "{section}: {about}: {told}");
        assert_ne!(ends(&mut session), [kept()], "{section}: {about}");
    }
}

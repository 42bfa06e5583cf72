//! Requests and responses one after the other: who has a connection when, and what becomes of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_sdk::testing::{LeaseEnd, SessionEnd};

/// A request with a body of five bytes, of which some may be missing.
fn post(body: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n{body}").into_bytes()
}

#[test]
fn a_connection_is_held_from_the_head_to_the_end_of_the_response() {
    let mut session = session();
    session.client(&GET[..20]);
    assert!(!session.is_leased());
    session.client(&GET[20..]);
    assert_eq!(sent(&mut session), SENT_GET);
    session.upstream(&OK[..OK.len() - 1]);
    assert!(session.is_leased());
    session.upstream(&OK[OK.len() - 1..]);
    assert_eq!(session.take_client(), OK);
    assert_eq!(ends(&mut session), [kept()]);
    session.client(GET);
    session.upstream(OK);
    assert_eq!(ends(&mut session), [kept(), kept()]);
    assert_eq!(session.end(), None);
}

#[test]
fn requests_of_a_pipeline_are_served_in_order_each_on_a_lease_of_its_own() {
    for pieces in [usize::MAX, 1, 7] {
        let mut session = session().in_pieces_of(pieces);
        session.client(&[GET, &post("hello"), GET].concat());
        assert_eq!(sent(&mut session), SENT_GET);
        session.upstream(OK);
        assert!(sent(&mut session).ends_with("\r\n\r\nhello"));
        session.upstream(OK);
        assert_eq!(sent(&mut session), SENT_GET);
        session.upstream(OK);
        assert_eq!(session.take_client(), OK.repeat(3));
        assert_eq!(ends(&mut session), [kept(), kept(), kept()]);
    }
}

#[test]
fn nothing_is_read_behind_the_last_request() {
    let mut session = session();
    let last = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    session.client(&[&last[..], GET].concat());
    session.upstream(OK);
    assert_eq!(ends(&mut session), [kept()]);
    assert!(told(&mut session).contains("\r\nConnection: close\r\n"));
    let end = Some("the last response".to_owned());
    assert_eq!(session.end(), Some(&SessionEnd::Plugin(end)));
}

#[test]
fn a_large_body_passes_unseen_and_the_next_request_behind_it() {
    for pieces in [1000, 100_000] {
        let mut session = session().in_pieces_of(pieces);
        let body = vec![b'x'; 300_000];
        let head = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n";
        session.client(&[head.as_bytes(), &body, GET].concat());
        assert_eq!(session.take_upstream().len(), head.len() + body.len());
        let response = "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n";
        session.upstream(&[response.as_bytes(), &body].concat());
        assert_eq!(session.take_client().len(), response.len() + body.len());
        assert_eq!(sent(&mut session), SENT_GET);
        assert_eq!(ends(&mut session), [kept(), LeaseEnd::Held]);
    }
}

#[test]
fn a_response_in_front_of_the_body_is_passed_and_both_connections_end() {
    for (said, response, rest) in [
        (
            "HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
            "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno",
            "",
        ),
        (
            "HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
            "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nn",
            "o",
        ),
        (
            "HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n",
            "",
        ),
        (
            "HTTP/1.1 413 No\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            "HTTP/1.1 413 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
            "0\r\n\r\n",
        ),
    ] {
        for body in ["", "hell"] {
            let mut session = session();
            session.client(&post(body));
            session.upstream(response.as_bytes());
            if !rest.is_empty() {
                session.upstream(rest.as_bytes());
            }
            assert_eq!(told(&mut session), said);
            assert_eq!(ends(&mut session), [closed()], "{body}");
            assert!(session.end().is_some());
        }
    }
}

/// A server that answers while it reads gets all there is to read.
#[test]
fn a_body_goes_on_while_its_response_comes() {
    let mut session = session();
    session.client(&post("hel"));
    session.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
    session.client(b"lo");
    assert!(sent(&mut session).ends_with("\r\n\r\nhello"));
    session.upstream(b"lo");
    assert!(told(&mut session).ends_with("\r\n\r\nhello"));
    assert!(session.end().is_some());
}

#[test]
fn a_client_that_expects_to_be_asked_is_asked() {
    let mut session = session();
    session
        .client(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert!(sent(&mut session).contains("\r\nExpect: 100-continue\r\n"));
    session.upstream(b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(told(&mut session), "HTTP/1.1 100 Continue\r\n\r\n");
    session.client(b"hello");
    assert_eq!(sent(&mut session), "hello");
    session.upstream(OK);
    assert_eq!(session.take_client(), OK);
    assert_eq!(ends(&mut session), [kept()]);
    // In HTTP/1.0 it means nothing.
    session.client(b"POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx");
    assert!(!sent(&mut session).contains("Expect"));
}

/// A server that answers without having asked for the body may take it, or not, for the next request.
#[test]
fn a_body_that_was_not_asked_for_costs_its_connection() {
    let hints = b"HTTP/1.1 103 Early Hints\r\n\r\n";
    let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
    for (response, end) in [
        (OK.to_vec(), closed()),
        ([hints, OK].concat(), closed()),
        ([go_on, OK].concat(), kept()),
    ] {
        let mut session = session();
        session.client(
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
        );
        session.upstream(&response);
        assert_eq!(session.take_client(), response);
        assert_eq!(ends(&mut session), [end]);
        assert_eq!(session.end(), None);
    }
    // Where there is no body, there is nothing to ask for.
    let mut session = session();
    session.client(b"GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n");
    session.upstream(OK);
    assert_eq!(ends(&mut session), [kept()]);
}

/// A server that does not look for a body takes it for the next request.
#[test]
fn a_body_without_meaning_costs_its_connection() {
    for body in [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        for (method, end) in [
            ("GET", closed()),
            ("HEAD", closed()),
            ("DELETE", closed()),
            ("POST", kept()),
            ("PUT", kept()),
            ("OPTIONS", kept()),
        ] {
            let mut session = session();
            session.client(format!("{method} / HTTP/1.1\r\nHost: h\r\n{body}").as_bytes());
            let response = match method {
                "HEAD" => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
                _ => OK,
            };
            session.upstream(response);
            assert_eq!(session.take_client(), response);
            assert_eq!(ends(&mut session), [end], "{method}");
            assert_eq!(session.end(), None);
        }
    }
    let mut session = session();
    session.client(b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    session.upstream(OK);
    assert_eq!(ends(&mut session), [kept()]);
}

#[test]
fn an_upgrade_is_copied_plainly_both_ways_and_never_reused() {
    for pieces in [usize::MAX, 1] {
        let mut session = session().in_pieces_of(pieces);
        session.client(b"GET /chat HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n");
        assert_eq!(
            sent(&mut session),
            "GET /chat HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
        );
        // It waits: before the server agrees, this may be a request.
        session.client(b"\x81\x02");
        assert_eq!(session.take_upstream(), b"");
        session.upstream(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00");
        assert_eq!(session.take_upstream(), b"\x81\x02");
        assert!(
            session
                .take_client()
                .ends_with(b"\r\nConnection: upgrade\r\n\r\n\x81\x00")
        );
        session.client(b"hi");
        session.upstream(b"HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(session.take_upstream(), b"hi");
        assert_eq!(session.take_client(), b"HTTP/1.1 200 OK\r\n\r\n");
        session.client_eof();
        assert!(session.upstream_saw_eof());
        session.upstream_eof();
        assert_eq!(ends(&mut session), [closed()]);
        assert!(session.end().is_some());
    }
}

#[test]
fn a_refused_upgrade_leaves_requests_as_they_were() {
    let mut session = session();
    session
        .client(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    session.client(GET);
    session.upstream(OK);
    assert!(sent(&mut session).ends_with(SENT_GET));
    session.upstream(OK);
    assert_eq!(ends(&mut session), [kept(), kept()]);
}

#[test]
fn a_tunnel_is_copied_plainly_and_never_reused() {
    let mut session = session();
    session.client(b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n");
    assert_eq!(
        sent(&mut session),
        "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"
    );
    session.upstream(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(told(&mut session), "HTTP/1.1 200 OK\r\n\r\n");
    session.client(b"\x16\x03\x01");
    assert_eq!(session.take_upstream(), b"\x16\x03\x01");
    session.upstream(b"\x16\x03\x03");
    assert_eq!(session.take_client(), b"\x16\x03\x03");
    session.client_error();
    assert_eq!(ends(&mut session), [closed()]);
}

/// Whose half-close comes before the tunnel's first byte, too.
#[test]
fn a_half_close_passes_through_a_tunnel() {
    let mut session = session();
    session.client(b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n");
    session.upstream(b"HTTP/1.1 200 OK\r\n\r\n");
    session.client_eof();
    assert!(session.upstream_saw_eof());
    session.upstream(b"late");
    session.upstream_eof();
    assert!(told(&mut session).ends_with("late"));
    assert_eq!(session.end(), Some(&SessionEnd::UpstreamClosed));
}

#[test]
fn a_response_until_the_end_of_its_connection_ends_the_clients() {
    let mut session = session();
    session.client(&GET.repeat(2));
    session.upstream(b"HTTP/1.1 200 OK\r\n\r\nsome");
    session.upstream(b" more");
    session.upstream_eof();
    assert!(told(&mut session).ends_with("\r\nConnection: close\r\n\r\nsome more"));
    assert_eq!(session.end(), Some(&SessionEnd::UpstreamClosed));
    assert_eq!(ends(&mut session), [closed()]);
    assert_eq!(sent(&mut session), SENT_GET);
}

#[test]
fn who_has_said_all_still_gets_a_response() {
    let mut session = session();
    session.client(&GET.repeat(2));
    session.client_eof();
    session.upstream(OK);
    session.upstream(OK);
    assert_eq!(session.take_client(), OK.repeat(2));
    assert_eq!(session.end(), Some(&SessionEnd::ClientClosed));
    assert_eq!(ends(&mut session), [kept(), kept()]);
}

#[test]
fn half_a_request_costs_its_connection() {
    for half in [
        &b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhell",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        let mut session = session();
        session.client(half);
        session.client_eof();
        if session.is_leased() {
            session.upstream_eof();
        }
        assert!(session.end().is_some());
        assert_ne!(ends(&mut session), [kept()], "{}", half.escape_ascii());
    }
    let mut session = session();
    session.client(&GET[..10]);
    session.client_eof();
    assert!(session.leases().is_empty());
}

#[test]
fn a_client_that_goes_away_in_mid_response_costs_its_connection() {
    let mut session = session();
    session.client(GET);
    session.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
    session.client_error();
    assert_eq!(ends(&mut session), [closed()]);
}

#[test]
fn servers_are_told_whom_a_request_is_from() {
    let sent_with = |config: &str, fields: &str| {
        let mut session = Session::new(config);
        session.client(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n").as_bytes());
        sent(&mut session)
    };
    assert_eq!(
        sent_with("{}", ""),
        "GET / HTTP/1.1\r\nHost: h\r\nVia: 1.1 leaseway\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"
    );
    assert_eq!(
        sent_with(
            "{}",
            "X-Forwarded-For: a\r\nx-forwarded-for: b\r\nVia: 1.0 c\r\n"
        ),
        "GET / HTTP/1.1\r\nHost: h\r\nVia: 1.0 c, 1.1 leaseway\r\nX-Forwarded-For: a, b, 127.0.0.1\r\n\r\n"
    );
    assert_eq!(
        sent_with(
            r#"{"forwarded": "forwarded", "via": "gate"}"#,
            "Forwarded: for=a\r\n"
        ),
        "GET / HTTP/1.1\r\nHost: h\r\nVia: 1.1 gate\r\nForwarded: for=a, for=127.0.0.1\r\n\r\n"
    );
    assert_eq!(
        sent_with(BARE, "X-Forwarded-For: a\r\nVia: 1.0 c\r\n"),
        "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: a\r\nVia: 1.0 c\r\n\r\n"
    );
    let mut old = Session::new("{}");
    old.client(b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(
        sent(&mut old),
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:4000\r\nVia: 1.0 leaseway\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"
    );
}

#[test]
fn requests_go_where_their_route_says() {
    let config = r#"{"routes": [
        {"host": "a", "path": "/api", "upstream": "api"},
        {"host": "*.b", "upstream": "b"}
    ]}"#;
    let mut session = Session::new(config);
    let ask = |session: &mut Session, host: &str, path: &str| {
        session.client(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        if !session.is_leased() {
            return told(session);
        }
        session.upstream(OK);
        session.take_client();
        session
            .leases()
            .last()
            .unwrap()
            .target
            .group
            .clone()
            .unwrap()
    };
    assert_eq!(ask(&mut session, "A:80", "/api/x?y"), "api");
    assert_eq!(ask(&mut session, "x.b", "/"), "b");
    assert_eq!(ask(&mut session, "a", "/x/../api"), "api");
    assert_eq!(
        ask(&mut session, "a", "/api/%2e%2e/x"),
        "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 53\r\n\r\n404 Not Found: no route is for this host and path\n"
            .replace("53", "50")
    );
    session.client(b"HEAD / HTTP/1.1\r\nHost: c\r\n\r\n");
    let told = told(&mut session);
    assert!(told.ends_with("Content-Length: 50\r\n\r\n"), "{told}");
    assert_eq!(session.end(), None);
    // Its body is not waited for.
    session.client(b"POST / HTTP/1.1\r\nHost: c\r\nContent-Length: 5\r\n\r\n");
    assert!(session.end().is_some());
}

//! No connection, or no longer one, or no answer: what the client is told, and what is tried again.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_sdk::LeaseError;
use leaseway_sdk::testing::SessionEnd;

fn all() -> [(LeaseError, u16); 8] {
    let text = || "10.0.0.1:80 said no".to_owned();
    [
        (LeaseError::UnknownGroup(text()), 503),
        (LeaseError::NoEndpoint(text()), 503),
        (LeaseError::ConnectFailed(text()), 502),
        (LeaseError::ConnectTimeout(text()), 504),
        (LeaseError::HandshakeFailed(text()), 502),
        (LeaseError::WaitTimeout(text()), 503),
        (LeaseError::Lost(text()), 502),
        (LeaseError::Draining, 503),
    ]
}

#[test]
fn no_connection_is_a_status_that_says_why_and_the_session_goes_on() {
    for (error, status) in all() {
        let mut session = session();
        let drains = error == LeaseError::Draining;
        session.fail_leases(error);
        session.client(&GET.repeat(2));
        let told = told(&mut session);
        assert!(!told.contains("10.0.0.1"), "{told}");
        if drains {
            assert_eq!(statuses(&told), [status]);
            assert!(told.contains("\r\nConnection: close\r\n"), "{told}");
            assert!(session.end().is_some());
            continue;
        }
        assert_eq!(statuses(&told), [status, status]);
        assert!(!told.contains("Connection"), "{told}");
        session.grant_leases();
        session.client(GET);
        session.upstream(OK);
        assert_eq!(session.take_client(), OK);
    }
}

#[test]
fn no_connection_for_a_request_with_a_body_ends_the_session() {
    for request in [
        &b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"[..],
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let mut session = session();
        session.fail_leases(LeaseError::ConnectFailed("no".to_owned()));
        session.client(&[request, GET].concat());
        let told = told(&mut session);
        assert_eq!(statuses(&told), [502]);
        assert!(told.contains("\r\nConnection: close\r\n"));
        assert!(session.end().is_some());
    }
}

#[test]
fn head_gets_no_body_even_so() {
    let mut session = session();
    session.fail_leases(LeaseError::ConnectFailed("no".to_owned()));
    session.client(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(told(&mut session).ends_with("\r\n\r\n"));
    session.client(b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let told = told(&mut session);
    assert!(
        told.ends_with("\r\nConnection: keep-alive\r\n\r\n"),
        "{told}"
    );
    session.grant_leases();
    session.client(b"HEAD / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n");
    let told = self::told(&mut session);
    assert_eq!(statuses(&told), [400]);
    assert!(told.ends_with("\r\nConnection: close\r\n\r\n"), "{told}");
}

/// A session with a connection in the pool.
fn used() -> Session {
    let mut session = session();
    session.client(GET);
    session.upstream(OK);
    session.take_client();
    session.take_upstream();
    session
}

#[test]
fn a_stale_connection_is_replaced_where_that_does_no_harm() {
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"] {
        let mut session = used();
        let request = format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n");
        session.client(request.as_bytes());
        session.upstream_eof();
        assert_eq!(sent(&mut session), request.repeat(2));
        assert_eq!(told(&mut session), "");
        // Once.
        session.lose("again");
        assert_eq!(statuses(&told(&mut session)), [502]);
        assert_eq!(session.end(), None);
    }
}

#[test]
fn what_may_have_been_done_is_not_done_twice() {
    for request in [
        "POST / HTTP/1.1\r\nHost: h\r\n\r\n",
        "PATCH / HTTP/1.1\r\nHost: h\r\n\r\n",
        "brew / HTTP/1.1\r\nHost: h\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
    ] {
        let mut session = used();
        session.client(request.as_bytes());
        session.upstream_eof();
        assert_eq!(sent(&mut session), request);
        assert_eq!(statuses(&told(&mut session)), [502]);
        assert_eq!(session.end(), None, "its request was sent to its end");
    }
}

#[test]
fn a_fresh_connection_that_breaks_is_no_stale_one() {
    let mut session = session();
    session.client(GET);
    session.upstream_eof();
    assert_eq!(sent(&mut session), SENT_GET);
    assert_eq!(statuses(&told(&mut session)), [502]);
}

#[test]
fn what_has_begun_to_be_answered_is_not_asked_again() {
    for begun in ["HTTP/1.1 200", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
        let mut session = used();
        session.client(GET);
        session.upstream(begun.as_bytes());
        session.upstream_eof();
        assert_eq!(sent(&mut session), SENT_GET);
        assert_eq!(statuses(&told(&mut session)).last(), Some(&502));
        assert_eq!(session.end(), None);
    }
}

/// A server that closes an idle connection may say so first, and the request has crossed that.
#[test]
fn a_connection_that_timed_out_is_replaced() {
    let late = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let mut session = used();
    session.client(GET);
    session.upstream(late);
    assert_eq!(sent(&mut session), SENT_GET.repeat(2));
    session.upstream(late);
    assert_eq!(statuses(&told(&mut session)), [408]);
    assert_eq!(ends(&mut session), [kept(), closed(), closed()]);
}

#[test]
fn half_a_response_is_never_followed_by_anything() {
    for half in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        let mut session = session();
        session.client(&GET.repeat(2));
        session.upstream(half.as_bytes());
        session.upstream_eof();
        assert_eq!(told(&mut session), half);
        assert!(session.end().is_some(), "{half}");
        assert_eq!(session.leases().len(), 1);
    }
}

#[test]
fn a_body_whose_server_is_lost_ends_the_session() {
    let mut session = session();
    session.client(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\nx");
    session.lose("it broke");
    let told = told(&mut session);
    assert_eq!(statuses(&told), [502]);
    assert!(told.contains("\r\nConnection: close\r\n"));
    assert!(session.end().is_some());
}

#[test]
fn a_head_that_does_not_come_is_late() {
    let mut session = session();
    session.client(&GET[..10]);
    assert_eq!(session.deadline().unwrap().ms, 8000);
    session.client(&GET[10..]);
    assert_eq!(
        session.deadline().unwrap().ms,
        60_000,
        "that of the response"
    );
    session.upstream(OK);
    assert_eq!(session.deadline(), None);
    session.client(b"\r\n");
    assert_eq!(session.deadline(), None, "nothing has begun");
    session.client(b"G");
    session.take_client();
    session.deadline_passes();
    assert_eq!(statuses(&told(&mut session)), [408]);
    assert_eq!(session.end(), Some(&SessionEnd::Deadline));
}

#[test]
fn a_response_that_does_not_come_is_late() {
    let mut session = Session::new(r#"{"response-timeout": 5}"#);
    session.client(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nx");
    assert_eq!(
        session.deadline().unwrap().ms,
        60_000,
        "it is the client that is waited for"
    );
    session.client(b"y");
    assert_eq!(session.deadline().unwrap().ms, 5000);
    session.upstream(b"HTTP/1.1 102 Processing\r\n\r\n");
    assert!(session.deadline().is_some());
    session.deadline_passes();
    let told = told(&mut session);
    assert_eq!(statuses(&told), [102, 504]);
    assert_eq!(ends(&mut session), [closed()]);
    let mut patient = Session::new(r#"{"response-timeout": 0}"#);
    patient.client(GET);
    assert_eq!(patient.deadline(), None);
}

/// Where a body stands still and no step covers what is missing, no limit of the listener's counts.
#[test]
fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    for begun in [
        "Content-Length: 1\r\n\r\n",
        "Content-Length: 5\r\n\r\nhell",
        "Transfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3;a\r\nabc\r\n0\r\nA: b\r\n",
    ] {
        for pieces in [usize::MAX, 1] {
            let mut session = Session::new(r#"{"body-timeout": 5}"#).in_pieces_of(pieces);
            session.client(format!("POST / HTTP/1.1\r\nHost: h\r\n{begun}").as_bytes());
            let deadline = session.deadline().expect(begun);
            assert_eq!((deadline.ms, &*deadline.farewell), (5000, &b""[..]));
            session.deadline_passes();
            assert_eq!(session.end(), Some(&SessionEnd::Deadline));
            assert_eq!(ends(&mut session), [closed()]);
        }
    }
    let mut patient = Session::new(r#"{"body-timeout": 0, "response-timeout": 0}"#);
    patient.client(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n");
    assert_eq!(patient.deadline(), None);
}

/// A server may have begun to answer, and wait for the rest.
#[test]
fn nor_is_it_where_a_response_has_begun() {
    for (begun, more) in [
        ("Content-Length: 5\r\n\r\nhe", "ll"),
        (
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "1\r\nx\r\n",
        ),
    ] {
        for response in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n",
            "HTTP/1.1 200 OK\r\n\r\nhe",
        ] {
            let mut session = Session::new(r#"{"body-timeout": 5}"#);
            session.client(format!("POST / HTTP/1.1\r\nHost: h\r\n{begun}").as_bytes());
            session.upstream(response.as_bytes());
            session.client(more.as_bytes());
            let deadline = session.deadline().expect(response);
            assert_eq!((deadline.ms, &*deadline.farewell), (5000, &b""[..]));
            session.take_client();
            session.deadline_passes();
            assert_eq!(session.end(), Some(&SessionEnd::Deadline));
            assert_eq!(ends(&mut session), [closed()]);
            assert_eq!(told(&mut session), "");
        }
    }
}

/// What is covered and has not come is the listener's `stall-timeout`'s matter, however long it takes.
#[test]
fn a_body_that_comes_may_take_its_time() {
    let mut session = Session::new(r#"{"body-timeout": 5, "response-timeout": 0}"#);
    let mut limit_behind = |bytes: &[u8]| {
        session.client(bytes);
        session.deadline().map(|deadline| deadline.ms)
    };
    let head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(limit_behind(head), Some(5000));
    assert_eq!(limit_behind(b"5\r\nhe"), None);
    assert_eq!(limit_behind(b"llo"), Some(5000));
    assert_eq!(limit_behind(b"\r\n0\r\n\r\n"), None);
    session.upstream(OK);
    let mut limit_behind = |bytes: &[u8]| {
        session.client(bytes);
        session.deadline().map(|deadline| deadline.ms)
    };
    let head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe";
    assert_eq!(limit_behind(head), None);
    assert_eq!(limit_behind(b"ll"), Some(5000));
    assert_eq!(limit_behind(b"o"), None);
}

#[test]
fn the_limit_of_a_body_is_none_of_its_response() {
    let mut session = Session::new(r#"{"body-timeout": 5}"#);
    session.client(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe");
    session.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
    session.client(b"ll");
    assert!(session.deadline().is_some(), "a byte is missing");
    session.client(b"o");
    assert_eq!(session.deadline(), None);
    session.upstream(b"llo");
    assert!(told(&mut session).ends_with("\r\n\r\nhello"));
    let mut session = Session::new(r#"{"body-timeout": 5}"#);
    session.client(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe");
    session.upstream(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    session.client(b"llo");
    assert!(session.deadline().is_some(), "more has to come");
    session.client(b"\r\n0\r\n\r\n");
    assert_eq!(session.deadline(), None);
}

/// Steps of a body that wait for the server go on without it; none of them may set a time limit then.
#[test]
fn no_time_limit_of_a_request_outlives_it() {
    for pieces in [usize::MAX, 1, 5] {
        let mut session = used().in_pieces_of(pieces);
        session.client(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0;a\r\n\r\n");
        assert!(session.deadline().is_some());
        session.lose("it broke");
        assert_eq!(session.deadline(), None);
        assert_eq!(session.end(), None);
    }
}

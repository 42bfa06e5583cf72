//! Conversations of chance: however the bytes are split, the same comes of them; and whatever they are,
//! nothing that the contract forbids, and nobody's bytes behind a response.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// A body, and the fields and bytes by which it is sent.
fn body_of_chance() -> impl Strategy<Value = (String, Vec<u8>)> {
    let bytes = || vec(any::<u8>(), 0..100);
    prop_oneof![
        bytes().prop_map(|body| (format!("Content-Length: {}\r\n", body.len()), body)),
        (vec(vec(any::<u8>(), 1..50), 0..5), any::<bool>()).prop_map(|(chunks, trailer)| {
            let mut body: Vec<u8> = chunks
                .iter()
                .flat_map(|chunk| {
                    let size = format!("{:X}\r\n", chunk.len());
                    [size.as_bytes(), chunk, b"\r\n"].concat()
                })
                .collect();
            body.extend(if trailer {
                &b"0\r\nA: b\r\n\r\n"[..]
            } else {
                b"0\r\n\r\n"
            });
            ("Transfer-Encoding: chunked\r\n".to_owned(), body)
        }),
    ]
}

fn exchange_of_chance() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (body_of_chance(), body_of_chance(), any::<bool>()).prop_map(|(up, down, hints)| {
        let request = format!("POST /a HTTP/1.1\r\nHost: h\r\n{}\r\n", up.0);
        let hints = if hints {
            "HTTP/1.1 103 Hints\r\nA: b\r\n\r\n"
        } else {
            ""
        };
        let response = format!("{hints}HTTP/1.1 200 OK\r\n{}\r\n", down.0);
        (
            [request.as_bytes(), &up.1].concat(),
            [response.as_bytes(), &down.1].concat(),
        )
    })
}

/// What HTTP is made of, and what it is not.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "GET / HTTP/1.1\r\n",
        "POST /a HTTP/1.0\r\n",
        "HEAD * HTTP/1.1\r\n",
        "CONNECT h:1 HTTP/1.1\r\n",
        "Host: h\r\n",
        "Content-Length: 3\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "Connection: upgrade\r\n",
        "Upgrade: x\r\n",
        "Expect: 100-continue\r\n",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "5;a=b\r\n",
        "abc",
        " ",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 204 No\r\n\r\n",
        "HTTP/1.1 101 Switch\r\n\r\n",
        "HTTP/1.1 304 Not\r\n",
        "HTTP/1.1 408 Late\r\nConnection: close\r\n",
    ];
    prop_oneof![
        6 => prop::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..10),
    ]
}

/// Everything that is sent at a time: a client's or a server's.
type Event = (bool, Vec<Vec<u8>>);

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn however_messages_are_split_the_same_passes(
        exchanges in vec(exchange_of_chance(), 1..6),
        pieces in 1_usize..50,
        pipelined: bool,
    ) {
        let mut session = session().in_pieces_of(pieces);
        if pipelined {
            let requests: Vec<u8> = exchanges.iter().flat_map(|(request, _)| request.clone()).collect();
            session.client(&requests);
        }
        for (request, response) in exchanges {
            if !pipelined {
                session.client(&request);
            }
            let sent = session.take_upstream();
            prop_assert_eq!(sent, request);
            session.upstream(&response);
            let told = session.take_client();
            prop_assert_eq!(told, response);
        }
        prop_assert!(session.end().is_none());
        prop_assert!(ends(&mut session).iter().all(|end| *end == kept()));
    }

    /// The verdict on a request does not depend on how its bytes have come.
    #[test]
    fn however_nonsense_is_split_the_same_comes_of_it(
        fragments in vec(fragment(), 0..12),
        pieces in 1_usize..20,
    ) {
        let bytes = fragments.concat();
        let outcome = |pieces: usize| {
            let mut session = session().in_pieces_of(pieces);
            session.client(&bytes);
            (session.take_client(), session.take_upstream(), session.end().is_some())
        };
        let (told, sent, ended) = outcome(pieces);
        let (told_at_once, sent_at_once, ended_at_once) = outcome(usize::MAX);
        prop_assert_eq!((told, ended), (told_at_once, ended_at_once));
        // What is refused in the middle of its body may not have left by then.
        prop_assert!(sent.starts_with(&sent_at_once));
        prop_assert!(ended || sent == sent_at_once);
    }

    /// The same of a response, as far as its bytes are waited for.
    #[test]
    fn however_a_response_is_split_the_same_comes_of_it(
        fragments in vec(fragment(), 0..12),
        pieces in 1_usize..20,
        request in prop::sample::select(vec![
            "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
            "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nx",
        ]),
    ) {
        let bytes = fragments.concat();
        let outcome = |pieces: usize| {
            let mut session = session();
            session.client(request.as_bytes());
            for piece in bytes.chunks(pieces) {
                if session.is_leased() {
                    session.upstream(piece);
                }
            }
            (session.take_client(), session.is_leased(), session.end().is_some())
        };
        prop_assert_eq!(outcome(pieces), outcome(usize::MAX));
    }

    #[test]
    fn whatever_is_sent_the_contract_is_kept(
        events in vec((any::<bool>(), vec(fragment(), 0..8)), 0..20),
        pieces in 1_usize..40,
        eof: bool,
    ) {
        let events: Vec<Event> = events;
        let mut session = session().in_pieces_of(pieces);
        for (is_client, fragments) in events {
            if session.end().is_some() {
                break;
            }
            for piece in fragments.concat().chunks(pieces) {
                match is_client {
                    true => session.client(piece),
                    false if session.is_leased() => session.upstream(piece),
                    false => {}
                }
            }
        }
        if eof {
            session.client_eof();
        }
        if session.is_leased() {
            session.lose("it broke");
        }
    }
}

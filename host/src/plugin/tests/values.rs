//! Every value of the contract arrives as it was sent, either way.

use super::*;
use crate::contract::{
    Choice, Deadline, Disposition, EndReason, LeaseError, LeaseOutcome, LeaseRequest, Leased,
    Request, Share, Side, Span, Step,
};
use crate::plugin::SessionHooks;

fn at(hook: &str, mode: &str) -> Value {
    json!({ "hook": hook, "mode": mode })
}

fn full_target() -> Target {
    Target {
        group: Some("group".to_owned()),
        endpoint: Some("127.0.0.1:1".to_owned()),
        identity: "an identity".to_owned(),
        secret: vec![0, 1, 255],
        affinity: Some(u64::MAX - 1),
        unpooled: true,
    }
}

fn plain_target() -> Target {
    Target {
        identity: "hostile".to_owned(),
        ..target()
    }
}

/// As the fixture has them.
fn every_step() -> Vec<Step> {
    vec![
        Step::Forward(1 << 40),
        Step::ForwardIdempotent(2),
        Step::ForwardRest,
        Step::Discard(3),
        Step::Send((Side::Client, b"client".to_vec())),
        Step::Send((Side::Upstream, Vec::new())),
        Step::Lease(full_target()),
        Step::Lease(plain_target()),
        Step::Release(Disposition::Keep),
        Step::Release(Disposition::Reset),
        Step::Release(Disposition::Close),
        Step::Retag(vec![7; 300]),
        Step::Deadline(Some(Deadline {
            ms: 4,
            farewell: b"bye".to_vec(),
        })),
        Step::Deadline(None),
        Step::Close(Some("f\u{fc}r immer".to_owned())),
        Step::Close(None),
    ]
}

/// The bytes that the only step sends to the client.
fn said(steps: &[Step]) -> String {
    match steps {
        [Step::Send((Side::Client, said))] => String::from_utf8(said.clone()).unwrap(),
        _ => panic!("{steps:?}"),
    }
}

fn all_errors() -> Vec<LeaseError> {
    let text = || "w\u{e4}rum".to_owned();
    vec![
        LeaseError::UnknownGroup(text()),
        LeaseError::NoEndpoint(text()),
        LeaseError::ConnectFailed(text()),
        LeaseError::ConnectTimeout(text()),
        LeaseError::HandshakeFailed(text()),
        LeaseError::WaitTimeout(text()),
        LeaseError::Lost(String::new()),
        LeaseError::Draining,
    ]
}

#[test]
fn every_step_and_every_choice_arrives() {
    let worker = worker(at("on-data", "every-step"));
    let steps = open(&worker, 1).on_data(Side::Client, b"x").unwrap();
    assert_eq!(steps, every_step());
    for (mode, choice) in [
        ("need-more", Choice::NeedMore),
        (
            "lease",
            Choice::Lease(LeaseRequest {
                target: Some(full_target()),
                then: every_step(),
            }),
        ),
        (
            "lease-again",
            Choice::Lease(LeaseRequest {
                target: None,
                then: Vec::new(),
            }),
        ),
        (
            "share",
            Choice::Share(Share {
                target: Some(full_target()),
                requests: vec![
                    Request {
                        length: 1,
                        replies: 2,
                        idempotent: false,
                    },
                    Request {
                        length: 3,
                        replies: 0,
                        idempotent: true,
                    },
                ],
            }),
        ),
        ("every-step", Choice::Answer(every_step())),
    ] {
        let worker = super::worker(at("choose-upstream", mode));
        assert_eq!(
            open(&worker, 1).choose_upstream(b"x").unwrap(),
            choice,
            "{mode}"
        );
    }
}

#[test]
fn what_hooks_are_told_arrives() {
    let worker = worker(at("on-data", "echo"));
    for (length, side) in [(0, Side::Client), (70_000, Side::Upstream)] {
        let data: Vec<u8> = (0..length).map(|n: u32| b'a' + (n % 26) as u8).collect();
        let said = said(&open(&worker, 1).on_data(side, &data).unwrap());
        assert_eq!(said.as_bytes(), data);
    }
    let worker = super::worker(at("on-leased", "echo"));
    for (tag, fresh) in [(&b""[..], true), (b"a tag", false)] {
        let lease = Leased {
            tag: tag.to_vec(),
            fresh,
            endpoint: "[::1]:5432".to_owned(),
            identity: "idenit\u{e9}".to_owned(),
        };
        let said = said(&open(&worker, 1).on_leased(&lease).unwrap());
        let wanted = format!(
            "Leased {{ tag: {tag:?}, fresh: {fresh}, endpoint: \"[::1]:5432\", identity: {:?} }}",
            lease.identity
        );
        assert_eq!(said, wanted);
    }
    let worker = super::worker(at("on-eof", "echo"));
    for (side, name) in [
        (Side::Client, "Side::Client"),
        (Side::Upstream, "Side::Upstream"),
    ] {
        assert_eq!(said(&open(&worker, 1).on_eof(side).unwrap()), name);
    }
    let worker = super::worker(json!({ "hook": "constructor", "mode": "shout" }));
    let fault = worker.open(&info(9)).map(drop).unwrap_err();
    let text = message(&fault);
    for part in [
        "id: 9",
        r#"listener: "test""#,
        r#"client-address: "127.0.0.1:2""#,
        r#"local-address: "127.0.0.1:1""#,
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

#[test]
fn every_error_and_outcome_arrives() {
    for hook in ["on-lease-failed", "on-request-failed"] {
        let worker = worker(at(hook, "echo"));
        let mut session = open(&worker, 1);
        for why in all_errors() {
            let text = match hook {
                "on-lease-failed" => said(&session.on_lease_failed(&why).unwrap()),
                _ => String::from_utf8(session.on_request_failed(&why, 77).unwrap()).unwrap(),
            };
            // The names of the cases are the same on both sides.
            let wanted = format!("{why:?}");
            assert!(text.contains(&wanted), "no {wanted} in {text}");
            assert_eq!(text.ends_with(" 77"), hook == "on-request-failed");
        }
    }
    let outcome = |reason, received| LeaseOutcome {
        reason,
        sent: u64::MAX,
        received,
    };
    let worker = super::worker(at("pool-return", "echo"));
    let mut session = open(&worker, 1);
    for (received, disposition) in [
        (0, Disposition::Keep),
        (1, Disposition::Reset),
        (2, Disposition::Close),
    ] {
        let answer = session.pool_return(outcome(EndReason::Drain, received));
        assert_eq!(answer.unwrap(), disposition);
    }
    for (reason, name) in [
        (EndReason::ClientClosed, "ClientClosed"),
        (EndReason::ClientError, "ClientError"),
        (EndReason::PluginClose, "PluginClose"),
        (EndReason::Timeout, "Timeout"),
        (EndReason::Drain, "Drain"),
    ] {
        let worker = super::worker(at("pool-return", "shout"));
        let fault = open(&worker, 1)
            .pool_return(outcome(reason, 1 << 63))
            .unwrap_err();
        let text = message(&fault);
        for part in [
            name,
            "sent: 18446744073709551615",
            "received: 9223372036854775808",
        ] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }
}

#[test]
fn measured_replies_arrive() {
    let span = |byte: u8| Span {
        length: u64::from(byte) << 40,
        ends: byte % 2 == 1,
    };
    let worker = worker(at("measure", "echo"));
    let mut replies = worker.measure().unwrap();
    let spans = replies.measure(&[1, 2, 255]).unwrap();
    assert_eq!(spans, Ok(vec![span(1), span(2), span(255)]));
    assert_eq!(replies.measure(b"").unwrap(), Ok(Vec::new()));
    let worker = super::worker(json!({}));
    let refused = worker.measure().unwrap().measure(b"x").unwrap();
    assert_eq!(refused, Err("shares nothing".to_owned()));
}

//! The SDK's scripted session does what the host's engine does: the same plugin, dealt at random,
//! and the same events lead to the same calls, the same bytes and the same ends.
//!
//! Leases are fresh throughout, and no request may be sent twice: replay is the host's own business, and no plugin sees it. Nor do
//! sockets take their time here: what is written has gone.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod dealt;
mod host;
mod sdk;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use leaseway_sdk::{Deadline, Disposition, Hooks, LeaseError, Side, Step, Target};
use proptest::collection::vec;
use proptest::prelude::*;

use dealt::{Answer, Deal};

/// Something that happens to a session.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// The client sends so many bytes.
    Client(usize),
    ClientEof,
    ClientError,
    /// The leased connection sends so many bytes.
    Upstream(usize),
    UpstreamEof,
    Lose,
    /// The lease that is waited for is there, or is not.
    Grant,
    Fail,
    /// From now on leases are granted at once, or wait, or fail.
    GrantLeases,
    HoldLeases,
    FailLeases,
    Timeout,
    /// The plugin's own time limit passes, if it has one.
    Deadline,
    Drain,
}

/// What a session has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Hooks that were called, with their arguments.
    pub(crate) calls: Vec<String>,
    pub(crate) to_client: String,
    /// Over whatever connection.
    pub(crate) to_upstream: String,
    pub(crate) leases: Vec<Lease>,
    pub(crate) leased: bool,
    pub(crate) waiting: bool,
    pub(crate) deadline: Option<String>,
    pub(crate) end: Option<String>,
}

/// One lease of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) identity: String,
    pub(crate) unpooled: bool,
    pub(crate) sent: String,
    pub(crate) received: u64,
    /// What was put on its connection, for as long as that tells.
    pub(crate) retagged: Option<String>,
    pub(crate) end: LeaseEnd,
}

impl Lease {
    /// The host hears of a tag at the end of a lease, and it counts only on a connection that stays.
    pub(crate) fn told(&self) -> Self {
        let kept = self.end == LeaseEnd::Kept;
        Self {
            retagged: self.retagged.clone().filter(|_| kept),
            ..self.clone()
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaseEnd {
    Waiting,
    Held,
    Failed,
    Kept,
    Reset,
    /// As the plugin said, or unasked, or because it broke.
    Closed,
    /// Although the plugin wanted it kept.
    Doubted,
}

/// Bytes that tell one another apart.
pub(crate) fn text(first: u8, from: &mut usize, count: usize) -> Vec<u8> {
    let bytes = (*from..*from + count).map(|at| first + (at % 26) as u8);
    *from += count;
    bytes.collect()
}

pub(crate) fn busy() -> LeaseError {
    LeaseError::WaitTimeout("busy".to_owned())
}

fn few() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 1_usize..7, 2 => 1_usize..40, 1 => Just(0)]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        30 => (1_usize..12).prop_map(Event::Client),
        30 => (1_usize..12).prop_map(Event::Upstream),
        20 => Just(Event::Grant),
        3 => Just(Event::GrantLeases),
        3 => Just(Event::HoldLeases),
        1 => Just(Event::FailLeases),
        3 => Just(Event::Fail),
        3 => Just(Event::Lose),
        3 => Just(Event::UpstreamEof),
        3 => Just(Event::ClientEof),
        1 => Just(Event::ClientError),
        1 => Just(Event::Timeout),
        3 => Just(Event::Deadline),
        2 => Just(Event::Drain),
    ]
}

fn disposition() -> impl Strategy<Value = Disposition> {
    prop_oneof![
        3 => Just(Disposition::Keep),
        1 => Just(Disposition::Reset),
        1 => Just(Disposition::Close)
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let count = || {
        prop_oneof![
            20 => few().prop_map(|count| count as u64),
            1 => Just(u64::MAX),
        ]
    };
    let bytes = || few().prop_map(|count| vec![b'.'; count]);
    prop_oneof![
        8 => count().prop_map(Step::Forward),
        2 => count().prop_map(Step::ForwardIdempotent),
        1 => Just(Step::ForwardRest),
        4 => count().prop_map(Step::Discard),
        4 => bytes().prop_map(|bytes| Step::Send((Side::Client, bytes))),
        3 => bytes().prop_map(|bytes| Step::Send((Side::Upstream, bytes))),
        2 => (0..4).prop_map(|identity| Step::Lease(target(identity))),
        5 => disposition().prop_map(Step::Release),
        2 => (0..10).prop_map(|tag| Step::Retag(format!("tag{tag}").into_bytes())),
        2 => prop::option::of((0_u64..100, few())).prop_map(|deadline| {
            Step::Deadline(deadline.map(|(ms, count)| Deadline {
                ms,
                farewell: vec![b'~'; count],
            }))
        }),
        1 => prop::option::of(Just("done".to_owned())).prop_map(Step::Close),
    ]
}

/// Some are for one lease alone.
fn target(identity: i32) -> Target {
    match identity {
        3 => Target::new("user=0").unpooled(),
        identity => Target::new(format!("user={identity}")),
    }
}

fn answer() -> impl Strategy<Value = Answer> {
    (
        vec(step(), 0..6),
        0_u8..9,
        prop::bool::weighted(0.9),
        disposition(),
    )
        .prop_map(|(steps, choice, sane, disposition)| Answer {
            steps,
            choice,
            sane,
            disposition,
        })
}

/// Most plugins have most hooks.
fn hooks() -> impl Strategy<Value = Hooks> {
    let all = [
        Hooks::CHOOSE_UPSTREAM,
        Hooks::ON_LEASED,
        Hooks::ON_LEASE_FAILED,
        Hooks::ON_DATA,
        Hooks::ON_EOF,
        Hooks::POOL_RETURN,
        Hooks::RESET,
        Hooks::REPLIES,
        Hooks::ON_REQUEST_FAILED,
    ];
    vec(prop::bool::weighted(0.85), all.len()).prop_map(move |has| {
        all.into_iter()
            .zip(has)
            .filter(|(_, has)| *has)
            .fold(Hooks::empty(), |hooks, (hook, _)| hooks | hook)
    })
}

/// Plays the same events to both, for as long as both go on.
fn compare<const UPSTREAM_FIRST: bool>(
    deal: &Deal,
    max_shown: usize,
    events: &[Event],
) -> Result<(), TestCaseError> {
    let mut host = host::Host::new(deal, max_shown, UPSTREAM_FIRST);
    let mut sdk = sdk::Sdk::<UPSTREAM_FIRST>::new(deal, max_shown);
    let events = events.iter().map(Some);
    for event in std::iter::once(None).chain(events) {
        match event {
            Some(event) if host.may(event) => host.happen(event),
            Some(_) => continue,
            None => {}
        }
        let expected = host.seen();
        let seen = dealt::quietly(|| {
            catch_unwind(AssertUnwindSafe(|| {
                if let Some(event) = event {
                    sdk.happen(event);
                }
                sdk.seen()
            }))
        });
        match (seen, host.misuse()) {
            (Ok(seen), None) => prop_assert_eq!(&seen, &expected, "after {:?}", event),
            (Err(panic), Some(misuse)) => {
                let message = words(panic.as_ref());
                let plain = message.replace('`', "");
                let misuse = misuse.replace("steps stand behind", "steps behind");
                let misuse = misuse.replace('`', "");
                prop_assert!(plain.contains(&misuse), "{message} is not {misuse}");
                prop_assert_eq!(sdk.calls(), expected.calls, "before {}", misuse);
                return Ok(());
            }
            (Ok(seen), Some(misuse)) => {
                let seen = format!("{seen:#?}");
                return Err(TestCaseError::fail(format!(
                    "the host refused: {misuse}; the SDK went on after {event:?}: {seen}"
                )));
            }
            (Err(panic), None) => {
                let message = words(panic.as_ref());
                return Err(TestCaseError::fail(format!(
                    "the SDK panicked after {event:?}: {message}; the host: {expected:#?}"
                )));
            }
        }
        if expected.end.is_some() {
            break;
        }
    }
    Ok(())
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(message), _) => message.clone(),
        (None, Some(message)) => (*message).to_owned(),
        (None, None) => "nothing".to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_scripted_session_does_what_the_engine_does(
        has in hooks(),
        answers in vec(answer(), 0..30),
        max_shown in prop_oneof![Just(8_usize), Just(24), Just(64 << 10)],
        upstream_first in prop::bool::weighted(0.2),
        events in vec(event(), 1..40),
    ) {
        let deal = Deal { has, answers };
        if upstream_first {
            compare::<true>(&deal, max_shown, &events)?;
        } else {
            compare::<false>(&deal, max_shown, &events)?;
        }
    }
}

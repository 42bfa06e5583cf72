//! What must hold for every sequence of events.

use proptest::collection::vec;
use proptest::prelude::*;

use super::toy::{Counting, Dealt, SORRY, Toy, target};
use super::world::{Event, World, frames, is_sorry};
use crate::contract::{Deadline, Disposition, Hooks, Side, Step};
use crate::session::engine::OUTPUT_HIGH_WATER;

const SESSIONS: usize = 4;

/// Request frames of one session: each carries the session and a number, and some padding.
fn requests(session: usize, sizes: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, &padding) in sizes.iter().enumerate() {
        let padding = padding % 120;
        bytes.push(2 + padding);
        bytes.push(b'A' + u8::try_from(session).unwrap());
        bytes.push(u8::try_from(number % 256).unwrap());
        bytes.extend(std::iter::repeat_n(b'.', usize::from(padding)));
    }
    bytes
}

fn event(deaths: bool) -> impl Strategy<Value = Event> {
    let session = 0..SESSIONS;
    let count = prop_oneof![1_usize..4, 1_usize..600];
    let both = (session.clone(), count);
    let calm = prop_oneof![
        4 => both.clone().prop_map(|(session, count)| Event::Send { session, count }),
        1 => session.clone().prop_map(|session| Event::Close { session }),
        4 => both.clone().prop_map(|(session, count)| Event::Write { session, count }),
        4 => both.clone().prop_map(|(session, count)| Event::Read { session, count }),
        4 => both.prop_map(|(session, count)| Event::Deliver { session, count }),
        4 => session.clone().prop_map(|session| Event::Lease { session }),
    ];
    let violent = prop_oneof![
        session.clone().prop_map(|session| Event::Break { session }),
        session
            .clone()
            .prop_map(|session| Event::Refuse { session }),
        (0_usize..12).prop_map(|connection| Event::Kill { connection }),
        session.prop_map(|session| Event::Expire { session }),
    ];
    if deaths {
        prop_oneof![12 => calm, 1 => violent].boxed()
    } else {
        calm.boxed()
    }
}

fn toy_world(sizes: &[Vec<u8>], limit: usize, idempotent: bool) -> (World, Vec<Vec<u8>>) {
    let mut world = World::new(limit);
    let mut sent = Vec::new();
    for (session, sizes) in sizes.iter().enumerate() {
        let bytes = requests(session, sizes);
        sent.push(bytes.clone());
        world.add(Box::new(Toy::new(idempotent)), bytes);
    }
    (world, sent)
}

fn idle_connections_are_clean(world: &World) -> Result<(), TestCaseError> {
    for &index in &world.idle {
        let connection = &world.connections[index];
        prop_assert!(connection.is_clean(), "pooled: {connection:?}");
    }
    Ok(())
}

fn tags_are_true(world: &World) -> Result<(), TestCaseError> {
    for &index in &world.idle {
        let connection = &world.connections[index];
        let says = String::from_utf8_lossy(&connection.tag);
        prop_assert_eq!(says, connection.served.to_string(), "{:?}", connection);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Without deaths every client gets every reply, in order, over fewer connections.
    #[test]
    fn every_reply_reaches_its_owner(
        sizes in vec(vec(any::<u8>(), 0..20), SESSIONS),
        events in vec(event(false), 0..400),
        limit in 1_usize..4,
    ) {
        let (mut world, sent) = toy_world(&sizes, limit, false);
        for event in &events {
            world.happen(event);
            idle_connections_are_clean(&world)?;
        }
        world.play_out();
        idle_connections_are_clean(&world)?;
        prop_assert!(world.connections.len() <= limit);
        for (session, sent) in world.sessions.iter().zip(&sent) {
            prop_assert_eq!(&session.received, sent);
            prop_assert!(session.finished, "every session comes to its end");
        }
    }

    /// With clients that vanish, connections that die and limits that pass, a client still sees
    /// only its own replies, in order, and errors in place of those that were lost.
    #[test]
    fn deaths_cost_replies_but_never_mix_them(
        sizes in vec(vec(any::<u8>(), 0..20), SESSIONS),
        events in vec(event(true), 0..500),
        limit in 1_usize..4,
        idempotent in any::<bool>(),
    ) {
        let (mut world, sent) = toy_world(&sizes, limit, idempotent);
        for event in &events {
            world.happen(event);
            idle_connections_are_clean(&world)?;
        }
        world.play_out();
        idle_connections_are_clean(&world)?;
        for (session, sent) in world.sessions.iter().zip(&sent) {
            let (asked, _) = frames(sent);
            let (got, partial) = frames(&session.received);
            prop_assert!(got.len() <= asked.len(), "more replies than requests");
            for (got, asked) in got.iter().zip(&asked) {
                prop_assert!(got == asked || is_sorry(got), "{got:?} is no reply to {asked:?}");
            }
            if !partial.is_empty() {
                let asked = asked[got.len()];
                prop_assert!(asked.starts_with(partial) || SORRY.starts_with(partial));
            }
            prop_assert!(session.lease.is_none() || session.engine.end().is_none());
        }
    }

    /// A plugin that writes in the tag what its connection has been through can rely on it, also where
    /// connections die and are replaced unseen.
    #[test]
    fn a_tag_is_true_of_its_connection(
        sizes in vec(vec(any::<u8>(), 0..20), SESSIONS),
        events in vec((event(true), prop::bool::weighted(0.05)), 0..500),
        limit in 1_usize..4,
        idempotent in any::<bool>(),
    ) {
        let mut world = World::new(limit);
        world.tag = b"0".to_vec();
        for (session, sizes) in sizes.iter().enumerate() {
            world.add(Box::new(Counting::new(idempotent)), requests(session, sizes));
        }
        for (event, dies_idle) in &events {
            world.happen(event);
            tags_are_true(&world)?;
            // Nobody knows until it is leased and written to.
            if *dies_idle && let Some(&connection) = world.idle.last() {
                world.happen(&Event::Kill { connection });
            }
        }
        world.play_out();
        tags_are_true(&world)?;
    }

    /// A connection that dies idle, or before anything arrived, is replaced unseen.
    #[test]
    fn idle_deaths_are_not_noticed(
        sizes in vec(vec(any::<u8>(), 1..10), SESSIONS),
        rounds in 1_usize..4,
        idempotent in any::<bool>(),
    ) {
        let (mut world, sent) = toy_world(&sizes, 2, idempotent);
        let mut expected: Vec<Vec<u8>> = vec![Vec::new(); SESSIONS];
        for _ in 0..rounds {
            for (session, sent) in sent.iter().enumerate() {
                world.sessions[session].to_send.extend(sent);
                expected[session].extend(sent);
            }
            // The clients stay connected between rounds.
            for _ in 0..2_000 {
                for session in 0..SESSIONS {
                    for event in [
                        Event::Send { session, count: 50 },
                        Event::Lease { session },
                        Event::Write { session, count: 50 },
                        Event::Read { session, count: 50 },
                        Event::Deliver { session, count: 50 },
                    ] {
                        world.happen(&event);
                    }
                }
            }
            for connection in 0..world.connections.len() {
                world.happen(&Event::Kill { connection });
            }
        }
        for (session, expected) in world.sessions.iter().zip(&expected) {
            // The first round's requests were queued before the loop as well.
            let (got, rest) = frames(&session.received);
            prop_assert!(rest.is_empty());
            prop_assert!(got.iter().all(|frame| !is_sorry(frame)), "a client noticed");
            prop_assert!(session.received.ends_with(expected));
            prop_assert!(session.engine.end().is_none());
        }
    }
}

/// Few, or so many that the next ones have to wait.
fn own_bytes() -> impl Strategy<Value = usize> {
    prop_oneof![30 => 0_usize..40, 1 => Just(OUTPUT_HIGH_WATER)]
}

fn any_step() -> impl Strategy<Value = Step> {
    let count = prop_oneof![0_u64..20, Just(u64::MAX), 0_u64..2_000];
    let disposition = prop_oneof![
        Just(Disposition::Keep),
        Just(Disposition::Reset),
        Just(Disposition::Close)
    ];
    prop_oneof![
        6 => count.clone().prop_map(Step::Forward),
        2 => count.clone().prop_map(Step::ForwardIdempotent),
        1 => Just(Step::ForwardRest),
        2 => count.prop_map(Step::Discard),
        2 => (any::<bool>(), own_bytes()).prop_map(|(client, count)| {
            let side = if client { Side::Client } else { Side::Upstream };
            Step::Send((side, vec![b'p'; count]))
        }),
        1 => Just(Step::Lease(target())),
        3 => disposition.prop_map(Step::Release),
        1 => Just(Step::Retag(b"another".to_vec())),
        1 => prop::option::of(own_bytes()).prop_map(|count| {
            let farewell = count.map(|count| vec![b'p'; count]);
            Step::Deadline(farewell.map(|farewell| Deadline { ms: 1, farewell }))
        }),
        1 => Just(Step::Close(None)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever a plugin answers, its session gets nobody else's bytes, and a connection that
    /// the host calls clean has nothing unread and nothing unwritten in the engine.
    #[test]
    fn no_plugin_can_mix_sessions(
        answers in vec(vec(vec(any_step(), 0..5), 0..30), SESSIONS),
        has in vec(any::<u16>(), SESSIONS),
        sizes in vec(vec(any::<u8>(), 0..20), SESSIONS),
        events in vec(event(true), 0..400),
    ) {
        let mut world = World::new(3);
        world.echoes_bytes = true;
        for (session, (answers, has)) in answers.into_iter().zip(has).enumerate() {
            let has = hooks_from(has) | Hooks::CHOOSE_UPSTREAM;
            let sent = vec![mark(session); sizes[session].len() * 40];
            world.add(Box::new(Dealt { has, answers: answers.into() }), sent);
        }
        for event in &events {
            world.happen(event);
            // A server that still owes bytes would send them to the next session. Whether one
            // does only the plugin can know, and these plugins lie; what the host sees by
            // itself, in the engine, must be gone by now, and a check at borrow sees the rest.
            world.idle.retain(|&index| world.connections[index].is_clean());
        }
        for (index, session) in world.sessions.iter().enumerate() {
            let own = mark(index);
            prop_assert!(
                session.received.iter().all(|&byte| byte == own || byte == b'p'),
                "session {} got {:?}", index, session.received
            );
        }
    }
}

/// The byte that a session sends in the test of lying plugins.
fn mark(session: usize) -> u8 {
    b'A' + u8::try_from(session).unwrap()
}

fn hooks_from(bits: u16) -> Hooks {
    [
        Hooks::ON_LEASED,
        Hooks::ON_LEASE_FAILED,
        Hooks::ON_DATA,
        Hooks::ON_EOF,
        Hooks::POOL_RETURN,
    ]
    .into_iter()
    .enumerate()
    .filter(|(index, _)| bits & (1 << index) != 0)
    .fold(Hooks::empty(), |all, (_, hook)| all | hook)
}

/// A plugin may cover a reply with one `forward` and forget it: if the rest never comes, nothing may
/// take its place.
#[test]
fn a_reply_that_is_cut_ends_the_session() {
    let (mut world, _) = toy_world(&[vec![100]], 1, true);
    for event in [
        Event::Send {
            session: 0,
            count: 200,
        },
        Event::Lease { session: 0 },
        Event::Write {
            session: 0,
            count: 200,
        },
        Event::Read {
            session: 0,
            count: 10,
        },
    ] {
        world.happen(&event);
    }
    world.connections[0].outbound.clear();
    world.happen(&Event::Kill { connection: 0 });
    world.happen(&Event::Read {
        session: 0,
        count: 10,
    });
    world.play_out();
    let session = &world.sessions[0];
    assert_eq!(
        session.received.len(),
        10,
        "what came is delivered, and nothing else"
    );
    assert!(matches!(
        session.engine.end(),
        Some(crate::session::End::ReplyCut(_))
    ));
}

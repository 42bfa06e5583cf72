//! Bytes that pass through pipes: every one arrives, in order, at its own client and at no other.

use proptest::collection::vec;
use proptest::prelude::*;

use super::told::Told;
use super::toy::target;
use super::world::{Event, World};
use crate::contract::{Disposition, Hooks, Side, Step};

/// More than comes at a time.
const ALL: usize = 1 << 20;
const SESSIONS: usize = 3;

/// What a client sends, in the order of no other client.
fn body(session: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at * (2 * session + 3) + at / 256 + session * 85) as u8)
        .collect()
}

/// Forwards a body of this length and the same of the server's, says a word, and gives back. Whoever dies
/// before that may have a reply on its way, and keeps no connection.
fn carrier(len: usize) -> Told {
    let len = len as u64;
    let carrier = Told::default().without(Hooks::POOL_RETURN);
    carrier.lease([Step::Forward(len)]).data(
        Side::Upstream,
        [
            Step::Forward(len),
            Step::Send((Side::Client, b"done".to_vec())),
            Step::Release(Disposition::Keep),
        ],
    )
}

fn happen_in_turn(world: &mut World, session: usize, count: usize) {
    for event in [
        Event::Send { session, count },
        Event::Lease { session },
        Event::Write { session, count },
        Event::Read { session, count },
        Event::Deliver { session, count },
    ] {
        world.happen(&event);
    }
}

/// A client with a body of each length, before a server that sends every byte back.
fn world(lens: &[usize]) -> World {
    let mut world = World::new(2);
    world.echoes_bytes = true;
    for (session, &len) in lens.iter().enumerate() {
        world.add(Box::new(carrier(len)), body(session, len));
    }
    world
}

/// Lets everything happen that still can.
fn play_out(world: &mut World) {
    for _ in 0..1_000 {
        for session in 0..SESSIONS {
            happen_in_turn(world, session, ALL);
        }
    }
}

/// What its client is to receive.
fn expected(session: usize, len: usize) -> Vec<u8> {
    let mut expected = body(session, len);
    expected.extend(b"done");
    expected
}

fn event() -> impl Strategy<Value = Event> {
    let sizes = prop_oneof![1_usize..100, 10_000_usize..200_000, Just(ALL)];
    let both = (0..SESSIONS, sizes);
    let session = 0..SESSIONS;
    prop_oneof![
        4 => both.clone().prop_map(|(session, count)| Event::Send { session, count }),
        4 => both.clone().prop_map(|(session, count)| Event::Write { session, count }),
        4 => both.clone().prop_map(|(session, count)| Event::Read { session, count }),
        4 => both.prop_map(|(session, count)| Event::Deliver { session, count }),
        4 => session.prop_map(|session| Event::Lease { session }),
    ]
}

/// One that ends a session or a connection with bytes under way.
fn violence() -> impl Strategy<Value = Option<Event>> {
    prop_oneof![
        6 => Just(None),
        1 => (0..SESSIONS).prop_map(|session| Some(Event::Break { session })),
        1 => (0..SESSIONS).prop_map(|session| Some(Event::Expire { session })),
        1 => (0..SESSIONS).prop_map(|connection| Some(Event::Kill { connection })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn bulk_arrives_whole_and_in_order(
        lens in vec(100_000_usize..600_000, SESSIONS),
        events in vec(event(), 0..200),
    ) {
        let mut world = world(&lens);
        for event in &events {
            world.happen(event);
        }
        play_out(&mut world);
        for (session, &len) in lens.iter().enumerate() {
            let expected = expected(session, len);
            prop_assert!(
                world.sessions[session].received == expected,
                "session {session}: {} of {} bytes",
                world.sessions[session].received.len(),
                expected.len()
            );
        }
        prop_assert!(world.piped > 0, "nothing went through a pipe");
    }

    #[test]
    fn what_a_dead_session_left_in_a_pipe_reaches_nobody(
        lens in vec(100_000_usize..600_000, SESSIONS),
        events in vec((event(), violence()), 0..200),
    ) {
        let mut world = world(&lens);
        for (event, violence) in &events {
            world.happen(event);
            if let Some(violence) = violence {
                world.happen(violence);
            }
        }
        play_out(&mut world);
        for (session, &len) in lens.iter().enumerate() {
            let expected = expected(session, len);
            let received = &world.sessions[session].received;
            prop_assert!(expected.starts_with(received), "session {session} got foreign bytes");
        }
        for &index in &world.idle {
            prop_assert!(world.connections[index].is_clean());
        }
    }
}

/// The rest of a message whose connection is gone is swallowed, and not what follows it.
#[test]
fn what_is_to_be_skipped_does_not_go_through_a_pipe() {
    let plugin = Told::default()
        .passing()
        .lease([Step::Forward(100_000)])
        .failed([Step::Lease(target()), Step::Forward(50_000)]);
    let mut world = World::new(2);
    world.echoes_bytes = true;
    let sent = body(0, 150_000);
    world.add(Box::new(plugin), sent.clone());
    for _ in 0..3 {
        for event in [
            Event::Send {
                session: 0,
                count: 16 << 10,
            },
            Event::Lease { session: 0 },
            Event::Write {
                session: 0,
                count: ALL,
            },
        ] {
            world.happen(&event);
        }
    }
    world.connections[0].outbound.clear();
    world.happen(&Event::Kill { connection: 0 });
    world.happen(&Event::Read {
        session: 0,
        count: ALL,
    });
    for _ in 0..100 {
        happen_in_turn(&mut world, 0, ALL);
    }
    assert_eq!(world.connections.len(), 2, "it went on over another");
    assert!(world.sessions[0].received == sent[100_000..]);
}

//! What becomes of steps that still wait when something ends under them.

use super::told::Told;
use super::toy::target;
use super::world::{Event, World};
use crate::contract::{Disposition, Hooks, Side, Step};
use crate::session::End;
use crate::session::engine::OUTPUT_HIGH_WATER;

/// More than comes in any of these tests.
const ALL: usize = 1 << 20;

/// One session with this plugin, in front of a server that sends every byte back.
fn world(plugin: Told) -> World {
    let mut world = World::new(2);
    world.echoes_bytes = true;
    world.add(Box::new(plugin), Vec::new());
    world
}

fn say(to: Side, text: impl Into<Vec<u8>>) -> Step {
    Step::Send((to, text.into()))
}

/// The client sends this, it gets a lease if it needs one, and the server hears of it.
fn send(world: &mut World, text: &[u8]) {
    world.sessions[0].to_send.extend(text);
    for event in [
        Event::Send {
            session: 0,
            count: ALL,
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

/// So many bytes of the server arrive, and all that is for the client goes to it.
fn receive(world: &mut World, count: usize) {
    world.happen(&Event::Read { session: 0, count });
    deliver(world);
}

fn deliver(world: &mut World) {
    world.happen(&Event::Deliver {
        session: 0,
        count: ALL,
    });
}

/// The server closes the connection that was opened last.
fn kill(world: &mut World) {
    let connection = world.connections.len() - 1;
    world.connections[connection].outbound.clear();
    world.happen(&Event::Kill { connection });
    world.happen(&Event::Read {
        session: 0,
        count: ALL,
    });
    deliver(world);
}

fn received(world: &World) -> String {
    String::from_utf8_lossy(&world.sessions[0].received).into_owned()
}

#[test]
fn the_program_of_a_lost_connection_is_forgotten() {
    let mut world = world(
        Told::default()
            .lease([Step::Forward(2)])
            .data(
                Side::Upstream,
                [Step::Discard(5), Step::Release(Disposition::Keep)],
            )
            .failed([say(Side::Client, "sorry ")])
            .lease([Step::Forward(2)])
            .data(
                Side::Upstream,
                [Step::Forward(2), Step::Release(Disposition::Keep)],
            ),
    );
    send(&mut world, b"ab");
    receive(&mut world, 2);
    kill(&mut world);
    assert_eq!(received(&world), "sorry ");
    send(&mut world, b"cd");
    receive(&mut world, 2);
    assert_eq!(received(&world), "sorry cd", "all of the next reply");
    assert_eq!(world.idle.len(), 1);
}

#[test]
fn sorry_is_said_ahead_of_what_is_left_to_swallow() {
    let mut world = world(
        Told::default()
            .lease([Step::Forward(10), say(Side::Client, "behind ")])
            .failed([say(Side::Client, "sorry ")])
            .lease([Step::Forward(4)])
            .data(
                Side::Upstream,
                [Step::Forward(4), Step::Release(Disposition::Keep)],
            ),
    );
    send(&mut world, b"0123");
    kill(&mut world);
    assert!(received(&world).starts_with("sorry "));
    send(&mut world, b"456789next");
    receive(&mut world, ALL);
    assert_eq!(received(&world), "sorry behind next");
}

#[test]
fn half_a_message_of_the_plugins_own_makes_a_connection_unfit() {
    let mut world = world(Told::default().lease([
        say(Side::Upstream, "head"),
        Step::Discard(5),
        say(Side::Upstream, "tail"),
    ]));
    send(&mut world, b"ab");
    assert_eq!(world.connections[0].outbound, *b"head");
    world.connections[0].outbound.clear();
    world.happen(&Event::Break { session: 0 });
    assert!(world.idle.is_empty());
    assert!(world.connections[0].dead);
}

#[test]
fn a_reply_that_waits_behind_a_slow_client_makes_a_connection_unfit() {
    let mut world = world(Told::default().lease([Step::Forward(2)]).data(
        Side::Upstream,
        [
            say(Side::Client, vec![b'x'; OUTPUT_HIGH_WATER]),
            say(Side::Client, "more"),
            Step::Forward(8),
        ],
    ));
    send(&mut world, b"ab");
    world.connections[0].outbound.clear();
    world.connections[0].outbound.extend(b"cd");
    world.happen(&Event::Read {
        session: 0,
        count: ALL,
    });
    // Nothing unread by now, and six bytes of the reply are still to come.
    world.happen(&Event::Break { session: 0 });
    assert!(world.idle.is_empty());
    assert!(world.connections[0].dead);
}

#[test]
fn a_reply_that_is_cut_between_its_parts_ends_the_session() {
    for parts in [
        [Step::Forward(2), Step::Discard(2), Step::Forward(4)],
        [
            say(Side::Client, "ab"),
            Step::Discard(4),
            say(Side::Client, "cd"),
        ],
    ] {
        let mut world = world(
            Told::default()
                .lease([Step::Forward(2)])
                .data(Side::Upstream, parts)
                .failed([say(Side::Client, "sorry")]),
        );
        send(&mut world, b"ab");
        receive(&mut world, 2);
        kill(&mut world);
        assert_eq!(received(&world), "ab");
        let end = world.sessions[0].engine.end();
        assert!(matches!(end, Some(End::ReplyCut(_))), "{end:?}");
    }
}

#[test]
fn what_is_sent_goes_out_before_a_release_of_any_kind() {
    for disposition in [Disposition::Keep, Disposition::Close] {
        let mut world = world(Told::default().lease([
            Step::Discard(1),
            say(Side::Upstream, "goodbye"),
            Step::Release(disposition),
        ]));
        send(&mut world, b".");
        assert_eq!(world.connections[0].outbound, *b"goodbye");
        assert_eq!(world.sessions[0].lease, None);
    }
}

#[test]
fn a_plugin_that_takes_one_frame_a_call_is_shown_the_rest_at_once() {
    let mut world = world(
        Told::default()
            .lease([Step::Forward(1)])
            .data(Side::Client, [Step::Forward(1)])
            .data(Side::Client, [Step::Forward(1)])
            .data(Side::Upstream, [Step::Forward(1)])
            .data(Side::Upstream, [Step::Forward(1)])
            .data(
                Side::Upstream,
                [Step::Forward(1), Step::Release(Disposition::Keep)],
            ),
    );
    send(&mut world, b"abc");
    receive(&mut world, ALL);
    assert_eq!(received(&world), "abc");
    assert_eq!(world.idle.len(), 1);
}

/// Bytes that a side holds for the other are bounded, whether a step covers few or many of them.
#[test]
fn small_messages_do_not_pile_up_before_a_side_that_does_not_read() {
    const FLOOD: usize = 1 << 20;
    let mut world = world(Told::default().passing().lease([Step::Forward(10)]));
    send(&mut world, b"0123456789");
    world.sessions[0].to_send.extend(vec![b'x'; FLOOD]);
    for _ in 0..FLOOD / 100 {
        world.happen(&Event::Send {
            session: 0,
            count: 100,
        });
    }
    let taken = FLOOD - world.sessions[0].to_send.len();
    assert!((1..=64 << 10).contains(&taken), "took {taken} bytes");

    world.connections[0].outbound.extend(vec![b'y'; FLOOD]);
    for _ in 0..FLOOD / 100 {
        world.happen(&Event::Read {
            session: 0,
            count: 100,
        });
    }
    let taken = FLOOD + 10 - world.connections[0].outbound.len();
    assert!((1..=64 << 10).contains(&taken), "took {taken} bytes");
}

/// A session with a connection that was used before, by a first request.
fn reused(plugin: Told) -> World {
    let first = Told::default().lease([Step::Forward(1)]).data(
        Side::Upstream,
        [Step::Forward(1), Step::Release(Disposition::Keep)],
    );
    let mut world = world(first);
    send(&mut world, b".");
    receive(&mut world, 1);
    assert_eq!(world.idle.len(), 1);
    world.sessions.clear();
    world.add(Box::new(plugin), Vec::new());
    world
}

#[test]
fn a_plain_copy_is_never_sent_twice() {
    let mut world = reused(Told::default().without(Hooks::ON_DATA));
    send(&mut world, b"INCR x");
    // The server has taken it, and dies before it replies.
    kill(&mut world);
    world.play_out();
    assert_eq!(world.connections.len(), 1, "nothing was sent again");
    let end = world.sessions[0].engine.end();
    assert_eq!(end, Some(&End::UpstreamClosed));
}

#[test]
fn a_plain_copy_of_which_nothing_arrived_goes_to_another_connection() {
    let mut world = reused(Told::default().without(Hooks::ON_DATA));
    world.connections[0].dead = true;
    world.sessions[0].to_send.extend(b"INCR x");
    world.play_out();
    assert_eq!(world.connections.len(), 2);
    assert_eq!(
        received(&world),
        "INCR x",
        "the server of this world replies with that"
    );
}

#[test]
fn what_was_sent_again_counts_as_sent() {
    let plugin = Told::default().lease([Step::ForwardIdempotent(3)]);
    let outcomes = plugin.outcomes();
    let mut world = reused(plugin);
    send(&mut world, b"GET");
    kill(&mut world);
    for event in [
        Event::Lease { session: 0 },
        Event::Write {
            session: 0,
            count: ALL,
        },
    ] {
        world.happen(&event);
    }
    assert_eq!(world.connections[1].outbound, *b"GET");
    world.happen(&Event::Break { session: 0 });
    let [outcome] = outcomes.borrow()[..] else {
        panic!("one lease has ended");
    };
    assert_eq!((outcome.sent, outcome.received), (3, 0));
}

#[test]
fn what_stands_behind_a_release_is_for_the_next_lease() {
    let mut world = world(
        Told::default()
            .lease([
                Step::Forward(4),
                Step::Release(Disposition::Keep),
                Step::Lease(target()),
                Step::Forward(2),
            ])
            .failed([say(Side::Client, "sorry ")])
            .data(
                Side::Upstream,
                [Step::Forward(2), Step::Release(Disposition::Keep)],
            ),
    );
    send(&mut world, b"ab");
    kill(&mut world);
    assert_eq!(received(&world), "sorry ");
    send(&mut world, b"cdef");
    receive(&mut world, ALL);
    assert_eq!(received(&world), "sorry ef");
    assert_eq!(world.idle.len(), 1);
}

/// While a dead connection is replaced unseen, its client may send on, up to what is kept.
#[test]
fn an_upload_goes_on_over_the_replacement() {
    const BODY: usize = 300_000;
    let mut world = reused(
        Told::default()
            .lease([Step::Discard(2), Step::ForwardIdempotent(BODY as u64)])
            .data(Side::Upstream, [Step::Forward(BODY as u64)]),
    );
    world.connections[0].dead = true;
    send(&mut world, b"..");
    world.happen(&Event::Read {
        session: 0,
        count: ALL,
    });
    assert!(world.sessions[0].engine.is_asking(), "it is being replaced");
    world.sessions[0].to_send.extend(vec![b'x'; BODY]);
    for _ in 0..BODY / 100 {
        world.happen(&Event::Send {
            session: 0,
            count: 100,
        });
    }
    let taken = BODY - world.sessions[0].to_send.len();
    assert!((1..=64 << 10).contains(&taken), "took {taken} bytes");
    for _ in 0..BODY {
        for event in [
            Event::Lease { session: 0 },
            Event::Send {
                session: 0,
                count: ALL,
            },
            Event::Write {
                session: 0,
                count: ALL,
            },
            Event::Read {
                session: 0,
                count: ALL,
            },
            Event::Deliver {
                session: 0,
                count: ALL,
            },
        ] {
            world.happen(&event);
        }
        if world.sessions[0].received.len() == BODY {
            return;
        }
    }
    panic!("{} bytes came back", world.sessions[0].received.len());
}

#[test]
fn an_apology_waits_for_no_bytes_of_a_program_that_is_gone() {
    let mut world = world(
        Told::default()
            .lease([Step::Forward(10), say(Side::Client, "x")])
            .failed([Step::Lease(target())])
            .failed([say(Side::Client, "sorry")]),
    );
    send(&mut world, b"ab");
    kill(&mut world);
    assert!(world.sessions[0].engine.is_asking());
    world.happen(&Event::Refuse { session: 0 });
    deliver(&mut world);
    assert_eq!(received(&world), "sorry");
}

#[test]
fn a_flood_of_small_messages_lets_others_have_a_turn() {
    const MESSAGES: usize = 9;
    let pong = || [Step::Discard(1), say(Side::Client, "pong ")];
    let plugin = (1..MESSAGES).fold(Told::default().lease(pong()), |plugin, _| {
        plugin.data(Side::Client, pong())
    });
    let mut world = world(plugin);
    send(&mut world, &[b'p'; MESSAGES]);
    let engine = &world.sessions[0].engine;
    assert!(
        engine.waits_for_turn(),
        "all of it was answered in one turn"
    );
    let mut turns = 0;
    while world.sessions[0].engine.waits_for_turn() {
        deliver(&mut world);
        turns += 1;
    }
    deliver(&mut world);
    assert_eq!(received(&world), "pong ".repeat(MESSAGES));
    assert!(turns >= 2, "{turns} turns");
}

//! What becomes of the tag that a plugin puts on its connection, and of a dead connection whose tag
//! it was told.

use super::told::{Tags, Told};
use super::world::{Event, World};
use crate::contract::{Disposition, Side, Step};

/// More than comes in any of these tests.
const ALL: usize = 1 << 20;

/// One session with this plugin, in front of a server that sends every byte back.
fn world(plugin: Told) -> (World, Tags) {
    let tags = plugin.tags();
    let mut world = World::new(2);
    world.echoes_bytes = true;
    world.tag = b"born".to_vec();
    world.add(Box::new(plugin), Vec::new());
    (world, tags)
}

fn retag(tag: &str) -> Step {
    Step::Retag(tag.into())
}

/// The client sends this, and it goes to the server over whatever connection.
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

fn receive(world: &mut World) {
    for event in [
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
}

fn received(world: &World) -> String {
    String::from_utf8_lossy(&world.sessions[0].received).into_owned()
}

/// Passes a reply on and gives the connection back.
fn reply(count: u64) -> [Step; 2] {
    [Step::Forward(count), Step::Release(Disposition::Keep)]
}

/// Passes on what may be sent twice.
fn ask(count: u64) -> [Step; 1] {
    [Step::ForwardIdempotent(count)]
}

/// The server closes this idle connection, and nobody knows.
fn die(world: &mut World, connection: usize) {
    assert!(world.idle.contains(&connection));
    world.happen(&Event::Kill { connection });
}

/// What a session does that has written to a dead connection: it finds out, and takes another.
fn find_out(world: &mut World) {
    receive(world);
    world.happen(&Event::Lease { session: 0 });
    world.happen(&Event::Write {
        session: 0,
        count: ALL,
    });
    receive(world);
}

#[test]
fn a_tag_shows_from_the_next_lease_on_and_the_last_one_counts() {
    let (mut world, tags) = world(
        Told::default()
            .leased([])
            .lease([retag("never seen"), Step::Forward(2), retag("second")])
            .data(Side::Upstream, reply(2))
            .lease([Step::Forward(2)])
            .data(
                Side::Upstream,
                [
                    Step::Forward(2),
                    retag("third"),
                    Step::Release(Disposition::Keep),
                ],
            )
            .lease([Step::Forward(2)])
            .data(Side::Upstream, reply(2)),
    );
    for text in [b"ab", b"cd", b"ef"] {
        send(&mut world, text);
        receive(&mut world);
    }
    assert_eq!(received(&world), "abcdef");
    assert_eq!(*tags.borrow(), ["born", "second", "third"]);
    assert_eq!(world.connections.len(), 1);
}

#[test]
fn a_tag_waits_for_the_bytes_in_front_of_it() {
    let (mut world, _) = world(Told::default().lease([Step::Forward(2)]).data(
        Side::Upstream,
        [
            Step::Forward(3),
            retag("whole"),
            Step::Release(Disposition::Keep),
        ],
    ));
    send(&mut world, b"ab");
    receive(&mut world);
    assert_eq!(world.connections[0].tag, b"born");
    world.connections[0].outbound.push_back(b'c');
    receive(&mut world);
    assert_eq!(world.connections[0].tag, b"whole");
    assert_eq!(world.idle, [0]);
}

#[test]
fn a_connection_whose_tag_waits_is_in_doubt() {
    let loud = vec![b'x'; crate::session::engine::OUTPUT_HIGH_WATER];
    let (mut world, _) = world(Told::default().lease([Step::Forward(2)]).data(
        Side::Upstream,
        [
            Step::Forward(2),
            Step::Send((Side::Client, loud)),
            Step::Send((Side::Client, b"more".to_vec())),
            retag("unseen"),
        ],
    ));
    send(&mut world, b"ab");
    world.happen(&Event::Read {
        session: 0,
        count: ALL,
    });
    world.happen(&Event::Break { session: 0 });
    assert!(world.idle.is_empty(), "the pool has its old tag");
    assert!(world.connections[0].dead);
}

#[test]
fn a_dead_connection_is_replaced_unseen_by_one_with_the_same_tag() {
    let (mut world, tags) = world(
        Told::default()
            .leased([])
            .lease(ask(2))
            .data(Side::Upstream, reply(2))
            .lease(ask(2))
            .data(Side::Upstream, reply(2)),
    );
    send(&mut world, b"ab");
    receive(&mut world);
    die(&mut world, 0);
    send(&mut world, b"cd");
    find_out(&mut world);
    assert_eq!(received(&world), "abcd");
    assert_eq!(*tags.borrow(), ["born", "born"]);
    assert_eq!(world.connections.len(), 2);
}

#[test]
fn one_with_another_tag_goes_to_the_pool_and_the_lease_is_lost() {
    let (mut world, tags) = world(
        Told::default()
            .leased([])
            .lease(ask(2))
            .data(
                Side::Upstream,
                [retag("grown"), reply(2)[0].clone(), reply(2)[1].clone()],
            )
            .lease(ask(2))
            .failed([Step::Send((Side::Client, b"sorry ".to_vec()))])
            .lease(ask(2))
            .data(Side::Upstream, reply(2)),
    );
    send(&mut world, b"ab");
    receive(&mut world);
    die(&mut world, 0);
    send(&mut world, b"cd");
    find_out(&mut world);
    assert_eq!(received(&world), "absorry ");
    assert_eq!(world.idle, [1], "nobody has used it");
    assert!(world.connections[1].is_clean());
    send(&mut world, b"ef");
    receive(&mut world);
    assert_eq!(received(&world), "absorry ef");
    assert_eq!(*tags.borrow(), ["born", "grown", "born"]);
}

#[test]
fn a_tag_that_was_told_to_nobody_may_be_another() {
    let (mut world, tags) = world(
        Told::default()
            .lease(ask(2))
            .data(
                Side::Upstream,
                [retag("grown"), reply(2)[0].clone(), reply(2)[1].clone()],
            )
            .lease(ask(2))
            .data(Side::Upstream, reply(2)),
    );
    send(&mut world, b"ab");
    receive(&mut world);
    die(&mut world, 0);
    send(&mut world, b"cd");
    find_out(&mut world);
    assert_eq!(received(&world), "abcd");
    assert!(tags.borrow().is_empty());
}

#[test]
fn a_tag_put_on_a_dead_connection_is_put_on_its_replacement() {
    let (mut world, _) = world(
        Told::default()
            .leased([])
            .lease(ask(2))
            .data(Side::Upstream, reply(2))
            .lease([retag("asked"), Step::ForwardIdempotent(2)])
            .data(Side::Upstream, reply(2)),
    );
    send(&mut world, b"ab");
    receive(&mut world);
    die(&mut world, 0);
    send(&mut world, b"cd");
    find_out(&mut world);
    assert_eq!(received(&world), "abcd");
    assert_eq!(world.connections[1].tag, b"asked");
    assert_eq!(world.idle, [1]);
}

#[test]
fn a_tag_without_a_lease_breaks_the_contract() {
    let (mut world, _) = world(Told::default().lease([Step::Forward(2)]).data(
        Side::Upstream,
        [
            Step::Forward(2),
            Step::Release(Disposition::Keep),
            retag("whose"),
        ],
    ));
    send(&mut world, b"ab");
    receive(&mut world);
    assert_eq!(
        world.sessions[0].engine.end(),
        Some(&crate::session::End::Misuse(
            "retag without a lease".to_owned()
        ))
    );
}

//! What must hold of the order for every sequence of requests, writes, replies in any pieces, and
//! deaths of sessions and connections.

#![allow(clippy::unwrap_used)]

mod world;

use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::order::{Earns, Failure, Order};
use crate::contract::LeaseError;
use world::{Client, Event, OWNERS, Told, World};

fn event(breaks: bool) -> impl Strategy<Value = Event> {
    let owner = 0..OWNERS;
    let count = prop_oneof![1_usize..6, 1_usize..300];
    let ask = (owner.clone(), any::<u8>(), 0_u32..4, any::<bool>()).prop_map(
        |(owner, padding, replies, idempotent)| Event::Ask {
            owner,
            padding,
            replies,
            idempotent,
        },
    );
    let read =
        (count.clone(), any::<bool>()).prop_map(|(count, split)| Event::Read { count, split });
    let calm = prop_oneof![
        6 => ask,
        4 => count.clone().prop_map(Event::Write),
        4 => count.prop_map(Event::Arrive),
        4 => read,
        3 => owner.clone().prop_map(Event::Take),
    ];
    if breaks {
        prop_oneof![
            20 => calm,
            1 => owner.prop_map(Event::Leave),
            1 => Just(Event::Break),
            1 => Just(Event::Part),
        ]
        .boxed()
    } else {
        calm.boxed()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn every_reply_goes_to_whom_it_is_for(events in vec(event(false), 0..300)) {
        let mut world = World::new();
        for event in &events {
            world.happen(event);
        }
        world.play_out();
        world.check()?;
        for (owner, asked) in world.asked.iter().enumerate() {
            for asked in asked {
                prop_assert_eq!(world.carried_out.get(&(owner as u8, asked.number)), Some(&1));
            }
        }
        prop_assert_eq!(world.order.held(), 0);
    }

    #[test]
    fn no_death_moves_a_reply_to_another(events in vec(event(true), 0..300)) {
        let mut world = World::new();
        for event in &events {
            world.happen(event);
        }
        world.play_out();
        world.check()?;
    }

    #[test]
    fn who_stays_loses_nothing_when_others_leave(
        events in vec(event(false), 0..300),
        leaves in vec((0_usize..300, 1_usize..OWNERS), 0..6),
    ) {
        let mut world = World::new();
        for (at, event) in events.iter().enumerate() {
            for (_, owner) in leaves.iter().filter(|(when, _)| *when == at) {
                world.happen(&Event::Leave(*owner));
            }
            world.happen(event);
        }
        world.play_out();
        world.check()?;
        let failed = |told: &Told| matches!(told, Told::Failed(_));
        prop_assert!(!world.clients[0].told.borrow().iter().any(failed));
    }
}

/// Not drawn at random: every sequence of so many of these events.
#[test]
fn every_interleaving_of_few_events_keeps_the_order() {
    const DEPTH: usize = 6;
    let ask = |owner, replies, idempotent| Event::Ask {
        owner,
        padding: 0,
        replies,
        idempotent,
    };
    let events = [
        ask(0, 1, true),
        ask(1, 2, false),
        Event::Write(6),
        Event::Arrive(100),
        Event::Read {
            count: 3,
            split: false,
        },
        Event::Read {
            count: 100,
            split: true,
        },
        Event::Leave(1),
        Event::Break,
        Event::Part,
    ];
    for number in 0..events.len().pow(DEPTH as u32) {
        let mut world = World::new();
        let mut rest = number;
        let mut sequence = Vec::new();
        for _ in 0..DEPTH {
            sequence.push(rest % events.len());
            world.happen(&events[rest % events.len()]);
            rest /= events.len();
        }
        world.play_out();
        if let Err(why) = world.check() {
            panic!("after events {sequence:?}: {why}");
        }
    }
}

#[test]
fn bytes_for_nobody_and_replies_ahead_of_their_request_are_errors() {
    let mut order: Order<Rc<Client>> = Order::default();
    assert!(order.begin(1, true).is_err(), "nobody has asked");
    let client = Rc::new(Client::default());
    let earns = Earns {
        replies: 1,
        idempotent: true,
    };
    order.push(&client, b"GET", earns);
    order.wrote(2);
    assert!(order.begin(1, true).is_err(), "not all of it was written");
    order.wrote(1);
    assert!(order.begin(0, true).is_err(), "a part of no length");
    order.begin(1, true).unwrap();
    assert_eq!(order.pass(b"xyz"), (1, 1));
    assert!(order.begin(1, true).is_err(), "all have been answered");
}

/// A read whose reply was lost with that of a write behind it would tell of what came after it.
#[test]
fn nothing_in_front_of_a_write_that_may_have_arrived_is_sent_again() {
    let mut order: Order<Rc<Client>> = Order::default();
    let (writer, reader) = (Rc::new(Client::default()), Rc::new(Client::default()));
    for (owner, idempotent) in [
        (&writer, true),
        (&reader, true),
        (&writer, false),
        (&writer, true),
        (&reader, false),
    ] {
        let byte = if Rc::ptr_eq(owner, &writer) {
            b"w"
        } else {
            b"r"
        };
        let earns = Earns {
            replies: 1,
            idempotent,
        };
        order.push(owner, byte, earns);
    }
    // The last one is not written.
    order.wrote(4);
    let why = LeaseError::Lost("killed".to_owned());
    order.lose(&why, true);
    assert_eq!(order.unwritten(), b"rwr");
    let failed = Told::Failed(Failure {
        why: why.clone(),
        replies: 1,
        cut: false,
    });
    assert_eq!(*writer.told.borrow(), [failed.clone(), failed.clone()]);
    assert!(reader.told.borrow().is_empty());
    // Once more, and what has been sent twice is not sent a third time.
    order.wrote(1);
    order.lose(&why, true);
    assert_eq!(*reader.told.borrow(), [failed]);
    assert_eq!(order.unwritten(), b"wr");
}

/// Who has written something that may be carried out once only has to wait for its reply.
#[test]
fn those_behind_a_slow_reader_leave_if_all_that_they_have_sent_may_be_sent_twice() {
    let mut order: Order<Rc<Client>> = Order::default();
    let clients: [Rc<Client>; 4] = Default::default();
    let [slow, reader, writer, late] = &clients;
    for (owner, byte, idempotent) in [
        (slow, b"s", true),
        (reader, b"r", true),
        (writer, b"w", true),
        (writer, b"W", false),
        (slow, b"S", true),
        (late, b"l", false),
        (reader, b"R", false),
        (writer, b"x", true),
    ] {
        let earns = Earns {
            replies: 1,
            idempotent,
        };
        order.push(owner, byte, earns);
    }
    order.wrote(5);
    let moved = order.release_others();
    assert_eq!(order.unwritten(), b"x");
    let mut other: Order<Rc<Client>> = Order::default();
    for request in moved {
        other.adopt(request);
    }
    assert_eq!(other.unwritten(), b"rlR");
    other.wrote(3);
    order.wrote(1);
    for (order, replies) in [(&mut order, b"012345"), (&mut other, b"abc345")] {
        for reply in replies.iter().take(if order.len() == 3 { 3 } else { 6 }) {
            order.begin(1, true).unwrap();
            order.pass(&[*reply]);
        }
        assert!(order.is_empty());
    }
    let bytes = |client: &Rc<Client>| -> Vec<u8> {
        let told = client.told.borrow();
        let bytes = told.iter().filter_map(|told| match told {
            Told::Bytes(bytes) => Some(bytes.clone()),
            _ => None,
        });
        bytes.flatten().collect()
    };
    assert_eq!(bytes(slow), b"04");
    assert_eq!(bytes(writer), b"235");
    assert_eq!(bytes(reader), b"ac");
    assert_eq!(bytes(late), b"b");
}

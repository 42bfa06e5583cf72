//! What must hold of the order for every sequence of requests, writes, replies in any pieces, and
//! deaths of sessions and connections.

#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::order::{Earns, Failure, Order, Owner};
use crate::contract::LeaseError;

const OWNERS: usize = 4;
/// Bytes of an owner's mail past which it is not given more.
const LIMIT: usize = 24;

/// What an owner has been told, in order.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    Bytes(Vec<u8>),
    Finished,
    Failed(Failure),
}

#[derive(Debug, Default)]
struct Client {
    told: RefCell<Vec<Told>>,
    waiting: Cell<usize>,
    gone: Cell<bool>,
}

impl Owner for Rc<Client> {
    fn deliver(&self, bytes: &[u8]) {
        assert!(!bytes.is_empty());
        let mut told = self.told.borrow_mut();
        if self.gone.get() {
            return;
        }
        self.waiting.set(self.waiting.get() + bytes.len());
        match told.last_mut() {
            Some(Told::Bytes(before)) => before.extend_from_slice(bytes),
            _ => told.push(Told::Bytes(bytes.to_vec())),
        }
    }

    fn finished(&self) {
        self.told.borrow_mut().push(Told::Finished);
    }

    fn failed(&self, failure: Failure) {
        // Its session ends with half a reply.
        self.gone.set(self.gone.get() || failure.cut);
        self.told.borrow_mut().push(Told::Failed(failure));
    }

    fn buffered(&self) -> usize {
        self.waiting.get()
    }

    fn is_gone(&self) -> bool {
        self.gone.get()
    }

    fn nobody() -> Self {
        let client = Client::default();
        client.gone.set(true);
        Rc::new(client)
    }

    fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(self, other)
    }
}

/// What a client has asked.
#[derive(Debug, Clone, Copy)]
struct Asked {
    number: u8,
    earns: Earns,
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Event {
    /// A client asks.
    Ask {
        owner: usize,
        padding: u8,
        replies: u32,
        idempotent: bool,
    },
    /// So many bytes of requests are written.
    Write(usize),
    /// So many of these arrive at the server, which answers what is whole.
    Arrive(usize),
    /// So many bytes of replies are read; with `split` each is measured in two parts.
    Read { count: usize, split: bool },
    /// A client takes what waits for it.
    Take(usize),
    /// A client leaves.
    Leave(usize),
    /// The connection breaks.
    Break,
    /// All others than the first in order go to another connection: here, behind it.
    Part,
}

#[derive(Default)]
struct World {
    order: Order<Rc<Client>>,
    clients: Vec<Rc<Client>>,
    asked: Vec<Vec<Asked>>,
    /// Written, and not yet at the server.
    under_way: VecDeque<u8>,
    /// At the server, and not yet a whole request.
    inbound: Vec<u8>,
    /// Replies that have not been read.
    outbound: VecDeque<u8>,
    /// Read, and not measured.
    input: Vec<u8>,
    /// What is left of a reply whose first part has been measured.
    rest: u64,
    /// Anything has arrived on this connection.
    delivered: bool,
    /// How often each request has been carried out.
    carried_out: HashMap<(u8, u8), u32>,
}

impl World {
    fn new() -> Self {
        let clients = (0..OWNERS).map(|_| Rc::default()).collect();
        Self {
            clients,
            asked: vec![Vec::new(); OWNERS],
            ..Self::default()
        }
    }

    /// A request: its length, whose it is, its number, how many replies it wants, padding.
    fn ask(&mut self, owner: usize, padding: u8, earns: Earns) {
        let number = u8::try_from(self.asked[owner].len()).unwrap();
        let length = 4 + padding % 20;
        let mut bytes = vec![length, owner as u8, number, earns.replies as u8];
        bytes.resize(usize::from(length), b'.');
        self.order.push(&self.clients[owner], &bytes, earns);
        self.asked[owner].push(Asked { number, earns });
    }

    /// The server's replies, each with its length, whose it is, the request's number and its own.
    fn serve(&mut self) {
        while let Some(&length) = self.inbound.first() {
            if self.inbound.len() < usize::from(length) {
                return;
            }
            let request: Vec<u8> = self.inbound.drain(..usize::from(length)).collect();
            *self
                .carried_out
                .entry((request[1], request[2]))
                .or_default() += 1;
            for index in 0..request[3] {
                self.outbound.extend(reply(request[1], request[2], index));
            }
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Ask {
                owner,
                padding,
                replies,
                idempotent,
            } => {
                if self.asked[owner].len() < 200 && !self.clients[owner].gone.get() {
                    self.ask(
                        owner,
                        padding,
                        Earns {
                            replies,
                            idempotent,
                        },
                    );
                }
            }
            Event::Write(count) => {
                let count = count.min(self.order.unwritten().len());
                self.under_way.extend(&self.order.unwritten()[..count]);
                self.order.wrote(count);
            }
            Event::Arrive(count) => {
                let count = count.min(self.under_way.len());
                self.delivered |= count > 0;
                self.inbound.extend(self.under_way.drain(..count));
                self.serve();
            }
            Event::Read { count, split } => {
                let count = count.min(self.outbound.len());
                self.input.extend(self.outbound.drain(..count));
                self.deal_out(split);
            }
            Event::Take(owner) => {
                self.clients[owner].waiting.set(0);
                self.deal_out(false);
            }
            Event::Leave(owner) => {
                self.clients[owner].gone.set(true);
                self.deal_out(false);
            }
            Event::Break => self.lose(),
            Event::Part => {
                for moved in self.order.release_others() {
                    self.order.adopt(moved);
                }
            }
        }
    }

    fn deal_out(&mut self, split: bool) {
        loop {
            let (count, _) = self.order.pass(&self.input);
            self.input.drain(..count);
            if self.input.is_empty() || self.order.passing() > 0 || self.order.is_held_up(LIMIT) {
                return;
            }
            if self.rest > 0 {
                let rest = std::mem::take(&mut self.rest);
                self.order.begin(rest, true).unwrap();
            } else if split {
                self.rest = u64::from(self.input[0]) - 1;
                self.order.begin(1, false).unwrap();
            } else {
                self.order.begin(self.input[0].into(), true).unwrap();
            }
        }
    }

    fn lose(&mut self) {
        let why = LeaseError::Lost("killed".to_owned());
        self.order.lose(&why, self.delivered);
        self.under_way.clear();
        self.inbound.clear();
        self.outbound.clear();
        self.input.clear();
        self.rest = 0;
        self.delivered = false;
    }

    /// Lets everything that is under way come to its end.
    fn play_out(&mut self) {
        for _ in 0..10_000 {
            for owner in 0..OWNERS {
                self.happen(&Event::Take(owner));
            }
            self.happen(&Event::Write(7));
            self.happen(&Event::Arrive(5));
            self.happen(&Event::Read {
                count: 3,
                split: false,
            });
            // A request without a reply is done before it arrives.
            if self.order.is_empty() && self.under_way.is_empty() {
                return;
            }
        }
        panic!("the order does not come to rest: {:?}", self.order);
    }

    /// Every client has been told of each of its requests in turn, and of no other.
    fn check(&self) -> Result<(), TestCaseError> {
        for (owner, client) in self.clients.iter().enumerate() {
            let mut told = client.told.borrow().clone().into_iter();
            let mut bytes: VecDeque<u8> = VecDeque::new();
            for asked in &self.asked[owner] {
                let end = loop {
                    match told.next() {
                        Some(Told::Bytes(more)) => bytes.extend(more),
                        other => break other,
                    }
                };
                let come = match &end {
                    Some(Told::Failed(failure)) => {
                        prop_assert!(failure.replies <= asked.earns.replies);
                        asked.earns.replies - failure.replies
                    }
                    Some(_) => asked.earns.replies,
                    // Only who has left is told nothing any more.
                    None if client.gone.get() => break,
                    None => {
                        return Err(TestCaseError::fail(format!("{owner} waits for {asked:?}")));
                    }
                };
                if client.gone.get() {
                    continue;
                }
                for index in 0..come {
                    for byte in reply(owner as u8, asked.number, index as u8) {
                        prop_assert_eq!(bytes.pop_front(), Some(byte), "for {} {:?}", owner, asked);
                    }
                }
                // The others' bytes would stand here.
                prop_assert!(
                    bytes.is_empty() || matches!(end, Some(Told::Finished)),
                    "{owner} got {bytes:?} that nobody sent it"
                );
            }
            if !client.gone.get() {
                prop_assert!(bytes.is_empty(), "{owner} got {bytes:?} for nothing");
                prop_assert_eq!(told.next(), None);
            }
        }
        for (owner, asked) in self.asked.iter().enumerate() {
            for asked in asked {
                let times = self.carried_out.get(&(owner as u8, asked.number));
                let most = if asked.earns.idempotent { 2 } else { 1 };
                prop_assert!(
                    times.copied().unwrap_or(0) <= most,
                    "{owner} {asked:?} {times:?}"
                );
            }
        }
        Ok(())
    }
}

fn reply(owner: u8, number: u8, index: u8) -> Vec<u8> {
    let length = 4 + (number.wrapping_mul(7) ^ index) % 30;
    let mut bytes = vec![length, owner, number, index];
    bytes.resize(usize::from(length), b'A' + owner);
    bytes
}

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

//! Some clients, one connection and a server, and what can happen to them.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use proptest::prelude::*;

use super::super::order::{Earns, Failure, Order, Owner};
use crate::contract::LeaseError;

pub(super) const OWNERS: usize = 4;
/// Bytes of an owner's mail past which it is not given more.
const LIMIT: usize = 24;

/// What an owner has been told, in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    Bytes(Vec<u8>),
    Finished,
    Failed(Failure),
}

#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) told: RefCell<Vec<Told>>,
    pub(super) waiting: Cell<usize>,
    pub(super) gone: Cell<bool>,
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
pub(super) struct Asked {
    pub(super) number: u8,
    pub(super) earns: Earns,
}

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Event {
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
pub(super) struct World {
    pub(super) order: Order<Rc<Client>>,
    pub(super) clients: Vec<Rc<Client>>,
    pub(super) asked: Vec<Vec<Asked>>,
    /// Written, and not yet at the server.
    pub(super) under_way: VecDeque<u8>,
    /// At the server, and not yet a whole request.
    pub(super) inbound: Vec<u8>,
    /// Replies that have not been read.
    pub(super) outbound: VecDeque<u8>,
    /// Read, and not measured.
    pub(super) input: Vec<u8>,
    /// What is left of a reply whose first part has been measured.
    pub(super) rest: u64,
    /// Anything has arrived on this connection.
    pub(super) delivered: bool,
    /// How often each request has been carried out.
    pub(super) carried_out: HashMap<(u8, u8), u32>,
}

impl World {
    pub(super) fn new() -> Self {
        let clients = (0..OWNERS).map(|_| Rc::default()).collect();
        Self {
            clients,
            asked: vec![Vec::new(); OWNERS],
            ..Self::default()
        }
    }

    /// A request: its length, whose it is, its number, how many replies it wants, padding.
    pub(super) fn ask(&mut self, owner: usize, padding: u8, earns: Earns) {
        let number = u8::try_from(self.asked[owner].len()).unwrap();
        let length = 4 + padding % 20;
        let mut bytes = vec![length, owner as u8, number, earns.replies as u8];
        bytes.resize(usize::from(length), b'.');
        self.order.push(&self.clients[owner], &bytes, earns);
        self.asked[owner].push(Asked { number, earns });
    }

    /// The server's replies, each with its length, whose it is, the request's number and its own.
    pub(super) fn serve(&mut self) {
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

    pub(super) fn happen(&mut self, event: &Event) {
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

    pub(super) fn deal_out(&mut self, split: bool) {
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

    pub(super) fn lose(&mut self) {
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
    pub(super) fn play_out(&mut self) {
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
    pub(super) fn check(&self) -> Result<(), TestCaseError> {
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

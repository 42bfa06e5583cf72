//! The greeting of a client that has proved who it is: with the parameters of a server, and the settings
//! that the client wishes for.

use std::rc::Rc;

use leaseway_sdk::frame::Parsed;
use leaseway_sdk::{Leased, Side, Steps};

use super::ledger::Sent;
use super::login::Stage;
use super::{Named, Session};
use crate::backend::Backend;
use crate::config::Pooling;
use crate::greeting::{self, Greeting};
use crate::profile::{Greeted, Profile};
use crate::settings::Values;
use crate::wire::{self, write};

impl Session {
    /// What the client is greeted with if no connection is needed for that: all that it wants settings to
    /// be is what a server has made of the same before.
    pub(super) fn knows_greeting(&self, profile: &Profile) -> Option<Rc<Greeted>> {
        let entry = greeting::kept(profile.who)?;
        if let Some(greeted) = &*profile.greeted.borrow()
            && greeted.entry == entry
            && greeted.wishes == self.wishes
        {
            return Some(Rc::clone(greeted));
        }
        let greeting = Greeting::read(&entry)?;
        let settings = self.what_wishes_come_to(&greeting)?;
        let greeted = Rc::new(Greeted {
            entry,
            wishes: self.wishes.clone(),
            digest: self.shared.tracked.digest(&settings),
            words: self.announces(&greeting, &settings),
            settings,
        });
        *profile.greeted.borrow_mut() = Some(Rc::clone(&greeted));
        Some(greeted)
    }

    fn what_wishes_come_to(&self, greeting: &Greeting) -> Option<Values> {
        let canonical = self.shared.canonical.borrow();
        let known: Option<Vec<(usize, &[u8])>> = self
            .wishes
            .iter()
            .map(|wish| {
                let (at, value) = (wish.0, &wish.1[..]);
                let is_so = greeting.settings.iter().nth(at) == Some(value);
                match self.shared.tracked.is_free(at) || is_so {
                    true => Some((at, value)),
                    false => {
                        let before = greeting.settings.iter().nth(at)?.to_vec();
                        let is = canonical.get(&(at, before, value.to_vec()))?;
                        Some((at, &is[..]))
                    }
                }
            })
            .collect();
        Some(greeting.settings.with(&known?))
    }

    /// Remembers what the server has made of the client's wishes, for others with the same.
    fn remember_wishes(&mut self) {
        let mut canonical = self.shared.canonical.borrow_mut();
        for (at, value) in std::mem::take(&mut self.wishes) {
            if let Some(is) = self.settings.iter().nth(at)
                && let Some(before) = self.greeting.settings.iter().nth(at)
                && !self.shared.tracked.is_free(at)
                && canonical.len() < super::MAX_CANONICAL
            {
                canonical.insert((at, before.to_vec(), value), is.to_vec());
            }
        }
    }

    /// A connection as the client wants it is there. Its settings are made what the client wants them to
    /// be, before it is greeted: it learns from the greeting what they are.
    pub(super) fn greets(&mut self, leased: &Leased) -> Steps {
        let Some(backend) = Backend::read(&leased.tag) else {
            return Steps::new().close("the connection's tag was not made by this plugin");
        };
        let wishes: Vec<(usize, &[u8])> = self
            .wishes
            .iter()
            .map(|(at, value)| (*at, &value[..]))
            .collect();
        self.greeting = Greeting::of(&backend);
        let original = backend.original();
        // A part of a value leaves the rest as it is: as it was to begin with, and not as others have left it.
        let current = backend.current();
        let values = current.iter().zip(original.iter()).enumerate();
        let mut set: Vec<(usize, &[u8])> = values
            .filter(|(_, (current, original))| current != original)
            .map(|(at, (_, original))| (at, original))
            .collect();
        let is_new = |wish: &&(usize, &[u8])| original.iter().nth(wish.0) != Some(wish.1);
        set.extend(wishes.iter().filter(is_new));
        let (sql, asked) = self.shared.tracked.set(&set);
        self.follow_all(original.with(&wishes));
        self.adopt(backend, leased);
        match asked.is_empty() || self.lease.backend.has(&self.settings) {
            true => self.greets_with_connection(Steps::new()),
            false => {
                let query = self.asks_ahead(&sql, asked);
                Steps::new().send(Side::Upstream, query)
            }
        }
    }

    /// A connection that the session has got. If it is new, or nobody knows yet, later clients hear how its server
    /// has greeted.
    pub(super) fn adopt(&mut self, backend: Backend, leased: &Leased) {
        let is_news = leased.fresh
            || (matches!(self.stage, Stage::Greeting) && greeting::kept(self.who()).is_none());
        // A replica greets as one.
        if is_news && self.named == Named::Usual {
            Greeting::of(&backend).keep(self.who());
        }
        self.lease.adopt(backend, &leased.endpoint);
    }

    /// Makes the settings of a connection what the client has, if they are not: the query that does.
    pub(super) fn restores(&mut self) -> Option<Vec<u8>> {
        if self.lease.backend.has(&self.settings) {
            return None;
        }
        let tracked = &self.shared.tracked;
        let (sql, which) = tracked.assign(&self.lease.backend.current(), &self.settings);
        Some(self.asks_ahead(&sql, which))
    }

    /// A query of our own ahead of everything, whose row tells of these settings.
    fn asks_ahead(&mut self, sql: &str, asked: Vec<usize>) -> Vec<u8> {
        self.lease.asked = asked;
        self.lease.restores = true;
        self.lease.ledger.push_front(Sent::OwnQuery);
        write::query(sql)
    }

    /// The settings of a connection are as the client wants them. It is greeted, and keeps the connection
    /// only if the whole session is to have it.
    pub(super) fn greets_with_connection(&mut self, steps: Steps) -> Steps {
        self.remember_wishes();
        let greeting = std::mem::take(&mut self.greeting);
        let words = self.announces(&greeting, &self.settings);
        let steps = self.welcome(&words, steps);
        match self.pooling {
            _ if !matches!(self.stage, Stage::Ready) => steps,
            Pooling::Session => {
                self.publish();
                steps
            }
            Pooling::Transaction | Pooling::Statement => self.release(steps),
        }
    }

    /// Greets as others have been.
    pub(super) fn greets_at_once(&mut self, greeted: &Greeted, steps: Steps) -> Steps {
        self.settings = greeted.settings.clone();
        self.digest = greeted.digest;
        self.welcome(&greeted.words, steps)
    }

    /// Greets with these words, and a key by which the client can cancel its queries.
    fn welcome(&mut self, words: &[u8], steps: Steps) -> Steps {
        self.key = match crate::random() {
            Ok(key) => key,
            Err(why) => {
                let words = write::error("FATAL", "XX000", &why);
                return steps.send(Side::Client, words).close(why);
            }
        };
        self.stage = Stage::Ready;
        self.wishes = Vec::new();
        let words = [words, &write::key_data(self.key), &write::ready()].concat();
        steps.send(Side::Client, words)
    }

    /// That the client is welcome, and the parameters that the server has announced, with what the client
    /// has made of them.
    fn announces(&self, greeting: &Greeting, settings: &Values) -> Vec<u8> {
        let mut words = write::authentication(0, &[]);
        let mut rest = &greeting.parameters[..];
        while let Parsed::Complete {
            value: (_, body),
            len,
        } = wire::message(rest, rest.len())
        {
            let (name, value) = wire::text(body).unwrap_or_default();
            let own = self.shared.tracked.find(name);
            let own = own.and_then(|at| settings.iter().nth(at));
            let value = own.unwrap_or_else(|| value.strip_suffix(b"\0").unwrap_or(value));
            words.extend(write::parameter_status(name, value));
            rest = &rest[len..];
        }
        words
    }
}

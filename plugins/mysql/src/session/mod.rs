//! One client: who it is, which of its commands go to a connection, and how long it keeps that.
//!
//! The hooks are here; what they do is in [`login`] (up to the first OK), [`commands`] and [`answers`] (either
//! way) and [`failure`]. What is known of the connection that a session holds is its [`lease`].

mod answers;
mod commands;
mod failure;
mod lease;
mod login;

use std::collections::BTreeMap;
use std::rc::Rc;

use leaseway_sdk::{
    Choice, ChooseUpstream, Disposition, LeaseError, LeaseOutcome, Leased, OnData, OnLeaseFailed,
    OnLeased, PoolReturn, Side, Steps, Target,
};

use crate::config::{Config, Pooling, Reset};
use crate::identity::Identity;
use crate::settings::{self, Tracked, Values};
use crate::sql::Quotes;
use crate::wire::capability::{DEPRECATE_EOF, SESSION_TRACK};
use crate::wire::greeting::CHALLENGE;

use commands::Command;
use lease::Lease;
use login::Stage;

/// How many steps a call returns at most, or little more; what is left is shown again.
const MAX_STEPS: usize = 1000;

/// What all sessions of an instance share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// The variables that follow clients.
    pub(crate) tracked: Tracked,
    pub(crate) accounts: BTreeMap<Vec<u8>, Account>,
}

/// What is known of a user.
pub(crate) struct Account {
    pub(crate) password: String,
    pub(crate) server_user: String,
    pub(crate) server_password: String,
    /// When its connections go back.
    pub(crate) pooling: Pooling,
    pub(crate) group: Option<String>,
}

impl Account {
    /// What connections are opened for, of this user.
    pub(crate) fn identity(&self, database: Vec<u8>, collation: u16, dialect: u32) -> Identity {
        Identity {
            group: self.group.clone(),
            pooling: self.pooling,
            user: self.server_user.clone(),
            password: self.server_password.clone(),
            database,
            collation,
            dialect,
        }
    }
}

/// The state of one client.
pub struct Session {
    shared: Rc<Shared>,
    /// Where it comes from.
    peer: Box<str>,
    stage: Stage,
    challenge: [u8; CHALLENGE],
    /// What it and the relay have agreed on.
    capabilities: u32,
    /// When its connections go back.
    pooling: Pooling,
    /// What it was let in for. None before that.
    identity: Option<Box<Identity>>,
    /// What it leases, unless the host knows already.
    target: Option<Target>,
    /// Its default database; empty if there is none.
    database: Vec<u8>,
    /// What it has set variables to, of those that follow it.
    settings: Values,
    /// How its texts are read, as the server has said last.
    quotes: Quotes,
    /// What `LAST_INSERT_ID()` is.
    insert_id: u64,
    /// The command that it wants a connection for.
    waiting: Option<Command>,
    lease: Lease,
}

impl Session {
    pub(crate) fn new(shared: Rc<Shared>, address: &str) -> Self {
        let peer = address.rsplit_once(':').map_or(address, |(host, _)| host);
        Self {
            pooling: shared.config.pooling,
            shared,
            peer: peer.into(),
            stage: Stage::Start,
            challenge: [0; CHALLENGE],
            capabilities: 0,
            identity: None,
            target: None,
            database: Vec::new(),
            settings: Values::default(),
            quotes: Quotes::default(),
            insert_id: 0,
            waiting: None,
            lease: Lease::default(),
        }
    }

    /// Whether results end with OK packets, as the client has asked.
    fn is_modern(&self) -> bool {
        self.capabilities & DEPRECATE_EOF != 0
    }

    /// Whether the client wants to be told how its session's state changes.
    fn hears_changes(&self) -> bool {
        self.capabilities & SESSION_TRACK != 0
    }

    /// Whether the connection is the client's until it leaves.
    fn keeps_connection(&self) -> bool {
        self.pooling == Pooling::Session
    }

    /// Whether the connection was opened without a database, and has one. That cannot be undone.
    fn has_strayed(&self) -> bool {
        let without = self
            .identity
            .as_ref()
            .is_some_and(|identity| identity.database.is_empty());
        without && !self.lease.backend.database.is_empty()
    }

    /// Whether the connection is not in the database that it was opened with, whose name only a reset sends in the
    /// character set that it is in.
    fn has_left(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| {
            let first = &identity.database;
            !first.is_ascii() && self.lease.backend.database != *first
        })
    }

    /// Whether what is on the connection no reset removes for sure.
    fn must_close(&self) -> bool {
        self.lease.closes || self.lease.is_unanswered || self.has_strayed()
    }

    /// Whether the connection is not given to others as it is.
    fn needs_reset(&self) -> bool {
        let always = self.shared.config.reset == Reset::Always;
        self.lease.is_unsure || always || self.has_left()
    }

    /// Learns from the server's variables and the client's how texts are read.
    fn knows_quotes(&mut self) {
        let Some(at) = self.shared.tracked.find(settings::SQL_MODE.as_bytes()) else {
            return;
        };
        let own = self.settings.get(at);
        let mode = own.or_else(|| self.lease.backend.original.get(at));
        let has = |wanted: &[u8]| {
            mode.map(|mode| mode.split(|byte| *byte == b',').any(|one| one == wanted))
        };
        self.quotes = Quotes {
            escapes: has(b"NO_BACKSLASH_ESCAPES").map_or(self.quotes.escapes, |has| Some(!has)),
            are_names: has(b"ANSI_QUOTES"),
        };
    }

    /// Who has chosen a database after all leases connections that were opened with one.
    fn follows_database(&mut self) {
        if self.database.is_empty() {
            return;
        }
        if let Some(identity) = &mut self.identity
            && identity.database.is_empty()
        {
            identity.database.clone_from(&self.database);
            self.target = Some(identity.target());
        }
    }
}

impl ChooseUpstream for Session {
    fn choose_upstream(&mut self, client_bytes: &[u8]) -> Choice {
        match self.stage {
            Stage::Ready => self.command_without_lease(client_bytes),
            _ => self.log_in(client_bytes),
        }
    }
}

impl OnLeased for Session {
    fn on_leased(&mut self, lease: &Leased) -> Steps {
        match self.stage {
            Stage::Ready => self.adopts(lease),
            _ => self.welcomes(lease),
        }
    }
}

impl OnData for Session {
    fn on_data(&mut self, origin: Side, data: &[u8]) -> Steps {
        match origin {
            Side::Client => self.command_in_lease(data),
            Side::Upstream => self.answers(data),
        }
    }
}

impl OnLeaseFailed for Session {
    fn on_lease_failed(&mut self, why: &LeaseError) -> Steps {
        match self.lease.has_ended {
            // In its own words.
            true => Steps::new().close("the server has ended the session"),
            false => failure::farewell(why, self.next_number()),
        }
    }
}

impl PoolReturn for Session {
    fn pool_return(&mut self, outcome: LeaseOutcome) -> Disposition {
        let is_quiet = matches!(self.stage, Stage::Ready) && self.lease.is_quiet();
        if !is_quiet || self.must_close() {
            return Disposition::Close;
        }
        match outcome.sent > 0 {
            true => Disposition::Reset,
            false => Disposition::Keep,
        }
    }
}

//! One client: who it is, which of its messages go to a connection, and how long it keeps that.
//!
//! The hooks are here; what they do is in [`login`] (up to the first `ReadyForQuery`), [`traffic`]
//! (messages either way) and [`failure`].

mod failure;
mod login;
mod traffic;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use leaseway_sdk::{
    Choice, ChooseUpstream, Disposition, LeaseError, LeaseOutcome, Leased, OnData, OnLeaseFailed,
    OnLeased, PoolReturn, Side, Steps,
};

use crate::auth::Secret;
use crate::auth::scram::Verifier;
use crate::config::{Auth, Config, Pooling};
use crate::identity::Identity;
use sha2::{Digest as _, Sha256};

use login::Stage;
use traffic::Traffic;

/// What all sessions of an instance share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    accounts: BTreeMap<String, Account>,
    /// Of passwords that are known as such, once they have been needed: they cost thousands of
    /// hashes.
    verifiers: RefCell<BTreeMap<String, Verifier>>,
    /// Makes salts of names.
    salter: [u8; 32],
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        accounts: BTreeMap<String, Account>,
        salter: [u8; 32],
    ) -> Self {
        Self {
            config,
            accounts,
            verifiers: RefCell::default(),
            salter,
        }
    }

    /// The salt of a user, who need not exist: nobody can tell from it who does.
    fn salt_of(&self, user: &str) -> [u8; 16] {
        let hash = Sha256::new().chain_update(self.salter).chain_update(user);
        let mut salt = [0; 16];
        salt.copy_from_slice(&hash.finalize()[..16]);
        salt
    }
}

/// What is known of a user.
pub(crate) struct Account {
    pub(crate) auth: Auth,
    /// None only if nothing has to be proved.
    pub(crate) secret: Option<Secret>,
    /// The password for the server.
    pub(crate) server_password: Option<String>,
}

/// The state of one client.
pub struct Session {
    shared: Rc<Shared>,
    stage: Stage,
    /// How often it has asked for encryption.
    encrypts: u8,
    /// Who it is, once it has said so.
    identity: Option<Identity>,
    /// The host has been told what the session leases.
    named: bool,
    traffic: Traffic,
}

impl Session {
    pub(crate) fn new(shared: Rc<Shared>) -> Self {
        Self {
            shared,
            stage: Stage::Start,
            encrypts: 0,
            identity: None,
            named: false,
            traffic: Traffic::default(),
        }
    }

    fn pooling(&self) -> Pooling {
        self.shared.config.pooling
    }
}

impl ChooseUpstream for Session {
    fn choose_upstream(&mut self, client_bytes: &[u8]) -> Choice {
        match self.stage {
            Stage::Ready => self.messages_without_lease(client_bytes),
            _ => self.log_in(client_bytes),
        }
    }
}

impl OnLeased for Session {
    fn on_leased(&mut self, lease: &Leased) -> Steps {
        if !matches!(self.stage, Stage::Greeting) {
            return Steps::new();
        }
        self.greet(&lease.tag)
    }
}

impl OnData for Session {
    fn on_data(&mut self, origin: Side, data: &[u8]) -> Steps {
        match origin {
            Side::Client => self.messages_in_lease(data),
            Side::Upstream => self.answers(data),
        }
    }
}

impl OnLeaseFailed for Session {
    fn on_lease_failed(&mut self, why: &LeaseError) -> Steps {
        failure::farewell(why)
    }
}

impl PoolReturn for Session {
    fn pool_return(&mut self, outcome: LeaseOutcome) -> Disposition {
        if !self.traffic.is_idle() {
            return Disposition::Close;
        }
        let is_touched = self.pooling() == Pooling::Session || self.traffic.is_pinned();
        match is_touched && outcome.sent > 0 {
            true => Disposition::Reset,
            false => Disposition::Keep,
        }
    }
}

//! One client: who it is, which of its messages go to a connection, and how long it keeps that.
//!
//! The hooks are here; what they do is in [`login`] and [`welcome`] (up to the first `ReadyForQuery`),
//! [`requests`] and [`answers`] (messages either way), [`cancels`] and [`failure`]. What is known of the connection that a
//! session holds is its [`lease`], and the [`ledger`] what of it has not been answered.

mod answers;
mod cancels;
mod failure;
mod lease;
mod ledger;
mod login;
mod requests;
mod salter;
mod welcome;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use leaseway_sdk::{
    Choice, ChooseUpstream, Disposition, LeaseError, LeaseOutcome, Leased, OnData, OnLeaseFailed,
    OnLeased, PoolReturn, Side, Steps,
};

use crate::auth::Secret;
use crate::auth::scram::{Stretching, Verifier};
use crate::backend::CancelKey;
use crate::config::{Auth, Config, Pooling};
use crate::greeting::Greeting;
use crate::identity::Identity;
use crate::profile::{Profile, Profiles};
use crate::settings::{Digest, Tracked, Values};
use crate::statements::{Catalog, Names, Who};

use lease::Lease;
use login::Stage;
use salter::Salter;

/// How many steps a call returns at most, or little more; what is left is shown again.
const MAX_STEPS: usize = 1000;

/// What all sessions of an instance share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// The settings that follow clients.
    pub(crate) tracked: Tracked,
    accounts: BTreeMap<String, Account>,
    /// Of passwords that are known as such, once they have been needed: they cost thousands of
    /// hashes.
    verifiers: RefCell<BTreeMap<String, Known>>,
    salter: Salter,
    /// The statements that clients have prepared.
    catalog: Catalog,
    profiles: Profiles,
    /// What servers make of values that clients set as they start, by what was there before.
    canonical: RefCell<BTreeMap<Wish, Vec<u8>>>,
}

/// Which setting, what it is on a connection that nobody has changed, and what a client wants it to be.
type Wish = (usize, Vec<u8>, Vec<u8>);

/// How many such values are remembered.
const MAX_CANONICAL: usize = 256;

impl Shared {
    pub(crate) fn new(
        config: Config,
        tracked: Tracked,
        accounts: BTreeMap<String, Account>,
        salter: [u8; 32],
    ) -> Self {
        Self {
            config,
            tracked,
            accounts,
            verifiers: RefCell::default(),
            salter: Salter::new(salter),
            catalog: Catalog::default(),
            profiles: Profiles::default(),
            canonical: RefCell::default(),
        }
    }
}

/// What has been worked out of a verifier.
enum Known {
    InPart(Stretching),
    Whole(Verifier),
}

/// What is known of a user.
pub(crate) struct Account {
    pub(crate) auth: Auth,
    /// None only if nothing has to be proved.
    pub(crate) secret: Option<Secret>,
    /// The password for the server.
    pub(crate) server_password: Option<String>,
    /// When its connections go back, if that is not as the database says.
    pub(crate) pooling: Option<Pooling>,
}

/// The state of one client.
pub struct Session {
    shared: Rc<Shared>,
    listener: Box<str>,
    stage: Stage,
    /// How often it has asked for encryption.
    encrypts: u8,
    /// Who it says that it is, until that is known.
    claim: Option<Box<Identity>>,
    /// What it has with all who are the same, once that is known.
    profile: Option<Rc<Profile>>,
    /// When its connections go back.
    pooling: Pooling,
    /// What the host has been told last that the session leases.
    named: Named,
    /// How it is to be greeted, until it has been.
    greeting: Greeting,
    /// What it wants settings to be, of those that follow it, by where they stand.
    wishes: Vec<(usize, Vec<u8>)>,
    /// What they are.
    settings: Values,
    /// What a statement's meaning has of them.
    digest: Digest,
    /// The statements that it has prepared.
    names: Names,
    /// By what it cancels its queries.
    key: CancelKey,
    lease: Lease,
}

/// What a session leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Nothing,
    Usual,
    /// A connection for a transaction that only reads.
    ReadOnly,
}

impl Session {
    pub(crate) fn new(shared: Rc<Shared>, listener: &str) -> Self {
        Self {
            listener: listener.into(),
            pooling: shared.config.pooling,
            names: Names::new(&shared.catalog),
            shared,
            stage: Stage::Start,
            encrypts: 0,
            claim: None,
            profile: None,
            named: Named::Nothing,
            greeting: Greeting::default(),
            wishes: Vec::new(),
            settings: Values::default(),
            digest: Digest::default(),
            key: CancelKey::default(),
            lease: Lease::default(),
        }
    }

    /// Who the client is, as a digest.
    fn who(&self) -> Who {
        self.profile
            .as_ref()
            .map_or_else(Who::default, |profile| profile.who)
    }

    /// The session has got a connection: it is made as the session wants it, ahead of everything else.
    fn adopts(&mut self, leased: &Leased) -> Steps {
        let storage = std::mem::take(&mut self.lease.backend);
        let Some(backend) = storage.reread(&leased.tag) else {
            return Steps::new().close("the connection's tag was not made by this plugin");
        };
        self.adopt(backend, leased);
        self.publish();
        match self.restores() {
            Some(query) => Steps::new().send(Side::Upstream, query),
            None => Steps::new(),
        }
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
        match &self.stage {
            Stage::Ready => self.adopts(lease),
            Stage::Greeting => self.greets(lease),
            Stage::Cancel(running) => Steps::new().send(Side::Upstream, running.request()),
            _ => Steps::new(),
        }
    }
}

impl OnData for Session {
    fn on_data(&mut self, origin: Side, data: &[u8]) -> Steps {
        match (&self.stage, origin) {
            (Stage::Ready, Side::Client) => self.messages_in_lease(data),
            (Stage::Ready | Stage::Greeting, Side::Upstream) => self.answers(data),
            // Whoever cancels has nothing to say, and is told nothing.
            (Stage::Cancel(_), _) => Steps::new().discard(data.len() as u64),
            _ => Steps::new(),
        }
    }
}

impl OnLeaseFailed for Session {
    fn on_lease_failed(&mut self, why: &LeaseError) -> Steps {
        self.withdraw();
        match self.stage {
            Stage::Cancel(_) => Steps::new().close("the cancel request has been passed on"),
            // In its own words.
            _ if self.lease.has_ended => Steps::new().close("the server has ended the session"),
            _ => failure::farewell(why),
        }
    }
}

impl PoolReturn for Session {
    fn pool_return(&mut self, outcome: LeaseOutcome) -> Disposition {
        let is_quiet = self.withdraw();
        if !is_quiet || !self.lease.ledger.is_idle() {
            return Disposition::Close;
        }
        let is_touched = self.pooling == Pooling::Session
            || self.lease.is_pinned()
            || self.has_changed_connection();
        match is_touched && outcome.sent > 0 {
            true => Disposition::Reset,
            false => Disposition::Keep,
        }
    }
}

/// What the session has said in the store ends with it.
impl Drop for Session {
    fn drop(&mut self) {
        self.withdraw();
    }
}

//! PostgreSQL over pooled connections: many clients, few backends.
//!
//! The plugin is the server to the client, and the client to the server: [`auth`] knows how either
//! proves who it is, [`wire`] how messages look, [`identity`] what makes connections
//! interchangeable, [`backend`] what is known of one, [`settings`] and [`statements`] what follows a client
//! from one to the next. [`Session`] puts these together for one client, and the conversations log in,
//! reset and probe connections that no client holds. What operators need to know is in
//! `docs/postgres.md`.

#![forbid(unsafe_code)]

pub mod auth;
pub mod backend;
mod cancel;
pub mod config;
mod conversations;
mod greeting;
pub mod identity;
mod profile;
mod session;
pub mod settings;
pub mod sql;
pub mod statements;
pub mod userlist;
pub mod wire;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use leaseway_sdk::{Connect, Connection, Plugin, Probe, Reset, SessionInfo, Target};

use auth::Secret;
use config::{Auth, Config, Role};
use identity::{CANCEL, Identity};
pub use session::Session;
use session::{Account, Shared};
use settings::Tracked;

/// The most statements that may be kept on a connection: its tag has room for no more.
const MAX_PREPARED_STATEMENTS: usize = 1000;

/// How many random bytes are asked for at a time.
const AHEAD_BYTES: usize = 256;

/// The plugin, configured.
pub struct Postgres {
    shared: Rc<Shared>,
    check: Target,
}

impl Plugin for Postgres {
    type Config = Config;
    type Session = Session;

    const CONFIG_FILES: &'static [&'static str] = &["auth-file"];

    fn configure(config: Config) -> Result<Self, String> {
        let mut accounts = BTreeMap::new();
        for (name, secret) in userlist::read(config.auth_file.as_deref().unwrap_or_default())? {
            // PgBouncer lets nobody in by an empty one either.
            if !secret.is_empty() && !config.users.contains_key(&name) {
                let user = config::User {
                    password: Some(secret),
                    ..config::User::default()
                };
                accounts.insert(name.clone(), account(&name, &user)?);
            }
        }
        if config.max_prepared_statements > MAX_PREPARED_STATEMENTS {
            return Err(format!(
                "`max-prepared-statements`: at most {MAX_PREPARED_STATEMENTS}"
            ));
        }
        let tracked = Tracked::new(&config.track)?;
        for (name, user) in &config.users {
            let account = account(name, user)?;
            accounts.insert(name.clone(), account);
        }
        let check = match &config.check_user {
            None if config.check_database.is_some() => {
                return Err("`check-database`: there is no `check-user` to go with it".to_owned());
            }
            None => Target::default(),
            Some(user) => check(user, &accounts, &config)?,
        };
        let shared = Rc::new(Shared::new(config, tracked, accounts, random()?));
        Ok(Self { shared, check })
    }

    fn session(&self, info: &SessionInfo) -> Session {
        Session::new(Rc::clone(&self.shared), &info.listener)
    }

    fn default_target(&self) -> Target {
        self.check.clone()
    }
}

impl Postgres {
    /// What the servers of a target's group have to be.
    fn role(&self, target: &Target) -> Option<Role> {
        let roles = &self.shared.config.roles;
        roles.get(target.group.as_deref()?).copied()
    }
}

/// What is known of a user.
fn account(name: &str, user: &config::User) -> Result<Account, String> {
    let secret = user.password.as_deref().map(Secret::parse);
    let auth = match (user.auth, &secret) {
        (Some(Auth::Trust), _) => Auth::Trust,
        (_, Some(Secret::Plain(password))) if password.is_empty() => {
            return Err(format!(
                "`users.{name}.password`: is empty, which servers refuse"
            ));
        }
        (Some(Auth::Password), Some(Secret::Scram(_))) => {
            return Err(format!(
                "`users.{name}`: a SCRAM verifier cannot be checked by `auth = \"password\"`"
            ));
        }
        (_, None) => {
            return Err(format!(
                "`users.{name}`: needs a `password`, or `auth = \"trust\"`"
            ));
        }
        (Some(Auth::Scram), Some(Secret::Md5(_))) => {
            return Err(format!(
                "`users.{name}`: an MD5 hash cannot be checked by `auth = \"scram-sha-256\"`"
            ));
        }
        (Some(Auth::Md5), Some(Secret::Scram(_))) => {
            return Err(format!(
                "`users.{name}`: a SCRAM verifier cannot be checked by `auth = \"md5\"`"
            ));
        }
        (Some(auth), Some(_)) => auth,
        (None, Some(Secret::Md5(_))) => Auth::Md5,
        (None, Some(_)) => Auth::Scram,
    };
    Ok(Account {
        auth,
        secret,
        server_password: user
            .server_password
            .clone()
            .or_else(|| user.password.clone()),
        pooling: user.pooling,
    })
}

/// The target by which endpoints are checked.
fn check(
    user: &str,
    accounts: &BTreeMap<String, Account>,
    config: &Config,
) -> Result<Target, String> {
    let Some(known) = accounts.get(user) else {
        return Err(format!(
            "`check-user`: {user} is neither among the `users` nor in the `auth-file`"
        ));
    };
    let database = config.check_database.as_deref().unwrap_or(user);
    let parameters = [("user", user), ("database", database)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let identity = Identity {
        group: None,
        read_only_group: None,
        password: known.server_password.clone(),
        keys: None,
        parameters: parameters.into(),
    };
    Ok(identity.target())
}

impl Connect for Postgres {
    fn connect(&self, c: &mut Connection<'_>, target: &Target) -> Result<Vec<u8>, String> {
        if target.secret == [CANCEL] {
            return Ok(Vec::new());
        }
        let tag = conversations::log_in(c, &Identity::of(target)?, &self.shared.tracked)?;
        match self.role(target) {
            Some(role) => conversations::leave_unless(c, role).map(|()| tag),
            None => Ok(tag),
        }
    }
}

impl Reset for Postgres {
    fn reset(&self, c: &mut Connection<'_>, _: &Target) -> Result<(), String> {
        conversations::reset(c, &self.shared.config.reset_query)
    }
}

impl Probe for Postgres {
    fn probe(&self, c: &mut Connection<'_>, target: &Target, _idle_ms: u64) -> Result<(), String> {
        conversations::probe(c, self.role(target))
    }
}

/// So many random bytes, good enough for secrets.
fn random<const N: usize>() -> Result<[u8; N], String> {
    thread_local! {
        /// Asked for ahead, since asking costs as much for many as for one. None is given out twice.
        static AHEAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    AHEAD.with_borrow_mut(|ahead| {
        if ahead.len() < N {
            ahead.resize(ahead.len() + AHEAD_BYTES.max(N), 0);
            if let Err(why) = getrandom::fill(ahead) {
                ahead.clear();
                return Err(format!("there are no random numbers: {why}"));
            }
        }
        let mut bytes = [0; N];
        let rest = ahead.len() - N;
        bytes.copy_from_slice(&ahead[rest..]);
        ahead.truncate(rest);
        Ok(bytes)
    })
}

leaseway_sdk::export!(Postgres);

//! MySQL and MariaDB over pooled connections: many clients, few threads of the server.
//!
//! The plugin is the server to the client, and the client to the server: [`auth`] knows how either
//! proves who it is, [`wire`] what packets look like, [`reply`] where answers end, [`sql`] what a statement leaves on
//! a connection, [`identity`] what makes connections interchangeable, [`settings`] what follows a client from
//! one to the next, and [`backend`] what is known of one. [`Session`] puts these together for one client, and the
//! conversations log in, reset and probe connections that no client holds. What operators need to know is
//! in `docs/plugins/mysql.md`.

#![forbid(unsafe_code)]

pub mod auth;
pub mod backend;
mod charset;
pub mod config;
mod conversations;
pub mod identity;
pub mod reply;
pub mod server_key;
mod session;
pub mod settings;
pub mod sql;
pub mod wire;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use leaseway_sdk::{
    Connect, Connection, Plugin, Probe, Reset, SessionInfo, Side, Target, log, store,
};

use config::{Config, Pooling};
use conversations::{Found, Look};
use identity::Identity;
use server_key::ServerKeys;
pub use session::Session;
use session::{Account, Shared};
use settings::Tracked;
use sha2::{Digest as _, Sha256};

/// How long it is remembered that a server has let somebody in, and what its version is.
const MEMORY: Duration = Duration::from_secs(600);

/// How long it is remembered how a fresh connection is: as long as can be, for those that are reset later.
const LONG_MEMORY: Duration = Duration::from_secs(7 * 24 * 3600);

/// Under which key of the store the server's version is.
const VERSION: &[u8] = b"version";

/// The plugin, configured.
pub struct Mysql {
    shared: Rc<Shared>,
    check: Target,
    keys: Option<ServerKeys>,
}

impl Plugin for Mysql {
    type Config = Config;
    type Session = Session;

    const SPEAKS_FIRST: Side = Side::Upstream;
    const CONFIG_FILES: &'static [&'static str] = &["server-public-key-path"];

    fn configure(config: Config) -> Result<Self, String> {
        let tracked = Tracked::new(&config.track)?;
        let keys = ServerKeys::new(
            config.server_public_key_path.as_deref(),
            config.get_server_public_key,
        )?;
        let mut accounts = BTreeMap::new();
        for (name, user) in &config.users {
            let account = account(name, user, config.pooling)?;
            accounts.insert(name.clone().into_bytes(), account);
        }
        if let Some(version) = &config.server_version
            && (version.is_empty() || version.len() > 60 || version.contains('\0'))
        {
            return Err("`server-version`: must have 1 to 60 bytes, none of them zero".to_owned());
        }
        let check = match &config.check_user {
            None if config.check_database.is_some() => {
                return Err("`check-database`: there is no `check-user` to go with it".to_owned());
            }
            None => Target::default(),
            Some(user) => check(user, &accounts, &config)?,
        };
        let shared = Rc::new(Shared {
            config,
            tracked,
            accounts,
        });
        Ok(Self {
            shared,
            check,
            keys,
        })
    }

    fn session(&self, info: &SessionInfo) -> Session {
        Session::new(Rc::clone(&self.shared), &info.client_address)
    }

    fn default_target(&self) -> Target {
        self.check.clone()
    }
}

/// What is known of a user, whose pooling is this one if it has none of its own.
fn account(name: &str, user: &config::User, pooling: Pooling) -> Result<Account, String> {
    let Some(password) = user.password.clone() else {
        return Err(format!(
            "`users.{name}`: needs a `password`; an empty one lets everybody in"
        ));
    };
    if let Some(group) = &user.group
        && group.is_empty()
    {
        return Err(format!(
            "`users.{name}.group`: is empty; leave it out for the first one"
        ));
    }
    Ok(Account {
        server_user: user.server_user.clone().unwrap_or_else(|| name.to_owned()),
        server_password: user
            .server_password
            .clone()
            .unwrap_or_else(|| password.clone()),
        password,
        pooling: user.pooling.unwrap_or(pooling),
        group: user.group.clone(),
    })
}

/// The target by which endpoints are checked.
fn check(
    user: &str,
    accounts: &BTreeMap<Vec<u8>, Account>,
    config: &Config,
) -> Result<Target, String> {
    let Some(account) = accounts.get(user.as_bytes()) else {
        return Err(format!("`check-user`: {user} is not among the `users`"));
    };
    let database = config.check_database.clone().unwrap_or_default();
    let identity = account.identity(database.into_bytes(), charset::UTF8MB4, CHECK_DIALECT);
    Ok(Target {
        group: None,
        ..identity.target()
    })
}

/// What most clients ask for, so that connections that are kept warm are of use to them.
const CHECK_DIALECT: u32 = wire::capability::MULTI_RESULTS
    | wire::capability::PS_MULTI_RESULTS
    | wire::capability::MULTI_STATEMENTS
    | wire::capability::DEPRECATE_EOF;

impl Connect for Mysql {
    fn connect(&self, c: &mut Connection<'_>, target: &Target) -> Result<Vec<u8>, String> {
        let identity = Identity::of(target)?;
        let opened = conversations::log_in(c, &identity, &self.shared.tracked, self.keys.as_ref())
            .map_err(|trouble| trouble.to_string())?;
        for (key, value, time) in [
            (VERSION, &opened.version[..], MEMORY),
            (known(target), &[1][..], MEMORY),
            (&look(target), &opened.look.encode(), LONG_MEMORY),
            (
                &fresh(target, &opened.found),
                &opened.found.encode(),
                LONG_MEMORY,
            ),
        ] {
            if let Err(why) = store::put(key, value, time) {
                log::debug!("what a server has said is not remembered: {why}");
            }
        }
        Ok(opened.backend.tag())
    }
}

impl Reset for Mysql {
    fn reset(&self, c: &mut Connection<'_>, target: &Target) -> Result<(), String> {
        let identity = Identity::of(target)?;
        let look = store::get(&look(target)).and_then(|bytes| Look::decode(&bytes));
        let fresh = |found: &Found| store::get(&fresh(target, found));
        conversations::reset(c, &identity, &self.shared.tracked, look, fresh)
            .map_err(|trouble| trouble.to_string())
    }
}

impl Probe for Mysql {
    fn probe(&self, c: &mut Connection<'_>, target: &Target, _idle_ms: u64) -> Result<(), String> {
        conversations::probe(c, &Identity::of(target)?).map_err(|trouble| trouble.to_string())
    }
}

/// Under which key of the store it is that a server has let in who asks for this target: its digest.
fn known(target: &Target) -> &[u8] {
    let identity = target.identity.as_bytes();
    &identity[identity.len().saturating_sub(32)..]
}

/// Under which key of the store it is how connections of this target are looked at.
fn look(target: &Target) -> Vec<u8> {
    [known(target), b"look"].concat()
}

/// Under which key of the store it is what was last found on a fresh connection of this target to the server where this
/// was found.
fn fresh(target: &Target, found: &Found) -> Vec<u8> {
    [known(target), &Sha256::digest(found.server())].concat()
}

/// So many random bytes, good enough for secrets.
fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(why) => Err(format!("there are no random numbers: {why}")),
    }
}

leaseway_sdk::export!(Mysql);

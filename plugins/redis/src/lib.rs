//! Leaseway plugin for Redis: many clients on few connections, over RESP2 and RESP3.
//!
//! In command mode a connection is leased for the commands at hand and released behind their last
//! reply. While it has state of the client's own (a transaction, watched keys, subscriptions) it
//! stays with the client. `resp` measures, `commands` classifies, `session` decides, `identity`
//! and `conversations` look after who a connection is.

mod commands;
mod conversations;
mod identity;
mod request;
pub mod resp;
mod session;

use leaseway_sdk::{Plugin, SessionInfo, Target};
use serde::Deserialize;

use identity::{Credentials, Identity};
pub use session::Session;

/// The plugin, configured.
pub struct Redis {
    pooling: Pooling,
    identity: Identity,
    max_commands: u64,
}

/// When a connection is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// Behind the last reply that is expected.
    #[default]
    Command,
    /// At the end of the session.
    Session,
}

/// The plugin's config.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// `command` (default) or `session`.
    pub pooling: Pooling,
    /// The user that connections authenticate as until a client says AUTH; needs `password`.
    pub username: Option<String>,
    /// The password; alone, that of the default user.
    pub password: Option<String>,
    /// The database of clients that have not said SELECT. Default 0.
    pub database: u32,
    /// Commands that one lease serves before others get a turn. Default 1024.
    pub max_commands_per_lease: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pooling: Pooling::Command,
            username: None,
            password: None,
            database: 0,
            max_commands_per_lease: 1024,
        }
    }
}

impl Plugin for Redis {
    type Config = Config;
    type Session = Session;

    fn configure(config: Config) -> Result<Self, String> {
        let Config {
            pooling,
            username,
            password,
            database,
            max_commands_per_lease,
        } = config;
        if max_commands_per_lease == 0 {
            return Err(
                "max-commands-per-lease: 0 would serve nobody; write at least 1".to_owned(),
            );
        }
        let credentials = match (username, password) {
            (None, None) => None,
            (user, Some(password)) => Some(Credentials {
                user: user.unwrap_or_default().into_bytes(),
                password: password.into_bytes(),
            }),
            (Some(_), None) => return Err("username: needs a password beside it".to_owned()),
        };
        let identity = Identity {
            credentials,
            database,
            protocol: 2,
        };
        Ok(Self {
            pooling,
            identity,
            max_commands: max_commands_per_lease,
        })
    }

    fn session(&self, _: &SessionInfo) -> Session {
        Session::new(self.identity.clone(), self.pooling, self.max_commands)
    }

    fn default_target(&self) -> Target {
        self.identity.target()
    }
}

leaseway_sdk::export!(Redis);

//! What an operator can set. Read once; the session and the conversations share the result.

use std::fmt;
use std::num::NonZeroU32;

use leaseway_sdk::serde::Deserialize;

/// How many commands go to one connection, unless it is pinned, before it goes back to the pool.
/// A client that never waits for its replies would otherwise keep it for good.
const MAX_COMMANDS_PER_LEASE: NonZeroU32 = NonZeroU32::MIN.saturating_add(1023);

/// How many commands an operator may allow: if the connection is lost, each of them is answered
/// by an error, in one piece.
pub const MOST_COMMANDS_PER_LEASE: u32 = 16 * 1024;

/// The `config` table of the plugin's section.
#[derive(Clone, Deserialize)]
#[serde(
    crate = "leaseway_sdk::serde",
    deny_unknown_fields,
    default,
    rename_all = "kebab-case"
)]
pub struct Config {
    /// When a connection goes back to the pool.
    pub pooling: Pooling,
    /// Whom connections authenticate as until a client says otherwise: `default` if there is a
    /// password only.
    pub username: Option<String>,
    /// With which password. Without one connections do not authenticate.
    pub password: Option<String>,
    /// Which database they select.
    pub database: u32,
    /// How many commands of one client a connection carries before others get their turn.
    pub max_commands_per_lease: NonZeroU32,
}

/// When a connection goes back to the pool.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(crate = "leaseway_sdk::serde", rename_all = "kebab-case")]
pub enum Pooling {
    /// Commands that leave nothing behind share connections; all others have one of their own,
    /// which goes back as soon as all replies are in, unless the client has left state on it.
    #[default]
    Command,
    /// The same, but every command has a connection of its own.
    CommandExclusive,
    /// When the client leaves.
    Session,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pooling: Pooling::default(),
            username: None,
            password: None,
            database: 0,
            max_commands_per_lease: MAX_COMMANDS_PER_LEASE,
        }
    }
}

/// The password stays out of logs.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("pooling", &self.pooling)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "<hidden>"))
            .field("database", &self.database)
            .field("max_commands_per_lease", &self.max_commands_per_lease)
            .finish()
    }
}

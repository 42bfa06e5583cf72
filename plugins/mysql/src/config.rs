//! What an operator can set.

use std::collections::BTreeMap;
use std::fmt;

use leaseway_sdk::serde::Deserialize;

use crate::auth::Method;

/// The `config` table of the plugin's section.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    crate = "leaseway_sdk::serde",
    deny_unknown_fields,
    default,
    rename_all = "kebab-case"
)]
pub struct Config {
    /// When a connection goes back to the pool.
    pub pooling: Pooling,
    /// Which connections are reset as they go back, if pooling is by transaction.
    pub reset: Reset,
    /// Who may come, by name. Nobody else may.
    pub users: BTreeMap<String, User>,
    /// How clients are asked first to prove who they are. They may choose the other way.
    pub auth_plugin: Method,
    /// The RSA public keys that servers may have, for those that want the password itself. The host puts the file's
    /// text here.
    pub server_public_key_path: Option<String>,
    /// Takes any key that a server says is its own.
    pub get_server_public_key: bool,
    /// The version that clients are told. None: what a server has said last.
    pub server_version: Option<String>,
    /// System variables that follow a client from one connection to the next, besides those that always do.
    pub track: Vec<String>,
    /// How long a client may take to log in, in seconds. 0: for ever.
    pub client_login_timeout: u32,
    /// As whom endpoints are checked, and connections kept warm. None: neither is done.
    pub check_user: Option<String>,
    /// In which database. None: in none.
    pub check_database: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pooling: Pooling::default(),
            reset: Reset::default(),
            users: BTreeMap::new(),
            auth_plugin: Method::default(),
            server_public_key_path: None,
            get_server_public_key: false,
            server_version: None,
            track: Vec::new(),
            client_login_timeout: 60,
            check_user: None,
            check_database: None,
        }
    }
}

/// When a connection goes back to the pool.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(crate = "leaseway_sdk::serde", rename_all = "kebab-case")]
pub enum Pooling {
    /// When the client leaves.
    #[default]
    Session,
    /// When its transaction has ended.
    Transaction,
}

/// Which connections are reset as they go back.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(crate = "leaseway_sdk::serde", rename_all = "kebab-case")]
pub enum Reset {
    /// All: also for what triggers leave, which nobody says.
    #[default]
    Always,
    /// Those on which a client may have left something, by what it and the server say.
    WhenNeeded,
}

/// One user.
#[derive(Clone, Default, Deserialize)]
#[serde(
    crate = "leaseway_sdk::serde",
    deny_unknown_fields,
    default,
    rename_all = "kebab-case"
)]
pub struct User {
    /// The password. Empty: none is needed.
    pub password: Option<String>,
    /// The name for the server, if it is another.
    pub server_user: Option<String>,
    /// The password for the server, if it is another.
    pub server_password: Option<String>,
    /// When this user's connections go back. None: as the plugin's `pooling` says.
    pub pooling: Option<Pooling>,
    /// The upstream group. None: the listener's first.
    pub group: Option<String>,
}

/// Passwords stay out of logs.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("server_user", &self.server_user)
            .field("pooling", &self.pooling)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

//! What an operator can set. Names are those of PgBouncer where the meaning is the same.

use std::collections::BTreeMap;
use std::fmt;

use leaseway_sdk::serde::Deserialize;

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
    /// Who may come, by name. Nobody else may.
    pub users: BTreeMap<String, User>,
    /// More users, as PgBouncer's `userlist.txt` has them. The host puts the file's text here.
    pub auth_file: Option<String>,
    /// Which databases there are, by the name that clients have for them. Empty: all that the server
    /// has.
    pub databases: BTreeMap<String, Database>,
    /// What makes a connection as good as new after a session that may have left something on it.
    pub reset_query: String,
    /// How many prepared statements are kept on a connection; none of them are shared if it is 0.
    pub max_prepared_statements: usize,
    /// Settings that follow a client from one connection to the next, besides those that always do.
    pub track: Vec<String>,
    /// How long a client may take to log in, in seconds. 0: for ever.
    pub client_login_timeout: u32,
    /// What the servers of a group have to be, by the group's name.
    pub roles: BTreeMap<String, Role>,
    /// As whom endpoints are checked, and connections kept warm. None: neither is done.
    pub check_user: Option<String>,
    /// In which database. None: the one named as the user.
    pub check_database: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pooling: Pooling::default(),
            users: BTreeMap::new(),
            auth_file: None,
            databases: BTreeMap::new(),
            reset_query: "DISCARD ALL".to_owned(),
            max_prepared_statements: 200,
            track: Vec::new(),
            client_login_timeout: 60,
            roles: BTreeMap::new(),
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
    /// When its query has ended; there are no transactions of several.
    Statement,
}

/// What a server is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(crate = "leaseway_sdk::serde", rename_all = "kebab-case")]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It follows another.
    Replica,
}

/// One user.
#[derive(Clone, Deserialize)]
#[serde(
    crate = "leaseway_sdk::serde",
    deny_unknown_fields,
    default,
    rename_all = "kebab-case"
)]
#[derive(Default)]
pub struct User {
    /// The password, or `md5...`, or `SCRAM-SHA-256$...`, as `pg_authid` has them.
    pub password: Option<String>,
    /// How clients prove that they are this user. None: by SCRAM, or by MD5 if the password is a
    /// hash of that kind.
    pub auth: Option<Auth>,
    /// The password for the server, if it is another.
    pub server_password: Option<String>,
    /// When this user's connections go back. None: as the database says.
    pub pooling: Option<Pooling>,
}

/// Passwords stay out of logs.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(crate = "leaseway_sdk::serde", rename_all = "kebab-case")]
pub enum Auth {
    /// Not at all.
    Trust,
    /// By the password itself.
    Password,
    /// By an MD5 hash of it.
    Md5,
    /// By SCRAM-SHA-256.
    #[serde(rename = "scram-sha-256")]
    Scram,
}

/// Where a database really is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    crate = "leaseway_sdk::serde",
    deny_unknown_fields,
    default,
    rename_all = "kebab-case"
)]
pub struct Database {
    /// The upstream group. None: the listener's first.
    pub group: Option<String>,
    /// Its name on the server. None: the same.
    pub dbname: Option<String>,
    /// The upstream group for transactions that begin with `READ ONLY`. None: the same.
    pub read_only_group: Option<String>,
    /// When connections to it go back. None: as the plugin's `pooling` says.
    pub pooling: Option<Pooling>,
}

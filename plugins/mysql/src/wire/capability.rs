//! Capability flags, which both sides agree on as a client logs in, and status flags, which the server
//! tells with the end of each answer (MySQL Source Code Documentation, "Capabilities Flags" and
//! `SERVER_STATUS_flags_enum`).

/// Old name of "improved version of old passwords". A server of MariaDB's without it has capabilities of
/// its own in another field.
pub const LONG_PASSWORD: u32 = 1;
/// Count rows that were found, not those that were changed.
pub const FOUND_ROWS: u32 = 1 << 1;
/// More flags of columns.
pub const LONG_FLAG: u32 = 1 << 2;
/// The client names a database as it logs in.
pub const CONNECT_WITH_DB: u32 = 1 << 3;
/// A space may stand in front of the parenthesis of a function.
pub const IGNORE_SPACE: u32 = 1 << 8;
/// The protocol of 4.1 and later.
pub const PROTOCOL_41: u32 = 1 << 9;
/// The client is interactive: another time-out holds.
pub const INTERACTIVE: u32 = 1 << 10;
/// The connection goes on in TLS.
pub const SSL: u32 = 1 << 11;
/// Status flags are understood.
pub const TRANSACTIONS: u32 = 1 << 13;
/// Passwords are proved by a hash of a challenge.
pub const SECURE_CONNECTION: u32 = 1 << 15;
/// Several statements in one query.
pub const MULTI_STATEMENTS: u32 = 1 << 16;
/// Several results of one query.
pub const MULTI_RESULTS: u32 = 1 << 17;
/// Several results of one prepared statement.
pub const PS_MULTI_RESULTS: u32 = 1 << 18;
/// How a client proves who it is has a name.
pub const PLUGIN_AUTH: u32 = 1 << 19;
/// The client says what it is.
pub const CONNECT_ATTRS: u32 = 1 << 20;
/// The proof may be longer than 255 bytes.
pub const PLUGIN_AUTH_LENENC: u32 = 1 << 21;
/// The server tells how the session's state changes.
pub const SESSION_TRACK: u32 = 1 << 23;
/// Results end with an OK packet instead of an EOF packet.
pub const DEPRECATE_EOF: u32 = 1 << 24;

/// What clients are offered. Not among them: TLS, compression, `LOAD DATA LOCAL`, query attributes, results
/// without metadata, and what MariaDB alone has.
pub const OFFERED: u32 = DIALECT
    | LONG_PASSWORD
    | LONG_FLAG
    | CONNECT_WITH_DB
    | PROTOCOL_41
    | INTERACTIVE
    | TRANSACTIONS
    | SECURE_CONNECTION
    | PLUGIN_AUTH
    | CONNECT_ATTRS
    | PLUGIN_AUTH_LENENC
    | SESSION_TRACK;

/// What changes what the server says or does: connections are interchangeable only where these are the same.
pub const DIALECT: u32 =
    FOUND_ROWS | IGNORE_SPACE | MULTI_STATEMENTS | MULTI_RESULTS | PS_MULTI_RESULTS | DEPRECATE_EOF;

/// What is asked of a server besides the client's [`DIALECT`]. One that does not have these cannot be served:
/// MySQL before 5.7.5, MariaDB before 10.2.
pub const NEEDED: u32 = LONG_PASSWORD
    | LONG_FLAG
    | PROTOCOL_41
    | TRANSACTIONS
    | SECURE_CONNECTION
    | PLUGIN_AUTH
    | SESSION_TRACK;

/// A transaction is open.
pub const IN_TRANS: u16 = 1;
/// Each statement is a transaction of its own.
pub const AUTOCOMMIT: u16 = 1 << 1;
/// Another result follows this one.
pub const MORE_RESULTS: u16 = 1 << 3;
/// A cursor is open: rows come when they are fetched.
pub const CURSOR_EXISTS: u16 = 1 << 6;
/// A backslash in a text is a sign like any other.
pub const NO_BACKSLASH_ESCAPES: u16 = 1 << 9;
/// The session's state has changed.
pub const STATE_CHANGED: u16 = 1 << 14;

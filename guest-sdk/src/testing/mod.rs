//! Testing a plugin natively, without any wasm, sockets or clocks.
//!
//! [`ScriptedSession`] does with a session's hooks what the host does, by the contract's rules:
//! a test says what arrives and looks at what left. [`ScriptedConnection`] plays the upstream
//! for the conversations: [`connect`], [`reset`] and [`probe`]. What the host would not take from a
//! plugin (a release without a lease, or five thousand steps at once) panics with the reason. [`logged`] collects log lines.
//! Each thread, and so each test, has a [`store`] of its own: [`clear_store`],
//! [`pass_store_time`] and [`limit_store`] are for tests that use it.
//!
//! This module exists in native builds only. Within an author's crate: `#[cfg(test)]`, or a file
//! under `tests/`.

mod connection;
mod hooked;
mod program;
mod pump;
mod record;
mod relay;
mod session;
mod sharing;
mod way;

pub use connection::{ScriptedConnection, connect, probe, reset};
pub use record::{Lease, LeaseEnd, SessionEnd};
pub use session::ScriptedSession;

use std::time::Duration;

use crate::export::Exported;
use crate::log::Level;
use crate::{PluginInfo, config, log, store};

/// Configures a plugin from JSON, as the host does.
///
/// # Errors
///
/// What the operator would be shown.
pub fn configure<P: Exported>(json: &str) -> Result<P, String> {
    P::configure(config::parse(json)?)
}

/// What the plugin says of itself to the host: above all, which hooks it has.
#[must_use]
pub fn describe<P: Exported>() -> PluginInfo {
    PluginInfo {
        name: P::name().to_owned(),
        version: P::VERSION.to_owned(),
        hooks: P::hooks(),
        speaks_first: P::SPEAKS_FIRST,
        config_files: P::config_files(),
    }
}

/// Runs `f` and returns, with its result, the lines that it logged on this thread.
pub fn logged<T>(f: impl FnOnce() -> T) -> (T, Vec<(Level, String)>) {
    log::sink::collect(true);
    let result = f();
    (result, log::sink::collect(false))
}

/// Empties the [`store`] of this thread, and takes back what [`limit_store`] and
/// [`pass_store_time`] have done.
pub fn clear_store() {
    store::sink::clear();
}

/// Lets time pass for the [`store`] of this thread, beside the real time: what expires
/// meanwhile is gone.
pub fn pass_store_time(time: Duration) {
    store::sink::pass(time);
}

/// Lets the [`store`] of this thread hold so many entries: a `put` of one more is
/// refused as [`Refused::Full`](crate::store::Refused::Full). By itself it holds 100,000. Bytes are
/// not limited here.
pub fn limit_store(entries: usize) {
    store::sink::limit(entries);
}

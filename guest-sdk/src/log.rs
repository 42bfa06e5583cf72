//! The host's log: `trace!`, `debug!`, `info!`, `warn!` and `error!`, with the syntax of
//! `format!`.
//!
//! The host adds plugin, listener and session to each line, cuts it at 4 KiB, and writes no more
//! than 100 a second from one instance. A line below the host's level is not even formatted. In
//! native builds lines go to standard error, and in tests to whoever collects them with
//! `testing::logged`.

use std::cell::Cell;
use std::fmt;

pub use crate::bindings::leaseway::plugin::log::Level;
pub use crate::{debug, error, info, trace, warn};

thread_local! {
    /// The least important level that is written, once the host has been asked.
    static LEAST: Cell<Option<Level>> = const { Cell::new(None) };
}

/// Whether lines of this level are written.
#[inline]
#[must_use]
pub fn enabled(level: Level) -> bool {
    level >= LEAST.get().unwrap_or_else(ask)
}

/// Asks the host for its level, and remembers it: an instance lives shorter than a config.
#[cold]
fn ask() -> Level {
    let least = sink::least();
    LEAST.set(Some(least));
    least
}

/// Writes one line, if its level is enabled. The macros are nicer.
#[inline]
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    if enabled(level) {
        sink::write(level, &message.to_string());
    }
}

#[cfg(target_arch = "wasm32")]
mod sink {
    //! The host.

    use super::Level;
    use crate::bindings::leaseway::plugin::log;

    pub(super) fn least() -> Level {
        log::enabled()
    }

    pub(super) fn write(level: Level, message: &str) {
        log::log(level, message);
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod sink {
    //! Standard error, or a test that collects lines.

    use std::cell::RefCell;

    use super::Level;

    thread_local! {
        /// What is being collected on this thread, if anything is.
        static COLLECTED: RefCell<Option<Vec<(Level, String)>>> = const { RefCell::new(None) };
    }

    pub(super) fn least() -> Level {
        Level::Trace
    }

    pub(super) fn write(level: Level, message: &str) {
        COLLECTED.with_borrow_mut(|collected| match collected {
            Some(lines) => lines.push((level, message.to_owned())),
            None => eprintln!("{level:?} {message}"),
        });
    }

    /// Starts to collect, or stops; returns what had been collected.
    pub(crate) fn collect(on: bool) -> Vec<(Level, String)> {
        COLLECTED.replace(on.then(Vec::new)).unwrap_or_default()
    }
}

/// Write a line that only somebody who debugs the plugin wants to see.
#[macro_export]
macro_rules! trace {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Trace, ::core::format_args!($($message)+)) };
}

/// Write a line that helps to find out what a session did.
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Debug, ::core::format_args!($($message)+)) };
}

/// Write a line that an operator may want to see.
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Info, ::core::format_args!($($message)+)) };
}

/// Write a line that an operator should see: something is odd, and goes on.
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Warn, ::core::format_args!($($message)+)) };
}

/// Write a line that an operator must see: something does not work.
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Error, ::core::format_args!($($message)+)) };
}

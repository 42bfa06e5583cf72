//! Write Leaseway plugins in Rust.
//!
//! Leaseway is a TCP relay that lends pooled upstream connections to client sessions. A plugin
//! tells it what differs from protocol to protocol: when a lease may start, where it may go,
//! and whether what comes back is fit for the next borrower.
//!
//! A plugin is a type that implements [`Plugin`], a session type, one trait for each hook that it
//! wants, and one line, [`export!`]. (The type is `pub` where tests outside of its crate are to name
//! it.) A hook whose trait is not implemented is never called: the host does that work itself,
//! natively.
//!
//! | trait | on the type of | asks |
//! | --- | --- | --- |
//! | [`ChooseUpstream`] | the session | where may the next lease go? |
//! | [`OnLeased`] | the session | what comes first on a new lease? |
//! | [`OnLeaseFailed`] | the session | how does this protocol say sorry? |
//! | [`OnData`] | the session | what becomes of these bytes? |
//! | [`OnEof`] | the session | what if one side sends no more? |
//! | [`PoolReturn`] | the session | may the connection go back to the pool? |
//! | [`OnRequestFailed`] | the session | and how, for a request on a shared connection? |
//! | [`Replies`] | the plugin | where do replies end, so that sessions can share connections? |
//! | [`Connect`] | the plugin | how does one shake hands on a fresh connection? |
//! | [`Reset`] | the plugin | how is a used connection made as good as new? |
//! | [`Probe`] | the plugin | is this idle connection alive? |
//!
//! ```
//! use leaseway_sdk::{Connection, NoConfig, Plugin, Probe, SessionInfo, Target};
//!
//! /// Copies bytes as they come; knows only how to tell a live upstream from a dead one.
//! struct Ping;
//!
//! impl Plugin for Ping {
//!     type Config = NoConfig;
//!     type Session = ();
//!
//!     fn configure(_: NoConfig) -> Result<Self, String> {
//!         Ok(Ping)
//!     }
//!
//!     fn session(&self, _: &SessionInfo) {}
//! }
//!
//! impl Probe for Ping {
//!     fn probe(&self, c: &mut Connection<'_>, _: &Target, _idle_ms: u64) -> Result<(), String> {
//!         c.write(b"PING\r\n")?;
//!         c.expect(b"PONG\r\n")
//!     }
//! }
//!
//! leaseway_sdk::export!(Ping);
//! # fn main() {}
//! ```
//!
//! This crate is in no registry: depend on it by the path of a checkout of Leaseway, or by its
//! git address (`git = "..."`, with the `rev` of the relay that you run). What an author's
//! `Cargo.toml` needs:
//!
//! ```toml
//! [package]
//! name = "leaseway-plugin-ping" # `ping`, to operators
//! version = "0.1.0"
//! edition = "2024"
//!
//! [lib]
//! crate-type = ["cdylib", "rlib"] # the module, and what tests link
//!
//! [dependencies]
//! leaseway-sdk = { path = "../leaseway/guest-sdk" }
//! ```
//!
//! What one session must know of another goes through the [`store`].
//!
//! Build it with `cargo build --release --target wasm32-wasip1`, and name
//! `target/wasm32-wasip1/release/leaseway_plugin_ping.wasm` in the relay's config. Test it
//! natively, without any wasm, with the [`testing`] module. What the host does with each step is
//! specified in `guest-sdk/wit/leaseway.wit`.

#![deny(unsafe_code)]

// The one exception: generated code that lowers values into the host's memory layout.
#[allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::all,
    clippy::pedantic,
    clippy::restriction
)]
#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod component;
mod config;
mod connection;
#[doc(hidden)]
pub mod export;
pub mod frame;
mod hooks;
pub mod log;
mod steps;
pub mod store;
mod target;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod words;

pub use bindings::leaseway::plugin::types::{
    Choice, Deadline, Disposition, EndReason, Hooks, LeaseError, LeaseOutcome, LeaseRequest,
    Leased, PluginInfo, Request, SessionInfo, Settings, Share, Side, Span, Step,
};
pub use config::NoConfig;
pub use connection::{Connection, IoError, Transport};
pub use hooks::{
    ChooseUpstream, Connect, MeasureReplies, OnData, OnEof, OnLeaseFailed, OnLeased,
    OnRequestFailed, Plugin, PoolReturn, Probe, Replies, Reset,
};
pub use steps::Steps;
pub use target::Target;

/// The `serde` that this crate was built with: `#[serde(crate = "leaseway_sdk::serde")]` saves a
/// plugin the dependency.
pub use serde;

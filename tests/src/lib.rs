//! What the end-to-end tests have in common: real servers, a real relay, a client that checks.
//!
//! Each test is a file of its own beside `src/`, named for its promise. Everything here panics
//! with a message instead of returning errors, because only tests call it; a program that is
//! missing is named with the command that installs it. Nothing listens beyond loopback, ports are
//! free ones, and what was started ends when its value is dropped, so tests run side by side.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod command;
pub mod cutter;
pub mod dir;
pub mod http;
pub mod httpwire;
pub mod mariadb;
pub mod memcached;
pub mod metrics;
pub mod nginx;
pub mod pgwire;
pub mod plugins;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod python;
pub mod redis;
pub mod relay;
pub mod resp;
pub mod servant;
pub mod tls;
pub mod tool;
pub mod wait;
pub mod watch;

pub use httpwire::HttpClient;
pub use mariadb::MariaServer;
pub use nginx::Nginx;
pub use postgres::PostgresServer;
pub use redis::RedisServer;
pub use relay::Relay;
pub use resp::{Reply, Resp};
pub use wait::eventually;

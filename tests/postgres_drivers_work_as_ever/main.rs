//! Ordinary use of PostgreSQL's drivers, however the relay pools: what they get is what the server says, and
//! the next thing they ask is answered too.
//!
//! A module for each driver; where drivers differ in what they can do, so do the modules.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod batches;
mod from_python;
mod large_rows;
mod with_sqlx;
mod with_tokio_postgres;

use std::time::Duration;

use leaseway_tests::postgres::{PostgresServer, url};
use leaseway_tests::relay::Relay;

/// The modes of pooling; each is in the config as a listener with a pool of its own.
const MODES: &[&str] = &["session", "transaction", "statement"];

/// Those in which a client may open a transaction.
const MODES_WITH_BLOCKS: &[&str] = &["session", "transaction"];

/// Of one mode's pool.
const CONNECTIONS: usize = 4;

/// Clients at a time, where there are to be more than connections.
const CROWD: i64 = 8;

const SOON: Duration = Duration::from_secs(60);

/// What is not ASCII: of several bytes, beyond the basic plane, of several code points, of combining
/// marks, from right to left; and what is quoted or escaped somewhere.
const TEXT: &str = "Grüße, 世界! 👩‍👩‍👧‍👦 e\u{301}n\u{303} שלום \u{10348} '\"\\ \t\r\n end";

const CONFIG: &str = r#"
    [plugins.{mode}]
    module = "builtin:postgres"

    [plugins.{mode}.config]
    pooling = "{mode}"

    [plugins.{mode}.config.users]
    app = { password = "secret" }
    postgres = { auth = "trust" }

    [upstreams.{mode}]
    endpoints = ["{server}"]
    pool = { max-connections = {connections}, wait-timeout = "60s" }

    [listeners.{mode}]
    bind = "{listen-{mode}}"
    plugin = "{mode}"
    upstreams = ["{mode}"]
"#;

const ADMIN: &str = r#"
    [admin]
    bind = "{admin}"
"#;

/// A server, and a relay in front of it.
struct Site {
    server: PostgresServer,
    relay: Relay,
}

impl Site {
    async fn start() -> Self {
        let server = PostgresServer::start().await;
        let modes: String = MODES
            .iter()
            .map(|mode| CONFIG.replace("{mode}", mode))
            .collect();
        let values = [
            ("server", &*server.addr().to_string()),
            ("connections", &*CONNECTIONS.to_string()),
        ];
        let relay = Relay::start_with(&(modes + ADMIN), &values).await;
        Self { server, relay }
    }

    /// What a driver connects to.
    fn url(&self, mode: &str) -> String {
        println!("pooling by {mode}");
        let address = self.relay.addr_of(&format!("listen-{mode}"));
        url(address, "app", "secret", "shop")
    }

    /// Nobody has exceeded the pools, and no plugin has made a mistake.
    async fn end(self) {
        let most = CONNECTIONS * MODES.len();
        let backends = self.server.backends("app").await;
        assert!(backends <= most, "{backends} backends");
        let faults = "leaseway_plugin_faults_total";
        assert_eq!(self.relay.metric_sum(faults).await, 0.0);
    }
}

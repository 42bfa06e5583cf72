//! Transactions of one user over few connections, for the tests that tell whether clients meet there.

use leaseway_tests::mariadb::url;
use leaseway_tests::relay::Relay;
use mysql_async::{Opts, OptsBuilder};

pub(crate) const CONFIG: &str = r#"
    [plugins.my]
    module = "{plugins}/mysql.wasm"
    config = { pooling = "transaction", get-server-public-key = true, users = { app = { password = "secret" } } }

    [upstreams.db]
    endpoints = ["{server}"]
    pool = { max-connections = {connections}, wait-timeout = "60s" }

    [listeners.db]
    bind = "{listen}"
    plugin = "my"
    upstreams = ["db"]

    [admin]
    bind = "{admin}"
"#;

/// Pooling with a reset of only those connections that seem to need one.
pub(crate) const WHEN_NEEDED: &str = "\"transaction\", reset = \"when-needed\"";

/// Of the user `app`, who asks nothing by itself as it connects.
pub(crate) fn opts(relay: &Relay) -> Opts {
    let opts = Opts::from_url(&url(relay.addr(), "app", "secret", "shop")).unwrap();
    OptsBuilder::from_opts(opts)
        .prefer_socket(false)
        .stmt_cache_size(0)
        .max_allowed_packet(Some(1 << 24))
        .wait_timeout(Some(28800))
        .into()
}

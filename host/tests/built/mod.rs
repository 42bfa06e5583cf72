//! Built plugins, for tests and benches that call them without a relay.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use leaseway::config::{ModuleSource, PluginConfig, PluginLimits};
use leaseway::contract::SessionInfo;
use leaseway::plugin::{Plugin, Runtime};

/// The plugin of this name, as `cargo xtask plugins` has built it.
#[allow(dead_code, reason = "not all who share this module need it")]
pub(crate) fn load(name: &str) -> Arc<Plugin> {
    load_with(name, serde_json::json!({}))
}

/// The same, with a config.
pub(crate) fn load_with(name: &str, config: serde_json::Value) -> Arc<Plugin> {
    let folder = match std::env::var_os("LEASEWAY_PLUGINS") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins"),
    };
    let file = folder.join(format!("{name}.wasm"));
    assert!(
        file.exists(),
        "{} is missing: run `cargo xtask plugins`, or set LEASEWAY_PLUGINS to a folder that has it",
        file.display()
    );
    let config = PluginConfig {
        name: name.to_owned(),
        module: ModuleSource::File(file),
        config,
        folder: PathBuf::new(),
        limits: PluginLimits::default(),
    };
    Runtime::new(None).unwrap().load(&config).unwrap()
}

/// Of a client of no importance.
pub(crate) fn info() -> SessionInfo {
    SessionInfo {
        id: 1,
        listener: "a".to_owned(),
        client_address: "127.0.0.1:40000".to_owned(),
        local_address: "127.0.0.1:4000".to_owned(),
    }
}

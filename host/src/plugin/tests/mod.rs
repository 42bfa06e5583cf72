//! The runtime against a plugin that misbehaves on purpose (`tests/fixtures/hostile`).

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod as_component;
mod config_files;
mod containment;
mod conversations;
mod direct;
mod loading;
mod logged;
mod sandboxing;
mod storing;
mod values;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::{Fault, Plugin, Runtime, SessionHandle, WorkerPlugin};
use crate::config::{ModuleSource, PluginConfig, PluginLimits};
use crate::contract::{SessionInfo, Target};

/// The fixture: from `LEASEWAY_PLUGINS` if that is set, else built here, once.
pub(crate) fn hostile() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| match std::env::var_os("LEASEWAY_PLUGINS") {
        Some(dir) => Path::new(&dir).join("hostile.wasm"),
        None => build(),
    })
}

fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = target_dir().join("wasm");
    let status = Command::new(env!("CARGO"))
        .current_dir(&root)
        .args(["build", "--release", "--quiet", "--target", "wasm32-wasip1"])
        .args(["--package", "leaseway-hostile"])
        .env("CARGO_TARGET_DIR", &target)
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "cannot build tests/fixtures/hostile; `rustup target add wasm32-wasip1`, or set \
         LEASEWAY_PLUGINS to a folder with hostile.wasm"
    );
    target.join("wasm32-wasip1/release/leaseway_hostile.wasm")
}

fn target_dir() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::env::var_os("CARGO_TARGET_DIR").map_or(own, PathBuf::from)
}

/// One that has compiled the fixture before, if possible.
fn runtime() -> Runtime {
    Runtime::new(Some(&target_dir().join("tmp/compiled-plugins"))).unwrap()
}

fn config(config: Value) -> PluginConfig {
    PluginConfig {
        name: "hostile".to_owned(),
        module: ModuleSource::File(hostile().to_owned()),
        config,
        folder: PathBuf::new(),
        limits: PluginLimits::default(),
    }
}

pub(crate) fn load(deed: Value) -> Arc<Plugin> {
    load_with(deed, PluginLimits::default())
}

fn load_with(deed: Value, limits: PluginLimits) -> Arc<Plugin> {
    let config = PluginConfig {
        limits,
        ..config(deed)
    };
    let plugin = runtime().load(&config).unwrap();
    assert!(plugin.direct.is_some(), "it is called as a component");
    plugin
}

fn worker(deed: Value) -> WorkerPlugin {
    WorkerPlugin::new(load(deed))
}

fn info(id: u64) -> SessionInfo {
    SessionInfo {
        id,
        listener: "test".to_owned(),
        client_address: "127.0.0.1:2".to_owned(),
        local_address: "127.0.0.1:1".to_owned(),
    }
}

fn open(worker: &WorkerPlugin, id: u64) -> SessionHandle {
    worker.open(&info(id)).unwrap()
}

fn message(fault: &Fault) -> String {
    let text = fault.to_string();
    assert!(!text.contains('\n'), "more than one line: {text}");
    text
}

fn target() -> Target {
    Target {
        group: None,
        endpoint: None,
        identity: "test".to_owned(),
        secret: Vec::new(),
        affinity: None,
        unpooled: false,
    }
}

fn deed(mode: &str) -> Value {
    json!({ "mode": mode, "trigger": "now" })
}

//! The same tests once more, with the fixture as a component: then its hooks are called through
//! wasmtime's component model, and not directly.

#![allow(
    clippy::duplicate_mod,
    reason = "the tests are the same, what `load_with` gives them is not"
)]

#[path = "containment.rs"]
mod containment;
#[path = "sandboxing.rs"]
mod sandboxing;
#[path = "storing.rs"]
mod storing;
#[path = "values.rs"]
mod values;

use std::fs;

use super::*;
use crate::plugin::component::encode_component;

/// The fixture as a component, made once.
fn component() -> &'static Path {
    static ENCODED: OnceLock<PathBuf> = OnceLock::new();
    ENCODED.get_or_init(|| {
        let module = fs::read(hostile()).unwrap();
        let folder = target_dir().join("tmp");
        fs::create_dir_all(&folder).unwrap();
        let name = format!("hostile-component-{}.wasm", std::process::id());
        let (fresh, file) = (folder.join(name), folder.join("hostile-component.wasm"));
        fs::write(&fresh, encode_component(&module).unwrap()).unwrap();
        fs::rename(fresh, &file).unwrap();
        file
    })
}

fn load(deed: Value) -> Arc<Plugin> {
    load_with(deed, PluginLimits::default())
}

fn load_with(deed: Value, limits: PluginLimits) -> Arc<Plugin> {
    let config = PluginConfig {
        limits,
        module: ModuleSource::File(component().to_owned()),
        ..config(deed)
    };
    let plugin = runtime().load(&config).unwrap();
    assert!(plugin.direct.is_none(), "it is not called as a component");
    plugin
}

fn worker(deed: Value) -> WorkerPlugin {
    WorkerPlugin::new(load(deed))
}

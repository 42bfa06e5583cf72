//! Every plugin that cannot work is a clear error before anything listens.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::contract::{Hooks, Side};
use crate::plugin::{Inspection, LoadError, ModuleKind, SessionHooks};

/// A folder of this test's own, removed at the end.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("leaseway-loading-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn inspect(path: &Path) -> Inspection {
    let module = ModuleSource::File(path.to_owned());
    Runtime::new(None).unwrap().inspect("p", &module).unwrap()
}

fn error_of(bytes: &[u8]) -> LoadError {
    let folder = Folder::new();
    let config = PluginConfig {
        module: ModuleSource::File(folder.file("plugin.wasm", bytes)),
        ..config(json!({}))
    };
    let error = Runtime::new(None)
        .unwrap()
        .load(&config)
        .map(drop)
        .unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("plugin hostile: "), "{text}");
    assert!(!text.contains('\n'), "more than one line: {text}");
    error
}

fn replace(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let mut bytes = bytes.to_vec();
    let mut count = 0;
    while let Some(at) = bytes.windows(old.len()).position(|window| window == old) {
        bytes[at..at + new.len()].copy_from_slice(new);
        count += 1;
    }
    assert!(count > 0);
    bytes
}

#[test]
fn a_loaded_plugin_serves_all_workers() {
    fn crosses_threads<T: Send + Sync + 'static>() {}
    crosses_threads::<Runtime>();
    crosses_threads::<Plugin>();
}

#[test]
fn a_plugin_says_what_it_is_and_what_it_wants() {
    let plugin = load(json!({}));
    assert_eq!(plugin.name(), "hostile");
    assert_eq!(plugin.info().name, "hostile");
    assert!(plugin.info().hooks.contains(Hooks::PROBE | Hooks::ON_DATA));
    assert_eq!(plugin.settings().default_target.identity, "hostile");
}

#[test]
fn inspection_tells_kind_contract_and_interfaces() {
    let inspection = inspect(hostile());
    assert_eq!(inspection.kind, ModuleKind::CoreModule);
    assert_eq!(inspection.contract, "0.1.0");
    assert_eq!(inspection.info.name, "hostile");
    let has = |names: &[String], name: &str| names.iter().any(|one| one == name);
    assert!(has(
        &inspection.exports,
        "leaseway:plugin/session-hooks@0.1.0"
    ));
    assert!(has(&inspection.imports, "leaseway:plugin/log@0.1.0"));
    assert!(inspection.component_bytes > inspection.file_bytes);
    assert!(inspection.compiled_bytes > 0);
}

#[test]
fn a_component_is_taken_as_it_is() {
    use wasi_preview1_component_adapter_provider as adapter;
    let component = wit_component::ComponentEncoder::default()
        .module(&fs::read(hostile()).unwrap())
        .unwrap()
        .adapter(
            adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
            adapter::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        )
        .unwrap()
        .encode()
        .unwrap();
    let folder = Folder::new();
    let file = folder.file("component.wasm", &component);
    let inspection = inspect(&file);
    assert_eq!(inspection.kind, ModuleKind::Component);
    assert_eq!(inspection.info.name, "hostile");
    assert_eq!(inspection.file_bytes, inspection.component_bytes);
}

#[test]
fn another_contract_version_is_refused_with_both_versions() {
    let bytes = replace(&fs::read(hostile()).unwrap(), b"@0.1.0", b"@0.2.0");
    let error = error_of(&bytes);
    let text = error.to_string();
    assert!(matches!(error, LoadError::Version { .. }), "{text}");
    assert!(text.contains("leaseway:plugin@0.2.0"), "{text}");
    assert!(
        text.contains("this host speaks 0.1.x: rebuild it"),
        "{text}"
    );
}

#[test]
fn a_compatible_contract_version_works() {
    let folder = Folder::new();
    let bytes = replace(&fs::read(hostile()).unwrap(), b"@0.1.0", b"@0.1.7");
    let config = PluginConfig {
        module: ModuleSource::File(folder.file("later.wasm", &bytes)),
        ..config(json!({}))
    };
    let plugin = Runtime::new(None).unwrap().load(&config).unwrap();
    let worker = WorkerPlugin::new(plugin);
    assert!(open(&worker, 1).on_data(Side::Client, b"x").is_ok());
}

#[test]
fn what_is_no_plugin_is_named() {
    for (bytes, expected) in [
        (&b""[..], "it is empty"),
        (b"#!/bin/sh\n", "does not begin with \\0asm"),
        (b"(module)", "WebAssembly text"),
        (b"\0asm\x09\0\0\0", "unknown WebAssembly version"),
    ] {
        let error = error_of(bytes);
        assert!(matches!(error, LoadError::NotWasm { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let module = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "add")))"#);
    let error = error_of(&module.unwrap());
    assert!(matches!(error, LoadError::NotAPlugin { .. }), "{error}");
    assert!(
        error.to_string().contains("it exports memory, add, but no"),
        "{error}"
    );
    let error = error_of(&wat::parse_str("(component)").unwrap());
    assert!(
        error.to_string().contains("it exports nothing, but no"),
        "{error}"
    );
}

#[test]
fn names_from_a_module_cannot_talk_to_a_terminal() {
    let module = wat::parse_str(r#"(module (func (export "\1b[2Jgone\nforged")))"#);
    let text = error_of(&module.unwrap()).to_string();
    assert!(
        text.contains("it exports  [2Jgone forged, but no"),
        "{text:?}"
    );
}

#[test]
fn an_error_stands_once_in_its_message() {
    let mut config = config(json!({}));
    config.module = ModuleSource::File("/nowhere/plugin.wasm".into());
    let error = Runtime::new(None).unwrap().load(&config).map(drop);
    let text = format!("{:#}", anyhow::Error::from(error.unwrap_err()));
    assert_eq!(text.matches("No such file").count(), 1, "{text}");
}

#[test]
fn imports_that_no_plugin_gets_are_named() {
    let bytes = replace(
        &fs::read(hostile()).unwrap(),
        b"leaseway:plugin/log@0.1.0",
        b"wasi:sockets/abcdef@0.2.0",
    );
    // Not a module that a tool would write, but what matters is that it does not load.
    let text = error_of(&bytes).to_string();
    assert!(text.contains("sockets"), "{text}");
    let component = wat::parse_str(
        r#"(component
            (import "wasi:sockets/network@0.2.0" (instance))
            (instance $empty)
            (export "leaseway:plugin/plugin-meta@0.1.0" (instance $empty)))"#,
    );
    let error = error_of(&component.unwrap());
    assert!(matches!(error, LoadError::Import { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("imports wasi:sockets/network@0.2.0, which plugins do not get"),
        "{text}"
    );
}

#[test]
fn half_a_plugin_is_told_what_it_lacks() {
    let component = wat::parse_str(
        r#"(component
            (instance $empty)
            (export "leaseway:plugin/plugin-meta@0.1.0" (instance $empty)))"#,
    );
    let error = error_of(&component.unwrap());
    assert!(matches!(error, LoadError::Contract { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("does not export leaseway:plugin/session-hooks"),
        "{error}"
    );
}

#[test]
fn a_corrupt_file_is_refused() {
    let bytes = fs::read(hostile()).unwrap();
    let cut = &bytes[..bytes.len() / 2];
    let error = error_of(cut);
    assert!(matches!(error, LoadError::Invalid { .. }), "{error}");
}

#[test]
fn files_and_builtins_that_are_not_there_are_named() {
    let runtime = Runtime::new(None).unwrap();
    let mut config = config(json!({}));
    config.module = ModuleSource::File("/nowhere/plugin.wasm".into());
    let text = runtime.load(&config).map(drop).unwrap_err().to_string();
    assert!(text.contains("cannot read /nowhere/plugin.wasm"), "{text}");
    config.module = ModuleSource::File("/dev/zero".into());
    let text = runtime.load(&config).map(drop).unwrap_err().to_string();
    assert!(
        text.contains("cannot read /dev/zero: it is a device, not a regular file; give the path"),
        "{text}"
    );
    config.module = ModuleSource::Builtin("nosuch".to_owned());
    let text = runtime.load(&config).map(drop).unwrap_err().to_string();
    assert!(text.contains("no builtin:nosuch in this binary"), "{text}");
}

#[test]
fn a_refused_config_is_told_in_the_plugins_words() {
    let config = config(json!({ "mode": "refuse" }));
    let error = Runtime::new(None)
        .unwrap()
        .load(&config)
        .map(drop)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "plugin hostile: config refused: mode: may be anything but refuse"
    );
}

#[test]
fn a_plugin_that_faults_while_it_is_configured_does_not_load() {
    for (mode, reason) in [("loop", "deadline"), ("trap", "trap"), ("memory", "memory")] {
        let config = config(json!({ "mode": mode, "hook": "configure" }));
        let error = Runtime::new(None)
            .unwrap()
            .load(&config)
            .map(drop)
            .unwrap_err();
        let LoadError::Fault { fault, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((fault.hook(), fault.reason()), ("configure", reason));
    }
}

#[test]
fn an_instance_that_starts_above_its_memory_limit_does_not_load() {
    let mut config = config(json!({}));
    config.limits.memory = 64 << 10;
    let error = Runtime::new(None)
        .unwrap()
        .load(&config)
        .map(drop)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("does not start: instantiate wanted more memory than limits.memory = 64KiB"),
        "{error}"
    );
}

#[test]
fn compiled_code_is_kept_and_used_again() {
    let folder = Folder::new();
    let cache = folder.0.join("cache");
    let config = config(json!({}));
    Runtime::new(Some(&cache)).unwrap().load(&config).unwrap();
    let files = count_files(&cache);
    assert!(files > 0);
    let again = Runtime::new(Some(&cache)).unwrap();
    let worker = WorkerPlugin::new(again.load(&config).unwrap());
    assert!(again.cache_hits() > 0);
    assert!(open(&worker, 1).on_data(Side::Client, b"x").is_ok());
}

#[test]
fn a_cache_that_cannot_be_used_is_no_failure() {
    let folder = Folder::new();
    let file = folder.file("file", b"");
    let runtime = Runtime::new(Some(&file.join("cache"))).unwrap();
    assert!(runtime.load(&config(json!({}))).is_ok());
}

fn count_files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => count_files(&entry.path()),
            false => 1,
        })
        .sum()
}

/// Or they would be called through the component model, which costs three times as much.
#[test]
fn first_party_plugins_are_called_directly() {
    let runtime = runtime();
    for (name, code) in crate::plugin::builtin::all() {
        let direct = crate::plugin::direct::Direct::new(&runtime.engine, code);
        direct
            .map(drop)
            .unwrap_or_else(|why| panic!("{name}: {why:#}"));
    }
}

/// One that wants more than is known is still called as a component, as far as that knows it.
#[test]
fn a_module_with_other_imports_is_called_as_a_component() {
    let code = fs::read(hostile()).unwrap();
    let runtime = runtime();
    let other = replace(&code, b"fd_readdir", b"sock_other");
    let why = crate::plugin::direct::Direct::new(&runtime.engine, &other).map(drop);
    assert_eq!(
        why.unwrap_err().to_string(),
        "sock_other is for the adapter"
    );
}

/// A component does without a destructor; called directly, every session of it would fail.
#[test]
fn a_module_without_a_destructor_is_called_as_a_component() {
    let code = fs::read(hostile()).unwrap();
    let other = replace(&code, b"#[dtor]session", b"#[dtor]another");
    let folder = Folder::new();
    let config = PluginConfig {
        module: ModuleSource::File(folder.file("plugin.wasm", &other)),
        ..config(json!({}))
    };
    let plugin = runtime().load(&config).unwrap();
    assert!(plugin.direct.is_none());
    let worker = WorkerPlugin::new(plugin);
    assert!(open(&worker, 1).on_data(Side::Client, b"x").is_ok());
}

//! From the bytes of a file to a component whose imports and exports are those of a plugin.
//!
//! Pure: reads no file, runs no guest code. Called while loading.

use std::fmt;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmtime::component::Component;
use wasmtime::{Engine, Module};
use wit_component::ComponentEncoder;

use super::error::LoadError;
use super::output::printable;
use super::sandbox;

/// The package that makes a component a plugin.
pub(super) const CONTRACT: &str = "leaseway:plugin";
/// The versions of it that this host speaks, for people.
pub(super) const CONTRACT_RANGE: &str = "0.1.x";
/// The same for the check: a version is compatible if it begins so.
const CONTRACT_PREFIX: &str = "0.1.";
/// The interfaces that the host provides.
const PROVIDED: [&str; 4] = ["types", "log", "store", "connection"];
/// The interfaces that a plugin provides.
const REQUIRED: [&str; 3] = ["plugin-meta", "session-hooks", "conversations"];

/// What the file of a plugin was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleKind {
    /// A core module, as `cargo build --target wasm32-wasip1` writes it.
    CoreModule,
    /// A component.
    Component,
}

impl fmt::Display for ModuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CoreModule => "core module",
            Self::Component => "component",
        })
    }
}

/// A component that has been checked, but not run.
pub(super) struct Checked {
    pub(super) component: Component,
    pub(super) kind: ModuleKind,
    pub(super) contract: String,
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
    pub(super) component_bytes: usize,
}

/// Who and what an error is about.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) plugin: &'a str,
    pub(super) module: &'a str,
}

impl Origin<'_> {
    pub(super) fn names(&self) -> (String, String) {
        (self.plugin.to_owned(), self.module.to_owned())
    }

    pub(super) fn invalid(&self, error: &wasmtime::Error) -> LoadError {
        let (plugin, module) = self.names();
        LoadError::Invalid {
            plugin,
            module,
            message: one_line(&format!("{error:#}")),
        }
    }

    pub(super) fn contract(&self, error: &wasmtime::Error) -> LoadError {
        let (plugin, module) = self.names();
        LoadError::Contract {
            plugin,
            module,
            message: one_line(&format!("{error:#}")),
        }
    }
}

/// Makes a component of the bytes, compiles it, and checks that it is a plugin of this contract
/// which wants nothing that plugins do not get.
pub(super) fn prepare(
    engine: &Engine,
    bytes: &[u8],
    origin: Origin<'_>,
) -> Result<Checked, LoadError> {
    let kind = kind(bytes).map_err(|found| {
        let (plugin, module) = origin.names();
        LoadError::NotWasm {
            plugin,
            module,
            found,
        }
    })?;
    let encoded;
    let binary = match kind {
        ModuleKind::Component => bytes,
        ModuleKind::CoreModule => {
            encoded = encode(engine, bytes, origin)?;
            &encoded
        }
    };
    let component = Component::from_binary(engine, binary).map_err(|e| origin.invalid(&e))?;
    let ty = component.component_type();
    let imports: Vec<String> = ty
        .imports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    let exports: Vec<String> = ty
        .exports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();

    let Some(contract) = contract_version(&exports) else {
        let exports = match kind {
            ModuleKind::Component => exports,
            ModuleKind::CoreModule => core_exports(engine, bytes),
        };
        return Err(not_a_plugin(&exports, origin));
    };
    check_names(&imports, &exports, origin)?;
    Ok(Checked {
        component,
        kind,
        contract,
        imports,
        exports,
        component_bytes: binary.len(),
    })
}

/// Tells a core module from a component by its first eight bytes.
fn kind(bytes: &[u8]) -> Result<ModuleKind, String> {
    match bytes {
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(ModuleKind::CoreModule),
        [b'\0', b'a', b's', b'm', _, 0, 1, 0, ..] => Ok(ModuleKind::Component),
        [] => Err("it is empty".to_owned()),
        [b'\0', b'a', b's', b'm', ..] => Err("of an unknown WebAssembly version".to_owned()),
        [b'(', ..] => Err("it looks like WebAssembly text".to_owned()),
        _ => Err("it does not begin with \\0asm".to_owned()),
    }
}

fn encode(engine: &Engine, module: &[u8], origin: Origin<'_>) -> Result<Vec<u8>, LoadError> {
    // The encoder trusts the module's structure, and panics where a section is cut short.
    Module::validate(engine, module).map_err(|error| origin.invalid(&error))?;
    encode_component(module).map_err(|error| {
        let (plugin, name) = origin.names();
        // A module without our metadata fails here for whatever it imports; that it is no
        // plugin is the better news.
        match Module::validate(engine, module) {
            Ok(()) if !mentions_contract(module) => {
                not_a_plugin(&core_exports(engine, module), origin)
            }
            _ => LoadError::Invalid {
                plugin,
                module: name,
                message: one_line(&format!("{error:#}")),
            },
        }
    })
}

/// Makes a component of a core module whose structure is sound.
pub(super) fn encode_component(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    ComponentEncoder::default()
        .module(module)?
        .adapter(
            WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
            WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        )?
        .encode()
}

/// Whether the contract's name stands anywhere in the bytes, as it does in the metadata that
/// binding generators leave behind.
fn mentions_contract(module: &[u8]) -> bool {
    module
        .windows(CONTRACT.len())
        .any(|window| window == CONTRACT.as_bytes())
}

fn not_a_plugin(exports: &[String], origin: Origin<'_>) -> LoadError {
    /// Enough to recognise what the file is.
    const SHOWN: usize = 8;
    let (plugin, module) = origin.names();
    // Names of a core module may hold anything.
    let mut shown = printable(&exports[..exports.len().min(SHOWN)].join(", ")).into_owned();
    if exports.is_empty() {
        shown = "nothing".to_owned();
    } else if exports.len() > SHOWN {
        shown.push_str(&format!(" and {} more", exports.len() - SHOWN));
    }
    LoadError::NotAPlugin {
        plugin,
        module,
        exports: shown,
    }
}

/// What a core module exports. Compiles it, so only for an error message.
fn core_exports(engine: &Engine, module: &[u8]) -> Vec<String> {
    Module::from_binary(engine, module)
        .map(|module| module.exports().map(|e| e.name().to_owned()).collect())
        .unwrap_or_default()
}

fn contract_version(exports: &[String]) -> Option<String> {
    exports
        .iter()
        .filter_map(|name| Interface::parse(name))
        .find(|interface| interface.package == CONTRACT)
        .map(|interface| interface.version.to_owned())
}

fn check_names(
    imports: &[String],
    exports: &[String],
    origin: Origin<'_>,
) -> Result<(), LoadError> {
    // A version that does not fit explains every other thing that does not fit.
    for name in exports.iter().chain(imports) {
        let Some(interface) = Interface::parse(name) else {
            continue;
        };
        if interface.package == CONTRACT && !interface.version.starts_with(CONTRACT_PREFIX) {
            let (plugin, module) = origin.names();
            return Err(LoadError::Version {
                plugin,
                module,
                found: printable(interface.version).into_owned(),
            });
        }
    }
    for name in imports {
        let allowed = Interface::parse(name).is_some_and(|interface| {
            (interface.package == CONTRACT && PROVIDED.contains(&interface.name))
                || sandbox::allows(&interface)
        });
        if !allowed {
            let (plugin, module) = origin.names();
            return Err(LoadError::Import {
                plugin,
                module,
                import: printable(name).into_owned(),
            });
        }
    }
    for wanted in REQUIRED {
        let there = exports.iter().filter_map(|name| Interface::parse(name));
        if !there
            .filter(|interface| interface.package == CONTRACT)
            .any(|interface| interface.name == wanted)
        {
            let (plugin, module) = origin.names();
            return Err(LoadError::Contract {
                plugin,
                module,
                message: format!("it does not export {CONTRACT}/{wanted}"),
            });
        }
    }
    Ok(())
}

/// The parts of `namespace:package/name@version`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Interface<'a> {
    pub(super) package: &'a str,
    pub(super) name: &'a str,
    pub(super) version: &'a str,
}

impl<'a> Interface<'a> {
    pub(super) fn parse(full: &'a str) -> Option<Self> {
        let (path, version) = full.split_once('@').unwrap_or((full, ""));
        let (package, name) = path.split_once('/')?;
        Some(Self {
            package,
            name,
            version,
        })
    }
}

/// Error texts of compilers have many lines and quote the module; a log line is one, of text.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    printable(&words.join(" ")).into_owned()
}

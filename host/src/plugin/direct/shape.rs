//! What a module has to be like for its hooks to be called directly, found out while loading.
//!
//! A worker looks all of it up in each instance. What is missing there, or is of another type, would fail every
//! session of a plugin that works as a component; so it is checked here, by the module's types, and
//! nothing is run. Whatever makes the component behave in another way than the calls in here is refused as well.
//!
//! Source: the names that `wit-component` gives a meaning (its `validation.rs`), and the component model's
//! `CanonicalABI.md`, "Flattening".

use wasmtime::{ExternType, Module, ValType, bail, format_err};
use wit_component::{StringEncoding, metadata};

use crate::plugin::component::{CONTRACT, Interface};

/// Exports that have the component do something else than is done here: ask another function for room, prepare
/// each call, or call what follows a later convention.
const OTHERWISE: [&str; 6] = [
    "canonical_abi_realloc",
    "cabi_import_realloc",
    "cabi_export_realloc",
    "__wasm_init_task",
    "__wasm_init_async_task",
    "cm32p2",
];

/// What a function returns.
#[derive(Clone, Copy, PartialEq)]
enum Returns {
    Nothing,
    /// All that there is to know.
    Number,
    /// Where its answer is, which another function may want to take back.
    Place,
}

/// The end of a function's name, a letter for each parameter (`i` for 32 bits, `l` for 64), and what it returns.
type Wanted = (&'static str, &'static str, Returns);

const META: [Wanted; 1] = [("#configure", "ii", Returns::Place)];

const HOOKS: [Wanted; 12] = [
    ("#[constructor]session", "liiiiii", Returns::Number),
    ("#[method]session.choose-upstream", "iii", Returns::Place),
    ("#[method]session.on-leased", "iiiiiiii", Returns::Place),
    ("#[method]session.on-lease-failed", "iiii", Returns::Place),
    ("#[method]session.on-data", "iiii", Returns::Place),
    ("#[method]session.on-eof", "ii", Returns::Place),
    ("#[method]session.pool-return", "iill", Returns::Number),
    (
        "#[method]session.on-request-failed",
        "iiiii",
        Returns::Place,
    ),
    ("#[dtor]session", "i", Returns::Nothing),
    ("#[constructor]replies", "", Returns::Number),
    ("#[method]replies.measure", "iii", Returns::Place),
    ("#[dtor]replies", "i", Returns::Nothing),
];

/// What the names of the functions begin with.
pub(super) struct Names {
    /// Those of the hooks.
    pub(super) hooks: String,
    /// `describe` and `configure`.
    pub(super) meta: String,
}

/// Checks a module and its bytes.
///
/// # Errors
/// It is not like that; as a component it may yet be a plugin.
pub(super) fn check(module: &Module, code: &[u8]) -> wasmtime::Result<Names> {
    for export in module.exports() {
        let name = export.name();
        if OTHERWISE.iter().any(|other| name.starts_with(other)) {
            bail!("{name} is for the component");
        }
    }
    match module.get_export("memory") {
        Some(ExternType::Memory(ty)) if !ty.is_64() && !ty.is_shared() => {}
        _ => bail!("there is no memory of 32 bits and its own"),
    }
    function(module, "cabi_realloc", "iiii", true)?;
    let names = Names {
        hooks: interface(module, "session-hooks")?,
        meta: interface(module, "plugin-meta")?,
    };
    functions(module, &names.meta, &META)?;
    functions(module, &names.hooks, &HOOKS)?;
    check_texts(code)?;
    Ok(names)
}

/// The full name of an interface that is exported, in one version.
fn interface(module: &Module, wanted: &str) -> wasmtime::Result<String> {
    let mut found = None;
    for export in module.exports() {
        let Some((full, _)) = export.name().split_once('#') else {
            continue;
        };
        let is_it = Interface::parse(full)
            .is_some_and(|interface| interface.package == CONTRACT && interface.name == wanted);
        if !is_it {
            continue;
        }
        if found.is_some_and(|found| found != full) {
            bail!("{wanted} is there in two versions");
        }
        found = Some(full);
    }
    found
        .map(str::to_owned)
        .ok_or_else(|| format_err!("there is no {wanted}"))
}

fn functions(module: &Module, interface: &str, wanted: &[Wanted]) -> wasmtime::Result<()> {
    for (name, params, returns) in wanted {
        let name = format!("{interface}{name}");
        function(module, &name, params, *returns != Returns::Nothing)?;
        let done = format!("cabi_post_{name}");
        match returns {
            Returns::Place if module.get_export(&done).is_some() => {
                function(module, &done, "i", false)?;
            }
            Returns::Number if module.get_export(&done).is_some() => {
                bail!("{done} takes back what is no place");
            }
            _ => {}
        }
    }
    Ok(())
}

fn function(module: &Module, name: &str, params: &str, returns: bool) -> wasmtime::Result<()> {
    let Some(ExternType::Func(ty)) = module.get_export(name) else {
        bail!("there is no {name}");
    };
    let fits = |(ty, letter): (ValType, char)| match letter {
        'l' => ty.is_i64(),
        _ => ty.is_i32(),
    };
    let fits = ty.params().len() == params.len()
        && ty.params().zip(params.chars()).all(fits)
        && ty.results().len() == usize::from(returns)
        && ty.results().all(|ty| ty.is_i32());
    if !fits {
        bail!("{name} is of another type");
    }
    Ok(())
}

/// Texts are UTF-8 here; a component has them in whatever encoding its module was built for.
fn check_texts(code: &[u8]) -> wasmtime::Result<()> {
    let (_, found) = metadata::decode(code).map_err(|why| format_err!("{why:#}"))?;
    let (all, world) = (&found.resolve, &found.resolve.worlds[found.world]);
    let other = |encoding| encoding != StringEncoding::UTF8;
    for (_, interface) in &all.interfaces {
        for function in interface.functions.keys() {
            let imports = world.imports.keys().map(|key| {
                let encodings = &found.metadata.import_encodings;
                encodings.get(all, key, function)
            });
            let exports = world.exports.keys().map(|key| {
                let encodings = &found.metadata.export_encodings;
                encodings.get(all, key, function)
            });
            if imports.chain(exports).flatten().any(other) {
                bail!("its texts are not UTF-8");
            }
        }
    }
    Ok(())
}

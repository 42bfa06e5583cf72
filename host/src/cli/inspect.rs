//! `leaseway plugin inspect`: what a plugin is, without running a session.

use std::path::Path;
use std::process::ExitCode;

use crate::contract::Side;
use crate::plugin::{Inspection, Runtime};

/// Prints what a plugin is.
///
/// # Errors
/// It does not load.
pub fn inspect(path: &Path) -> anyhow::Result<ExitCode> {
    let inspection = Runtime::new(None)?.inspect(path)?;
    print!("{}", describe(path, &inspection));
    Ok(ExitCode::SUCCESS)
}

fn describe(path: &Path, inspection: &Inspection) -> String {
    let Inspection {
        info,
        kind,
        contract,
        imports,
        exports,
        ..
    } = inspection;
    let first = match info.speaks_first {
        Side::Client => "the client",
        Side::Upstream => "the upstream",
    };
    let list = |items: &[String]| {
        items
            .iter()
            .map(|item| format!("  {item}\n"))
            .collect::<String>()
    };
    format!(
        "{path}\n\
         plugin      {name} {version}\n\
         contract    leaseway:plugin@{contract}\n\
         form        {kind}\n\
         hooks       {hooks}\n\
         first       {first} speaks first\n\
         size        {file} bytes on disk, {component} as a component, {compiled} compiled\n\
         imports\n{imports}\
         exports\n{exports}",
        path = path.display(),
        name = info.name,
        version = info.version,
        hooks = hook_names(info.hooks).join(", "),
        file = inspection.file_bytes,
        component = inspection.component_bytes,
        compiled = inspection.compiled_bytes,
        imports = list(imports),
        exports = list(exports),
    )
}

fn hook_names(hooks: crate::contract::Hooks) -> Vec<&'static str> {
    use crate::contract::Hooks;
    [
        (Hooks::CHOOSE_UPSTREAM, "choose-upstream"),
        (Hooks::ON_LEASED, "on-leased"),
        (Hooks::ON_LEASE_FAILED, "on-lease-failed"),
        (Hooks::ON_DATA, "on-data"),
        (Hooks::ON_EOF, "on-eof"),
        (Hooks::POOL_RETURN, "pool-return"),
        (Hooks::CONNECT, "connect"),
        (Hooks::RESET, "reset"),
        (Hooks::PROBE, "probe"),
    ]
    .into_iter()
    .filter(|(hook, _)| hooks.contains(*hook))
    .map(|(_, name)| name)
    .collect()
}

//! `leaseway plugin inspect`: what a plugin is, without running a session.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};

use crate::config;
use crate::contract::Side;
use crate::plugin::{Inspection, Runtime, printable};

/// Prints what a plugin is.
///
/// # Errors
/// It does not load, or standard output cannot be written to.
pub fn inspect(plugin: &str) -> anyhow::Result<ExitCode> {
    inspect_to(&mut io::stdout().lock(), plugin)?;
    Ok(ExitCode::SUCCESS)
}

fn inspect_to(out: &mut dyn Write, plugin: &str) -> anyhow::Result<()> {
    let module = config::module(plugin, Path::new("")).map_err(|why| anyhow!(why))?;
    let inspection = Runtime::new(None)?.inspect(plugin, &module)?;
    out.write_all(describe(plugin, &inspection).as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")
}

/// What a module says of itself may hold anything, and is shown on a terminal.
fn describe(plugin: &str, inspection: &Inspection) -> String {
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
            .map(|item| format!("  {}\n", printable(item)))
            .collect::<String>()
    };
    format!(
        "{plugin}\n\
         plugin      {name} {version}\n\
         contract    leaseway:plugin@{contract}\n\
         form        {kind}\n\
         hooks       {hooks}\n\
         first       {first} speaks first\n\
         calls       {calls}\n\
         {files}\
         size        {file} bytes on disk, {component} as a component, {compiled} compiled\n\
         imports\n{imports}\
         exports\n{exports}",
        name = printable(&info.name),
        version = printable(&info.version),
        contract = printable(contract),
        hooks = hook_names(info.hooks).join(", "),
        calls = calls(inspection),
        files = file_keys(&info.config_files),
        file = inspection.file_bytes,
        component = inspection.component_bytes,
        compiled = inspection.compiled_bytes,
        imports = list(imports),
        exports = list(exports),
    )
}

/// How session hooks are called. Names of a module may stand in the reason.
fn calls(inspection: &Inspection) -> String {
    match &inspection.through_component {
        None => "directly".to_owned(),
        Some(why) => format!("as a component: {}", printable(why)),
    }
}

/// The line on the keys that name files; none if there are no such keys.
fn file_keys(keys: &[String]) -> String {
    if keys.is_empty() {
        return String::new();
    }
    format!("files       {}\n", printable(&keys.join(", ")))
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
        (Hooks::REPLIES, "replies"),
        (Hooks::ON_REQUEST_FAILED, "on-request-failed"),
    ]
    .into_iter()
    .filter(|(hook, _)| hooks.contains(*hook))
    .map(|(_, name)| name)
    .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::contract::{Hooks, PluginInfo};
    use crate::plugin::ModuleKind;
    use crate::plugin::tests::hostile;

    #[test]
    fn an_output_that_is_full_is_an_error() {
        let path = hostile().to_str().unwrap();
        let mut full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let error = format!("{:#}", inspect_to(&mut full, path).unwrap_err());
        assert!(
            error.starts_with("cannot write to standard output: "),
            "{error}"
        );
    }

    #[test]
    fn a_builtin_is_named_as_elsewhere() {
        let error = inspect_to(&mut io::sink(), "redis").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("did you mean \"builtin:redis\"?"),
            "{error}"
        );
    }

    #[test]
    fn every_hook_is_named() {
        let contract = include_str!("../../../guest-sdk/wit/leaseway.wit");
        let (_, flags) = contract.split_once("flags hooks {").unwrap();
        let (flags, _) = flags.split_once('}').unwrap();
        let lines = flags.lines().map(str::trim);
        let names: Vec<&str> = lines.filter_map(|line| line.strip_suffix(',')).collect();
        assert_eq!(hook_names(Hooks::all()), names);
    }

    #[test]
    fn a_plugin_cannot_talk_to_the_terminal() {
        let inspection = Inspection {
            info: PluginInfo {
                name: "\x1b[2Jname".to_owned(),
                version: "1\nforged".to_owned(),
                hooks: Hooks::empty(),
                speaks_first: Side::Client,
                config_files: vec!["\x1bkey".to_owned()],
            },
            kind: ModuleKind::Component,
            contract: "0.1.\x07".to_owned(),
            through_component: Some("no \x1bfunction".to_owned()),
            imports: vec!["\x1bimport".to_owned()],
            exports: Vec::new(),
            file_bytes: 0,
            component_bytes: 0,
            compiled_bytes: 0,
        };
        let text = describe("p.wasm", &inspection);
        assert!(
            text.contains("\nplugin       [2Jname 1 forged\n"),
            "{text:?}"
        );
        assert!(
            text.contains("\ncalls       as a component: no  function\n"),
            "{text:?}"
        );
        assert!(
            text.chars().all(|c| c == '\n' || !c.is_control()),
            "{text:?}"
        );
    }
}

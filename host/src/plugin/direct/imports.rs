//! The contract's imports, for an instance without the component model around it.

use std::time::Instant;

use wasmtime::{Caller, FuncType, Linker, Module, bail};

use super::lift::{Reader, no_case};
use super::{Guest, wasi};
use crate::contract::session_side::leaseway::plugin::log::{Host as _, Level};
use crate::contract::session_side::leaseway::plugin::store::Refusal;
use crate::plugin::component::{CONTRACT, Interface};
use crate::plugin::fault::Forbidden;
use crate::plugin::output::MAX_LINE;
use crate::plugin::sandbox::not_given;
use crate::plugin::state::GuestState;
use crate::plugin::store::SharedStore;

/// Where a module imports what makes handles of its own resources.
const EXPORTED: &str = "[export]";

/// Handles that a constructor may make on its way to the one that it returns.
const MAX_HANDLES: usize = 16;

/// As the contract numbers them.
const LEVELS: [Level; 5] = [
    Level::Trace,
    Level::Debug,
    Level::Info,
    Level::Warn,
    Level::Error,
];

type Calling<'a> = Caller<'a, GuestState>;

/// Defines all that the module imports.
///
/// # Errors
/// It imports something that is not known here; as a component it may yet be a plugin.
pub(super) fn define(linker: &mut Linker<GuestState>, module: &Module) -> wasmtime::Result<()> {
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        let Some(ty) = import.ty().func().cloned() else {
            bail!("{from} {name} is no function");
        };
        let interface = Interface::parse(from.strip_prefix(EXPORTED).unwrap_or(from))
            .filter(|interface| interface.package == CONTRACT);
        match interface.map(|interface| interface.name) {
            None if from == wasi::MODULE => wasi::define(linker, name, ty)?,
            Some("log") => log(linker, from, name)?,
            Some("store") => store(linker, from, name)?,
            // The plugin's world imports it, but no session hook can get hold of a connection.
            Some("connection") => trap(linker, from, name, ty)?,
            Some("session-hooks") if from.starts_with(EXPORTED) => {
                resource(linker, from, name, ty)?;
            }
            _ => bail!("{from} is not known"),
        }
    }
    Ok(())
}

fn trap(
    linker: &mut Linker<GuestState>,
    from: &str,
    name: &str,
    ty: FuncType,
) -> wasmtime::Result<()> {
    let names = (from.to_owned(), name.to_owned());
    linker
        .func_new(from, name, ty, move |_, _, _| {
            Err(not_given(&names.0, &names.1))
        })
        .map(|_| ())
}

/// A constructor has its object made a handle, which it returns. Where objects are is all that is kept.
fn resource(
    linker: &mut Linker<GuestState>,
    from: &str,
    name: &str,
    ty: FuncType,
) -> wasmtime::Result<()> {
    if !name.starts_with("[resource-new]") {
        return trap(linker, from, name, ty);
    }
    linker
        .func_wrap(from, name, |mut s: Calling<'_>, object: u32| {
            may_call(&s)?;
            let made = &mut s.data_mut().made;
            if made.len() >= MAX_HANDLES {
                let what = format!("made more than {MAX_HANDLES} handles in one call");
                return Err(wasmtime::Error::from(Forbidden(what)));
            }
            made.push(object);
            Ok(made.len() as u32)
        })
        .map(|_| ())
}

fn log(linker: &mut Linker<GuestState>, from: &str, name: &str) -> wasmtime::Result<()> {
    match name {
        "log" => linker.func_wrap(
            from,
            name,
            |mut s: Calling<'_>, case: u32, at: u32, length: u32| {
                let level = LEVELS.get(case as usize).copied();
                let level = level.ok_or_else(|| no_case("level", case))?;
                // No more than is logged, and a character that is cut.
                let bytes = slice(&s, at, length.min(MAX_LINE as u32 + 4))?;
                let text = String::from_utf8_lossy(bytes).into_owned();
                s.data_mut().log(level, text);
                wasmtime::Result::Ok(())
            },
        ),
        "enabled" => linker.func_wrap(from, name, |mut s: Calling<'_>| {
            may_call(&s)?;
            let level = s.data_mut().enabled();
            let case = LEVELS.iter().position(|one| *one == level);
            wasmtime::Result::Ok(case.unwrap_or(LEVELS.len() - 1) as u32)
        }),
        _ => bail!("{from} has no {name}"),
    }
    .map(|_| ())
}

fn store(linker: &mut Linker<GuestState>, from: &str, name: &str) -> wasmtime::Result<()> {
    let looks_up = |look: fn(&SharedStore, &[u8], Instant) -> Option<Vec<u8>>| {
        move |mut s: Calling<'_>, key: u32, length: u32, to: u32| {
            let found = look(shared(&s), slice(&s, key, length)?, Instant::now());
            put_option(&mut s, to, found.as_deref())
        }
    };
    match name {
        "get" => linker.func_wrap(from, name, looks_up(SharedStore::get)),
        "take" => linker.func_wrap(from, name, looks_up(SharedStore::take)),
        "put" => linker.func_wrap(
            from,
            name,
            |mut s: Calling<'_>,
             key: u32,
             key_length: u32,
             value: u32,
             value_length: u32,
             ttl_ms: u64,
             to: u32| {
                let key = slice(&s, key, key_length)?;
                let value = slice(&s, value, value_length)?;
                let result = match shared(&s).put(key, value, ttl_ms, Instant::now()) {
                    Ok(()) => [0, 0],
                    Err(Refusal::Full) => [1, 0],
                    Err(Refusal::TooLong) => [1, 1],
                    Err(Refusal::BadTtl) => [1, 2],
                };
                let guest = guest(&s)?;
                guest.write(&mut s, to, &result)
            },
        ),
        "replace" => linker.func_wrap(
            from,
            name,
            |s: Calling<'_>, key: u32, k: u32, expected: u32, e: u32, value: u32, v: u32| {
                let (key, expected) = (slice(&s, key, k)?, slice(&s, expected, e)?);
                let value = slice(&s, value, v)?;
                let replaced = shared(&s).replace(key, expected, value, Instant::now());
                wasmtime::Result::Ok(i32::from(replaced))
            },
        ),
        _ => bail!("{from} has no {name}"),
    }
    .map(|_| ())
}

/// Not while it is asked for room or frees some.
fn may_call(s: &Calling<'_>) -> Result<(), Forbidden> {
    match s.data().quiet {
        false => Ok(()),
        true => Err(Forbidden(
            "called the host where it may only make room or free some".to_owned(),
        )),
    }
}

fn guest(s: &Calling<'_>) -> wasmtime::Result<Guest> {
    let guest = s.data().guest.clone();
    guest.ok_or_else(|| Forbidden("called the host before it was there".to_owned()).into())
}

fn slice<'a>(s: &'a Calling<'_>, at: u32, length: u32) -> wasmtime::Result<&'a [u8]> {
    may_call(s)?;
    let memory = guest(s)?.memory;
    Ok(Reader::new(memory.data(s), 0).slice(at, length)?)
}

fn shared<'a>(s: &'a Calling<'_>) -> &'a SharedStore {
    &s.data().store
}

/// Writes an optional list there; the list itself goes where the guest says.
fn put_option(s: &mut Calling<'_>, to: u32, list: Option<&[u8]>) -> wasmtime::Result<()> {
    let guest = guest(s)?;
    let mut option = [0; 12];
    if let Some(list) = list {
        let (at, length) = guest.hand(&mut *s, list)?;
        option[0] = 1;
        option[4..8].copy_from_slice(&at.to_le_bytes());
        option[8..].copy_from_slice(&length.to_le_bytes());
    }
    guest.write(s, to, &option)
}

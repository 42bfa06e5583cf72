//! The contract's imports, for an instance without the component model around it.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::{Caller, FuncType, Linker, Module, bail};

use super::lift::Reader;
use super::{Guest, wasi};
use crate::contract::session_side::leaseway::plugin::log::{Host as _, Level};
use crate::contract::session_side::leaseway::plugin::store::Refusal;
use crate::plugin::component::{CONTRACT, Interface};
use crate::plugin::fault::Forbidden;
use crate::plugin::output::MAX_LINE;
use crate::plugin::state::GuestState;
use crate::plugin::store::SharedStore;

/// Where a module imports what makes handles of its own resources.
const EXPORTED: &str = "[export]";

/// Handles that a constructor may make on its way to the one that it returns.
const MAX_HANDLES: usize = 16;

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
    let what = format!("called {from}#{name}, which plugins do not get");
    linker
        .func_new(from, name, ty, move |_, _, _| {
            Err(Forbidden(what.clone()).into())
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
            |mut s: Calling<'_>, level: i32, at: i32, length: i32| {
                let level = match level {
                    0 => Level::Trace,
                    1 => Level::Debug,
                    2 => Level::Info,
                    3 => Level::Warn,
                    4 => Level::Error,
                    other => {
                        let what = format!("handed the host case {other} of a level");
                        return Err(wasmtime::Error::from(Forbidden(what)));
                    }
                };
                // No more than is logged, and a character that is cut.
                let length = (length as u32).min(MAX_LINE as u32 + 4);
                let bytes = read(&s)?.slice(at as u32, length)?;
                let text = String::from_utf8_lossy(bytes).into_owned();
                s.data_mut().log(level, text);
                Ok(())
            },
        ),
        "enabled" => linker.func_wrap(from, name, |mut s: Calling<'_>| {
            may_call(&s)?;
            wasmtime::Result::Ok(match s.data_mut().enabled() {
                Level::Trace => 0,
                Level::Debug => 1,
                Level::Info => 2,
                Level::Warn => 3,
                Level::Error => 4,
            })
        }),
        _ => bail!("{from} has no {name}"),
    }
    .map(|_| ())
}

fn store(linker: &mut Linker<GuestState>, from: &str, name: &str) -> wasmtime::Result<()> {
    match name {
        "get" => linker.func_wrap(
            from,
            name,
            |mut s: Calling<'_>, key: i32, length: i32, to: i32| {
                let found = {
                    let key = slice(&s, key, length)?;
                    shared(&s).get(key, Instant::now())
                };
                put_option(&mut s, to, found.as_deref())
            },
        ),
        "take" => linker.func_wrap(
            from,
            name,
            |mut s: Calling<'_>, key: i32, length: i32, to: i32| {
                let found = {
                    let key = slice(&s, key, length)?;
                    shared(&s).take(key, Instant::now())
                };
                put_option(&mut s, to, found.as_deref())
            },
        ),
        "put" => linker.func_wrap(
            from,
            name,
            |mut s: Calling<'_>,
             key: i32,
             key_length: i32,
             value: i32,
             value_length: i32,
             ttl_ms: i64,
             to: i32| {
                let result = {
                    let key = slice(&s, key, key_length)?;
                    let value = slice(&s, value, value_length)?;
                    shared(&s).put(key, value, ttl_ms as u64, Instant::now())
                };
                let result = match result {
                    Ok(()) => [0, 0],
                    Err(Refusal::Full) => [1, 0],
                    Err(Refusal::TooLong) => [1, 1],
                    Err(Refusal::BadTtl) => [1, 2],
                };
                let guest = guest(&s)?;
                guest.write(&mut s, to as u32, &result)
            },
        ),
        "replace" => linker.func_wrap(
            from,
            name,
            |s: Calling<'_>, key: i32, k: i32, expected: i32, e: i32, value: i32, v: i32| {
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

fn read<'a>(s: &'a Calling<'_>) -> wasmtime::Result<Reader<'a>> {
    may_call(s)?;
    let guest = s.data().guest.as_ref();
    let guest = guest.ok_or_else(|| Forbidden("called the host before it was there".to_owned()))?;
    Ok(Reader::new(guest.memory.data(s), 0))
}

fn slice<'a>(s: &'a Calling<'_>, at: i32, length: i32) -> wasmtime::Result<&'a [u8]> {
    Ok(read(s)?.slice(at as u32, length as u32)?)
}

fn shared<'a>(s: &'a Calling<'_>) -> &'a Arc<SharedStore> {
    &s.data().store
}

/// Writes an optional list there; the list itself goes where the guest says.
fn put_option(s: &mut Calling<'_>, to: i32, list: Option<&[u8]>) -> wasmtime::Result<()> {
    let guest = guest(s)?;
    let mut option = [0; 12];
    if let Some(list) = list {
        let (at, length) = guest.hand(&mut *s, list)?;
        option[0] = 1;
        option[4..8].copy_from_slice(&at.to_le_bytes());
        option[8..].copy_from_slice(&length.to_le_bytes());
    }
    guest.write(s, to as u32, &option)
}

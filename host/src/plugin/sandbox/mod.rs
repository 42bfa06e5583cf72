//! WASI as plugins get it: clocks, random numbers, a place to print to, and otherwise nothing.
//!
//! The environment and the arguments are empty, stdin is at its end, there is no directory to
//! open anything in, and exit is a trap. Nothing here touches a file or a socket, and nothing
//! blocks a thread: a session hook that would wait is ended, a conversation is suspended.
//!
//! Of `wasi:filesystem/types`, and of whatever else an allowed interface has and this
//! module has not, every function is a trap: most need a handle that nothing here gives out.

mod clocks;
mod streams;

use std::time::Duration;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, Resource, ResourceType};
use wasmtime::{Engine, StoreContextMut};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};
use wasmtime_wasi::random::WasiRandomCtx;

use self::clocks::{Pollable, Timers};
pub(super) use self::clocks::{must_not_wait, wall_time};
use self::streams::{InputStream, IoError, OutputStream};
use super::component::Interface;
use super::fault::Forbidden;
use super::output::Stdio;
use super::state::GuestState;

/// The WASI interfaces that a plugin may import. The preview1 adapter imports most of them,
/// whether the plugin uses them or not.
const ALLOWED: [(&str, &[&str]); 5] = [
    (
        "wasi:cli",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("wasi:io", &["error", "poll", "streams"]),
    ("wasi:clocks", &["monotonic-clock", "wall-clock"]),
    ("wasi:filesystem", &["types", "preopens"]),
    ("wasi:random", &["random", "insecure", "insecure-seed"]),
];
/// The versions of WASI that those are.
const WASI_PREFIX: &str = "0.2.";
/// Random bytes that one call may ask for.
const MAX_RANDOM: u64 = 64 << 10;

/// Whether plugins may import this interface.
pub(super) fn allows(interface: &Interface<'_>) -> bool {
    interface.version.starts_with(WASI_PREFIX)
        && ALLOWED.iter().any(|(package, names)| {
            *package == interface.package && names.contains(&interface.name)
        })
}

/// What an instance has of WASI's state.
pub(super) struct Wasi {
    random: WasiRandomCtx,
    timers: Timers,
}

impl Wasi {
    pub(super) fn new() -> Self {
        Self {
            random: WasiRandomCtx::default(),
            timers: Timers::new(),
        }
    }

    /// So many random bytes.
    pub(super) fn random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        check_random(count)?;
        random::Host::get_random_bytes(&mut self.random, count)
    }

    /// What the monotonic clock shows.
    pub(super) fn uptime(&self) -> Duration {
        self.timers.uptime()
    }
}

/// `wasi:filesystem/types.descriptor`: never made.
struct Descriptor;
/// Any other resource of WASI: never made.
struct Nothing;

pub(super) fn forbidden(what: String) -> wasmtime::Error {
    Forbidden(what).into()
}

/// The guest has called what it can import and does not get.
pub(super) fn not_given(from: &str, name: &str) -> wasmtime::Error {
    forbidden(format!("called {from}#{name}, which plugins do not get"))
}

/// It has called exit.
pub(super) fn exited(well: bool) -> wasmtime::Error {
    let code = if well { "0" } else { "1" };
    forbidden(format!("called exit with code {code}"))
}

/// Defines every WASI import of the component.
pub(super) fn define(
    linker: &mut Linker<GuestState>,
    engine: &Engine,
    component: &Component,
    may_wait: bool,
) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    for (full, item) in component.component_type().imports(engine) {
        let Some(interface) = Interface::parse(full).filter(allows) else {
            continue;
        };
        // Under the very name that is imported: a compatible version would do for the linker,
        // but not once the traps stand under the exact one.
        trap_all(linker, engine, full, &item.ty)?;
        let mut to = linker.instance(full)?;
        match (interface.package, interface.name) {
            ("wasi:cli", name) => define_cli(&mut to, name)?,
            ("wasi:io", "error") => streams::define_error(&mut to)?,
            ("wasi:io", "poll") => clocks::define_poll(&mut to, may_wait)?,
            ("wasi:io", "streams") => streams::define(&mut to)?,
            ("wasi:clocks", "monotonic-clock") => clocks::define_monotonic(&mut to)?,
            ("wasi:clocks", "wall-clock") => clocks::define_wall(&mut to)?,
            ("wasi:filesystem", "types") => {
                to.resource("descriptor", ResourceType::host::<Descriptor>(), no_op)?;
            }
            ("wasi:filesystem", "preopens") => {
                to.func_wrap("get-directories", |_, (): ()| {
                    Ok((Vec::<(Resource<Descriptor>, String)>::new(),))
                })?;
            }
            ("wasi:random", _) => define_random(&mut to)?,
            _ => {}
        }
    }
    linker.allow_shadowing(false);
    Ok(())
}

/// Makes every function of an imported interface a trap, and every resource one that nobody has.
pub(super) fn trap_all(
    linker: &mut Linker<GuestState>,
    engine: &Engine,
    full: &str,
    item: &ComponentItem,
) -> wasmtime::Result<()> {
    let ComponentItem::ComponentInstance(instance) = item else {
        return Ok(());
    };
    let mut to = linker.instance(full)?;
    for (name, export) in instance.exports(engine) {
        match export.ty {
            ComponentItem::ComponentFunc(_) => {
                let names = (full.to_owned(), name.to_owned());
                to.func_new(name, move |_, _, _, _| Err(not_given(&names.0, &names.1)))?;
            }
            ComponentItem::Resource(_) => {
                let ty = match name {
                    "pollable" => ResourceType::host::<Pollable>(),
                    "input-stream" => ResourceType::host::<InputStream>(),
                    "output-stream" => ResourceType::host::<OutputStream>(),
                    "error" => ResourceType::host::<IoError>(),
                    "descriptor" => ResourceType::host::<Descriptor>(),
                    _ => ResourceType::host::<Nothing>(),
                };
                to.resource(name, ty, no_op)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn no_op(_: StoreContextMut<'_, GuestState>, _: u32) -> wasmtime::Result<()> {
    Ok(())
}

type Defining<'a> = LinkerInstance<'a, GuestState>;

fn define_cli(to: &mut Defining<'_>, interface: &str) -> wasmtime::Result<()> {
    match interface {
        "environment" => {
            to.func_wrap("get-environment", |_, (): ()| {
                Ok((Vec::<(String, String)>::new(),))
            })?;
            to.func_wrap("get-arguments", |_, (): ()| Ok((Vec::<String>::new(),)))?;
            to.func_wrap("initial-cwd", |_, (): ()| Ok((None::<String>,)))
        }
        "exit" => to.func_wrap("exit", |_, (status,): (Result<(), ()>,)| {
            Err::<(), _>(exited(status.is_ok()))
        }),
        "stdin" => to.func_wrap("get-stdin", |_, (): ()| {
            Ok((Resource::<InputStream>::new_own(0),))
        }),
        "stdout" => to.func_wrap("get-stdout", |_, (): ()| {
            Ok((Resource::<OutputStream>::new_own(Stdio::Out as u32),))
        }),
        "stderr" => to.func_wrap("get-stderr", |_, (): ()| {
            Ok((Resource::<OutputStream>::new_own(Stdio::Err as u32),))
        }),
        "terminal-stdin" => to.func_wrap("get-terminal-stdin", no_terminal),
        "terminal-stdout" => to.func_wrap("get-terminal-stdout", no_terminal),
        "terminal-stderr" => to.func_wrap("get-terminal-stderr", no_terminal),
        _ => Ok(()),
    }
}

fn no_terminal(
    _: StoreContextMut<'_, GuestState>,
    (): (),
) -> wasmtime::Result<(Option<Resource<Nothing>>,)> {
    Ok((None,))
}

/// All three interfaces at once: a function that an interface does not have is never looked up.
fn define_random(to: &mut Defining<'_>) -> wasmtime::Result<()> {
    to.func_wrap("get-random-bytes", |mut s, (count,): (u64,)| {
        Ok((s.data_mut().wasi.random_bytes(count)?,))
    })?;
    to.func_wrap("get-random-u64", |mut s, (): ()| {
        Ok((random::Host::get_random_u64(&mut s.data_mut().wasi.random)?,))
    })?;
    to.func_wrap("get-insecure-random-bytes", |mut s, (count,): (u64,)| {
        check_random(count)?;
        let context = &mut s.data_mut().wasi.random;
        Ok((insecure::Host::get_insecure_random_bytes(context, count)?,))
    })?;
    to.func_wrap("get-insecure-random-u64", |mut s, (): ()| {
        let context = &mut s.data_mut().wasi.random;
        Ok((insecure::Host::get_insecure_random_u64(context)?,))
    })?;
    to.func_wrap("insecure-seed", |mut s, (): ()| {
        let context = &mut s.data_mut().wasi.random;
        Ok((insecure_seed::Host::insecure_seed(context)?,))
    })
}

fn check_random(count: u64) -> wasmtime::Result<()> {
    if count > MAX_RANDOM {
        return Err(forbidden(format!(
            "wanted {count} random bytes, at most {MAX_RANDOM} a call"
        )));
    }
    Ok(())
}

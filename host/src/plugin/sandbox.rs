//! WASI as plugins get it: clocks, random numbers, a place to print to, and otherwise nothing.
//!
//! The environment and the arguments are empty, stdin is at its end, there is no directory to
//! open anything in, and exit is a trap. Nothing here touches a file or a socket, and nothing
//! blocks a thread: a session hook that would wait is ended, a conversation is suspended.
//!
//! Of `wasi:filesystem/types`, and of whatever else an allowed interface has that stands not
//! here, every function is a trap: they need a handle that nothing here gives out.

use std::time::{Duration, Instant, SystemTime};

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentType, Lift, Linker, LinkerInstance, Lower};
use wasmtime::component::{Resource, ResourceType};
use wasmtime::{Engine, StoreContextMut};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};
use wasmtime_wasi::random::WasiRandomCtx;

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
/// What a stream takes at a time.
const STREAM_ROOM: u64 = 4 << 10;
/// Random bytes that one call may ask for.
const MAX_RANDOM: u64 = 64 << 10;
/// Timers that one instance may hold.
const MAX_TIMERS: usize = 64;
/// Timers that one call of `poll` may look at, each as often as it likes.
const MAX_POLLED: usize = 1024;

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
    epoch: Instant,
    timers: Vec<Timer>,
}

/// When something becomes ready.
#[derive(Debug, Clone, Copy)]
enum Timer {
    Free,
    Now,
    At(Instant),
    Never,
}

impl Wasi {
    pub(super) fn new() -> Self {
        Self {
            random: WasiRandomCtx::default(),
            epoch: Instant::now(),
            timers: Vec::new(),
        }
    }

    fn add(&mut self, timer: Timer) -> wasmtime::Result<Resource<Pollable>> {
        let free = self.timers.iter().position(|t| matches!(t, Timer::Free));
        let index = match free {
            Some(index) => index,
            None if self.timers.len() < MAX_TIMERS => {
                self.timers.push(Timer::Free);
                self.timers.len() - 1
            }
            None => return Err(forbidden(format!("held more than {MAX_TIMERS} timers"))),
        };
        self.timers[index] = timer;
        Ok(Resource::new_own(u32::try_from(index)?))
    }

    fn timer(&self, pollable: &Resource<Pollable>) -> wasmtime::Result<Timer> {
        let timer = self.timers.get(pollable.rep() as usize).copied();
        timer.ok_or_else(|| forbidden("used a timer that it does not have".to_owned()))
    }

    fn is_ready(&self, pollable: &Resource<Pollable>) -> wasmtime::Result<bool> {
        Ok(match self.timer(pollable)? {
            Timer::Now => true,
            Timer::At(when) => when <= Instant::now(),
            Timer::Never | Timer::Free => false,
        })
    }
}

/// `wasi:io/poll.pollable`: an index into [`Wasi::timers`].
struct Pollable;
/// `wasi:io/streams.input-stream`: always stdin, always at its end.
struct InputStream;
/// `wasi:io/streams.output-stream`: stdout or stderr.
struct OutputStream;
/// `wasi:io/error.error`: never made.
struct IoError;
/// `wasi:filesystem/types.descriptor`: never made.
struct Descriptor;
/// Any other resource of WASI: never made.
struct Nothing;

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

fn forbidden(what: String) -> wasmtime::Error {
    Forbidden(what).into()
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
            ("wasi:io", "error") => to.resource("error", ResourceType::host::<IoError>(), no_op)?,
            ("wasi:io", "poll") => define_poll(&mut to, may_wait)?,
            ("wasi:io", "streams") => define_streams(&mut to)?,
            ("wasi:clocks", "monotonic-clock") => define_monotonic_clock(&mut to)?,
            ("wasi:clocks", "wall-clock") => define_wall_clock(&mut to)?,
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
                let what = format!("called {full}#{name}, which plugins do not get");
                to.func_new(name, move |_, _, _, _| Err(forbidden(what.clone())))?;
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
            let code = if status.is_ok() { "0" } else { "1" };
            Err::<(), _>(forbidden(format!("called exit with code {code}")))
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

fn define_poll(to: &mut Defining<'_>, may_wait: bool) -> wasmtime::Result<()> {
    to.resource(
        "pollable",
        ResourceType::host::<Pollable>(),
        |mut s, rep| {
            if let Some(timer) = s.data_mut().wasi.timers.get_mut(rep as usize) {
                *timer = Timer::Free;
            }
            Ok(())
        },
    )?;
    to.func_wrap(
        "[method]pollable.ready",
        |s, (p,): (Resource<Pollable>,)| Ok((s.data().wasi.is_ready(&p)?,)),
    )?;
    if may_wait {
        to.func_wrap_async(
            "[method]pollable.block",
            |s, (p,): (Resource<Pollable>,)| {
                Box::new(async move { wait(s, &[p]).await.map(|_| ()) })
            },
        )?;
        to.func_wrap_async("poll", |s, (list,): (Vec<Resource<Pollable>>,)| {
            Box::new(async move { Ok((wait(s, &list).await?,)) })
        })
    } else {
        to.func_wrap(
            "[method]pollable.block",
            |s, (p,): (Resource<Pollable>,)| ready_now(&s.data().wasi, &[p]).map(|_| ()),
        )?;
        to.func_wrap("poll", |s, (list,): (Vec<Resource<Pollable>>,)| {
            Ok((ready_now(&s.data().wasi, &list)?,))
        })
    }
}

/// The indices of those that are ready; an error if that would mean to wait.
fn ready_now(wasi: &Wasi, list: &[Resource<Pollable>]) -> wasmtime::Result<Vec<u32>> {
    let ready = ready(wasi, list)?;
    if ready.is_empty() {
        return Err(forbidden(
            "wanted to sleep: session hooks must not wait".to_owned(),
        ));
    }
    Ok(ready)
}

fn ready(wasi: &Wasi, list: &[Resource<Pollable>]) -> wasmtime::Result<Vec<u32>> {
    if list.is_empty() || list.len() > MAX_POLLED {
        let count = list.len();
        return Err(forbidden(format!(
            "polled {count} timers, 1 to {MAX_POLLED} are allowed"
        )));
    }
    let mut ready = Vec::new();
    for (index, pollable) in (0u32..).zip(list) {
        if wasi.is_ready(pollable)? {
            ready.push(index);
        }
    }
    Ok(ready)
}

/// Waits for one of them at least. Time of the whole conversation is bounded by its caller.
async fn wait(
    mut store: StoreContextMut<'_, GuestState>,
    list: &[Resource<Pollable>],
) -> wasmtime::Result<Vec<u32>> {
    let mut first: Option<Instant> = None;
    for pollable in list {
        if let Timer::At(when) = store.data().wasi.timer(pollable)? {
            first = Some(first.map_or(when, |first| first.min(when)));
        }
    }
    if ready(&store.data().wasi, list)?.is_empty() {
        store.data_mut().waiting = true;
        match first {
            Some(when) => tokio::time::sleep_until(when.into()).await,
            None => std::future::pending().await,
        }
        store.data_mut().waiting = false;
    }
    let mut ready = ready(&store.data().wasi, list)?;
    if ready.is_empty() {
        // A paused clock in a test may wake us before the real one is there.
        ready.push(0);
    }
    Ok(ready)
}

fn define_streams(to: &mut Defining<'_>) -> wasmtime::Result<()> {
    type In = Resource<InputStream>;
    type Out = Resource<OutputStream>;

    to.resource("input-stream", ResourceType::host::<InputStream>(), no_op)?;
    to.resource("output-stream", ResourceType::host::<OutputStream>(), no_op)?;
    for name in ["read", "blocking-read"] {
        let name = format!("[method]input-stream.{name}");
        to.func_wrap(&name, |_, (_, _): (In, u64)| {
            Ok((Err::<Vec<u8>, _>(StreamError::Closed),))
        })?;
    }
    for name in ["skip", "blocking-skip"] {
        let name = format!("[method]input-stream.{name}");
        to.func_wrap(&name, |_, (_, _): (In, u64)| {
            Ok((Err::<u64, _>(StreamError::Closed),))
        })?;
    }
    for name in ["splice", "blocking-splice"] {
        let name = format!("[method]output-stream.{name}");
        to.func_wrap(&name, |_, (_, _, _): (Out, In, u64)| {
            Ok((Err::<u64, _>(StreamError::Closed),))
        })?;
    }
    to.func_wrap("[method]input-stream.subscribe", |mut s, (_,): (In,)| {
        Ok((s.data_mut().wasi.add(Timer::Now)?,))
    })?;
    to.func_wrap("[method]output-stream.subscribe", |mut s, (_,): (Out,)| {
        Ok((s.data_mut().wasi.add(Timer::Now)?,))
    })?;
    to.func_wrap("[method]output-stream.check-write", |_, (_,): (Out,)| {
        Ok((Ok::<_, StreamError>(STREAM_ROOM),))
    })?;
    for name in ["write", "blocking-write-and-flush"] {
        let name = format!("[method]output-stream.{name}");
        to.func_wrap(&name, |mut s, (out, bytes): (Out, Vec<u8>)| {
            let stdio = if out.rep() == Stdio::Err as u32 {
                Stdio::Err
            } else {
                Stdio::Out
            };
            s.data_mut().output.write(stdio, &bytes);
            Ok((Ok::<_, StreamError>(()),))
        })?;
    }
    for name in ["write-zeroes", "blocking-write-zeroes-and-flush"] {
        let name = format!("[method]output-stream.{name}");
        to.func_wrap(&name, |_, (_, _): (Out, u64)| {
            Ok((Ok::<_, StreamError>(()),))
        })?;
    }
    for name in ["flush", "blocking-flush"] {
        let name = format!("[method]output-stream.{name}");
        to.func_wrap(&name, |_, (_,): (Out,)| Ok((Ok::<_, StreamError>(()),)))?;
    }
    Ok(())
}

fn define_monotonic_clock(to: &mut Defining<'_>) -> wasmtime::Result<()> {
    to.func_wrap("now", |s, (): ()| {
        let since = s.data().wasi.epoch.elapsed();
        Ok((u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),))
    })?;
    to.func_wrap("resolution", |_, (): ()| Ok((1u64,)))?;
    to.func_wrap("subscribe-instant", |mut s, (when,): (u64,)| {
        let wasi = &mut s.data_mut().wasi;
        let when = wasi.epoch.checked_add(Duration::from_nanos(when));
        Ok((wasi.add(when.map_or(Timer::Never, Timer::At))?,))
    })?;
    to.func_wrap("subscribe-duration", |mut s, (time,): (u64,)| {
        let when = Instant::now().checked_add(Duration::from_nanos(time));
        let timer = when.map_or(Timer::Never, Timer::At);
        Ok((s.data_mut().wasi.add(timer)?,))
    })
}

fn define_wall_clock(to: &mut Defining<'_>) -> wasmtime::Result<()> {
    to.func_wrap("now", |_, (): ()| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap_or_default();
        Ok((Datetime {
            seconds: since.as_secs(),
            nanoseconds: since.subsec_nanos(),
        },))
    })?;
    to.func_wrap("resolution", |_, (): ()| {
        Ok((Datetime {
            seconds: 0,
            nanoseconds: 1,
        },))
    })
}

/// All three interfaces at once: a function that an interface does not have is never looked up.
fn define_random(to: &mut Defining<'_>) -> wasmtime::Result<()> {
    to.func_wrap("get-random-bytes", |mut s, (count,): (u64,)| {
        check_random(count)?;
        let context = &mut s.data_mut().wasi.random;
        Ok((random::Host::get_random_bytes(context, count)?,))
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

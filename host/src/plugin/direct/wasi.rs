//! WASI preview 1 as session hooks get it without the adapter: what [`sandbox`](super::super::sandbox) gives through
//! it, function by function.
//!
//! Nothing here waits, touches a file or a socket, or works on more than a few kilobytes a call: the clock
//! that ends endless calls does not run in here. Nor does anything here call the guest, which therefore may call it at
//! any time: a panic on the way to more room says what happened.
//!
//! Source: WASI preview 1's `witx/wasi_snapshot_preview1.witx`, and the adapter's `src/lib.rs` where that leaves a
//! choice.

use std::time::Duration;

use wasmtime::{Caller, Extern, FuncType, Linker, bail};

use super::lift::Reader;
use super::put_at;
use crate::plugin::output::Stdio;
use crate::plugin::sandbox::{exited, must_not_wait, wall_time};
use crate::plugin::state::GuestState;

/// The module that the functions are imported from.
pub(super) const MODULE: &str = "wasi_snapshot_preview1";

// `errno`, by its numbers.
const SUCCESS: i32 = 0;
const BAD_FILE: i32 = 8;
const FAULT: i32 = 21;
const INVALID: i32 = 28;

/// What a write takes at a time.
const WRITE_ROOM: u32 = 4 << 10;
/// Parts of one write, and subscriptions of one poll, that are looked at.
const MAX_PARTS: u32 = 1024;
/// `ciovec`: pointer and length.
const PART_SIZE: u32 = 8;
const SUBSCRIPTION_SIZE: u32 = 48;
const EVENT_SIZE: u32 = 32;

type Calling<'a> = Caller<'a, GuestState>;

/// Defines one function. Those that need a file say that there is none.
pub(super) fn define(
    linker: &mut Linker<GuestState>,
    name: &str,
    ty: FuncType,
) -> wasmtime::Result<()> {
    match name {
        "random_get" => linker.func_wrap(MODULE, name, random_get),
        "clock_time_get" => linker.func_wrap(MODULE, name, clock_time_get),
        "environ_get" | "args_get" => {
            linker.func_wrap(MODULE, name, |_: Calling<'_>, _: i32, _: i32| SUCCESS)
        }
        "environ_sizes_get" | "args_sizes_get" => linker.func_wrap(
            MODULE,
            name,
            |mut s: Calling<'_>, count: u32, bytes: u32| {
                put(&mut s, count, &[0; 4]).max(put(&mut s, bytes, &[0; 4]))
            },
        ),
        "fd_write" => linker.func_wrap(MODULE, name, fd_write),
        "fd_read" => linker.func_wrap(
            MODULE,
            name,
            |mut s: Calling<'_>, file: i32, _: i32, _: i32, count: u32| match file {
                0 => put(&mut s, count, &[0; 4]),
                _ => BAD_FILE,
            },
        ),
        "poll_oneoff" => linker.func_wrap(MODULE, name, poll_oneoff),
        "sched_yield" => linker.func_wrap(MODULE, name, |_: Calling<'_>| SUCCESS),
        "proc_exit" => linker.func_wrap(MODULE, name, |_: Calling<'_>, code: i32| {
            Err::<(), _>(exited(code == 0))
        }),
        _ if name.starts_with("fd_") || name.starts_with("path_") => {
            let number = ty.results().next();
            if !number.is_some_and(|ty| ty.is_i32()) {
                bail!("{name} returns no errno");
            }
            linker.func_new(MODULE, name, ty, |_, _, results| {
                results[0] = BAD_FILE.into();
                Ok(())
            })
        }
        _ => bail!("{name} is for the adapter"),
    }
    .map(|_| ())
}

/// The memory that the function works on, and the state of its caller.
fn memory<'a>(s: &'a mut Calling<'_>) -> (&'a mut [u8], Option<&'a mut GuestState>) {
    match s.get_export("memory") {
        Some(Extern::Memory(memory)) => {
            let (bytes, state) = memory.data_and_store_mut(s);
            (bytes, Some(state))
        }
        _ => (&mut [], None),
    }
}

/// Writes there, if that is in the guest's memory.
fn put(s: &mut Calling<'_>, at: u32, bytes: &[u8]) -> i32 {
    let (memory, _) = memory(s);
    match put_at(memory, at, bytes) {
        Some(()) => SUCCESS,
        None => FAULT,
    }
}

fn random_get(mut s: Calling<'_>, at: u32, count: u32) -> wasmtime::Result<i32> {
    let bytes = s.data_mut().wasi.random_bytes(count.into())?;
    Ok(put(&mut s, at, &bytes))
}

fn clock_time_get(mut s: Calling<'_>, clock: i32, _precision: i64, at: u32) -> i32 {
    let since = match clock {
        0 => wall_time(),
        1 => s.data().wasi.uptime(),
        _ => return INVALID,
    };
    put(&mut s, at, &nanos(since).to_le_bytes())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Takes the first part that has anything, and of that what there is room for: whoever has more
/// calls again.
fn fd_write(mut s: Calling<'_>, file: i32, parts: u32, count: u32, written: u32) -> i32 {
    let stdio = match file {
        1 => Stdio::Out,
        2 => Stdio::Err,
        _ => return BAD_FILE,
    };
    let (bytes, state) = memory(&mut s);
    let reader = Reader::new(bytes, 0);
    let part = |n: u32| {
        let at = parts.checked_add(n * PART_SIZE)?;
        let start = reader.word(at).ok()?;
        let length = reader.word(at.checked_add(4)?).ok()?;
        Some((start, length))
    };
    let mut taken = 0;
    for n in 0..count.min(MAX_PARTS) {
        let Some((start, length)) = part(n) else {
            return FAULT;
        };
        if length == 0 {
            continue;
        }
        taken = length.min(WRITE_ROOM);
        let (Ok(text), Some(state)) = (reader.slice(start, taken), state) else {
            return FAULT;
        };
        state.output.write(stdio, text);
        break;
    }
    put(&mut s, written, &taken.to_le_bytes())
}

/// What is ready now: a timer of no time or of a time that is over, and whatever is no timer. Anything
/// else would be a wait.
fn poll_oneoff(
    mut s: Calling<'_>,
    subscriptions: u32,
    events: u32,
    count: u32,
    ready: u32,
) -> wasmtime::Result<i32> {
    const CLOCK: u8 = 0;
    /// A flag of a timer: its time is one of the clock, not from now.
    const ABSOLUTE: u8 = 1;
    if count == 0 {
        return Ok(INVALID);
    }
    let (wall, uptime) = (nanos(wall_time()), nanos(s.data().wasi.uptime()));
    let mut written = Vec::new();
    let (bytes, _) = memory(&mut s);
    let reader = Reader::new(bytes, 0);
    for n in 0..count.min(MAX_PARTS) {
        let at = subscriptions.checked_add(n * SUBSCRIPTION_SIZE);
        let Some(Ok(one)) = at.map(|at| reader.slice(at, SUBSCRIPTION_SIZE)) else {
            return Ok(FAULT);
        };
        let kind = one[8];
        if kind == CLOCK {
            let now = match one[16..20] {
                [0, 0, 0, 0] => wall,
                [1, 0, 0, 0] => uptime,
                _ => return Ok(INVALID),
            };
            let mut time = [0; 8];
            time.copy_from_slice(&one[24..32]);
            let over = if one[40] & ABSOLUTE == 0 { 0 } else { now };
            if u64::from_le_bytes(time) > over {
                continue;
            }
        }
        let mut event = [0; EVENT_SIZE as usize];
        event[..8].copy_from_slice(&one[..8]);
        event[10] = kind;
        written.extend(event);
    }
    if written.is_empty() {
        return Err(must_not_wait());
    }
    let number = written.len() as u32 / EVENT_SIZE;
    Ok(put(&mut s, events, &written).max(put(&mut s, ready, &number.to_le_bytes())))
}

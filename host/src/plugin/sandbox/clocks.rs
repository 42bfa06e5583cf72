//! Clocks, timers, and waiting for them: an error in a session hook, a suspension in a
//! conversation. A timer of no time at all is ready at once, everywhere.

use std::time::{Duration, Instant, SystemTime};

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Lower, Resource, ResourceType};

use super::{Defining, forbidden};
use crate::plugin::state::GuestState;

/// Timers that one instance may hold.
const MAX_TIMERS: usize = 64;
/// Timers that one call of `poll` may look at, each as often as it likes.
const MAX_POLLED: usize = 1024;

/// `wasi:io/poll.pollable`: an index into [`Timers`].
pub(super) struct Pollable;

/// The timers of one instance.
pub(super) struct Timers {
    /// Where its monotonic clock begins.
    epoch: Instant,
    entries: Vec<Timer>,
}

/// When something becomes ready.
#[derive(Debug, Clone, Copy)]
pub(super) enum Timer {
    Free,
    Now,
    At(Instant),
    Never,
}

impl Timers {
    pub(super) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            entries: Vec::new(),
        }
    }

    /// What the monotonic clock shows.
    pub(super) fn uptime(&self) -> Duration {
        self.epoch.elapsed()
    }

    pub(super) fn add(&mut self, timer: Timer) -> wasmtime::Result<Resource<Pollable>> {
        let free = self.entries.iter().position(|t| matches!(t, Timer::Free));
        let index = match free {
            Some(index) => index,
            None if self.entries.len() < MAX_TIMERS => {
                self.entries.push(Timer::Free);
                self.entries.len() - 1
            }
            None => return Err(forbidden(format!("held more than {MAX_TIMERS} timers"))),
        };
        self.entries[index] = timer;
        Ok(Resource::new_own(u32::try_from(index)?))
    }

    fn get(&self, pollable: &Resource<Pollable>) -> wasmtime::Result<Timer> {
        let timer = self.entries.get(pollable.rep() as usize).copied();
        timer.ok_or_else(|| forbidden("used a timer that it does not have".to_owned()))
    }

    fn is_ready(&self, pollable: &Resource<Pollable>) -> wasmtime::Result<bool> {
        Ok(match self.get(pollable)? {
            Timer::Now => true,
            Timer::At(when) => when <= Instant::now(),
            Timer::Never | Timer::Free => false,
        })
    }
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// `wasi:io/poll`.
pub(super) fn define_poll(to: &mut Defining<'_>, may_wait: bool) -> wasmtime::Result<()> {
    to.resource(
        "pollable",
        ResourceType::host::<Pollable>(),
        |mut s, rep| {
            if let Some(timer) = s.data_mut().wasi.timers.entries.get_mut(rep as usize) {
                *timer = Timer::Free;
            }
            Ok(())
        },
    )?;
    to.func_wrap(
        "[method]pollable.ready",
        |s, (p,): (Resource<Pollable>,)| Ok((s.data().wasi.timers.is_ready(&p)?,)),
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
            |s, (p,): (Resource<Pollable>,)| ready_now(&s.data().wasi.timers, &[p]).map(|_| ()),
        )?;
        to.func_wrap("poll", |s, (list,): (Vec<Resource<Pollable>>,)| {
            Ok((ready_now(&s.data().wasi.timers, &list)?,))
        })
    }
}

/// A session hook has wanted to.
pub(in crate::plugin) fn must_not_wait() -> wasmtime::Error {
    forbidden("wanted to sleep: session hooks must not wait".to_owned())
}

/// Since 1970.
pub(in crate::plugin) fn wall_time() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}

/// The indices of those that are ready; an error if that would mean to wait.
fn ready_now(timers: &Timers, list: &[Resource<Pollable>]) -> wasmtime::Result<Vec<u32>> {
    let ready = ready(timers, list)?;
    if ready.is_empty() {
        return Err(must_not_wait());
    }
    Ok(ready)
}

fn ready(timers: &Timers, list: &[Resource<Pollable>]) -> wasmtime::Result<Vec<u32>> {
    if list.is_empty() || list.len() > MAX_POLLED {
        let count = list.len();
        return Err(forbidden(format!(
            "polled {count} timers, 1 to {MAX_POLLED} are allowed"
        )));
    }
    let mut ready = Vec::new();
    for (index, pollable) in (0u32..).zip(list) {
        if timers.is_ready(pollable)? {
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
        if let Timer::At(when) = store.data().wasi.timers.get(pollable)? {
            first = Some(first.map_or(when, |first| first.min(when)));
        }
    }
    if ready(&store.data().wasi.timers, list)?.is_empty() {
        store.data_mut().waits();
        match first {
            Some(when) => tokio::time::sleep_until(when.into()).await,
            None => std::future::pending().await,
        }
        store.data_mut().computes();
    }
    let mut ready = ready(&store.data().wasi.timers, list)?;
    if ready.is_empty() {
        // A paused clock in a test may wake us before the real one is there.
        ready.push(0);
    }
    Ok(ready)
}

/// `wasi:clocks/monotonic-clock`.
pub(super) fn define_monotonic(to: &mut Defining<'_>) -> wasmtime::Result<()> {
    to.func_wrap("now", |s, (): ()| {
        let since = s.data().wasi.timers.uptime();
        Ok((u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),))
    })?;
    to.func_wrap("resolution", |_, (): ()| Ok((1u64,)))?;
    to.func_wrap("subscribe-instant", |mut s, (when,): (u64,)| {
        let timers = &mut s.data_mut().wasi.timers;
        let when = timers.epoch.checked_add(Duration::from_nanos(when));
        Ok((timers.add(when.map_or(Timer::Never, Timer::At))?,))
    })?;
    to.func_wrap("subscribe-duration", |mut s, (time,): (u64,)| {
        let when = Instant::now().checked_add(Duration::from_nanos(time));
        let timer = when.map_or(Timer::Never, Timer::At);
        Ok((s.data_mut().wasi.timers.add(timer)?,))
    })
}

/// `wasi:clocks/wall-clock`.
pub(super) fn define_wall(to: &mut Defining<'_>) -> wasmtime::Result<()> {
    to.func_wrap("now", |_, (): ()| {
        let since = wall_time();
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

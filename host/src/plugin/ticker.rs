//! The clock of the limits on guest code: a thread that advances the engine's epoch.
//!
//! It ticks only while a plugin exists. The plugins keep it alive, so code never runs without
//! the clock that ends it. Each tick takes the machine away from a worker for a moment, so they are close together only
//! while there is something to time: a call that was found running, or a conversation. While calls come and go it
//! only looks whether one stays, and while there are none it looks more seldom yet; to stop altogether, every
//! call would have to make sure that it goes.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::Engine;

/// Length of a tick: how finely guest code is timed, and how long a conversation may compute
/// before other tasks of its worker get their turn.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// The same while no call was found running, but some have been made. A call may take so much longer than its limit.
const LOOK: Duration = Duration::from_millis(5);

/// The same while no guest code is called at all. The first call after that may take so much longer.
const SLOW_LOOK: Duration = Duration::from_millis(25);

/// Looks without a call before they become slow.
const QUIET: u32 = 50;

/// How many ticks a duration takes, rounded up and never none.
pub(super) fn ticks(time: Duration) -> u64 {
    let ticks = time.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(ticks).unwrap_or(u64::MAX).max(1)
}

/// The thread that ticks. Ends when dropped.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Keeps the ticker ticking.
#[derive(Debug)]
pub(super) struct Ticking(Arc<Ticker>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Guest code has been called since the last tick.
    called: AtomicBool,
    /// What else is under way: set-ups and conversations.
    others: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    users: usize,
    stop: bool,
    /// One for each worker and plugin: guest code runs.
    inside: Vec<Weak<AtomicBool>>,
}

impl Ticker {
    /// Starts the thread. It sleeps until the first [`Ticker::start`].
    pub(super) fn new(engine: Engine) -> io::Result<Arc<Self>> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("leaseway-epoch".to_owned())
            .spawn(move || tick(&theirs, &engine))?;
        Ok(Arc::new(Self {
            shared,
            thread: Some(thread),
        }))
    }

    /// Ticks until what this returns has been dropped.
    pub(super) fn start(self: &Arc<Self>) -> Ticking {
        self.shared.lock().users += 1;
        self.shared.called.store(true, Relaxed);
        self.shared.changed.notify_one();
        Ticking(Arc::clone(self))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // Its only panic would be one of wasmtime's, and there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

impl Ticking {
    /// For a worker, which says there when it is inside of guest code.
    pub(super) fn watch(&self) -> Arc<AtomicBool> {
        let inside = Arc::default();
        let mut state = self.0.shared.lock();
        state.inside.retain(|known| known.strong_count() > 0);
        state.inside.push(Arc::downgrade(&inside));
        inside
    }

    /// Guest code is about to be called. Costs a look at what is rarely written.
    pub(super) fn is_needed(&self) {
        let called = &self.0.shared.called;
        if !called.load(Relaxed) {
            called.store(true, Relaxed);
        }
    }

    /// Guest code runs, or waits, until what this returns has been dropped.
    pub(super) fn works(&self) -> Working {
        self.0.shared.others.fetch_add(1, Relaxed);
        Working(Arc::clone(&self.0.shared))
    }
}

/// See [`Ticking::works`].
#[derive(Debug)]
pub(super) struct Working(Arc<Shared>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.others.fetch_sub(1, Relaxed);
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.shared.lock().users -= 1;
    }
}

impl Shared {
    /// The state is two plain values, so it is sound even if a holder panicked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tick(shared: &Shared, engine: &Engine) {
    let mut quiet = 0;
    loop {
        let state = shared.lock();
        let state = shared
            .changed
            .wait_while(state, |state| state.users == 0 && !state.stop)
            .unwrap_or_else(PoisonError::into_inner);
        if state.stop {
            return;
        }
        let inside =
            |known: &Weak<AtomicBool>| known.upgrade().is_some_and(|inside| inside.load(Relaxed));
        let works = shared.others.load(Relaxed) > 0 || state.inside.iter().any(inside);
        drop(state);
        if works || shared.called.swap(false, Relaxed) {
            quiet = 0;
        }
        thread::sleep(match quiet {
            _ if works => TICK,
            0..QUIET => LOOK,
            _ => SLOW_LOOK,
        });
        // One tick a turn, even when the machine kept this thread from running for longer: then
        // the guest most likely did not run either.
        engine.increment_epoch();
        quiet = QUIET.min(quiet + 1);
    }
}

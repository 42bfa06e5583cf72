//! One instance and the sessions on it: the calls of the hot path, and what a fault does.
//!
//! A call borrows the instance for its time, and a host function calls back into the guest for nothing but room
//! for its answer, so an instance is never entered twice. A fault drops the instance's memory at once and wakes
//! every session on it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use wasmtime::Store;

use super::exports::{Exports, Object};
use super::fault::{check_choice, check_steps, explain};
use super::hooks::{Fault, MeasureReplies, SessionHooks, TimeLimit};
use super::limits::{CallTime, most_copied};
use super::load::Plugin;
use super::metrics::Hook;
use super::output::Speaker;
use super::plugin_log::PluginLog;
use super::state::{GuestState, begin};
use super::worker::Worker;
use crate::contract::{
    Choice, Disposition, Hooks, LeaseError, LeaseOutcome, Leased, SessionInfo, Side, Span, Step,
};

/// An instance that serves sessions.
pub(super) struct Instance {
    /// None once it has faulted.
    live: RefCell<Option<Live>>,
    seats: RefCell<Seats>,
    sessions: Cell<usize>,
    fault: RefCell<Option<Fault>>,
}

struct Live {
    store: Store<GuestState>,
    exports: Exports,
}

/// Who is to be woken when the instance faults, by session.
#[derive(Default)]
struct Seats {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Seats {
    fn take(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.wakers.push(None);
            self.wakers.len() - 1
        })
    }

    fn leave(&mut self, seat: usize) {
        self.wakers[seat] = None;
        self.free.push(seat);
    }
}

impl Instance {
    /// Instantiates and configures.
    pub(super) fn new(plugin: &Plugin, log: &Arc<PluginLog>) -> Result<Self, Fault> {
        let time = TimeLimit::Setup(plugin.limits.hook);
        let log = Arc::clone(log);
        let shared = Arc::clone(&plugin.store);
        let mut store = GuestState::for_sessions(&plugin.engine, log, shared, &plugin.limits, time);
        begin(&mut store, Speaker::Plugin);
        let _working = plugin.ticking.works();
        let exports = instantiate(plugin, &mut store)
            .map_err(|error| explain(Hook::Instantiate.name(), &error, store.data_mut()))?;
        let hook = Hook::Configure.name();
        begin(&mut store, Speaker::Plugin);
        exports
            .configure(&mut store, &plugin.config.json)
            .map_err(|error| explain(hook, &error, store.data_mut()))?
            .map_err(|message| Fault::Trap {
                hook,
                message: format!(
                    "refused the config that it had accepted at start: {}",
                    plugin.config.refusal(&message)
                ),
            })?;
        store.data_mut().time = CallTime::new(TimeLimit::Hook(plugin.limits.hook));
        Ok(Self {
            live: RefCell::new(Some(Live { store, exports })),
            seats: RefCell::default(),
            sessions: Cell::new(0),
            fault: RefCell::new(None),
        })
    }

    /// Sessions that it holds.
    pub(super) fn sessions(&self) -> usize {
        self.sessions.get()
    }

    /// One call into the guest: counted, limited, and if it faults, the end of the instance.
    fn enter<R>(
        self: &Rc<Self>,
        worker: &Worker,
        speaker: Speaker,
        hook: Hook,
        call: impl FnOnce(&mut Live) -> wasmtime::Result<R>,
    ) -> Result<R, Fault> {
        let Ok(mut slot) = self.live.try_borrow_mut() else {
            return Err(self.ended(hook));
        };
        let Some(live) = slot.as_mut() else {
            return Err(self.ended(hook));
        };
        begin(&mut live.store, speaker);
        worker.plugin.ticking.is_needed();
        worker.inside.store(true, Relaxed);
        let started = worker.shard.call(hook).then(Instant::now);
        let answer = call(live);
        worker.inside.store(false, Relaxed);
        if let Some(started) = started {
            worker.shard.time(started.elapsed());
        }
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => {
                let fault = explain(hook.name(), &error, live.store.data_mut());
                drop(slot);
                worker.failed(self, &fault);
                Err(fault)
            }
        }
    }

    /// Frees the instance and tells its sessions; returns how many there were.
    pub(super) fn end(&self, fault: &Fault) -> usize {
        *self.fault.borrow_mut() = Some(fault.clone());
        drop(self.live.take());
        let mut seats = self.seats.borrow_mut();
        let wakers: Vec<Waker> = seats.wakers.iter_mut().filter_map(Option::take).collect();
        drop(seats);
        wakers.into_iter().for_each(Waker::wake);
        self.sessions()
    }

    /// Why it is not live; only asked when it is not.
    fn ended(&self, hook: Hook) -> Fault {
        self.fault.borrow().clone().unwrap_or(Fault::Trap {
            hook: hook.name(),
            message: "the instance was entered twice".to_owned(),
        })
    }
}

/// A session on an instance. Dropping it drops the guest's side of it.
pub struct SessionHandle {
    worker: Rc<Worker>,
    instance: Rc<Instance>,
    /// None only while the constructor has not returned.
    object: Option<Object>,
    seat: usize,
    /// The instance knows whom to wake.
    known: bool,
}

impl SessionHandle {
    pub(super) fn open(
        worker: &Rc<Worker>,
        instance: Rc<Instance>,
        info: &SessionInfo,
    ) -> Result<Self, Fault> {
        let seat = instance.seats.borrow_mut().take();
        instance.sessions.set(instance.sessions() + 1);
        worker.shard.sessions.fetch_add(1, Relaxed);
        let mut handle = Self {
            worker: Rc::clone(worker),
            instance,
            object: None,
            seat,
            known: false,
        };
        let object = handle.enter(Hook::Construct, |live| {
            let output = &mut live.store.data_mut().output;
            output.seat(seat, info.id, &info.listener);
            live.exports.open(&mut live.store, info)
        })?;
        handle.object = Some(object);
        Ok(handle)
    }

    fn enter<R>(
        &self,
        hook: Hook,
        call: impl FnOnce(&mut Live) -> wasmtime::Result<R>,
    ) -> Result<R, Fault> {
        let speaker = Speaker::Session(self.seat);
        self.instance.enter(&self.worker, speaker, hook, call)
    }

    /// [`SessionHandle::enter`] for a method of the session.
    fn method<R>(
        &self,
        hook: Hook,
        call: impl FnOnce(&Exports, &mut Store<GuestState>, Object) -> wasmtime::Result<R>,
    ) -> Result<R, Fault> {
        let Some(object) = self.object else {
            return Err(self.instance.ended(hook));
        };
        self.enter(hook, |live| call(&live.exports, &mut live.store, object))
    }
}

impl SessionHooks for SessionHandle {
    fn has(&self) -> Hooks {
        self.worker.plugin.info().hooks
    }

    fn choose_upstream(&mut self, client_bytes: &[u8]) -> Result<Choice, Fault> {
        self.method(Hook::ChooseUpstream, |exports, store, this| {
            let choice = exports.choose_upstream(store, this, client_bytes)?;
            check_choice(&choice)?;
            Ok(choice)
        })
    }

    fn on_leased(&mut self, lease: &Leased) -> Result<Vec<Step>, Fault> {
        self.method(Hook::OnLeased, |exports, store, this| {
            checked(exports.on_leased(store, this, lease)?)
        })
    }

    fn on_lease_failed(&mut self, why: &LeaseError) -> Result<Vec<Step>, Fault> {
        self.method(Hook::OnLeaseFailed, |exports, store, this| {
            checked(exports.on_lease_failed(store, this, why)?)
        })
    }

    fn on_data(&mut self, origin: Side, data: &[u8]) -> Result<Vec<Step>, Fault> {
        self.method(Hook::OnData, |exports, store, this| {
            checked(exports.on_data(store, this, origin, data)?)
        })
    }

    fn on_eof(&mut self, origin: Side) -> Result<Vec<Step>, Fault> {
        self.method(Hook::OnEof, |exports, store, this| {
            checked(exports.on_eof(store, this, origin)?)
        })
    }

    fn pool_return(&mut self, outcome: LeaseOutcome) -> Result<Disposition, Fault> {
        self.method(Hook::PoolReturn, |exports, store, this| {
            exports.pool_return(store, this, outcome)
        })
    }

    fn on_request_failed(&mut self, why: &LeaseError, replies: u32) -> Result<Vec<u8>, Fault> {
        self.method(Hook::OnRequestFailed, |exports, store, this| {
            exports.on_request_failed(store, this, why, replies)
        })
    }

    fn poll_fault(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        if let Some(fault) = &*self.instance.fault.borrow() {
            return Poll::Ready(fault.clone());
        }
        // A task keeps its waker, and the table of all sessions is out of the cache by now.
        if !std::mem::replace(&mut self.known, true) {
            self.instance.seats.borrow_mut().wakers[self.seat] = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for SessionHandle {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            // On a faulted instance there is nothing left to drop, and a fault in the guest's
            // destructor has been dealt with inside.
            let _ = self.enter(Hook::Drop, |live| {
                live.exports.close(&mut live.store, object)
            });
        }
        self.instance.seats.borrow_mut().leave(self.seat);
        self.instance.sessions.set(self.instance.sessions() - 1);
        self.worker.shard.sessions.fetch_sub(1, Relaxed);
        self.worker.left(&self.instance);
    }
}

/// What measures the replies of one shared connection. Dropping it drops the guest's side of it.
pub struct RepliesHandle {
    worker: Rc<Worker>,
    instance: Rc<Instance>,
    /// None only while the constructor has not returned.
    object: Option<Object>,
}

impl RepliesHandle {
    pub(super) fn open(worker: &Rc<Worker>, instance: Rc<Instance>) -> Result<Self, Fault> {
        // It takes the place of a session, so that the instance stays.
        instance.sessions.set(instance.sessions() + 1);
        let mut handle = Self {
            worker: Rc::clone(worker),
            instance,
            object: None,
        };
        let object = handle.enter(Hook::Construct, |live| {
            live.exports.open_replies(&mut live.store)
        })?;
        handle.object = Some(object);
        Ok(handle)
    }

    fn enter<R>(
        &self,
        hook: Hook,
        call: impl FnOnce(&mut Live) -> wasmtime::Result<R>,
    ) -> Result<R, Fault> {
        self.instance
            .enter(&self.worker, Speaker::Plugin, hook, call)
    }
}

impl MeasureReplies for RepliesHandle {
    fn measure(&mut self, data: &[u8]) -> Result<Result<Vec<Span>, String>, Fault> {
        let Some(object) = self.object else {
            return Err(self.instance.ended(Hook::Measure));
        };
        self.enter(Hook::Measure, |live| {
            live.exports.measure(&mut live.store, object, data)
        })
    }

    fn is_live(&self) -> bool {
        self.instance.fault.borrow().is_none()
    }
}

impl Drop for RepliesHandle {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            // As for a session.
            let _ = self.enter(Hook::Drop, |live| {
                live.exports.close_replies(&mut live.store, object)
            });
        }
        self.instance.sessions.set(self.instance.sessions() - 1);
        self.worker.left(&self.instance);
    }
}

fn instantiate(plugin: &Plugin, store: &mut Store<GuestState>) -> wasmtime::Result<Exports> {
    match &plugin.direct {
        Some(direct) => direct
            .instantiate(store, most_copied(&plugin.limits))
            .map(|calls| Exports::Direct(Box::new(calls))),
        None => plugin
            .sessions
            .instantiate(store)
            .map(|exports| Exports::Component(Box::new(exports))),
    }
}

fn checked(steps: Vec<Step>) -> wasmtime::Result<Vec<Step>> {
    check_steps(&steps)?;
    Ok(steps)
}

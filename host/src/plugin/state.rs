//! What the host keeps beside each instance, and how a call begins.

use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpStream;
use wasmtime::{Engine, Store};

use crate::config::PluginLimits;

use super::direct::Guest;
use super::hooks::TimeLimit;
use super::limits::{CallTime, MemoryLimit, SPARE_HANDLES, most_copied};
use super::output::{Output, Speaker};
use super::plugin_log::PluginLog;
use super::sandbox::Wasi;
use super::store::SharedStore;

/// The data of a store: one per instance, of either kind.
pub(super) struct GuestState {
    pub(super) memory: MemoryLimit,
    pub(super) time: CallTime,
    pub(super) output: Output,
    pub(super) wasi: Wasi,
    /// The key-value store of the plugin's section.
    pub(super) store: Arc<SharedStore>,
    /// The connection of a conversation. Session hooks never have one.
    pub(super) connection: Option<TcpStream>,
    /// Reading from it or writing to it has failed.
    pub(super) connection_broke: bool,
    /// Something has been read from it.
    pub(super) heard: bool,
    /// Where the host puts lists, if the instance is called without the component model.
    pub(super) guest: Option<Guest>,
    /// Such an instance is asked for room or frees some, and may call nothing meanwhile.
    pub(super) quiet: bool,
    /// Objects that it has made handles of during the call.
    pub(super) made: Vec<u32>,
    /// Since when a conversation has computed; none while it waits for the network or a clock.
    computing: Option<Instant>,
}

impl GuestState {
    /// A store for session hooks, whose calls must not wait and are timed one by one.
    pub(super) fn for_sessions(
        engine: &Engine,
        log: Arc<PluginLog>,
        store: Arc<SharedStore>,
        limits: &PluginLimits,
        call: TimeLimit,
    ) -> Store<Self> {
        let mut store = Self::store(engine, log, store, limits, call);
        store.epoch_deadline_callback(|mut store| store.data_mut().time.elapsed());
        store
    }

    /// A store for conversations, one after another, which may wait and are timed as a whole by their caller.
    pub(super) fn for_conversation(
        engine: &Engine,
        log: Arc<PluginLog>,
        store: Arc<SharedStore>,
        limits: &PluginLimits,
        connection: TcpStream,
    ) -> Store<Self> {
        let time = TimeLimit::Conversation(limits.conversation);
        let mut store = Self::store(engine, log, store, limits, time);
        store.data_mut().connection = Some(connection);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store
    }

    fn store(
        engine: &Engine,
        log: Arc<PluginLog>,
        store: Arc<SharedStore>,
        limits: &PluginLimits,
        call: TimeLimit,
    ) -> Store<Self> {
        let state = Self {
            memory: MemoryLimit::new(limits.memory),
            time: CallTime::new(call),
            output: Output::new(log),
            wasi: Wasi::new(),
            store,
            connection: None,
            connection_broke: false,
            heard: false,
            guest: None,
            quiet: false,
            made: Vec::new(),
            computing: Some(Instant::now()),
        };
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.memory);
        let sessions = limits.sessions_per_instance as usize;
        store.set_max_component_handles(sessions.saturating_add(SPARE_HANDLES));
        store.set_hostcall_fuel(most_copied(limits));
        store
    }

    /// The conversation begins to wait for the network or a clock.
    pub(super) fn waits(&mut self) {
        self.computing = None;
    }

    /// What it waited for has come.
    pub(super) fn computes(&mut self) {
        self.computing = Some(Instant::now());
    }

    /// Since when it has computed without a break; none while it waits.
    pub(super) fn computing_since(&self) -> Option<Instant> {
        self.computing
    }
}

/// Gives the instance of an ended conversation another connection to talk on, and forgets the last one.
pub(super) fn resume(store: &mut Store<GuestState>, connection: TcpStream) {
    let state = store.data_mut();
    state.memory.forget();
    state.output.begin(Speaker::Plugin);
    state.connection = Some(connection);
    state.connection_broke = false;
    state.heard = false;
    state.computes();
    store.set_epoch_deadline(1);
}

/// Starts the clock and forgets the last call. Before every synchronous call into the guest.
pub(super) fn begin(store: &mut Store<GuestState>, speaker: Speaker) {
    let state = store.data_mut();
    state.memory.forget();
    state.made.clear();
    state.output.begin(speaker);
    let ticks = state.time.start();
    store.set_epoch_deadline(ticks);
}

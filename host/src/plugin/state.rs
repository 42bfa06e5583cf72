//! What the host keeps beside each instance, and how a call begins.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use wasmtime::{Engine, Store};

use crate::config::PluginLimits;

use super::limits::{CallTime, MIN_COPY, MemoryLimit};
use super::output::{Output, Speaker};
use super::sandbox::Wasi;

/// The data of a store: one per instance, of either kind.
pub(super) struct GuestState {
    pub(super) memory: MemoryLimit,
    pub(super) time: CallTime,
    pub(super) output: Output,
    pub(super) wasi: Wasi,
    /// The connection of a conversation. Session hooks never have one.
    pub(super) connection: Option<TcpStream>,
    /// A conversation waits for the network or a clock, and not the network for it.
    pub(super) waiting: bool,
}

impl GuestState {
    /// A store for session hooks, whose calls must not wait and are timed one by one.
    pub(super) fn for_sessions(
        engine: &Engine,
        plugin: Arc<str>,
        limits: &PluginLimits,
        call: Duration,
    ) -> Store<Self> {
        let mut store = Self::store(engine, plugin, limits, call);
        store.epoch_deadline_callback(|mut store| store.data_mut().time.elapsed());
        store
    }

    /// A store for one conversation, which may wait and is timed as a whole by its caller.
    pub(super) fn for_conversation(
        engine: &Engine,
        plugin: Arc<str>,
        limits: &PluginLimits,
        connection: TcpStream,
    ) -> Store<Self> {
        let mut store = Self::store(engine, plugin, limits, limits.conversation);
        store.data_mut().connection = Some(connection);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store
    }

    fn store(
        engine: &Engine,
        plugin: Arc<str>,
        limits: &PluginLimits,
        call: Duration,
    ) -> Store<Self> {
        let state = Self {
            memory: MemoryLimit::new(limits.memory),
            time: CallTime::new(call),
            output: Output::new(plugin),
            wasi: Wasi::new(),
            connection: None,
            waiting: false,
        };
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(MIN_COPY.max(limits.max_shown.saturating_mul(4)));
        store
    }
}

/// Starts the clock and forgets the last call. Before every synchronous call into the guest.
pub(super) fn begin(store: &mut Store<GuestState>, speaker: Speaker) {
    let state = store.data_mut();
    state.memory.forget();
    state.output.begin(speaker);
    let ticks = state.time.start();
    store.set_epoch_deadline(ticks);
}

//! Session hooks of a core module, called without the component model in between.
//!
//! A plugin is a component, and what calls one through wasmtime spends most of its time around the plugin's
//! code: for each call the function is looked up again, handles are checked out and in, and each list is moved by a
//! function of its own. Most plugins are built as core modules, of which the host makes the component itself; their
//! functions can be called by the same convention, the canonical ABI, without it. That is done
//! here, for session hooks: what a module must [be like](shape), what is [linked](imports), what is [read](lift) of the guest's
//! memory, and the calls.
//! A module that wants anything that is not known here, and a plugin that comes as a component, are called as
//! components; so is every conversation, where the network takes the time.
//!
//! Source: the component model's `CanonicalABI.md`, and what `wit-component` makes of a module's names.

mod imports;
mod lift;
mod shape;
mod wasi;

use wasmtime::{
    AsContextMut, Engine, Instance, InstancePre, Linker, Memory, Module, Store, TypedFunc,
    WasmParams, WasmResults, format_err,
};

use self::lift::{Lift, Reader, disposition};
use super::fault::Forbidden;
use super::state::GuestState;
use crate::contract::{
    Choice, Disposition, EndReason, LeaseError, LeaseOutcome, Leased, SessionInfo, Side, Span, Step,
};

/// A module that can be called so, ready to be instantiated.
pub(super) struct Direct {
    module: InstancePre<GuestState>,
    names: shape::Names,
}

/// Where lists go in a guest's memory.
#[derive(Clone)]
pub(super) struct Guest {
    memory: Memory,
    realloc: TypedFunc<(u32, u32, u32, u32), u32>,
}

/// An instance of such a module: its functions.
pub(super) struct Calls {
    guest: Guest,
    /// Bytes that one call may hand to the host.
    budget: usize,
    configure: Answering<(u32, u32)>,
    open: TypedFunc<FlatInfo, u32>,
    choose_upstream: Answering<(u32, u32, u32)>,
    on_leased: Answering<FlatLeased>,
    on_lease_failed: Answering<(u32, u32, u32, u32)>,
    on_data: Answering<(u32, u32, u32, u32)>,
    on_eof: Answering<(u32, u32)>,
    pool_return: TypedFunc<(u32, u32, u64, u64), u32>,
    on_request_failed: Answering<(u32, u32, u32, u32, u32)>,
    close: TypedFunc<u32, ()>,
    open_replies: TypedFunc<(), u32>,
    measure: Answering<(u32, u32, u32)>,
    close_replies: TypedFunc<u32, ()>,
}

/// `session-info` as parameters: number, and pointer and length of each text.
type FlatInfo = (u64, u32, u32, u32, u32, u32, u32);
/// The session and `leased`: tag, whether it is fresh, endpoint, identity.
type FlatLeased = (u32, u32, u32, u32, u32, u32, u32, u32);

/// A function that says where its answer is, and the one that takes it back once it has been read.
struct Answering<Params> {
    call: TypedFunc<Params, u32>,
    done: Option<TypedFunc<u32, ()>>,
}

/// A session, or what measures replies: where it is in the guest's memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object(u32);

impl Direct {
    /// Compiles and links a module that has been found to be a plugin.
    ///
    /// # Errors
    /// It cannot be called so, for whatever reason.
    pub(super) fn new(engine: &Engine, code: &[u8]) -> wasmtime::Result<Self> {
        let module = Module::from_binary(engine, code)?;
        let names = shape::check(&module, code)?;
        let mut linker = Linker::new(engine);
        imports::define(&mut linker, &module)?;
        Ok(Self {
            module: linker.instantiate_pre(&module)?,
            names,
        })
    }

    /// Instantiates it. `budget`: bytes that one call may hand to the host.
    ///
    /// # Errors
    /// It trapped.
    pub(super) fn instantiate(
        &self,
        store: &mut Store<GuestState>,
        budget: usize,
    ) -> wasmtime::Result<Calls> {
        let instance = self.module.instantiate(&mut *store)?;
        let memory = instance
            .get_memory(&mut *store, "memory")
            .ok_or_else(|| format_err!("there is no memory"))?;
        let guest = Guest {
            memory,
            realloc: instance.get_typed_func(&mut *store, "cabi_realloc")?,
        };
        store.data_mut().guest = Some(guest.clone());
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut *store, "_initialize") {
            initialize.call(&mut *store, ())?;
        }
        let mut meta = Functions {
            instance,
            store: &mut *store,
            before: &self.names.meta,
        };
        let configure = meta.answering("#configure")?;
        let mut hooks = Functions {
            instance,
            store,
            before: &self.names.hooks,
        };
        Ok(Calls {
            guest,
            budget,
            configure,
            open: hooks.plain("#[constructor]session")?,
            choose_upstream: hooks.answering("#[method]session.choose-upstream")?,
            on_leased: hooks.answering("#[method]session.on-leased")?,
            on_lease_failed: hooks.answering("#[method]session.on-lease-failed")?,
            on_data: hooks.answering("#[method]session.on-data")?,
            on_eof: hooks.answering("#[method]session.on-eof")?,
            pool_return: hooks.plain("#[method]session.pool-return")?,
            on_request_failed: hooks.answering("#[method]session.on-request-failed")?,
            close: hooks.plain("#[dtor]session")?,
            open_replies: hooks.plain("#[constructor]replies")?,
            measure: hooks.answering("#[method]replies.measure")?,
            close_replies: hooks.plain("#[dtor]replies")?,
        })
    }
}

/// The functions of an instance, by the ends of their names.
struct Functions<'a> {
    instance: Instance,
    store: &'a mut Store<GuestState>,
    before: &'a str,
}

impl Functions<'_> {
    fn plain<Params: WasmParams, Results: WasmResults>(
        &mut self,
        name: &str,
    ) -> wasmtime::Result<TypedFunc<Params, Results>> {
        let name = format!("{}{name}", self.before);
        self.instance.get_typed_func(&mut *self.store, &name)
    }

    fn answering<Params: WasmParams>(&mut self, name: &str) -> wasmtime::Result<Answering<Params>> {
        let call = self.plain(name)?;
        let done = format!("cabi_post_{}{name}", self.before);
        let done = match self.instance.get_func(&mut *self.store, &done) {
            Some(done) => Some(done.typed(&mut *self.store)?),
            None => None,
        };
        Ok(Answering { call, done })
    }
}

impl Guest {
    /// Puts a list into the guest's memory, where the guest wants it, and says where that is and how long it is. An empty
    /// one as well: the guest may free it like any other.
    fn hand(
        &self,
        mut store: impl AsContextMut<Data = GuestState>,
        bytes: &[u8],
    ) -> wasmtime::Result<(u32, u32)> {
        let length = u32::try_from(bytes.len())?;
        let at = quietly(&mut store, |store| {
            self.realloc.call(store, (0, 0, 1, length))
        })?;
        self.write(store, at, bytes)?;
        Ok((at, length))
    }

    fn write(
        &self,
        mut store: impl AsContextMut<Data = GuestState>,
        at: u32,
        bytes: &[u8],
    ) -> wasmtime::Result<()> {
        put_at(self.memory.data_mut(&mut store), at, bytes)
            .ok_or_else(|| Forbidden("wanted bytes outside of its memory".to_owned()).into())
    }
}

impl Calls {
    pub(super) fn configure(
        &self,
        store: &mut Store<GuestState>,
        json: &str,
    ) -> wasmtime::Result<Result<(), String>> {
        let json = self.guest.hand(&mut *store, json.as_bytes())?;
        self.ask(store, &self.configure, json)
    }

    pub(super) fn open(
        &self,
        store: &mut Store<GuestState>,
        info: &SessionInfo,
    ) -> wasmtime::Result<Object> {
        let text =
            |store: &mut Store<GuestState>, text: &str| self.guest.hand(store, text.as_bytes());
        let (listener, listener_length) = text(store, &info.listener)?;
        let (client, client_length) = text(store, &info.client_address)?;
        let (local, local_length) = text(store, &info.local_address)?;
        let info = (
            info.id,
            listener,
            listener_length,
            client,
            client_length,
            local,
            local_length,
        );
        made(store, |store| self.open.call(store, info))
    }

    pub(super) fn choose_upstream(
        &self,
        store: &mut Store<GuestState>,
        Object(this): Object,
        client_bytes: &[u8],
    ) -> wasmtime::Result<Choice> {
        let (bytes, length) = self.guest.hand(&mut *store, client_bytes)?;
        let function = &self.choose_upstream;
        self.ask(store, function, (this, bytes, length))
    }

    pub(super) fn on_leased(
        &self,
        store: &mut Store<GuestState>,
        Object(this): Object,
        lease: &Leased,
    ) -> wasmtime::Result<Vec<Step>> {
        let guest = &self.guest;
        let (tag, tag_length) = guest.hand(&mut *store, &lease.tag)?;
        let (endpoint, endpoint_length) = guest.hand(&mut *store, lease.endpoint.as_bytes())?;
        let (identity, identity_length) = guest.hand(&mut *store, lease.identity.as_bytes())?;
        let lease = (
            this,
            tag,
            tag_length,
            u32::from(lease.fresh),
            endpoint,
            endpoint_length,
            identity,
            identity_length,
        );
        self.ask(store, &self.on_leased, lease)
    }

    pub(super) fn on_lease_failed(
        &self,
        store: &mut Store<GuestState>,
        Object(this): Object,
        why: &LeaseError,
    ) -> wasmtime::Result<Vec<Step>> {
        let (case, text, length) = self.why(store, why)?;
        let function = &self.on_lease_failed;
        self.ask(store, function, (this, case, text, length))
    }

    pub(super) fn on_data(
        &self,
        store: &mut Store<GuestState>,
        Object(this): Object,
        origin: Side,
        data: &[u8],
    ) -> wasmtime::Result<Vec<Step>> {
        let (data, length) = self.guest.hand(&mut *store, data)?;
        let shown = (this, side(origin), data, length);
        self.ask(store, &self.on_data, shown)
    }

    pub(super) fn on_eof(
        &self,
        store: &mut Store<GuestState>,
        Object(this): Object,
        origin: Side,
    ) -> wasmtime::Result<Vec<Step>> {
        self.ask(store, &self.on_eof, (this, side(origin)))
    }

    pub(super) fn pool_return(
        &self,
        store: &mut Store<GuestState>,
        Object(this): Object,
        outcome: LeaseOutcome,
    ) -> wasmtime::Result<Disposition> {
        let reason = match outcome.reason {
            EndReason::ClientClosed => 0,
            EndReason::ClientError => 1,
            EndReason::PluginClose => 2,
            EndReason::Timeout => 3,
            EndReason::Drain => 4,
        };
        let outcome = (this, reason, outcome.sent, outcome.received);
        Ok(disposition(self.pool_return.call(store, outcome)?)?)
    }

    pub(super) fn on_request_failed(
        &self,
        store: &mut Store<GuestState>,
        Object(this): Object,
        why: &LeaseError,
        replies: u32,
    ) -> wasmtime::Result<Vec<u8>> {
        let (case, text, length) = self.why(store, why)?;
        let failed = (this, case, text, length, replies);
        self.ask(store, &self.on_request_failed, failed)
    }

    pub(super) fn close(
        &self,
        store: &mut Store<GuestState>,
        Object(this): Object,
    ) -> wasmtime::Result<()> {
        self.close.call(store, this)
    }

    pub(super) fn open_replies(&self, store: &mut Store<GuestState>) -> wasmtime::Result<Object> {
        made(store, |store| self.open_replies.call(store, ()))
    }

    pub(super) fn measure(
        &self,
        store: &mut Store<GuestState>,
        Object(this): Object,
        data: &[u8],
    ) -> wasmtime::Result<Result<Vec<Span>, String>> {
        let (data, length) = self.guest.hand(&mut *store, data)?;
        self.ask(store, &self.measure, (this, data, length))
    }

    pub(super) fn close_replies(
        &self,
        store: &mut Store<GuestState>,
        Object(this): Object,
    ) -> wasmtime::Result<()> {
        self.close_replies.call(store, this)
    }

    /// Calls a function, reads its answer, and tells it that this has been read.
    fn ask<Params: WasmParams, T: Lift>(
        &self,
        store: &mut Store<GuestState>,
        function: &Answering<Params>,
        params: Params,
    ) -> wasmtime::Result<T> {
        let at = function.call.call(&mut *store, params)?;
        let memory = self.guest.memory.data(&*store);
        let answer = T::lift(&mut Reader::new(memory, self.budget), at)?;
        if let Some(done) = &function.done {
            quietly(store, |store| done.call(store, at))?;
        }
        Ok(answer)
    }

    /// An error as it is handed over: its case, and its text.
    fn why(
        &self,
        store: &mut Store<GuestState>,
        why: &LeaseError,
    ) -> wasmtime::Result<(u32, u32, u32)> {
        let (case, text) = match why {
            LeaseError::UnknownGroup(text) => (0, text),
            LeaseError::NoEndpoint(text) => (1, text),
            LeaseError::ConnectFailed(text) => (2, text),
            LeaseError::ConnectTimeout(text) => (3, text),
            LeaseError::HandshakeFailed(text) => (4, text),
            LeaseError::WaitTimeout(text) => (5, text),
            LeaseError::Lost(text) => (6, text),
            LeaseError::Draining => return Ok((7, 0, 0)),
        };
        let (text, length) = self.guest.hand(store, text.as_bytes())?;
        Ok((case, text, length))
    }
}

/// Has the guest make room or free some. It may call none of the contract's functions meanwhile, as the canonical
/// ABI has it ("may leave"): one that hands it a list would ask for room again, and so on, each with its list.
fn quietly<Store: AsContextMut<Data = GuestState>, T>(
    mut store: Store,
    call: impl FnOnce(&mut Store) -> wasmtime::Result<T>,
) -> wasmtime::Result<T> {
    store.as_context_mut().data_mut().quiet = true;
    let result = call(&mut store);
    store.as_context_mut().data_mut().quiet = false;
    result
}

/// Writes there, if that is in the memory.
fn put_at(memory: &mut [u8], at: u32, bytes: &[u8]) -> Option<()> {
    let room = memory.get_mut(at as usize..)?;
    room.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(())
}

fn side(side: Side) -> u32 {
    match side {
        Side::Client => 0,
        Side::Upstream => 1,
    }
}

/// Has a constructor called, and finds the object whose handle it returns.
fn made(
    store: &mut Store<GuestState>,
    construct: impl FnOnce(&mut Store<GuestState>) -> wasmtime::Result<u32>,
) -> wasmtime::Result<Object> {
    let handle = construct(store)?;
    let made = &store.data().made;
    let object = handle.checked_sub(1).and_then(|at| made.get(at as usize));
    match object {
        Some(object) => Ok(Object(*object)),
        None => Err(Forbidden(format!("returned the handle {handle}, which there is not")).into()),
    }
}

//! The functions of one instance, whichever way they are called.

use wasmtime::Store;
use wasmtime::component::ResourceAny;

use super::direct;
use super::fault::Forbidden;
use super::state::GuestState;
use crate::contract::session_hooks::GuestSession;
use crate::contract::session_side::SessionInstance;
use crate::contract::{
    Choice, Disposition, LeaseError, LeaseOutcome, Leased, SessionInfo, Side, Span, Step,
};

/// Calls an instance, always with the store that it lives in.
pub(super) enum Exports {
    /// As a component.
    Component(Box<SessionInstance>),
    /// As the core module that it is.
    Direct(Box<direct::Calls>),
}

/// A session of an instance, or what measures replies.
#[derive(Clone, Copy)]
pub(super) enum Object {
    Component(ResourceAny),
    Direct(direct::Object),
}

type Calling<'a> = &'a mut Store<GuestState>;

/// Calls a method of a session, either way.
macro_rules! methods {
    ($($method:ident, $component:ident: ($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(pub(super) fn $method(
            &self,
            store: Calling<'_>,
            this: Object,
            $($argument: $type),*
        ) -> wasmtime::Result<$result> {
            match (self, this) {
                (Self::Component(exports), Object::Component(this)) => {
                    session(exports).$component(store, this, $($argument),*)
                }
                (Self::Direct(calls), Object::Direct(this)) => {
                    calls.$method(store, this, $($argument),*)
                }
                _ => Err(mixed()),
            }
        })*
    };
}

impl Exports {
    methods! {
        choose_upstream, call_choose_upstream: (client_bytes: &[u8]) -> Choice;
        on_leased, call_on_leased: (lease: &Leased) -> Vec<Step>;
        on_lease_failed, call_on_lease_failed: (why: &LeaseError) -> Vec<Step>;
        on_data, call_on_data: (origin: Side, data: &[u8]) -> Vec<Step>;
        on_eof, call_on_eof: (origin: Side) -> Vec<Step>;
        pool_return, call_pool_return: (outcome: LeaseOutcome) -> Disposition;
        on_request_failed, call_on_request_failed: (why: &LeaseError, replies: u32) -> Vec<u8>;
    }

    /// Gives the instance its config. What settings it makes of it is known by then.
    pub(super) fn configure(
        &self,
        store: Calling<'_>,
        json: &str,
    ) -> wasmtime::Result<Result<(), String>> {
        match self {
            Self::Component(exports) => {
                let meta = exports.leaseway_plugin_plugin_meta();
                let answer = meta.call_configure(store, json)?;
                Ok(answer.map(drop))
            }
            Self::Direct(calls) => calls.configure(store, json),
        }
    }

    /// Begins a session.
    pub(super) fn open(&self, store: Calling<'_>, info: &SessionInfo) -> wasmtime::Result<Object> {
        match self {
            Self::Component(exports) => session(exports)
                .call_constructor(store, info)
                .map(Object::Component),
            Self::Direct(calls) => calls.open(store, info).map(Object::Direct),
        }
    }

    /// Ends one.
    pub(super) fn close(&self, store: Calling<'_>, this: Object) -> wasmtime::Result<()> {
        match (self, this) {
            (Self::Component(_), Object::Component(this)) => this.resource_drop(store),
            (Self::Direct(calls), Object::Direct(this)) => calls.close(store, this),
            _ => Err(mixed()),
        }
    }

    /// Begins to measure replies.
    pub(super) fn open_replies(&self, store: Calling<'_>) -> wasmtime::Result<Object> {
        match self {
            Self::Component(exports) => {
                let replies = exports.leaseway_plugin_session_hooks().replies();
                replies.call_constructor(store).map(Object::Component)
            }
            Self::Direct(calls) => calls.open_replies(store).map(Object::Direct),
        }
    }

    pub(super) fn measure(
        &self,
        store: Calling<'_>,
        this: Object,
        data: &[u8],
    ) -> wasmtime::Result<Result<Vec<Span>, String>> {
        match (self, this) {
            (Self::Component(exports), Object::Component(this)) => {
                let replies = exports.leaseway_plugin_session_hooks().replies();
                replies.call_measure(store, this, data)
            }
            (Self::Direct(calls), Object::Direct(this)) => calls.measure(store, this, data),
            _ => Err(mixed()),
        }
    }

    /// Ends that.
    pub(super) fn close_replies(&self, store: Calling<'_>, this: Object) -> wasmtime::Result<()> {
        match (self, this) {
            (Self::Component(_), Object::Component(this)) => this.resource_drop(store),
            (Self::Direct(calls), Object::Direct(this)) => calls.close_replies(store, this),
            _ => Err(mixed()),
        }
    }
}

fn session(exports: &SessionInstance) -> GuestSession<'_> {
    exports.leaseway_plugin_session_hooks().session()
}

/// Objects stay with the instance that has made them.
fn mixed() -> wasmtime::Error {
    Forbidden("an object of another instance".to_owned()).into()
}

//! The contract's interface `store`, over the store of the plugin's section.
//!
//! Written by hand, where other interfaces use generated bindings: keys and values are read where
//! they stand in the guest's memory.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList};

use super::SharedStore;
use crate::plugin::state::GuestState;

const INTERFACE: &str = "leaseway:plugin/store@0.1.0";

type Bytes = WasmList<u8>;
type Calling<'a> = StoreContextMut<'a, GuestState>;

/// Defines the interface, which is the same for sessions and for conversations: nothing waits.
pub(in crate::plugin) fn define(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut to = linker.instance(INTERFACE)?;
    to.func_wrap("get", |s: Calling<'_>, (key,): (Bytes,)| {
        Ok((store(&s).get(key.as_le_slice(&s), Instant::now()),))
    })?;
    to.func_wrap(
        "put",
        |s: Calling<'_>, (key, value, ttl_ms): (Bytes, Bytes, u64)| {
            let (key, value) = (key.as_le_slice(&s), value.as_le_slice(&s));
            Ok((store(&s).put(key, value, ttl_ms, Instant::now()),))
        },
    )?;
    to.func_wrap("take", |s: Calling<'_>, (key,): (Bytes,)| {
        Ok((store(&s).take(key.as_le_slice(&s), Instant::now()),))
    })?;
    to.func_wrap(
        "replace",
        |s: Calling<'_>, (key, expected, value): (Bytes, Bytes, Bytes)| {
            let (key, expected) = (key.as_le_slice(&s), expected.as_le_slice(&s));
            let value = value.as_le_slice(&s);
            Ok((store(&s).replace(key, expected, value, Instant::now()),))
        },
    )
}

fn store<'a>(s: &'a Calling<'_>) -> &'a Arc<SharedStore> {
    &s.data().store
}

//! Streams: stdin is at its end, stdout and stderr go to the host's log and always have room.

use wasmtime::component::{ComponentType, Lift, Lower, Resource, ResourceType};

use super::clocks::Timer;
use super::{Defining, no_op};
use crate::plugin::output::Stdio;

/// What a stream takes at a time.
const STREAM_ROOM: u64 = 4 << 10;
/// `wasi:io/streams.input-stream`: always stdin, always at its end.
pub(super) struct InputStream;
/// `wasi:io/streams.output-stream`: stdout or stderr.
pub(super) struct OutputStream;
/// `wasi:io/error.error`: never made.
pub(super) struct IoError;

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

/// `wasi:io/error`.
pub(super) fn define_error(to: &mut Defining<'_>) -> wasmtime::Result<()> {
    to.resource("error", ResourceType::host::<IoError>(), no_op)
}

/// `wasi:io/streams`.
pub(super) fn define(to: &mut Defining<'_>) -> wasmtime::Result<()> {
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
        Ok((s.data_mut().wasi.timers.add(Timer::Now)?,))
    })?;
    to.func_wrap("[method]output-stream.subscribe", |mut s, (_,): (Out,)| {
        Ok((s.data_mut().wasi.timers.add(Timer::Now)?,))
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

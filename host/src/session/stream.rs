//! A socket, as the driver uses it: one read or one write, without waiting.

use std::io;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::contract::Side;
use crate::copy::{Passing, Pipe, Room};

/// Sides that had nothing to read when they were last asked in this wake-up: they will wake the
/// task, and need not be asked again before.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Quiet {
    pub(super) client: bool,
    pub(super) upstream: bool,
}

impl Quiet {
    pub(super) fn of(&mut self, side: Side) -> &mut bool {
        match side {
            Side::Client => &mut self.client,
            Side::Upstream => &mut self.upstream,
        }
    }
}

/// Reads once; nothing read is the end.
pub(super) fn read(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    room: Room<'_>,
) -> Poll<io::Result<usize>> {
    let space = match room {
        Room::Memory(space) => space,
        Room::Pipe(pipe, most) => return fill(stream, cx, pipe, most),
    };
    let mut buffer = ReadBuf::new(space);
    match Pin::new(stream).poll_read(cx, &mut buffer) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(Ok(())) => Poll::Ready(Ok(buffer.filled().len())),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
    }
}

/// Writes once, of both in this order, and says how much has gone.
pub(super) fn write(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    own: &[u8],
    passing: Passing<'_>,
) -> Poll<io::Result<usize>> {
    let passing = match passing {
        Passing::Memory(passing) => passing,
        Passing::Pipe(pipe) if own.is_empty() => return drain(stream, cx, pipe),
        Passing::Pipe(_) => &[],
    };
    let stream = Pin::new(stream);
    match (own.is_empty(), passing.is_empty()) {
        (true, _) => stream.poll_write(cx, passing),
        (false, true) => stream.poll_write(cx, own),
        (false, false) => {
            stream.poll_write_vectored(cx, &[IoSlice::new(own), IoSlice::new(passing)])
        }
    }
}

fn fill(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    pipe: &Pipe,
    most: usize,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_read_ready(cx))?;
        match stream.try_io(Interest::READABLE, || pipe.fill(stream, most)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
    }
}

fn drain(stream: &TcpStream, cx: &mut Context<'_>, pipe: &Pipe) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(cx))?;
        match stream.try_io(Interest::WRITABLE, || pipe.drain(stream)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
    }
}

/// The address that a client has connected to, without a system call where the config says it.
pub(super) fn local_address(client: &TcpStream, bind: SocketAddr) -> SocketAddr {
    if bind.ip().is_unspecified() || bind.port() == 0 {
        return client.local_addr().unwrap_or(bind);
    }
    bind
}

//! Waiting for many sockets, and a client that has one request under way.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// Sockets that are waited for, each by a number.
pub(in crate::bench) struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poll {
    pub(in crate::bench) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(1024),
        })
    }

    /// Says when bytes come, until the socket is closed.
    pub(in crate::bench) fn add(&self, socket: impl AsFd, number: usize) -> anyhow::Result<()> {
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.epoll, socket, data, epoll::EventFlags::IN)?;
        Ok(())
    }

    /// The sockets that have something, after at most this long.
    pub(in crate::bench) fn wait(
        &mut self,
        limit: Duration,
    ) -> anyhow::Result<impl Iterator<Item = usize>> {
        let limit = Timespec::try_from(limit)?;
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(why) => return Err(why).context("cannot wait for sockets"),
        }
        let number = |event: &epoll::Event| usize::try_from(event.data.u64()).unwrap_or(0);
        Ok(self.events.iter().map(number))
    }
}

/// A connected client.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    /// Bytes of the reply that have come.
    got: usize,
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)
            .with_context(|| format!("a client cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, got: 0 })
    }

    pub(super) fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.got = 0;
        self.stream
            .write_all(request)
            .context("a client cannot send its request")
    }

    /// Reads once; true if the whole reply is there.
    pub(super) fn receive(&mut self, reply: &[u8]) -> anyhow::Result<bool> {
        let mut buffer = [0; 4096];
        let count = match self.stream.read(&mut buffer) {
            Ok(0) => bail!("the session was closed under a client"),
            Ok(count) => count,
            Err(why) if why.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(why) => return Err(why).context("a client cannot read its reply"),
        };
        let bytes = &buffer[..count];
        if reply.get(self.got..self.got + count) != Some(bytes) {
            bail!(
                "a client got \"{}\", and not what it had asked for",
                bytes.escape_ascii()
            );
        }
        self.got += count;
        Ok(self.got == reply.len())
    }
}

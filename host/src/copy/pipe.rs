//! Pipes for bytes that pass unseen: they go from socket to socket inside the kernel, by splice(2).
//!
//! A pipe is a session's only while there is something in it, then its worker's again; one
//! that still holds bytes is closed, never lent on. Never shared between workers.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;

use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use rustix::process::{Resource, getrlimit};

/// Bytes that a pipe is asked to hold. What a slow reader keeps waiting in the kernel at most,
/// apart from its socket.
pub const PIPE_SIZE: usize = 256 << 10;

/// Pipes of one worker that may be open at a time, of two file descriptors each. Sessions that
/// get none copy.
const MAX_PIPES: usize = 256;
/// Pipes that a worker keeps for reuse; more are closed.
const KEPT_PIPES: usize = 8;

/// A pipe, and how much is in it.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: Cell<usize>,
    open: Rc<Cell<usize>>,
}

impl Pipe {
    fn open(open: &Rc<Cell<usize>>) -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // The kernel gives the lowest number that is free. The last quarter is for sockets.
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        if u64::try_from(write.as_raw_fd()).is_ok_and(|number| number > limit / 4 * 3) {
            return Err(Errno::MFILE.into());
        }
        // Past pipe(7)'s limits for a user this fails, and the kernel may have made the pipe
        // smaller than usual: such a one is slower than copying.
        fcntl_setpipe_size(&write, PIPE_SIZE)?;
        open.set(open.get() + 1);
        Ok(Self {
            read,
            write,
            held: Cell::new(0),
            open: Rc::clone(open),
        })
    }

    /// Bytes in it.
    pub fn held(&self) -> usize {
        self.held.get()
    }

    /// Moves what a socket has received into this pipe, at most `most` bytes. None is the end.
    ///
    /// # Errors
    /// Those of splice(2). `WouldBlock`: the socket has nothing, or the pipe is full.
    pub fn fill(&self, from: impl AsFd, most: usize) -> io::Result<usize> {
        let count = splice_some(from, &self.write, most)?;
        self.held.set(self.held.get() + count);
        Ok(count)
    }

    /// Moves what is in this pipe to a socket, as far as it takes it.
    ///
    /// # Errors
    /// Those of splice(2). `WouldBlock`: the socket takes no more now, or the pipe is empty.
    /// `WriteZero`: it takes nothing, and does not say why.
    pub fn drain(&self, to: impl AsFd) -> io::Result<usize> {
        let count = splice_some(&self.read, to, self.held.get())?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.held.set(self.held.get().saturating_sub(count));
        Ok(count)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.open.set(self.open.get().saturating_sub(1));
    }
}

fn splice_some(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    let moved = retry_on_intr(|| splice(&from, None, &to, None, most, flags))?;
    Ok(moved)
}

/// Whether an error of [`Pipe::fill`] says that this machine does not splice sockets at all: a
/// kernel or a sandbox that lacks the call, or forbids it.
pub fn is_unsupported(error: &io::Error) -> bool {
    let none = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM];
    none.iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Pipes that a worker's sessions take turns with.
#[derive(Debug, Default)]
pub(super) struct PipePool {
    // In boxes, as sessions hold them: an idle one has room for a pointer.
    #[allow(clippy::vec_box)]
    free: RefCell<Vec<Box<Pipe>>>,
    open: Rc<Cell<usize>>,
    refused: Cell<bool>,
}

impl PipePool {
    /// An empty pipe. None: so many are open, or the system gives no more.
    pub(super) fn take(&self) -> Option<Box<Pipe>> {
        let reused = self.free.borrow_mut().pop();
        reused.or_else(|| {
            let room = self.open.get() < MAX_PIPES && !self.are_refused();
            room.then(|| Pipe::open(&self.open).ok().map(Box::new))
                .flatten()
        })
    }

    pub(super) fn give(&self, pipe: Box<Pipe>) {
        let mut free = self.free.borrow_mut();
        if pipe.held() == 0 && free.len() < KEPT_PIPES && !self.are_refused() {
            free.push(pipe);
        }
    }

    pub(super) fn refuse(&self) {
        self.refused.set(true);
        self.free.borrow_mut().clear();
    }

    pub(super) fn are_refused(&self) -> bool {
        self.refused.get()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_pipe_that_holds_bytes_is_not_lent_on() {
        let pool = PipePool::default();
        let (mut sender, from) = UnixStream::pair().unwrap();
        let (to, mut receiver) = UnixStream::pair().unwrap();
        sender.write_all(b"secret").unwrap();

        let pipe = pool.take().unwrap();
        assert_eq!(pipe.fill(&from, 100).unwrap(), 6);
        pool.give(pipe);
        assert_eq!(pool.open.get(), 0, "closed");

        sender.write_all(b"more").unwrap();
        let pipe = pool.take().unwrap();
        assert_eq!(pipe.fill(&from, 3).unwrap(), 3);
        assert_eq!(pipe.drain(&to).unwrap(), 3);
        pool.give(pipe);
        assert_eq!((pool.open.get(), pool.free.borrow().len()), (1, 1), "kept");
        let mut bytes = [0; 10];
        assert_eq!(receiver.read(&mut bytes).unwrap(), 3);
        assert_eq!(&bytes[..3], b"mor");
    }

    #[test]
    fn no_more_pipes_are_open_than_allowed() {
        let pool = PipePool::default();
        let pipes: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert!(
            !pipes.is_empty() && pipes.len() <= MAX_PIPES,
            "{}",
            pipes.len()
        );
        drop(pipes);
        assert_eq!(pool.open.get(), 0);
        assert!(pool.take().is_some());
        pool.refuse();
        assert!(pool.take().is_none());
    }
}

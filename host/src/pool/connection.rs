//! One upstream connection that is open, and how it travels between workers.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use rustix::net::RecvFlags;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::caretaker::Caretaker;
use super::shelf::{Key, Suits};
use crate::contract::Target;
use crate::kernel;
use crate::upstream::Permit;

/// A connection on the worker that it is registered with. It goes from hand to hand in a box, which it is put in when
/// it is opened.
pub struct Connection {
    pub(crate) stream: TcpStream,
    /// What the plugin's `connect` returned.
    pub(crate) tag: Vec<u8>,
    /// What a session has put in its place since then, until the next reset.
    pub(crate) retagged: Option<Box<[u8]>>,
    /// What it was opened for.
    pub(crate) target: Arc<Target>,
    /// Who looks after it.
    pub(crate) caretaker: Rc<dyn Caretaker>,
    /// Past this it is not reused.
    pub(crate) expires: Instant,
    /// Last, so that the room is given only after the stream has closed.
    pub(crate) permit: Permit,
}

/// Why an idle connection is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// The upstream has closed it.
    Closed,
    /// It holds bytes that nobody has asked for.
    UnaskedBytes,
    /// The operating system reports an error.
    Broken,
}

impl Unfit {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed-by-upstream",
            Self::UnaskedBytes => "unasked-bytes",
            Self::Broken => "broken",
        }
    }
}

impl Connection {
    /// Looks, without waiting, whether the connection is open and silent. One system call.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), Unfit> {
        let mut byte = [0_u8; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match rustix::net::recv(&self.stream, &mut byte, flags) {
            Ok((_, 0)) => Err(Unfit::Closed),
            Ok(_) => Err(Unfit::UnaskedBytes),
            Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(_) => Err(Unfit::Broken),
        }
    }

    /// What its next lease is told of it.
    pub fn tag(&self) -> &[u8] {
        self.retagged.as_deref().unwrap_or(&self.tag)
    }

    /// Bytes written that the peer has not acknowledged.
    pub fn unacknowledged(&self) -> io::Result<u64> {
        kernel::unacknowledged(&self.stream)
    }

    /// Closes it for the sake of another in its place, for a reason that metrics name.
    pub(crate) fn make_room(self, reason: &'static str) -> Permit {
        let Self { stream, permit, .. } = self;
        permit.endpoint().counters.closed(reason);
        drop(stream);
        permit
    }

    /// Takes out its stream, for a conversation.
    pub(super) fn part(self) -> (TcpStream, Parted) {
        let Self {
            stream,
            tag,
            retagged,
            target,
            caretaker,
            expires,
            permit,
        } = self;
        let parted = Parted {
            tag,
            retagged,
            target,
            caretaker,
            expires,
            permit,
        };
        (stream, parted)
    }

    /// Makes it ready to go to another worker.
    ///
    /// # Errors
    /// The runtime does not let go of it; it is closed then.
    pub fn pack(self) -> io::Result<Parcel> {
        let (stream, parted) = self.part();
        Ok(Parcel {
            stream: stream.into_std()?,
            tag: parted.tag,
            retagged: parted.retagged,
            target: parted.target,
            caretaker: Arc::clone(parted.caretaker.name()),
            expires: parted.expires,
            permit: parted.permit,
        })
    }
}

/// A connection whose stream is out.
pub(super) struct Parted {
    tag: Vec<u8>,
    pub(super) retagged: Option<Box<[u8]>>,
    pub(super) target: Arc<Target>,
    pub(super) caretaker: Rc<dyn Caretaker>,
    expires: Instant,
    permit: Permit,
}

impl Parted {
    /// The connection that it was.
    pub(super) fn with(self, stream: TcpStream) -> Box<Connection> {
        let Self {
            tag,
            retagged,
            target,
            caretaker,
            expires,
            permit,
        } = self;
        Box::new(Connection {
            stream,
            tag,
            retagged,
            target,
            caretaker,
            expires,
            permit,
        })
    }
}

impl Suits for Box<Connection> {
    fn suits(&self, key: Key<'_>) -> bool {
        self.target.identity == key.identity && **self.caretaker.name() == *key.caretaker
    }
}

/// A connection between two workers.
pub struct Parcel {
    stream: std::net::TcpStream,
    tag: Vec<u8>,
    retagged: Option<Box<[u8]>>,
    target: Arc<Target>,
    caretaker: Arc<str>,
    expires: Instant,
    permit: Permit,
}

impl Parcel {
    /// The name of its caretaker.
    pub fn caretaker(&self) -> &Arc<str> {
        &self.caretaker
    }

    /// The endpoint's number.
    pub fn endpoint(&self) -> usize {
        self.permit.endpoint().id
    }

    /// Takes it in on this worker, whose own caretaker of that name looks after it from now.
    ///
    /// # Errors
    /// The runtime does not take it; it is closed then.
    pub fn unpack(self, caretaker: Rc<dyn Caretaker>) -> io::Result<Box<Connection>> {
        let Self {
            stream,
            tag,
            retagged,
            target,
            expires,
            permit,
            ..
        } = self;
        let stream = TcpStream::from_std(stream)?;
        Ok(Box::new(Connection {
            stream,
            tag,
            retagged,
            target,
            caretaker,
            expires,
            permit,
        }))
    }
}

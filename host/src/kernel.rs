//! The one thing that is asked of the kernel and that no safe interface offers.
//!
//! All unsafe code of the host is here.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, ioctl};

/// `SIOCOUTQ`, as tcp(7) gives it: bytes that were written and that the peer has not acknowledged.
/// (asm-generic/ioctls.h; MIPS, PowerPC, SPARC and Alpha differ, and are no targets of Leaseway.)
const SIOCOUTQ: u32 = 0x5411;

/// Bytes written to a TCP socket that its peer's kernel has not acknowledged. Also answers for a
/// socket that has been reset: then these never arrived, and never will.
///
/// # Errors
/// The file descriptor is no TCP socket.
pub fn unacknowledged(socket: impl AsFd) -> io::Result<u64> {
    // SAFETY: SIOCOUTQ writes one `int` through the pointer that `Getter` passes, which points to
    // memory of just that type, and reads nothing.
    let count = unsafe { ioctl(socket, Getter::<SIOCOUTQ, c_int>::new()) }?;
    Ok(u64::try_from(count).unwrap_or(0))
}

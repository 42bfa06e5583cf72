//! A worker: one thread, one single-threaded runtime, and the sessions that stay on it.
//!
//! Owns its sessions, its part of the pools, and its instances of the plugins; none of these is
//! ever touched by another thread. What reaches it from outside comes as a [`Command`].

mod thread;

use std::net::SocketAddr;
use std::thread::JoinHandle;

use tokio::sync::mpsc::UnboundedSender;

use crate::session::Phase;

pub use thread::{ListenerParts, WorkerParts, spawn};

/// What a worker is told.
#[derive(Debug)]
pub enum Command {
    /// A client that another worker has accepted for it.
    Client {
        /// Index of the listener in the config.
        listener: usize,
        /// The client, out of any runtime.
        stream: std::net::TcpStream,
        /// Its address.
        peer: SocketAddr,
    },
    /// What the host wants of all sessions. From `Draining` on the worker accepts no clients,
    /// and its thread ends with its last session.
    Phase(Phase),
}

/// A worker's thread, seen from outside.
#[derive(Debug)]
pub struct Worker {
    /// Takes commands.
    pub commands: UnboundedSender<Command>,
    /// The thread; ends after draining.
    pub thread: JoinHandle<()>,
}

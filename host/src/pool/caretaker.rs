//! What the pool needs to have done with connections that no session holds.
//!
//! Implemented by a plugin's conversations, and by a plain one for listeners without a plugin.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::contract::Target;

/// A conversation that has been started. It owns the connection and gives it back when all went
/// well; after an error, or when it is dropped in mid-way, the connection is closed.
pub type Conversation<'a, T> = Pin<Box<dyn Future<Output = Result<(TcpStream, T), Trouble>> + 'a>>;

/// Why a conversation failed, in words for an operator, and who is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The plugin is not content with what the upstream has said.
    #[error("{0}")]
    Refused(String),
    /// The connection broke or was closed.
    #[error("{0}")]
    Broke(String),
    /// Nothing came in time.
    #[error("{0}")]
    Silent(String),
    /// The plugin itself failed, and the upstream may be as well as ever.
    #[error("{0}")]
    Fault(String),
}

/// What has come of shaking hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The connection's tag.
    pub tag: Vec<u8>,
    /// The upstream has said something. Where nothing had to be said it may be frozen: the kernel
    /// accepts for it.
    pub heard: bool,
}

/// Opens, resets and probes connections. Each call bounds its own time.
pub trait Caretaker {
    /// The plugin's name in the config, or `-` without one. Connections of different caretakers
    /// are never interchangeable.
    fn name(&self) -> &Arc<str>;
    /// What connections are opened for when no session asks for one.
    fn default_target(&self) -> &Arc<Target>;
    /// Whether `connect` does anything; when not, it is not called and the tag is empty.
    fn has_connect(&self) -> bool;
    /// Whether connections can be reset; when not, `reset` means close.
    fn has_reset(&self) -> bool;
    /// Whether connections can be probed; when not, an endpoint's check is a TCP connect.
    fn has_probe(&self) -> bool;
    /// Shake hands on a fresh connection.
    fn connect<'a>(&'a self, stream: TcpStream, target: &'a Target) -> Conversation<'a, Greeting>;
    /// Make a used connection as good as new for the target that it was opened for.
    fn reset<'a>(&'a self, stream: TcpStream, target: &'a Target) -> Conversation<'a, ()>;
    /// Find out whether an idle connection, opened for this target, is alive.
    fn probe<'a>(
        &'a self,
        stream: TcpStream,
        target: &'a Target,
        idle: Duration,
    ) -> Conversation<'a, ()>;
}

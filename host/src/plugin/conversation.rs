//! Conversations: connect, reset and probe, each on a fresh instance that waits for the network
//! without blocking its worker.
//!
//! The connection is owned by the instance for that time, so a conversation that fails, runs out
//! of time or is given up closes it. What it left unread is for the pool to judge.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wasmtime::Store;
use wasmtime::component::Resource;

use super::component::one_line;
use super::fault::explain;
use super::fault_log::FaultLog;
use super::hooks::Fault;
use super::load::Plugin;
use super::metrics::{Hook, Shard};
use super::output::printable;
use super::state::GuestState;
use crate::contract::conversation_side::exports::leaseway::plugin::conversations::Guest;
use crate::contract::conversation_side::leaseway::plugin::connection::{
    Host, HostConnection, IoError,
};
use crate::contract::{Hooks, Target};
use crate::pool::{Caretaker, Conversation};

/// The most that one `read` returns.
const MAX_READ: u32 = 64 << 10;
/// The most that one `read-exact` returns.
const MAX_READ_EXACT: u32 = 1 << 20;
/// The longest tag.
const MAX_TAG: usize = 64 << 10;

/// The resource of the contract. There is one per instance, in its `GuestState`.
pub struct Connection;

/// The conversations of a plugin, for one worker's pool.
pub struct Conversations {
    plugin: Arc<Plugin>,
    shard: Arc<Shard>,
    fault_log: FaultLog,
}

impl Conversations {
    /// Starts nothing: each conversation makes its own instance.
    pub fn new(plugin: Arc<Plugin>) -> Self {
        let shard = plugin.metrics.shard();
        Self {
            plugin,
            shard,
            fault_log: FaultLog::default(),
        }
    }

    async fn converse<T>(
        &self,
        hook: Hook,
        stream: TcpStream,
        call: impl AsyncFnOnce(
            &Guest,
            &mut Store<GuestState>,
            Resource<Connection>,
        ) -> wasmtime::Result<Result<T, String>>,
    ) -> Result<(TcpStream, T), String> {
        let plugin = &*self.plugin;
        let limit = plugin.limits.conversation;
        let name = Arc::clone(&plugin.name);
        let mut store = GuestState::for_conversation(&plugin.engine, name, &plugin.limits, stream);
        self.shard.call(hook);
        let conversation = async {
            let exports = plugin.conversations.instantiate_async(&mut store).await?;
            let meta = exports.leaseway_plugin_plugin_meta();
            let settings = meta.call_configure(&mut store, &plugin.config).await?;
            if let Err(message) = settings {
                return Ok(Err(format!(
                    "refused the config that it had accepted at start: {message}"
                )));
            }
            let connection = Resource::new_own(0);
            call(
                exports.leaseway_plugin_conversations(),
                &mut store,
                connection,
            )
            .await
        };
        let answer = timeout(limit, conversation).await;
        let Ok(answer) = answer else {
            return Err(self.out_of_time(hook, store.data()));
        };
        match answer {
            Ok(Ok(value)) => match store.data_mut().connection.take() {
                Some(stream) => Ok((stream, value)),
                None => Err("the connection was lost in the conversation".to_owned()),
            },
            Ok(Err(message)) => Err(printable(&message).into_owned()),
            Err(error) => Err(self.faulted(hook, &explain(hook.name(), &error, store.data_mut()))),
        }
    }

    /// To wait in vain for an upstream is no fault of the plugin; to compute for so long is.
    fn out_of_time(&self, hook: Hook, state: &GuestState) -> String {
        let limit = self.plugin.limits.conversation;
        let name = hook.name();
        if state.waiting {
            return format!("{name} did not end within the conversation limit of {limit:?}");
        }
        self.faulted(hook, &Fault::Deadline { hook: name, limit })
    }

    fn faulted(&self, hook: Hook, fault: &Fault) -> String {
        self.shard.fault(hook, fault);
        let plugin = &*self.plugin.name;
        self.fault_log.write(plugin, fault, 0);
        format!("plugin {plugin}: {fault}")
    }

    fn has(&self, hook: Hooks) -> bool {
        self.plugin.info().hooks.contains(hook)
    }
}

impl Caretaker for Conversations {
    fn name(&self) -> &str {
        self.plugin.name()
    }

    fn default_target(&self) -> &Target {
        &self.plugin.settings().default_target
    }

    fn has_connect(&self) -> bool {
        self.has(Hooks::CONNECT)
    }

    fn has_reset(&self) -> bool {
        self.has(Hooks::RESET)
    }

    fn has_probe(&self) -> bool {
        self.has(Hooks::PROBE)
    }

    fn connect<'a>(&'a self, stream: TcpStream, target: &'a Target) -> Conversation<'a, Vec<u8>> {
        Box::pin(async move {
            let call = async |guest: &Guest, store: &mut Store<GuestState>, connection| {
                guest.call_connect(store, connection, target).await
            };
            let (stream, tag) = self.converse(Hook::Connect, stream, call).await?;
            if tag.len() > MAX_TAG {
                let length = tag.len();
                return Err(format!(
                    "connect returned a tag of {length} bytes, at most {MAX_TAG}"
                ));
            }
            Ok((stream, tag))
        })
    }

    fn reset<'a>(&'a self, stream: TcpStream, target: &'a Target) -> Conversation<'a, ()> {
        Box::pin(async move {
            let call = async |guest: &Guest, store: &mut Store<GuestState>, connection| {
                guest.call_reset(store, connection, target).await
            };
            self.converse(Hook::Reset, stream, call).await
        })
    }

    fn probe<'a>(&'a self, stream: TcpStream, idle: Duration) -> Conversation<'a, ()> {
        Box::pin(async move {
            let idle = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
            let call = async |guest: &Guest, store: &mut Store<GuestState>, connection| {
                guest.call_probe(store, connection, idle).await
            };
            self.converse(Hook::Probe, stream, call).await
        })
    }
}

impl GuestState {
    /// Runs one exchange with the network, noting that it is the network that takes the time.
    async fn exchange<T>(
        &mut self,
        io: impl AsyncFnOnce(&mut TcpStream) -> Result<T, IoError>,
    ) -> Result<T, IoError> {
        let Some(stream) = self.connection.as_mut() else {
            return Err(IoError::Closed);
        };
        self.waiting = true;
        let done = io(stream).await;
        self.waiting = false;
        done
    }
}

impl Host for GuestState {}

impl HostConnection for GuestState {
    async fn write(
        &mut self,
        _: Resource<Connection>,
        bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<(), IoError>> {
        let write =
            async |stream: &mut TcpStream| stream.write_all(&bytes).await.map_err(|e| failed(&e));
        Ok(self.exchange(write).await)
    }

    async fn read(
        &mut self,
        _: Resource<Connection>,
        max: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, IoError>> {
        if max == 0 {
            return Ok(Err(IoError::Failed("read of 0 bytes".to_owned())));
        }
        let read = async |stream: &mut TcpStream| {
            let max = max.min(MAX_READ);
            let mut bytes = Vec::with_capacity(max as usize);
            let mut stream = stream.take(u64::from(max));
            match stream.read_buf(&mut bytes).await.map_err(|e| failed(&e))? {
                0 => Err(IoError::Closed),
                _ => Ok(bytes),
            }
        };
        Ok(self.exchange(read).await)
    }

    async fn read_exact(
        &mut self,
        _: Resource<Connection>,
        count: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, IoError>> {
        if count > MAX_READ_EXACT {
            return Ok(Err(IoError::Failed(format!(
                "read-exact of {count} bytes, at most {MAX_READ_EXACT}"
            ))));
        }
        let read = async |stream: &mut TcpStream| {
            let mut bytes = Vec::new();
            let mut stream = stream.take(u64::from(count));
            stream
                .read_to_end(&mut bytes)
                .await
                .map_err(|e| failed(&e))?;
            if bytes.len() < count as usize {
                return Err(IoError::Closed);
            }
            Ok(bytes)
        };
        Ok(self.exchange(read).await)
    }

    async fn drop(&mut self, _: Resource<Connection>) -> wasmtime::Result<()> {
        Ok(())
    }
}

fn failed(error: &std::io::Error) -> IoError {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset => IoError::Closed,
        _ => IoError::Failed(one_line(&error.to_string())),
    }
}

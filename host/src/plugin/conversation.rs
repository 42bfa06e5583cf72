//! Conversations: connect, reset and probe, each on an instance of its own that waits for the network
//! without blocking its worker.
//!
//! The connection is owned by the instance for that time, so a conversation that fails, runs out
//! of time or is given up closes it, and ends the instance. What it left unread is for the pool to judge. An instance
//! whose conversation has gone well is kept for the next one: to make one costs more than most of them.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wasmtime::Store;
use wasmtime::component::Resource;

use super::component::one_line;
use super::fault::explain;
use super::hooks::{Fault, TimeLimit};
use super::limits::MAX_TAG;
use super::load::Plugin;
use super::metrics::{Hook, Shard};
use super::output::printable;
use super::plugin_log::PluginLog;
use super::state::{self, GuestState};
use crate::config::values::show_duration;
use crate::contract::conversation_side::ConversationInstance;
use crate::contract::conversation_side::exports::leaseway::plugin::conversations::Guest;
use crate::contract::conversation_side::leaseway::plugin::connection::{
    Host, HostConnection, IoError,
};
use crate::contract::{Hooks, Target};
use crate::pool::{Caretaker, Conversation, Greeting, Trouble};

/// The most that one `read` returns.
const MAX_READ: u32 = 64 << 10;
/// The most that one `read-exact` returns.
const MAX_READ_EXACT: u32 = 1 << 20;

/// A conversation that is given up while it computes is a fault only after this long: a client may
/// leave in the middle of a handshake that hashes a password.
const PATIENCE: Duration = Duration::from_millis(50);

/// How many instances without a conversation are kept, of each plugin on each worker.
const MAX_IDLE: usize = 4;
/// How many conversations an instance has, one after another: what a plugin forgets to free does not pile up.
const MAX_CONVERSATIONS: u32 = 1000;
/// One that has grown by more bytes since it was configured is not kept.
const MAX_GROWTH: u64 = 1 << 20;

/// The resource of the contract. There is one per instance, in its `GuestState`.
pub struct Connection;

/// The conversations of a plugin, for one worker's pool.
pub struct Conversations {
    plugin: Arc<Plugin>,
    shard: Arc<Shard>,
    log: Arc<PluginLog>,
    default_target: Arc<Target>,
    /// Instances without a conversation.
    idle: RefCell<Vec<(Store<GuestState>, Instance)>>,
}

/// An instance that is configured, beside its store.
struct Instance {
    exports: ConversationInstance,
    /// How many conversations it has had.
    conversations: u32,
    /// How many bytes of memory it had when it was configured.
    configured: u64,
}

/// A conversation that went well.
struct Ended<T> {
    stream: TcpStream,
    value: T,
    /// The upstream has said something in it.
    heard: bool,
}

/// A conversation under way. Dropped before it has ended, it has been given up by who waited.
struct Talk<'a> {
    conversations: &'a Conversations,
    hook: Hook,
    store: Option<Store<GuestState>>,
    ended: bool,
}

impl Drop for Talk<'_> {
    fn drop(&mut self) {
        if let Some(store) = &self.store
            && !self.ended
        {
            self.conversations.given_up(self.hook, store.data());
        }
    }
}

impl Conversations {
    /// Starts nothing: a conversation makes its instance, unless another one has left it one.
    pub fn new(plugin: Arc<Plugin>) -> Self {
        let log = PluginLog::new(Arc::clone(&plugin.name));
        Self::with_log(plugin, log)
    }

    /// The same, with a log that others write too.
    pub(super) fn with_log(plugin: Arc<Plugin>, log: Arc<PluginLog>) -> Self {
        let shard = plugin.metrics.shard();
        let default_target = Arc::new(plugin.settings().default_target.clone());
        Self {
            plugin,
            shard,
            log,
            default_target,
            idle: RefCell::default(),
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
    ) -> Result<Ended<T>, Trouble> {
        let plugin = &*self.plugin;
        let limit = plugin.limits.conversation;
        let mut talk = Talk {
            conversations: self,
            hook,
            store: None,
            ended: false,
        };
        let (store, known) = self.begin(stream);
        let store = talk.store.insert(store);
        self.shard.call(hook);
        let _working = plugin.ticking.works();
        let at = Cell::new(Hook::Instantiate);
        let conversation = async {
            let instance = match known {
                Some(instance) => instance,
                None => match self.set_up(&mut *store, &at).await? {
                    Ok(instance) => instance,
                    Err(refusal) => return Ok(Err(refusal)),
                },
            };
            at.set(hook);
            let guest = instance.exports.leaseway_plugin_conversations();
            let answer = call(guest, &mut *store, Resource::new_own(0)).await?;
            Ok(answer.map(|value| (value, instance)))
        };
        let answer = timeout(limit, conversation).await;
        talk.ended = true;
        let state = store.data_mut();
        let Ok(answer) = answer else {
            return Err(self.out_of_time(at.get(), state));
        };
        match answer {
            Ok(Ok((value, instance))) => {
                let Some(stream) = state.connection.take() else {
                    let why = "the connection was lost in the conversation";
                    return Err(Trouble::Broke(why.to_owned()));
                };
                let heard = state.heard;
                if let Some(store) = talk.store.take() {
                    self.keep(store, instance);
                }
                Ok(Ended {
                    stream,
                    value,
                    heard,
                })
            }
            // After an error of the connection that is what it says, in whatever words.
            Ok(Err(message)) if state.connection_broke => {
                Err(Trouble::Broke(printable(&message).into_owned()))
            }
            Ok(Err(message)) => Err(Trouble::Refused(printable(&message).into_owned())),
            Err(error) => {
                let fault = explain(at.get().name(), &error, state);
                Err(Trouble::Fault(self.faulted(&fault)))
            }
        }
    }

    /// A store for a conversation on this connection, and the instance in it, if it has one yet.
    fn begin(&self, stream: TcpStream) -> (Store<GuestState>, Option<Instance>) {
        if let Some((mut store, instance)) = self.idle.borrow_mut().pop() {
            state::resume(&mut store, stream);
            return (store, Some(instance));
        }
        let plugin = &*self.plugin;
        let log = Arc::clone(&self.log);
        let shared = Arc::clone(&plugin.store);
        let store =
            GuestState::for_conversation(&plugin.engine, log, shared, &plugin.limits, stream);
        (store, None)
    }

    /// Makes an instance. The refusal of a config that the plugin has accepted before is an error of the conversation.
    async fn set_up(
        &self,
        store: &mut Store<GuestState>,
        at: &Cell<Hook>,
    ) -> wasmtime::Result<Result<Instance, String>> {
        let plugin = &*self.plugin;
        let exports = plugin.conversations.instantiate_async(&mut *store).await?;
        at.set(Hook::Configure);
        let settings = exports
            .leaseway_plugin_plugin_meta()
            .call_configure(&mut *store, &plugin.config.json)
            .await?;
        if let Err(message) = settings {
            let refusal = plugin.config.refusal(&message);
            return Ok(Err(format!(
                "refused the config that it had accepted at start: {refusal}"
            )));
        }
        Ok(Ok(Instance {
            exports,
            conversations: 0,
            configured: store.data().memory.used(),
        }))
    }

    /// Keeps an instance whose conversation has gone well, if the next one should have it.
    fn keep(&self, store: Store<GuestState>, mut instance: Instance) {
        instance.conversations += 1;
        let memory = &store.data().memory;
        let growth = memory.used().saturating_sub(instance.configured);
        // The next one may grow by as much.
        let is_small = growth <= MAX_GROWTH.min(memory.left());
        let mut idle = self.idle.borrow_mut();
        if is_small && instance.conversations < MAX_CONVERSATIONS && idle.len() < MAX_IDLE {
            idle.push((store, instance));
        }
    }

    /// To wait in vain for an upstream is no fault of the plugin; to compute for so long is.
    fn out_of_time(&self, hook: Hook, state: &GuestState) -> Trouble {
        let limit = self.plugin.limits.conversation;
        let name = hook.name();
        if state.computing_since().is_none() {
            let limit = show_duration(limit);
            return Trouble::Silent(format!(
                "{name} did not end within limits.conversation = {limit}"
            ));
        }
        let limit = TimeLimit::Conversation(limit);
        Trouble::Fault(self.faulted(&Fault::Deadline { hook: name, limit }))
    }

    /// The same for a limit of whoever waited. There is nobody left to tell but the log.
    fn given_up(&self, hook: Hook, state: &GuestState) {
        let Some(since) = state.computing_since() else {
            return;
        };
        let after = since.elapsed();
        if after >= PATIENCE {
            let hook = hook.name();
            let conversation = self.plugin.limits.conversation;
            let limit = TimeLimit::GivenUp {
                after,
                conversation,
            };
            self.faulted(&Fault::Deadline { hook, limit });
        }
    }

    fn faulted(&self, fault: &Fault) -> String {
        self.shard.fault(fault);
        self.log.fault(fault, 0, Instant::now());
        format!("plugin {}: {fault}", self.plugin.name)
    }

    fn has(&self, hook: Hooks) -> bool {
        self.plugin.info().hooks.contains(hook)
    }
}

impl Caretaker for Conversations {
    fn name(&self) -> &Arc<str> {
        &self.plugin.name
    }

    fn default_target(&self) -> &Arc<Target> {
        &self.default_target
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

    fn connect<'a>(&'a self, stream: TcpStream, target: &'a Target) -> Conversation<'a, Greeting> {
        Box::pin(async move {
            let call = async |guest: &Guest, store: &mut Store<GuestState>, connection| {
                guest.call_connect(store, connection, target).await
            };
            let ended = self.converse(Hook::Connect, stream, call).await?;
            let tag = ended.value;
            if tag.len() > MAX_TAG {
                let length = tag.len();
                return Err(Trouble::Fault(format!(
                    "plugin {}: connect returned a tag of {length} bytes, at most {MAX_TAG}",
                    self.plugin.name
                )));
            }
            let heard = ended.heard;
            Ok((ended.stream, Greeting { tag, heard }))
        })
    }

    fn reset<'a>(&'a self, stream: TcpStream, target: &'a Target) -> Conversation<'a, ()> {
        Box::pin(async move {
            let call = async |guest: &Guest, store: &mut Store<GuestState>, connection| {
                guest.call_reset(store, connection, target).await
            };
            let ended = self.converse(Hook::Reset, stream, call).await?;
            Ok((ended.stream, ended.value))
        })
    }

    fn probe<'a>(
        &'a self,
        stream: TcpStream,
        target: &'a Target,
        idle: Duration,
    ) -> Conversation<'a, ()> {
        Box::pin(async move {
            let idle = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
            let call = async |guest: &Guest, store: &mut Store<GuestState>, connection| {
                guest.call_probe(store, connection, target, idle).await
            };
            let ended = self.converse(Hook::Probe, stream, call).await?;
            Ok((ended.stream, ended.value))
        })
    }
}

impl GuestState {
    /// Runs one exchange with the network, noting that it is the network that takes the time.
    async fn exchange<T>(
        &mut self,
        io: impl AsyncFnOnce(&mut TcpStream) -> Result<T, IoError>,
    ) -> Result<T, IoError> {
        self.waits();
        let done = match self.connection.as_mut() {
            Some(stream) => io(stream).await,
            None => Err(IoError::Closed),
        };
        self.connection_broke |= done.is_err();
        self.computes();
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
        let read = self.exchange(read).await;
        self.heard |= read.is_ok();
        Ok(read)
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
        let read = self.exchange(read).await;
        self.heard |= read.is_ok() && count > 0;
        Ok(read)
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

//! The config as the rest of the host sees it: every limit with its name, unit and default.
//!
//! Filled by the reader beside it, or by hand (`leaseway relay`, tests). Never reads a file and
//! never checks anything: a value of these types made by the reader is consistent.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that one `leaseway` process is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Process-wide settings.
    pub process: ProcessConfig,
    /// Plugins by name, in the order of the file.
    pub plugins: Vec<PluginConfig>,
    /// Upstream groups by name, in the order of the file.
    pub upstreams: Vec<UpstreamConfig>,
    /// Listeners by name, in the order of the file.
    pub listeners: Vec<ListenerConfig>,
    /// Where metrics and status are served; none: nowhere.
    pub admin: Option<AdminConfig>,
}

/// `[process]`: what belongs to no single listener.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessConfig {
    /// `workers`: threads that relay sessions. Default: one per core.
    pub workers: usize,
    /// `drain-timeout`: how long leases may last after SIGTERM. Default 30s.
    pub drain_timeout: Duration,
    /// `cache-dir`: where compiled plugins are kept. Default: `$XDG_CACHE_HOME/leaseway` or
    /// `~/.cache/leaseway`; `None` compiles anew at each start.
    pub cache_dir: Option<PathBuf>,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        Self {
            // A system that does not tell its cores gets the one that is there for sure.
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            drain_timeout: Duration::from_secs(30),
            cache_dir: default_cache_dir(),
        }
    }
}

/// `$XDG_CACHE_HOME/leaseway` or `~/.cache/leaseway`; nowhere if neither variable is set.
fn default_cache_dir() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|dir| dir.is_absolute())
    };
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(caches.join("leaseway"))
}

/// `[plugins.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginConfig {
    /// The section's name.
    pub name: String,
    /// `module`: where the code is.
    pub module: ModuleSource,
    /// `config`: reaches the plugin as JSON. Default `{}`.
    pub config: serde_json::Value,
    /// Where relative paths in `config` begin: the config file's folder.
    pub folder: PathBuf,
    /// `limits`.
    pub limits: PluginLimits,
}

/// Where a plugin's code comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleSource {
    /// `builtin:NAME`: embedded in the binary.
    Builtin(String),
    /// A core module or component on disk.
    File(PathBuf),
}

impl ModuleSource {
    /// What `module` says: `builtin:NAME`, or a path.
    pub fn of(text: &str) -> Self {
        match text.strip_prefix("builtin:") {
            Some(name) => Self::Builtin(name.to_owned()),
            None => Self::File(PathBuf::from(text)),
        }
    }
}

/// `limits` of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginLimits {
    /// `memory`: bytes of linear memory and tables per instance. Default 16MiB.
    pub memory: u64,
    /// `hook`: time per session-hook call. Default 10ms.
    pub hook: Duration,
    /// `conversation`: time per connect, reset or probe, waiting included. Default 2s.
    pub conversation: Duration,
    /// `sessions-per-instance`: sessions that one instance serves at a time. Default 256.
    pub sessions_per_instance: u32,
    /// `max-shown`: bytes of one side that a session keeps to show to the plugin. Default 64KiB.
    pub max_shown: usize,
    /// `store-entries`: entries of the plugin's key-value store. Default 100,000.
    pub store_entries: u32,
    /// `store-bytes`: bytes that they take together. Default 16MiB.
    pub store_bytes: u64,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            memory: 16 << 20,
            hook: Duration::from_millis(10),
            conversation: Duration::from_secs(2),
            sessions_per_instance: 256,
            max_shown: 64 << 10,
            store_entries: 100_000,
            store_bytes: 16 << 20,
        }
    }
}

/// `[upstreams.NAME]`: an upstream group.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamConfig {
    /// The section's name.
    pub name: String,
    /// `endpoints`: at least one.
    pub endpoints: Vec<EndpointConfig>,
    /// `balance`. Default round-robin.
    pub balance: Balance,
    /// `connect-timeout`: for one endpoint to accept. Default 1s.
    pub connect_timeout: Duration,
    /// `resolve-interval`: how often DNS names are looked up again at the latest; a shorter TTL
    /// shortens it, down to 1s. Default 30s.
    pub resolve_interval: Duration,
    /// `pool`.
    pub pool: PoolConfig,
    /// `probe`; none: neither idle connections nor endpoints are probed.
    pub probe: Option<ProbeConfig>,
}

impl UpstreamConfig {
    /// A group with defaults for all but its name and endpoints.
    pub fn new(name: &str, endpoints: Vec<EndpointConfig>) -> Self {
        Self {
            name: name.to_owned(),
            endpoints,
            balance: Balance::default(),
            connect_timeout: Duration::from_secs(1),
            resolve_interval: Duration::from_secs(30),
            pool: PoolConfig::default(),
            probe: None,
        }
    }
}

/// One of `endpoints`: `"HOST:PORT"` or `{ address = "HOST:PORT", weight = N }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointConfig {
    /// An IP address or a DNS name.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `weight`: share of new leases, 1 to 1000. Default 1.
    pub weight: u32,
}

/// `balance`: how a lease chooses among the healthy endpoints of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// Each in turn, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest leases per weight.
    LeastLeased,
    /// The less leased of two drawn at random.
    RandomTwo,
    /// Consistent hash of the plugin's affinity.
    Hash,
}

/// `pool` of an upstream group. Limits hold per endpoint, for the whole process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// `max-connections`: leased and idle together. Default 100.
    pub max_connections: u32,
    /// `max-unpooled`: opened for one lease alone, besides `max-connections`. Default 16.
    pub max_unpooled: u32,
    /// `max-idle`: kept for reuse. Default: as `max-connections`.
    pub max_idle: u32,
    /// `min-idle`: kept warm under the plugin's default target. Default 0.
    pub min_idle: u32,
    /// `idle-timeout`: an idle connection beyond `min-idle` closes after this. Default 10m.
    pub idle_timeout: Duration,
    /// `max-lifetime`: a connection is not reused past this age, less up to a tenth of jitter.
    /// Default 1h.
    pub max_lifetime: Duration,
    /// `wait-timeout`: how long a session waits in line for a connection. Default 5s.
    pub wait_timeout: Duration,
    /// `max-waiting`: sessions that may wait for one endpoint, on each worker. Default 100000.
    pub max_waiting: u32,
    /// `max-in-flight`: requests under way on one shared connection. Default 1024.
    pub max_in_flight: u32,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            max_connections: 100,
            max_unpooled: 16,
            max_idle: 100,
            min_idle: 0,
            idle_timeout: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(3600),
            wait_timeout: Duration::from_secs(5),
            max_waiting: 100_000,
            max_in_flight: 1024,
        }
    }
}

/// What becomes of a client that does not read its replies while others wait behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowReader {
    /// `"close"`: its session ends.
    Close,
    /// `"move"`: the others leave its connection, as far as their requests may be sent twice, and
    /// from then on it shares none.
    Move,
}

/// `probe` of an upstream group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeConfig {
    /// `interval`: between two health checks of an endpoint, and the idle time after which a
    /// pooled connection is probed. Default 5s.
    pub interval: Duration,
    /// `timeout`: for one probe, its dial included. Default 1s.
    pub timeout: Duration,
    /// `fall`: failed checks in a row that eject an endpoint. Default 3.
    pub fall: u32,
    /// `rise`: good checks in a row that bring it back. Default 2.
    pub rise: u32,
    /// `end-leases`: the leases of an endpoint end when it is ejected and another is healthy.
    /// Default true.
    pub end_leases: bool,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            fall: 3,
            rise: 2,
            end_leases: true,
        }
    }
}

/// `[listeners.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The section's name.
    pub name: String,
    /// `bind`: port 0 takes a free one, which the log names.
    pub bind: SocketAddr,
    /// `plugin`: none copies plainly, one connection a session, never pooled.
    pub plugin: Option<String>,
    /// `upstreams`: at least one; the first is the default.
    pub upstreams: Vec<String>,
    /// `max-sessions`: further clients wait in the accept backlog. Default 20000.
    pub max_sessions: u32,
    /// `first-byte-timeout`: from accept to the first byte of the client. Default none.
    pub first_byte_timeout: Option<Duration>,
    /// `preread-timeout`: for a client to finish bytes that `choose-upstream` needs. Default 10s.
    pub preread_timeout: Duration,
    /// `idle-timeout`: without a byte either way. Default none.
    pub idle_timeout: Option<Duration>,
    /// `session-timeout`: from accept to close. Default none.
    pub session_timeout: Option<Duration>,
    /// `half-close-timeout`: without a byte after one side has closed. Default 1m.
    pub half_close_timeout: Duration,
    /// `stall-timeout`: without a byte in the middle of a request or a reply. Default 1m.
    pub stall_timeout: Duration,
    /// `slow-reader-timeout`: how long others on a shared connection wait for a client that does
    /// not read its replies. Default 1s.
    pub slow_reader_timeout: Duration,
    /// `slow-reader`: what becomes of such a client. Default: closed.
    pub slow_reader: SlowReader,
    /// `replay-limit`: bytes kept per lease of a reused connection, to be sent again on a fresh
    /// one. More cannot be replayed. Default 64KiB.
    pub replay_limit: usize,
}

impl Default for ListenerConfig {
    /// Has no upstream yet, and binds a free port of the loopback address.
    fn default() -> Self {
        Self {
            name: String::new(),
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            plugin: None,
            upstreams: Vec::new(),
            max_sessions: 20_000,
            first_byte_timeout: None,
            preread_timeout: Duration::from_secs(10),
            idle_timeout: None,
            session_timeout: None,
            half_close_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(60),
            slow_reader_timeout: Duration::from_secs(1),
            slow_reader: SlowReader::Close,
            replay_limit: 64 << 10,
        }
    }
}

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminConfig {
    /// `bind`: serves `/metrics`, `/ready` and `/status`.
    pub bind: SocketAddr,
}

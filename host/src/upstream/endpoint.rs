//! One address of a group, and what all workers know about it.
//!
//! The limits of its pool hold for the whole process: a connection exists only together with a
//! [`Permit`], and permits are counted here. Workers see of each other how many idle connections
//! they hold and since when somebody waits, and so know whom to send what is free.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::counters::EndpointCounters;

/// Milliseconds between two log lines that say that an endpoint cannot be reached.
const COMPLAINTS: u64 = 5_000;

/// What one worker shows the others, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct View {
    idle: AtomicU32,
    /// When the head of the line began to wait, in nanoseconds since `Endpoint::born`, plus one;
    /// zero: nobody waits.
    waiting_since: AtomicU64,
}

/// Called with the worker whose head of line has waited longest, when a permit comes free.
type OnRoom = Box<dyn Fn(usize) + Send + Sync>;

/// Whether an endpoint takes new leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Up,
    /// It failed its checks.
    Ejected,
    /// The resolver does not name it any more.
    Gone,
}

/// One address of an upstream group.
pub struct Endpoint {
    /// Its number in the process, never used again.
    pub id: usize,
    /// As the config names it, with the address behind it where that is a DNS name.
    pub name: String,
    /// Where to connect.
    pub address: SocketAddr,
    /// Share of new leases.
    pub weight: u32,
    /// What it counts.
    pub counters: EndpointCounters,
    born: Instant,
    max_open: u32,
    max_idle: u32,
    max_unpooled: u32,
    open: AtomicU32,
    idle: AtomicU32,
    leased: AtomicU32,
    /// Room for connections outside of the pool, and the line for it.
    unpooled: Semaphore,
    views: Box<[View]>,
    ejected: AtomicBool,
    gone: AtomicBool,
    /// Milliseconds since `born` of the last byte from it.
    last_reply: AtomicU64,
    failed_checks: AtomicU32,
    good_checks: AtomicU32,
    /// As `last_reply`: when the log was last told that it cannot be reached.
    last_complaint: AtomicU64,
    /// A handshake for a plugin's default target has succeeded.
    let_in: AtomicBool,
    /// How often all leases have been ended.
    leases_ended: AtomicU32,
    on_room: OnceLock<OnRoom>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("name", &self.name)
            .field("open", &self.open)
            .field("idle", &self.idle)
            .field("leased", &self.leased)
            .finish_non_exhaustive()
    }
}

/// The limits of an endpoint's pool.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections, leased and idle together.
    pub open: u32,
    /// Idle connections.
    pub idle: u32,
    /// Connections outside of the pool.
    pub unpooled: u32,
}

impl Endpoint {
    /// An endpoint that nobody has connected to yet.
    pub fn new(
        id: usize,
        name: String,
        address: SocketAddr,
        weight: u32,
        limits: Limits,
        workers: usize,
        counters: EndpointCounters,
    ) -> Self {
        counters.up.set(1);
        Self {
            id,
            name,
            address,
            weight,
            counters,
            born: Instant::now(),
            max_open: limits.open,
            max_idle: limits.idle,
            max_unpooled: limits.unpooled,
            open: AtomicU32::new(0),
            idle: AtomicU32::new(0),
            leased: AtomicU32::new(0),
            unpooled: Semaphore::new(limits.unpooled as usize),
            views: (0..workers).map(|_| View::default()).collect(),
            ejected: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            last_reply: AtomicU64::new(0),
            failed_checks: AtomicU32::new(0),
            good_checks: AtomicU32::new(0),
            last_complaint: AtomicU64::new(0),
            let_in: AtomicBool::new(false),
            leases_ended: AtomicU32::new(0),
            on_room: OnceLock::new(),
        }
    }

    /// Whether a plugin or an operator may mean it by this: its name, its address, or its name
    /// without the address.
    pub(crate) fn is_called(&self, wanted: &str) -> bool {
        self.name == wanted
            || self.address.to_string() == wanted
            || self.name.strip_suffix(&format!(" ({})", self.address)) == Some(wanted)
    }

    /// Says whom to tell when a permit comes free while somebody waits. Once.
    pub fn on_room(&self, tell: OnRoom) {
        // A second call changes nothing.
        let _ = self.on_room.set(tell);
    }

    // Permits.

    /// Takes a permit to open a connection, if the limit leaves one.
    pub fn try_permit(self: &Arc<Self>) -> Option<Permit> {
        let max = self.max_open;
        self.open
            .fetch_update(SeqCst, SeqCst, |open| (open < max).then_some(open + 1))
            .ok()
            .map(|_| self.permit(true))
    }

    /// A permit beyond the limit, for the one probe of an endpoint whose connections are all
    /// leased and silent.
    pub fn extra_permit(self: &Arc<Self>) -> Permit {
        self.open.fetch_add(1, SeqCst);
        self.permit(true)
    }

    /// A permit for a connection outside of the pool, if their limit leaves one and nobody waits
    /// for it.
    pub fn try_unpooled_permit(self: &Arc<Self>) -> Option<Permit> {
        self.unpooled.try_acquire().ok()?.forget();
        Some(self.permit(false))
    }

    /// The same in turn, whatever worker the others wait on.
    pub async fn unpooled_permit(self: &Arc<Self>) -> Permit {
        match self.unpooled.acquire().await {
            Ok(room) => room.forget(),
            // It is never closed.
            Err(_) => std::future::pending().await,
        }
        self.permit(false)
    }

    fn permit(self: &Arc<Self>, pooled: bool) -> Permit {
        Permit {
            endpoint: Arc::clone(self),
            pooled,
        }
    }

    /// If there is room and somebody waits for it, tells who has waited longest.
    pub fn tell_room(&self) {
        if self.open.load(SeqCst) < self.max_open
            && let Some((worker, _)) = self.longest_waiting(None)
            && let Some(tell) = self.on_room.get()
        {
            tell(worker);
        }
    }

    /// Connections of the pool that are open or being opened.
    pub fn open(&self) -> u32 {
        self.open.load(SeqCst)
    }

    /// Connections outside of the pool that are open or being opened.
    pub fn unpooled(&self) -> u32 {
        let room = u32::try_from(self.unpooled.available_permits()).unwrap_or(u32::MAX);
        self.max_unpooled.saturating_sub(room)
    }

    /// The most of those that there may be.
    pub fn max_unpooled(&self) -> u32 {
        self.max_unpooled
    }

    /// The most of those of the pool that there may be.
    pub fn max_open(&self) -> u32 {
        self.max_open
    }

    // Idle connections and waiters, by worker.

    /// Counts one more idle connection on a worker; false, and not counted, at the limit.
    pub fn add_idle(&self, worker: usize) -> bool {
        let max = self.max_idle;
        let room = self
            .idle
            .fetch_update(SeqCst, SeqCst, |idle| (idle < max).then_some(idle + 1))
            .is_ok();
        if room {
            self.views[worker].idle.fetch_add(1, SeqCst);
        }
        room
    }

    /// Counts one idle connection less on a worker.
    pub fn remove_idle(&self, worker: usize) {
        self.views[worker].idle.fetch_sub(1, SeqCst);
        self.idle.fetch_sub(1, SeqCst);
    }

    /// Idle connections of all workers.
    pub fn idle(&self) -> u32 {
        self.idle.load(SeqCst)
    }

    /// Idle connections of one worker.
    pub fn idle_of(&self, worker: usize) -> u32 {
        self.views[worker].idle.load(SeqCst)
    }

    /// Workers other than `own` that hold idle connections.
    pub fn others_with_idle(&self, own: usize) -> impl Iterator<Item = usize> + '_ {
        self.views
            .iter()
            .enumerate()
            .filter(move |(worker, view)| *worker != own && view.idle.load(SeqCst) > 0)
            .map(|(worker, _)| worker)
    }

    /// Shows the others since when the head of a worker's line waits.
    pub fn show_waiting(&self, worker: usize, since: Option<Instant>) {
        let since = since.map_or(0, |since| {
            let nanos = since.saturating_duration_since(self.born).as_nanos();
            u64::try_from(nanos).unwrap_or(u64::MAX - 1) + 1
        });
        self.views[worker].waiting_since.store(since, SeqCst);
    }

    /// The worker, other than `except`, whose head of line has waited longest, and since when.
    pub fn longest_waiting(&self, except: Option<usize>) -> Option<(usize, Instant)> {
        self.views
            .iter()
            .enumerate()
            .filter(|(worker, _)| Some(*worker) != except)
            .map(|(worker, view)| (worker, view.waiting_since.load(SeqCst)))
            .filter(|(_, since)| *since > 0)
            .min_by_key(|(_, since)| *since)
            .map(|(worker, since)| (worker, self.born + Duration::from_nanos(since - 1)))
    }

    // Leases.

    /// Counts a lease in.
    pub fn lease_begins(&self) {
        self.leased.fetch_add(1, Relaxed);
    }

    /// Counts a lease out.
    pub fn lease_ends(&self) {
        self.leased.fetch_sub(1, Relaxed);
    }

    /// Ends all leases that have begun by now. Who holds one has to be woken to see it.
    pub fn end_leases(&self) {
        self.leases_ended.fetch_add(1, Relaxed);
    }

    /// Changes with [`Endpoint::end_leases`].
    pub fn lease_era(&self) -> u32 {
        self.leases_ended.load(Relaxed)
    }

    /// Connections that are leased.
    pub fn leased(&self) -> u32 {
        self.leased.load(Relaxed)
    }

    // Health.

    /// Whether it takes new leases.
    pub fn health(&self) -> Health {
        if self.gone.load(Relaxed) {
            Health::Gone
        } else if self.ejected.load(Relaxed) {
            Health::Ejected
        } else {
            Health::Up
        }
    }

    /// The resolver does not name it any more.
    pub fn set_gone(&self) {
        self.gone.store(true, Relaxed);
        self.counters.up.set(0);
    }

    /// The resolver names it, for the first time or again. What its checks said before is old.
    pub fn set_named(&self) {
        self.failed_checks.store(0, Relaxed);
        self.good_checks.store(0, Relaxed);
        self.ejected.store(false, Relaxed);
        self.gone.store(false, Relaxed);
        self.counters.up.set(1);
    }

    /// A byte came from it.
    pub fn replied(&self) {
        let now = self.millis();
        // Most replies of a busy endpoint share a millisecond: reading is cheaper than writing.
        if self.last_reply.load(Relaxed) != now {
            self.last_reply.store(now, Relaxed);
        }
    }

    /// A handshake for a plugin's default target has succeeded.
    pub fn lets_in(&self) {
        self.let_in.store(true, Relaxed);
    }

    /// Whether one ever has. A refusal says something of the endpoint only then: where clients
    /// bring passwords of their own none may ever succeed, and the refusal is an answer like any
    /// other.
    pub fn has_let_in(&self) -> bool {
        self.let_in.load(Relaxed)
    }

    /// Whether a byte came from it in the last `window`.
    pub fn replied_within(&self, window: Duration) -> bool {
        let last = self.last_reply.load(Relaxed);
        let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        last > 0 && self.millis().saturating_sub(last) <= window
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX) + 1
    }

    /// A check went well. True if that brought the endpoint back.
    pub fn check_succeeded(&self, rise: u32) -> bool {
        self.failed_checks.store(0, Relaxed);
        let good = self.good_checks.fetch_add(1, Relaxed).saturating_add(1);
        let back = good >= rise && self.ejected.swap(false, Relaxed);
        if back {
            self.counters.up.set(1);
        }
        back
    }

    /// A check failed, or a dial did. True if that ejected the endpoint.
    pub fn check_failed(&self, fall: u32) -> bool {
        self.good_checks.store(0, Relaxed);
        let failed = self.failed_checks.fetch_add(1, Relaxed).saturating_add(1);
        let out = failed >= fall && !self.ejected.swap(true, Relaxed);
        if out {
            self.counters.up.set(0);
        }
        out
    }

    /// Whether the log may be told that it cannot be reached: once in a while.
    pub fn may_complain(&self) -> bool {
        let now = self.millis();
        let last = self.last_complaint.load(Relaxed);
        let due = last == 0 || now.saturating_sub(last) >= COMPLAINTS;
        due && self
            .last_complaint
            .compare_exchange(last, now, Relaxed, Relaxed)
            .is_ok()
    }

    /// Whether the last check failed.
    pub fn is_failing(&self) -> bool {
        self.failed_checks.load(Relaxed) > 0
    }

    /// What `/status` shows of it.
    pub fn status(&self) -> serde_json::Value {
        serde_json::json!({
            "name": self.name,
            "address": self.address.to_string(),
            "health": match self.health() {
                Health::Up => "up",
                Health::Ejected => "ejected",
                Health::Gone => "gone",
            },
            "open": self.open(),
            "idle": self.idle(),
            "leased": self.leased(),
            "max_connections": self.max_open,
            "unpooled": self.unpooled(),
            "max_unpooled": self.max_unpooled,
        })
    }
}

/// The right to one connection to an endpoint. Dropped with the connection; if somebody waits for
/// room, the one who has waited longest is told.
pub struct Permit {
    endpoint: Arc<Endpoint>,
    pooled: bool,
}

impl Permit {
    /// Where it allows a connection to.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Whether the connection is none of the pool's.
    pub fn is_unpooled(&self) -> bool {
        !self.pooled
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.pooled {
            self.endpoint.open.fetch_sub(1, SeqCst);
            self.endpoint.tell_room();
        } else {
            self.endpoint.unpooled.add_permits(1);
        }
    }
}

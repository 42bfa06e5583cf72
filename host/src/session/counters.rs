//! What sessions count, by listener.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::end::End;
use crate::plugin::Fault;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Listener {
    listener: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ListenerReason {
    listener: String,
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ListenerDirection {
    listener: String,
    direction: &'static str,
}

/// The families of all listeners, one of each a process.
#[derive(Debug, Default, Clone)]
pub struct SessionCounters {
    accepted: Family<Listener, Counter>,
    open: Family<Listener, Gauge>,
    ends: Family<ListenerReason, Counter>,
    bytes: Family<ListenerDirection, Counter>,
    replays: Family<Listener, Counter>,
    unclean: Family<ListenerReason, Counter>,
    shared_requests: Family<Listener, Counter>,
    shared_moved: Family<Listener, Counter>,
}

impl SessionCounters {
    /// Shows them under their names.
    pub fn register(&self, registry: &mut Registry) {
        let Self {
            accepted,
            open,
            ends,
            bytes,
            replays,
            unclean,
            shared_requests,
            shared_moved,
        } = self.clone();
        registry.register("leaseway_sessions", "Clients accepted", accepted);
        registry.register("leaseway_sessions_open", "Clients connected now", open);
        registry.register("leaseway_session_ends", "Sessions ended, by reason", ends);
        registry.register("leaseway_bytes", "Bytes read from a side", bytes);
        registry.register(
            "leaseway_replays",
            "Reused connections found dead and replaced unseen by client and plugin",
            replays,
        );
        registry.register(
            "leaseway_unclean_returns",
            "Connections that the plugin would have kept and the host closed, by reason",
            unclean,
        );
        registry.register(
            "leaseway_shared_requests",
            "Requests that went to shared connections",
            shared_requests,
        );
        registry.register(
            "leaseway_shared_moved",
            "Of these, how often one went on to another connection, away from a slow reader",
            shared_moved,
        );
    }

    /// The counters of one listener, looked up once.
    pub fn of(&self, listener: &str) -> ListenerCounters {
        let label = Listener {
            listener: listener.to_owned(),
        };
        let direction = |direction| ListenerDirection {
            listener: listener.to_owned(),
            direction,
        };
        ListenerCounters {
            listener: listener.to_owned(),
            accepted: self.accepted.get_or_create_owned(&label),
            open: self.open.get_or_create_owned(&label),
            ends: self.ends.clone(),
            from_client: self.bytes.get_or_create_owned(&direction("client")),
            from_upstream: self.bytes.get_or_create_owned(&direction("upstream")),
            replays: self.replays.get_or_create_owned(&label),
            unclean: self.unclean.clone(),
            shared_requests: self.shared_requests.get_or_create_owned(&label),
            shared_moved: self.shared_moved.get_or_create_owned(&label),
        }
    }
}

/// The counters of one listener: adding to one is adding to an atomic.
#[derive(Debug, Clone)]
pub struct ListenerCounters {
    listener: String,
    pub(super) accepted: Counter,
    /// Clients connected now.
    pub open: Gauge,
    ends: Family<ListenerReason, Counter>,
    pub(super) from_client: Counter,
    pub(super) from_upstream: Counter,
    pub(super) replays: Counter,
    unclean: Family<ListenerReason, Counter>,
    pub(super) shared_requests: Counter,
    pub(super) shared_moved: Counter,
}

impl ListenerCounters {
    pub(super) fn ended(&self, reason: &str) {
        self.ends.get_or_create(&self.reason(reason)).inc();
    }

    /// A session that ended before it began, by a fault in its constructor.
    pub(super) fn not_begun(&self, fault: &Fault) {
        self.ended(End::Fault(fault.clone()).name());
    }

    pub(super) fn unclean(&self, reason: &str) {
        self.unclean.get_or_create(&self.reason(reason)).inc();
    }

    fn reason(&self, reason: &str) -> ListenerReason {
        ListenerReason {
            listener: self.listener.clone(),
            reason: reason.to_owned(),
        }
    }
}

//! The health of an endpoint, watched by one worker.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::caretaker::{Caretaker, Trouble};
use super::connection::Connection;
use super::dial::{Blame, DialError};
use super::pools::Pools;
use super::shelf::Key;
use crate::config::ProbeConfig;
use crate::contract::lease_error_text;
use crate::upstream::{Endpoint, Group, Health};

/// Checks an endpoint at every interval, until it is gone or the pools are.
///
/// An endpoint that has just failed is looked at again after `timeout` already, so that `fall` and
/// `rise` do not take many intervals.
pub(super) async fn watch(
    pools: Weak<Pools>,
    group: Arc<Group>,
    endpoint: Arc<Endpoint>,
    caretaker: Rc<dyn Caretaker>,
) {
    let Some(config) = group.config().probe.clone() else {
        return;
    };
    let mut known = Known::default();
    loop {
        let doubtful = endpoint.is_failing() || endpoint.health() == Health::Ejected;
        let wait = if doubtful {
            config.timeout.min(config.interval)
        } else {
            config.interval
        };
        tokio::time::sleep(wait).await;
        let Some(pools) = pools.upgrade() else { return };
        if pools.is_draining() || endpoint.health() == Health::Gone {
            // Watched anew if the resolver should name it again.
            pools.at_known(endpoint.id, |place| place.watched = false);
            return;
        }
        let check = Check {
            pools: &pools,
            group: &group,
            endpoint: &endpoint,
            caretaker: &caretaker,
            config: &config,
        };
        let verdict = check.run(wait).await;
        let verdict = match verdict {
            Verdict::Refused(why) if !endpoint.has_let_in() => {
                if !std::mem::replace(&mut known.told, true) {
                    tracing::warn!(
                        group = group.name(),
                        endpoint = endpoint.name,
                        "health checks take a refused handshake for a sign of life, as none has \
                         succeeded yet: {why}"
                    );
                }
                Verdict::Healthy
            }
            verdict => verdict,
        };
        known.note(&verdict);
        match verdict {
            Verdict::Healthy => {
                if endpoint.check_succeeded(config.rise) {
                    tracing::info!(
                        group = group.name(),
                        endpoint = endpoint.name,
                        "back after {} good checks",
                        config.rise
                    );
                }
            }
            Verdict::Failed(why) | Verdict::Refused(why) => {
                pools.reach_failed(&group, &endpoint, &why);
            }
            Verdict::Silent(why) => {
                pools.reach_failed(&group, &endpoint, &why);
                // One check may be late by chance, and whoever still gets replies is not told to go.
                if known.silent >= config.fall && !endpoint.replied_within(config.interval) {
                    known.ended |= pools.end_leases(&group, &endpoint, !known.ended);
                }
            }
            Verdict::None(why) => tracing::warn!(
                group = group.name(),
                endpoint = endpoint.name,
                "a health check could not be made: {why}"
            ),
        }
    }
}

/// What the checks of an endpoint have found out so far.
#[derive(Default)]
struct Known {
    /// So many checks in a row have found silence.
    silent: u32,
    /// Leases have been ended during these checks.
    ended: bool,
    /// The log has been told that no handshake succeeds.
    told: bool,
}

impl Known {
    fn note(&mut self, verdict: &Verdict) {
        if let Verdict::Silent(_) = verdict {
            self.silent = self.silent.saturating_add(1);
        } else {
            self.silent = 0;
            self.ended = false;
        }
    }
}

/// What a check has found out.
enum Verdict {
    Healthy,
    /// It refuses the handshake of the default target.
    Refused(String),
    /// It answers, but not as it should, or does not listen, or breaks off: what is leased may be
    /// well.
    Failed(String),
    /// It says nothing.
    Silent(String),
    /// It failed for a reason that is none of the endpoint's.
    None(String),
}

impl Verdict {
    fn of(blame: Blame, why: String) -> Self {
        match blame {
            Blame::Closed | Blame::Refused => Self::Failed(why),
            Blame::Silent => Self::Silent(why),
            Blame::Nobody => Self::None(why),
        }
    }
}

struct Check<'a> {
    pools: &'a Rc<Pools>,
    group: &'a Arc<Group>,
    endpoint: &'a Arc<Endpoint>,
    caretaker: &'a Rc<dyn Caretaker>,
    config: &'a ProbeConfig,
}

impl Check<'_> {
    /// An idle connection that answers proves health. One that does not may have died alone, so a
    /// fresh one decides.
    async fn run(&self, window: Duration) -> Verdict {
        if self.caretaker.has_probe() {
            let key = Key {
                caretaker: self.caretaker.name(),
                identity: &self.caretaker.default_target().identity,
            };
            if let Some(idle) = self.pools.take_idle(self.group, self.endpoint, key)
                && let Ok(connection) = self.probe(idle).await
            {
                self.pools.offer(connection, Instant::now());
                return Verdict::Healthy;
            }
        }
        // While sessions get replies, no probe could say more.
        if self.endpoint.health() == Health::Up && self.endpoint.replied_within(window) {
            return Verdict::Healthy;
        }
        self.fresh().await
    }

    async fn fresh(&self) -> Verdict {
        let (permit, extra) = match self.endpoint.try_permit() {
            Some(permit) => (permit, false),
            None => (self.endpoint.extra_permit(), true),
        };
        let target = self.caretaker.default_target();
        let dial = self.pools.dial(self.group, permit, self.caretaker, target);
        let connection = match timeout(self.config.timeout, dial).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(DialError { why, blame })) => {
                let why = lease_error_text(&why);
                return match blame {
                    Blame::Refused => Verdict::Refused(why),
                    other => Verdict::of(other, why),
                };
            }
            Err(_) => return Verdict::Silent(self.too_late()),
        };
        if !self.caretaker.has_probe() {
            self.endpoint.counters.closed("checked");
            return Verdict::Healthy;
        }
        match self.probe(connection).await {
            Ok(connection) => {
                if extra {
                    self.endpoint.counters.closed("checked");
                } else {
                    self.pools.offer(connection, Instant::now());
                }
                Verdict::Healthy
            }
            Err(trouble) => Verdict::of(Blame::from(&trouble), trouble.to_string()),
        }
    }

    /// Probes a connection within the probe's time.
    async fn probe(&self, connection: Box<Connection>) -> Result<Box<Connection>, Trouble> {
        let probe = self.pools.probe(connection, Instant::now());
        timeout(self.config.timeout, probe)
            .await
            .unwrap_or_else(|_| {
                self.endpoint.counters.probes_bad.inc();
                self.endpoint.counters.closed("probe-failed");
                Err(Trouble::Silent(self.too_late()))
            })
    }

    fn too_late(&self) -> String {
        format!("no answer within probe timeout = {:?}", self.config.timeout)
    }
}

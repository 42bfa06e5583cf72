//! The health of an endpoint, watched by one worker.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::caretaker::Caretaker;
use super::pools::Pools;
use super::shelf::Key;
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
            return;
        }
        let check = check(&pools, &group, &endpoint, &caretaker, wait);
        let result = timeout(config.timeout, check).await.unwrap_or_else(|_| {
            endpoint.counters.probes_bad.inc();
            Err(format!(
                "no answer within probe timeout = {:?}",
                config.timeout
            ))
        });
        match result {
            Ok(()) => {
                if endpoint.check_succeeded(config.rise) {
                    let name = &endpoint.name;
                    tracing::info!(
                        group = group.name(),
                        endpoint = name,
                        "back after {} good checks",
                        config.rise
                    );
                }
            }
            Err(why) => pools.reach_failed(&group, &endpoint, &why),
        }
    }
}

async fn check(
    pools: &Rc<Pools>,
    group: &Arc<Group>,
    endpoint: &Arc<Endpoint>,
    caretaker: &Rc<dyn Caretaker>,
    window: Duration,
) -> Result<(), String> {
    let target = caretaker.default_target();
    let key = Key {
        caretaker: caretaker.name(),
        identity: &target.identity,
    };
    if caretaker.has_probe()
        && let Some(connection) = pools.take_idle(group, endpoint, key)
    {
        let connection = pools.probe(connection, Instant::now()).await?;
        pools.offer(connection, Instant::now());
        return Ok(());
    }
    // While sessions get replies, no probe could say more.
    if endpoint.health() == Health::Up && endpoint.replied_within(window) {
        return Ok(());
    }
    let (permit, extra) = match endpoint.try_permit() {
        Some(permit) => (permit, false),
        None => (endpoint.extra_permit(), true),
    };
    let connection = pools
        .dial(group, permit, caretaker, target)
        .await
        .map_err(|why| lease_error_text(&why))?;
    if caretaker.has_probe() {
        let connection = pools.probe(connection, Instant::now()).await?;
        if !extra {
            pools.offer_unused(connection);
        }
    }
    Ok(())
}

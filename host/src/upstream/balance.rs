//! Which endpoint a lease goes to.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::endpoint::{Endpoint, Health};
use super::group::Group;
use crate::config::Balance;
use crate::contract::Target;

/// Credits of endpoints that are not chosen from any more, before they are cleared away.
const FORGOTTEN: usize = 256;

/// Chooses endpoints for one worker. Round-robin turns are the worker's own, and start where
/// chance puts them, so that workers do not march in step.
pub struct Chooser {
    random: fastrand::Rng,
    /// Smooth weighted round-robin: what each endpoint has in credit.
    credit: HashMap<usize, i64>,
}

impl Chooser {
    /// With the randomness to use.
    pub fn new(random: fastrand::Rng) -> Self {
        Self {
            random,
            credit: HashMap::new(),
        }
    }

    /// The endpoint for a lease, not one of those `tried`. While any endpoint is healthy only
    /// healthy ones are chosen; when none is, ejection is ignored, so that a group recovers with
    /// its first endpoint.
    pub fn choose(
        &mut self,
        group: &Group,
        target: &Target,
        tried: &[usize],
    ) -> Option<Arc<Endpoint>> {
        let endpoints = group.endpoints();
        if let [only] = endpoints.as_slice()
            && target.endpoint.is_none()
        {
            return (!tried.contains(&only.id)).then(|| Arc::clone(only));
        }
        let wanted = target.endpoint.as_deref();
        let pinned = |endpoint: &Endpoint| wanted.is_none_or(|wanted| endpoint.is_called(wanted));
        let candidates = |healthy: bool| {
            endpoints
                .iter()
                .filter(|endpoint| !tried.contains(&endpoint.id) && pinned(endpoint))
                .filter(|endpoint| !healthy || endpoint.health() == Health::Up)
                .collect::<Vec<_>>()
        };
        let mut open = candidates(true);
        if open.is_empty() && (group.all_ejected() || target.endpoint.is_some()) {
            open = candidates(false);
        }
        let chosen = match group.config().balance {
            Balance::RoundRobin => self.round_robin(&open),
            Balance::LeastLeased => self.least_leased(&open),
            Balance::RandomTwo => self.random_two(&open),
            Balance::Hash => {
                let affinity = target.affinity.unwrap_or_else(|| self.random.u64(..));
                highest_random_weight(&open, affinity)
            }
        };
        chosen.map(Arc::clone)
    }

    fn round_robin<'a>(&mut self, open: &[&'a Arc<Endpoint>]) -> Option<&'a Arc<Endpoint>> {
        // Endpoints that DNS has taken away leave theirs behind.
        if self.credit.len() > 2 * open.len() + FORGOTTEN {
            self.credit
                .retain(|id, _| open.iter().any(|endpoint| endpoint.id == *id));
        }
        let total: i64 = open.iter().map(|endpoint| i64::from(endpoint.weight)).sum();
        for endpoint in open {
            let weight = i64::from(endpoint.weight);
            let random = &mut self.random;
            let start = || if total > 0 { random.i64(0..total) } else { 0 };
            *self.credit.entry(endpoint.id).or_insert_with(start) += weight;
        }
        let next = *open
            .iter()
            .max_by_key(|endpoint| self.credit.get(&endpoint.id))?;
        if let Some(credit) = self.credit.get_mut(&next.id) {
            *credit -= total;
        }
        Some(next)
    }

    fn least_leased<'a>(&mut self, open: &[&'a Arc<Endpoint>]) -> Option<&'a Arc<Endpoint>> {
        // Looked at once: other workers lease meanwhile.
        let loads: Vec<f64> = open.iter().map(|endpoint| load(endpoint)).collect();
        let least = loads.iter().copied().min_by(f64::total_cmp)?;
        // Ties are drawn, or the first endpoint would get all of a quiet group's leases.
        let is_least = |load: &f64| load.total_cmp(&least).is_eq();
        let ties = loads.iter().filter(|load| is_least(load)).count();
        let drawn = self.random.usize(0..ties.max(1));
        let mut least_leased = open.iter().zip(&loads).filter(|(_, load)| is_least(load));
        least_leased.nth(drawn).map(|(endpoint, _)| *endpoint)
    }

    fn random_two<'a>(&mut self, open: &[&'a Arc<Endpoint>]) -> Option<&'a Arc<Endpoint>> {
        if open.len() < 2 {
            return open.first().copied();
        }
        let first = self.random.usize(0..open.len());
        let second = (first + self.random.usize(1..open.len())) % open.len();
        let (first, second) = (open[first], open[second]);
        Some(if load(second) < load(first) {
            second
        } else {
            first
        })
    }
}

fn load(endpoint: &Endpoint) -> f64 {
    f64::from(endpoint.leased()) / f64::from(endpoint.weight.max(1))
}

/// Weighted rendezvous hashing: every endpoint scores for the affinity, the highest wins, and an
/// endpoint that leaves moves only the sessions that it had.
fn highest_random_weight<'a>(
    open: &[&'a Arc<Endpoint>],
    affinity: u64,
) -> Option<&'a Arc<Endpoint>> {
    let score = |endpoint: &Endpoint| {
        let mut hasher = DefaultHasher::new();
        (affinity, endpoint.address).hash(&mut hasher);
        // 53 bits make a fraction above 0 and below 1.
        #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
        let fraction = ((hasher.finish() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        -f64::from(endpoint.weight) / fraction.ln()
    };
    open.iter()
        .map(|endpoint| (score(endpoint), *endpoint))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, endpoint)| endpoint)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::{EndpointConfig, PoolConfig, UpstreamConfig};
    use crate::upstream::PoolCounters;
    use std::time::Duration;

    fn group(balance: Balance, weights: &[u32]) -> Arc<Group> {
        let endpoints = (10_001..)
            .zip(weights)
            .map(|(port, &weight)| EndpointConfig {
                host: "127.0.0.1".into(),
                port,
                weight,
            })
            .collect();
        let config = UpstreamConfig {
            name: "g".into(),
            endpoints,
            balance,
            connect_timeout: Duration::from_secs(1),
            resolve_interval: Duration::from_secs(30),
            pool: PoolConfig::default(),
            probe: None,
        };
        Group::new(config, 1, &PoolCounters::default())
    }

    fn target(affinity: Option<u64>) -> Target {
        Target {
            group: None,
            endpoint: None,
            identity: String::new(),
            secret: Vec::new(),
            affinity,
            unpooled: false,
        }
    }

    fn ports(group: &Group, target: impl Fn(u64) -> Target, count: u64) -> HashMap<u16, u32> {
        let mut chooser = Chooser::new(fastrand::Rng::with_seed(7));
        let mut ports = HashMap::new();
        for n in 0..count {
            let chosen = chooser.choose(group, &target(n), &[]).unwrap();
            *ports.entry(chosen.address.port()).or_default() += 1;
        }
        ports
    }

    #[test]
    fn round_robin_gives_each_its_weight() {
        let counts = ports(&group(Balance::RoundRobin, &[1, 3]), |_| target(None), 400);
        assert_eq!(counts[&10_001], 100);
        assert_eq!(counts[&10_002], 300);
    }

    #[test]
    fn least_leased_goes_where_there_is_least() {
        let group = group(Balance::LeastLeased, &[1, 1]);
        group.endpoints()[0].lease_begins();
        assert_eq!(ports(&group, |_| target(None), 50).get(&10_002), Some(&50));
    }

    #[test]
    fn random_two_avoids_the_more_leased() {
        let group = group(Balance::RandomTwo, &[1, 1]);
        group.endpoints()[0].lease_begins();
        assert_eq!(ports(&group, |_| target(None), 50).get(&10_002), Some(&50));
    }

    #[test]
    fn an_affinity_stays_and_an_ejection_moves_only_its_own() {
        let group = group(Balance::Hash, &[1, 1, 1]);
        let mut chooser = Chooser::new(fastrand::Rng::with_seed(7));
        let mut choose = |n| {
            chooser
                .choose(&group, &target(Some(n)), &[])
                .unwrap()
                .address
                .port()
        };
        let before: Vec<u16> = (0..300).map(&mut choose).collect();
        assert_eq!(before, (0..300).map(&mut choose).collect::<Vec<_>>());
        assert!(group.endpoints()[1].check_failed(1));
        for (n, before) in before.iter().enumerate() {
            let after = choose(n as u64);
            assert!(
                after == *before || *before == 10_002,
                "{n} moved from {before} to {after}"
            );
            assert_ne!(after, 10_002);
        }
    }

    #[test]
    fn ejected_endpoints_are_left_out_until_all_are() {
        let group = group(Balance::RoundRobin, &[1, 1]);
        assert!(group.endpoints()[0].check_failed(1));
        assert_eq!(ports(&group, |_| target(None), 20).len(), 1);
        assert!(group.endpoints()[1].check_failed(1));
        assert_eq!(ports(&group, |_| target(None), 20).len(), 2);
    }

    #[test]
    fn a_pinned_endpoint_is_the_only_one() {
        let group = group(Balance::RoundRobin, &[1, 1]);
        let pin = Target {
            endpoint: Some("127.0.0.1:10002".into()),
            ..target(None)
        };
        assert_eq!(ports(&group, |_| pin.clone(), 20).get(&10_002), Some(&20));
        let mut chooser = Chooser::new(fastrand::Rng::with_seed(7));
        let lost = Target {
            endpoint: Some("127.0.0.1:9".into()),
            ..target(None)
        };
        assert!(chooser.choose(&group, &lost, &[]).is_none());
    }
}

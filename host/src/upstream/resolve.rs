//! DNS names of a group, looked up again and again.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::{ResolverBuilder, TokioResolver};

use super::group::Group;
use crate::config::EndpointConfig;

/// The soonest that a name is looked up again, however short its time to live.
const SOONEST: Duration = Duration::from_secs(1);

/// Of a name that is there, but for other records.
const NO_ADDRESSES: &str = "the name has no addresses";

/// What one look-up brings: addresses, and how long they hold.
type Answer = Result<(Vec<IpAddr>, Duration), String>;

/// How long the start waits for the first answers.
const AT_START: Duration = Duration::from_secs(5);

/// Keeps the names of all groups resolved, for as long as the process lives, on a thread of its own.
/// Returns when each name has been looked up once, well or not, or after five seconds. A failed
/// look-up leaves what was known before. Does nothing where no group has names.
///
/// # Errors
/// The operating system gives no thread.
pub fn keep_resolved(groups: &[Arc<Group>]) -> std::io::Result<()> {
    let named: Vec<Arc<Group>> = groups
        .iter()
        .filter(|group| !group.names().is_empty())
        .cloned()
        .collect();
    if named.is_empty() {
        return Ok(());
    }
    let (first, answered) = mpsc::channel::<()>();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("resolver".to_owned())
        .spawn(move || {
            runtime.block_on(follow_all(named, first));
        })?;
    // Nothing is ever sent: the channel closes when every name has dropped its end.
    let _ = answered.recv_timeout(AT_START);
    Ok(())
}

async fn follow_all(groups: Vec<Arc<Group>>, first: mpsc::Sender<()>) {
    let resolver = match TokioResolver::builder_tokio().and_then(ResolverBuilder::build) {
        Ok(resolver) => resolver,
        Err(error) => {
            tracing::error!(
                "cannot resolve names: {error}; check /etc/resolv.conf, or give endpoints by address"
            );
            return;
        }
    };
    let look_up = async |host: String| look_up(&resolver, &host).await;
    let look_up = &look_up;
    let mut following = Vec::new();
    for group in &groups {
        for name in group.names() {
            let first = first.clone();
            following.push(async move { follow(group, name, look_up, Some(first)).await });
        }
    }
    drop(first);
    futures_util::future::join_all(following).await;
}

/// Follows one name.
async fn follow<F>(
    group: &Group,
    name: &EndpointConfig,
    look_up: &F,
    mut first: Option<mpsc::Sender<()>>,
) where
    F: AsyncFn(String) -> Answer,
{
    let every = group.config().resolve_interval;
    let mut failing = false;
    loop {
        let wait = match look_up(name.host.clone()).await {
            Ok((addresses, holds)) => {
                failing = false;
                let addresses: Vec<_> = addresses
                    .into_iter()
                    .map(|ip| SocketAddr::new(ip, name.port))
                    .collect();
                group.resolved(name, &addresses);
                holds.clamp(SOONEST, every.max(SOONEST))
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(
                        group = group.name(),
                        name = name.host,
                        "cannot resolve: {error}; keeping what was known, trying again"
                    );
                }
                SOONEST
            }
        };
        drop(first.take());
        tokio::time::sleep(wait).await;
    }
}

async fn look_up(resolver: &TokioResolver, host: &str) -> Answer {
    let answer = resolver
        .lookup_ip(host)
        .await
        .map_err(|error| explain(&error))?;
    let holds = answer
        .valid_until()
        .saturating_duration_since(Instant::now());
    let addresses: Vec<IpAddr> = answer.iter().collect();
    if addresses.is_empty() {
        return Err(NO_ADDRESSES.to_owned());
    }
    Ok((addresses, holds))
}

/// Why a look-up failed, for people: the library shows its own structures.
fn explain(error: &NetError) -> String {
    let code = match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => none.response_code,
        NetError::Dns(DnsError::ResponseCode(code)) => *code,
        NetError::Timeout => return "no DNS server answered in time".to_owned(),
        NetError::NoConnections => return "no DNS server can be reached".to_owned(),
        NetError::Io(error) => return format!("no DNS server can be reached: {error}"),
        other => return other.to_string(),
    };
    match code {
        ResponseCode::NXDomain => "there is no such name".to_owned(),
        ResponseCode::NoError => NO_ADDRESSES.to_owned(),
        ResponseCode::Refused => "the DNS server refuses to look it up".to_owned(),
        ResponseCode::ServFail => "the DNS server could not look it up".to_owned(),
        other => format!("the DNS server answered {other}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::cell::RefCell;
    use std::collections::VecDeque;

    use hickory_resolver::net::NoRecords;
    use hickory_resolver::proto::op::Query;

    use super::*;
    use crate::config::{Balance, PoolConfig, UpstreamConfig};
    use crate::upstream::PoolCounters;

    #[test]
    fn failures_are_sentences() {
        for (code, says) in [
            (ResponseCode::NXDomain, "there is no such name"),
            (ResponseCode::NoError, "the name has no addresses"),
            (ResponseCode::FormErr, "the DNS server answered Form Error"),
        ] {
            let none = NoRecords::new(Query::default(), code);
            assert_eq!(explain(&DnsError::NoRecordsFound(none).into()), says);
        }
        let says = "no DNS server answered in time";
        assert_eq!(explain(&NetError::Timeout), says);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_come_and_go_and_a_failure_changes_nothing() {
        let name = EndpointConfig {
            host: "cache.test".into(),
            port: 6379,
            weight: 1,
        };
        let config = UpstreamConfig {
            name: "g".into(),
            endpoints: vec![name.clone()],
            balance: Balance::RoundRobin,
            connect_timeout: Duration::from_secs(1),
            resolve_interval: Duration::from_secs(30),
            pool: PoolConfig::default(),
            probe: None,
        };
        let group = Group::new(config, 1, &PoolCounters::default());
        let answers: RefCell<VecDeque<Answer>> = RefCell::new(VecDeque::from([
            Ok((vec!["10.0.0.1".parse().unwrap()], Duration::ZERO)),
            Err("no answer".to_owned()),
            Ok((
                vec!["10.0.0.2".parse().unwrap(), "10.0.0.1".parse().unwrap()],
                Duration::from_secs(5),
            )),
            Ok((vec!["10.0.0.2".parse().unwrap()], Duration::from_secs(3600))),
        ]));
        let seen = RefCell::new(Vec::new());
        let started = tokio::time::Instant::now();
        let look_up = async |host: String| {
            assert_eq!(host, "cache.test");
            let mut now: Vec<String> = group
                .endpoints()
                .iter()
                .map(|e| e.address.to_string())
                .collect();
            now.sort();
            seen.borrow_mut()
                .push((started.elapsed().as_secs(), now.join(" ")));
            let next = answers.borrow_mut().pop_front();
            match next {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        };
        let following = follow(&group, &name, &look_up, None);
        assert!(
            tokio::time::timeout(Duration::from_secs(60), following)
                .await
                .is_err()
        );
        let both = "10.0.0.1:6379 10.0.0.2:6379".to_owned();
        assert_eq!(
            *seen.borrow(),
            [
                (0, String::new()),
                (1, "10.0.0.1:6379".to_owned()),
                (2, "10.0.0.1:6379".to_owned()),
                (7, both),
                (37, "10.0.0.2:6379".to_owned()),
            ]
        );
    }
}

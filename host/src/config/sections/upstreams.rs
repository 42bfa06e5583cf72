//! `[upstreams.NAME]`, with `pool` and `probe`.

use std::collections::HashSet;
use std::time::Duration;

use super::SHORTEST;
use crate::config::model::{Balance, EndpointConfig, PoolConfig, ProbeConfig, UpstreamConfig};
use crate::config::table::Table;
use crate::config::value::Value;
use crate::config::values;

const MAX_WEIGHT: u64 = 1000;
/// Above what one endpoint and this process can have open.
pub(in crate::config) const MAX_CONNECTIONS: u64 = 1_000_000;
const MAX_WAITING: u64 = 10_000_000;
const MAX_IN_FLIGHT: u64 = 1_000_000;
const MAX_CHECKS: u64 = 1000;
/// As the shortest time between two look-ups that a name's TTL may ask for.
const SHORTEST_RESOLVE_INTERVAL: Duration = Duration::from_secs(1);

const EXAMPLE: &str = "[\"127.0.0.1:6379\"]";
const BALANCES: &[(&str, Balance)] = &[
    ("round-robin", Balance::RoundRobin),
    ("least-leased", Balance::LeastLeased),
    ("random-two", Balance::RandomTwo),
    ("hash", Balance::Hash),
];

pub(super) fn read(name: &str, mut table: Table<'_>) -> Option<UpstreamConfig> {
    let default = UpstreamConfig::new(name, Vec::new());
    let path = format!("upstreams.{name}.endpoints");
    let endpoints = table.required("endpoints", EXAMPLE, |value| endpoints(value, &path));
    let balance = table.or("balance", default.balance, |value| {
        value.one_of("balance", BALANCES)
    });
    let connect_timeout = table.or("connect-timeout", default.connect_timeout, |value| {
        value.duration(SHORTEST)
    });
    let resolve_interval = table.or("resolve-interval", default.resolve_interval, |value| {
        value.duration(SHORTEST_RESOLVE_INTERVAL)
    });
    let pool = table.table("pool").map_or_else(PoolConfig::default, pool);
    let probe = table.table("probe").map(probe);
    table.finish();
    Some(UpstreamConfig {
        name: name.to_owned(),
        endpoints: endpoints?,
        balance,
        connect_timeout,
        resolve_interval,
        pool,
        probe,
    })
}

/// The endpoints that are right; the others have been reported where they stand.
fn endpoints(value: &Value<'_>, path: &str) -> Result<Vec<EndpointConfig>, String> {
    let mut endpoints = Vec::new();
    let mut seen = HashSet::new();
    for item in value.list(EXAMPLE)? {
        let Some(endpoint) = endpoint(&item, path) else {
            continue;
        };
        if seen.insert((endpoint.host.to_ascii_lowercase(), endpoint.port)) {
            endpoints.push(endpoint);
        } else {
            item.wrong(format!(
                "\"{}:{}\" is there twice; give it a weight instead, as in {{ address = \"...\", weight = 2 }}",
                endpoint.host, endpoint.port
            ));
        }
    }
    Ok(endpoints)
}

fn endpoint(item: &Value<'_>, path: &str) -> Option<EndpointConfig> {
    if item.raw().is_table() {
        let mut table = item.table(path)?;
        let address = table.required("address", "\"127.0.0.1:6379\"", |value| {
            values::endpoint_address(value.text("127.0.0.1:6379")?)
        });
        let weight = table.or("weight", 1, |value| value.number(1..=MAX_WEIGHT));
        table.finish();
        let (host, port) = address?;
        return Some(EndpointConfig { host, port, weight });
    }
    match item
        .text("127.0.0.1:6379")
        .and_then(values::endpoint_address)
    {
        Ok((host, port)) => Some(EndpointConfig {
            host,
            port,
            weight: 1,
        }),
        Err(why) => {
            item.wrong(why);
            None
        }
    }
}

fn pool(mut table: Table<'_>) -> PoolConfig {
    let default = PoolConfig::default();
    let time = |value: &Value<'_>| value.duration(SHORTEST);
    let max_connections = table.or("max-connections", default.max_connections, |value| {
        value.number(1..=MAX_CONNECTIONS)
    });
    let pool = PoolConfig {
        max_connections,
        max_unpooled: table.or("max-unpooled", default.max_unpooled, |value| {
            value.number(1..=MAX_CONNECTIONS)
        }),
        max_idle: table.or("max-idle", max_connections, |value| {
            value.number(0..=MAX_CONNECTIONS)
        }),
        min_idle: table.or("min-idle", default.min_idle, |value| {
            value.number(0..=MAX_CONNECTIONS)
        }),
        idle_timeout: table.or("idle-timeout", default.idle_timeout, time),
        max_lifetime: table.or("max-lifetime", default.max_lifetime, time),
        wait_timeout: table.or("wait-timeout", default.wait_timeout, time),
        max_waiting: table.or("max-waiting", default.max_waiting, |value| {
            value.number(0..=MAX_WAITING)
        }),
        max_in_flight: table.or("max-in-flight", default.max_in_flight, |value| {
            value.number(1..=MAX_IN_FLIGHT)
        }),
    };
    if !table.is_broken() {
        not_over(
            &table,
            "max-idle",
            pool.max_idle,
            "max-connections",
            pool.max_connections,
        );
        // Who has not written max-idle is told of the key that it is taken from.
        let limit = if table.has("max-idle") {
            "max-idle"
        } else {
            "max-connections"
        };
        not_over(&table, "min-idle", pool.min_idle, limit, pool.max_idle);
    }
    table.finish();
    pool
}

fn not_over(table: &Table<'_>, key: &str, number: u32, limit_key: &str, limit: u32) {
    if number > limit {
        table.wrong(
            &table.place_of(key),
            format!(
                "{key:?} is {number}, but {limit_key:?} is {limit}; lower one or raise the other"
            ),
        );
    }
}

fn probe(mut table: Table<'_>) -> ProbeConfig {
    let default = ProbeConfig::default();
    let time = |value: &Value<'_>| value.duration(SHORTEST);
    let probe = ProbeConfig {
        interval: table.or("interval", default.interval, time),
        timeout: table.or("timeout", default.timeout, time),
        fall: table.or("fall", default.fall, |value| value.number(1..=MAX_CHECKS)),
        rise: table.or("rise", default.rise, |value| value.number(1..=MAX_CHECKS)),
        end_leases: table.or("end-leases", default.end_leases, Value::boolean),
    };
    if !table.is_broken() && probe.timeout > probe.interval {
        let timeout = values::show_duration(probe.timeout);
        let interval = values::show_duration(probe.interval);
        table.wrong(
            &table.place_of("timeout"),
            format!("\"timeout\" is {timeout}, but \"interval\" is {interval}; a probe must end before the next begins"),
        );
    }
    table.finish();
    probe
}

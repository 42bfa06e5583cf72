//! `[listeners.NAME]`.

use super::SHORTEST;
use crate::config::model::{ListenerConfig, SlowReader};
use crate::config::notes::Span;
use crate::config::table::Table;
use crate::config::value::Value;
use crate::config::values;

const MAX_SESSIONS: u64 = 10_000_000;
const MAX_REPLAY: u64 = 1 << 30;

const SLOW_READERS: &[(&str, SlowReader)] =
    &[("close", SlowReader::Close), ("move", SlowReader::Move)];

/// A listener, with the places of what it names, so that each can be checked.
pub(super) struct Listener {
    pub(super) config: ListenerConfig,
    pub(super) bind_at: Span,
    pub(super) plugin_at: Span,
    /// One for each of the config's `upstreams`.
    pub(super) upstreams_at: Vec<Span>,
}

pub(super) fn read(name: &str, mut table: Table<'_>) -> Option<Listener> {
    let default = ListenerConfig::default();
    let time = |value: &Value<'_>| value.duration(SHORTEST);
    let bind = table.required("bind", "\"127.0.0.1:6380\"", |value| {
        values::bind_address(value.text("127.0.0.1:6380")?)
    });
    let plugin = table.optional("plugin", |value| Ok(value.text("redis")?.to_owned()));
    let upstreams = table.required("upstreams", "[\"NAME\"]", upstreams);
    let (upstreams, upstreams_at) = upstreams.unwrap_or_default().into_iter().unzip();
    let config = ListenerConfig {
        name: name.to_owned(),
        bind: bind.unwrap_or(default.bind),
        plugin,
        upstreams,
        max_sessions: table.or("max-sessions", default.max_sessions, |value| {
            value.number(1..=MAX_SESSIONS)
        }),
        first_byte_timeout: table.optional("first-byte-timeout", time),
        preread_timeout: table.or("preread-timeout", default.preread_timeout, time),
        idle_timeout: table.optional("idle-timeout", time),
        session_timeout: table.optional("session-timeout", time),
        half_close_timeout: table.or("half-close-timeout", default.half_close_timeout, time),
        stall_timeout: table.or("stall-timeout", default.stall_timeout, time),
        slow_reader_timeout: table.or("slow-reader-timeout", default.slow_reader_timeout, time),
        slow_reader: table.or("slow-reader", default.slow_reader, |value| {
            value.one_of("way with slow readers", SLOW_READERS)
        }),
        replay_limit: table.or("replay-limit", default.replay_limit, |value| {
            let size = value.size(0..=MAX_REPLAY)?;
            usize::try_from(size).map_err(|_| "is more than this machine can address".to_owned())
        }),
    };
    let bind_at = table.place_of("bind");
    let plugin_at = table.place_of("plugin");
    table.finish();
    Some(Listener {
        config,
        bind_at,
        plugin_at,
        upstreams_at,
    })
}

/// Names and their places. Those that are no strings have been reported.
fn upstreams(value: &Value<'_>) -> Result<Vec<(String, Span)>, String> {
    let mut upstreams: Vec<(String, Span)> = Vec::new();
    for item in value.list("[\"cache\"]")? {
        match item.text("cache") {
            Ok(name) if upstreams.iter().any(|(known, _)| known == name) => {
                item.wrong(format!("{name:?} is there twice; leave one out"));
            }
            Ok(name) => upstreams.push((name.to_owned(), item.span)),
            Err(why) => item.wrong(why),
        }
    }
    Ok(upstreams)
}

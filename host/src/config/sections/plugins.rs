//! `[plugins.NAME]`.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Number, Value as Json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::SHORTEST;
use crate::config::model::{ModuleSource, PluginConfig, PluginLimits};
use crate::config::names;
use crate::config::notes::Span;
use crate::config::table::Table;
use crate::config::value::{Value, integer};

/// The first-party plugins, which are part of the binary, as the build script lists them.
const BUILTINS: &[&str] = include!(concat!(env!("OUT_DIR"), "/first_party.rs"));
const PREFIX: &str = "builtin";

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// The first-party plugins want to see up to 16 KiB of a request before they decide, a long inline
/// command left out.
const LEAST_SHOWN: u64 = 32 << 10;
const MAX_SESSIONS_PER_INSTANCE: u64 = 1_000_000;
/// Growing one of many shards of a larger store would keep a worker waiting for milliseconds.
const MAX_STORE_ENTRIES: u64 = 4_000_000;
/// Tables and lists within each other, in a plugin's config.
const MAX_DEPTH: usize = 64;

pub(super) fn read(name: &str, mut table: Table<'_>, base_dir: &Path) -> Option<PluginConfig> {
    let module = table.required("module", "\"builtin:redis\" or a path", |value| {
        module(value.text("builtin:redis")?, base_dir)
    });
    let config = table.or("config", Json::Object(Map::new()), |value| {
        match value.raw() {
            DeValue::Table(table) => Ok(object(table, 0).unwrap_or_else(|(at, why)| {
                value.wrong_at(&at, why);
                Json::Null
            })),
            _ => Err("must be a table, as in { pooling = \"command\" }".to_owned()),
        }
    });
    let limits = table
        .table("limits")
        .map_or_else(PluginLimits::default, limits);
    table.finish();
    Some(PluginConfig {
        name: name.to_owned(),
        module: module?,
        config,
        folder: base_dir.to_owned(),
        limits,
    })
}

/// Reads `builtin:NAME` or a path, which is relative to `base_dir`.
pub(crate) fn module(text: &str, base_dir: &Path) -> Result<ModuleSource, String> {
    if text.is_empty() {
        return Err("is empty; write builtin:NAME or the path of a .wasm file".to_owned());
    }
    if let Some(name) = text.strip_prefix("builtin:") {
        if BUILTINS.contains(&name) {
            return Ok(ModuleSource::Builtin(name.to_owned()));
        }
        let suggestion = names::suggestion(name, "names", BUILTINS);
        return Err(format!("no plugin {name:?} is built in{suggestion}"));
    }
    if BUILTINS.contains(&text) {
        return Err(format!(
            "{text:?} is not the path of a .wasm file; did you mean \"builtin:{text}\"?"
        ));
    }
    if let Some((prefix, name)) = text.split_once(':')
        && names::nearest(prefix, &[PREFIX]).is_some()
    {
        let name = names::nearest(name, BUILTINS).unwrap_or(name);
        return Err(format!(
            "unknown prefix {prefix:?} in {text:?}; did you mean \"{PREFIX}:{name}\"?"
        ));
    }
    Ok(ModuleSource::File(base_dir.join(text)))
}

fn limits(mut table: Table<'_>) -> PluginLimits {
    let default = PluginLimits::default();
    let hook = |value: &Value<'_>| value.duration(SHORTEST);
    let limits = PluginLimits {
        memory: table.or("memory", default.memory, |value| value.size(MIB..=4 * GIB)),
        hook: table.or("hook", default.hook, hook),
        conversation: table.or("conversation", default.conversation, hook),
        sessions_per_instance: table.or(
            "sessions-per-instance",
            default.sessions_per_instance,
            |value| value.number(1..=MAX_SESSIONS_PER_INSTANCE),
        ),
        max_shown: table.or("max-shown", default.max_shown, |value| {
            let size = value.size(LEAST_SHOWN..=GIB)?;
            usize::try_from(size).map_err(|_| "is more than this machine can address".to_owned())
        }),
        store_entries: table.or("store-entries", default.store_entries, |value| {
            value.number(1..=MAX_STORE_ENTRIES)
        }),
        store_bytes: table.or("store-bytes", default.store_bytes, |value| {
            value.size(MIB..=64 * GIB)
        }),
    };
    if !table.is_broken() {
        check(&table, &limits);
    }
    table.finish();
    limits
}

fn check(table: &Table<'_>, limits: &PluginLimits) {
    const LONGEST_HOOK: Duration = Duration::from_secs(10);
    if limits.hook > LONGEST_HOOK {
        table.wrong(
            &table.place_of("hook"),
            "\"hook\" is over \"10s\"; all sessions of a worker wait for one hook call: write milliseconds",
        );
    }
    if limits.max_shown as u64 > limits.memory {
        table.wrong(
            &table.place_of("max-shown"),
            "\"max-shown\" is more than \"memory\", so a plugin could not take what it is shown; lower one or raise the other",
        );
    }
}

/// Where a value stands that JSON cannot hold, and why it cannot.
type NotJson = (Span, String);

fn object(table: &DeTable<'_>, depth: usize) -> Result<Json, NotJson> {
    let mut object = Map::new();
    for (key, value) in table {
        object.insert(key.get_ref().to_string(), json(value, depth + 1)?);
    }
    Ok(Json::Object(object))
}

fn json(value: &Spanned<DeValue<'_>>, depth: usize) -> Result<Json, NotJson> {
    let not_json = |why: String| (value.span(), why);
    if depth > MAX_DEPTH {
        return Err(not_json(format!(
            "is nested more than {MAX_DEPTH} deep; flatten it"
        )));
    }
    Ok(match value.get_ref() {
        DeValue::String(text) => Json::String(text.to_string()),
        DeValue::Integer(written) => integer(written)
            .and_then(Number::from_i128)
            .map(Json::Number)
            .ok_or_else(|| {
                not_json(format!(
                    "{written} is more than 64 bits hold; write it as a string"
                ))
            })?,
        DeValue::Float(written) => written
            .as_str()
            .parse()
            .ok()
            .and_then(Number::from_f64)
            .map(Json::Number)
            .ok_or_else(|| {
                not_json(format!(
                    "{written} is no number in JSON; write it as a string"
                ))
            })?,
        DeValue::Boolean(value) => Json::Bool(*value),
        // JSON has no dates; plugins get the text as it was written.
        DeValue::Datetime(date) => Json::String(date.to_string()),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| json(item, depth + 1));
            Json::Array(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => object(table, depth)?,
    })
}

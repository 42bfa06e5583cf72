//! `[process]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use crate::config::model::ProcessConfig;
use crate::config::table::Table;
use crate::config::value::Value;

const MAX_WORKERS: u64 = 1024;

pub(super) fn read(table: Option<Table<'_>>, base_dir: &Path) -> ProcessConfig {
    let default = ProcessConfig::default();
    let Some(mut table) = table else {
        return default;
    };
    let process = ProcessConfig {
        workers: table.or("workers", default.workers, |value| {
            value.number(1..=MAX_WORKERS)
        }),
        // None at all is a choice: end every session at once.
        drain_timeout: table.or("drain-timeout", default.drain_timeout, |value| {
            value.duration(Duration::ZERO)
        }),
        cache_dir: table.or("cache-dir", default.cache_dir, |value| {
            cache_dir(value, base_dir)
        }),
    };
    table.finish();
    process
}

fn cache_dir(value: &Value<'_>, base_dir: &Path) -> Result<Option<PathBuf>, String> {
    if let DeValue::Boolean(on) = value.raw() {
        return if *on {
            Err("true names no directory; leave the key out for the default one".to_owned())
        } else {
            Ok(None)
        };
    }
    match value.text("/var/cache/leaseway")? {
        "none" => Ok(None),
        "" => Err("is empty; write a directory, or \"none\" to keep nothing".to_owned()),
        path => Ok(Some(base_dir.join(path))),
    }
}

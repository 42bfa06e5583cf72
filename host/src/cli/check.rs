//! `leaseway check`: everything that a start would find, without starting.

use std::process::ExitCode;

use super::args::CheckArgs;
use crate::config::{self, Config};
use crate::plugin::Runtime;

/// Reads a config, loads its plugins, and says what is wrong. Binds and connects to nothing.
pub fn check(args: &CheckArgs) -> ExitCode {
    let (config, warnings) = match config::read(&args.config) {
        Ok(read) => read,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::FAILURE;
        }
    };
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    match load_plugins(&config) {
        Ok(()) => {
            println!("{}: ok: {}", args.config.display(), summary(&config));
            ExitCode::SUCCESS
        }
        Err(count) => {
            eprintln!("{count} of {} plugins do not load", config.plugins.len());
            ExitCode::FAILURE
        }
    }
}

/// Loads and configures every plugin, and prints what is wrong with each that does not.
fn load_plugins(config: &Config) -> Result<(), usize> {
    let runtime = match Runtime::new(config.process.cache_dir.as_deref()) {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{error}");
            return Err(config.plugins.len());
        }
    };
    let failed = config
        .plugins
        .iter()
        .filter_map(|plugin| runtime.load(plugin).err())
        .inspect(|error| eprintln!("{error}"))
        .count();
    if failed == 0 { Ok(()) } else { Err(failed) }
}

fn summary(config: &Config) -> String {
    let listeners: Vec<String> = config
        .listeners
        .iter()
        .map(|listener| {
            let plugin = listener.plugin.as_deref().unwrap_or("no plugin");
            let upstreams = listener.upstreams.join(", ");
            format!(
                "{} on {} ({plugin}) -> {upstreams}",
                listener.name, listener.bind
            )
        })
        .collect();
    listeners.join("; ")
}

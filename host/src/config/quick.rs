//! The config of `leaseway relay`, which has no file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::error::{Errors, Mistake, Place};
use super::model::{
    AdminConfig, Config, EndpointConfig, ListenerConfig, ModuleSource, PluginConfig, PluginLimits,
    PoolConfig, ProbeConfig, ProcessConfig, UpstreamConfig,
};
use super::{sections, values};

/// The name of the one listener and the one upstream group.
pub const NAME: &str = "relay";

/// One listener, one upstream group, and a plugin if one is named; defaults for all else.
///
/// `plugin` is `builtin:NAME` or a path. With a plugin, connections are probed.
///
/// # Errors
/// All arguments that are wrong.
pub fn for_relay(
    listen: SocketAddr,
    upstreams: &[String],
    plugin: Option<&str>,
    max_connections: Option<u32>,
    admin: Option<SocketAddr>,
) -> Result<Config, Errors> {
    let mut mistakes = Vec::new();
    let mut wrong = |argument: &'static str, message: String| {
        mistakes.push(Mistake::new(Place::Argument(argument), message));
    };
    if upstreams.is_empty() {
        wrong("--upstream", "is missing; write HOST:PORT".to_owned());
    }
    let mut endpoints: Vec<EndpointConfig> = Vec::new();
    for upstream in upstreams {
        match values::endpoint_address(upstream) {
            Ok((host, port)) if endpoints.iter().any(|e| e.host == host && e.port == port) => {
                wrong(
                    "--upstream",
                    format!("{upstream:?} is there twice; leave one out"),
                );
            }
            Ok((host, port)) => endpoints.push(EndpointConfig {
                host,
                port,
                weight: 1,
            }),
            Err(why) => wrong("--upstream", why),
        }
    }
    let plugins = match plugin.map(|text| sections::module(text, Path::new(""))) {
        None => Vec::new(),
        Some(Ok(module)) => vec![PluginConfig {
            name: plugin_name(&module),
            module,
            config: serde_json::json!({}),
            folder: PathBuf::new(),
            limits: PluginLimits::default(),
        }],
        Some(Err(why)) => {
            wrong("--plugin", why);
            Vec::new()
        }
    };
    let default = PoolConfig::default();
    let max_connections = max_connections.unwrap_or(default.max_connections);
    if !(1..=sections::MAX_CONNECTIONS).contains(&u64::from(max_connections)) {
        let limit = sections::MAX_CONNECTIONS;
        wrong(
            "--max-connections",
            format!("{max_connections} is out of range; write 1 to {limit}"),
        );
    }
    if admin.is_some_and(|admin| admin == listen && admin.port() != 0) {
        wrong(
            "--admin",
            format!("{listen} is the address of --listen too; choose another port"),
        );
    }
    if !mistakes.is_empty() {
        return Err(Errors::new(mistakes));
    }
    Ok(Config {
        process: ProcessConfig::default(),
        upstreams: vec![UpstreamConfig {
            pool: PoolConfig {
                max_connections,
                max_idle: max_connections,
                ..default
            },
            probe: (!plugins.is_empty()).then(ProbeConfig::default),
            ..UpstreamConfig::new(NAME, endpoints)
        }],
        listeners: vec![ListenerConfig {
            name: NAME.to_owned(),
            bind: listen,
            plugin: plugins.first().map(|plugin| plugin.name.clone()),
            upstreams: vec![NAME.to_owned()],
            ..ListenerConfig::default()
        }],
        plugins,
        admin: admin.map(|bind| AdminConfig { bind }),
    })
}

/// What log lines and metrics call the plugin.
fn plugin_name(module: &ModuleSource) -> String {
    match module {
        ModuleSource::Builtin(name) => name.clone(),
        ModuleSource::File(path) => path.file_stem().map_or_else(
            || "plugin".to_owned(),
            |stem| stem.to_string_lossy().into_owned(),
        ),
    }
}

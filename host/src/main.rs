//! The `leaseway` binary.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use leaseway::config::*;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("LEASEWAY_LOG"))
        .with_writer(std::io::stderr)
        .init();
    let args: Vec<String> = std::env::args().collect();
    let upstream: std::net::SocketAddr = args[2].parse()?;
    let plugin = args.get(3).cloned();
    let config = Config {
        process: ProcessConfig {
            workers: 2,
            drain_timeout: Duration::from_secs(5),
            cache_dir: None,
        },
        plugins: plugin
            .iter()
            .map(|p| PluginConfig {
                name: "p".into(),
                module: ModuleSource::File(p.into()),
                config: serde_json::json!({}),
                limits: PluginLimits::default(),
            })
            .collect(),
        upstreams: vec![UpstreamConfig {
            name: "u".into(),
            endpoints: vec![EndpointConfig {
                host: upstream.ip().to_string(),
                port: upstream.port(),
                weight: 1,
            }],
            balance: Balance::LeastLeased,
            connect_timeout: Duration::from_secs(1),
            resolve_interval: Duration::from_secs(30),
            pool: PoolConfig {
                max_connections: 20,
                max_idle: 20,
                ..PoolConfig::default()
            },
            probe: Some(ProbeConfig::default()),
        }],
        listeners: vec![ListenerConfig {
            name: "l".into(),
            bind: args[1].parse()?,
            plugin: plugin.as_ref().map(|_| "p".into()),
            upstreams: vec!["u".into()],
            max_sessions: 20000,
            preread_timeout: Duration::from_secs(10),
            idle_timeout: None,
            session_timeout: None,
            half_close_timeout: Duration::from_secs(60),
            replay_limit: 64 << 10,
        }],
        admin: Some(AdminConfig {
            bind: "127.0.0.1:9900".parse()?,
        }),
    };
    leaseway::cli::run::run(&config)
}

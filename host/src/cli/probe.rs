//! `leaseway probe`: one dial, handshake and probe, told step by step.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::net::TcpStream;

use super::args::ProbeArgs;
use crate::config::{ModuleSource, PluginConfig, PluginLimits};
use crate::plugin::{Conversations, Runtime};
use crate::pool::Caretaker;

/// Runs the plugin's probe once. Alive is success; dead, exit code 1.
///
/// # Errors
/// The plugin does not load, or has no probe: wrong usage.
pub fn probe(args: &ProbeArgs) -> anyhow::Result<ExitCode> {
    let config = PluginConfig {
        name: "probe".to_owned(),
        module: ModuleSource::of(&args.plugin),
        config: args.plugin_config.clone(),
        limits: PluginLimits {
            conversation: args.timeout,
            ..PluginLimits::default()
        },
    };
    let plugin = Runtime::new(None).and_then(|runtime| {
        let plugin = runtime.load(&config)?;
        Ok((runtime, plugin))
    });
    // The clock of the runtime bounds the conversations.
    let (_clock, plugin) = plugin?;
    let caretaker = Conversations::new(plugin);
    let name = &args.plugin;
    anyhow::ensure!(
        caretaker.has_probe(),
        "plugin {name} has no probe hook, so it cannot tell whether anything is alive"
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start an event loop")?;
    let (host, port) = &args.address;
    println!("probing {host}:{port} with {name}");
    let steps = async {
        let limit = args.timeout;
        tokio::time::timeout(limit, converse(&caretaker, host, *port))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within --timeout {limit:?}")))
    };
    match runtime.block_on(steps) {
        Ok(()) => {
            println!("alive");
            Ok(ExitCode::SUCCESS)
        }
        Err(why) => {
            println!("dead: {why}");
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn converse(caretaker: &Conversations, host: &str, port: u16) -> Result<(), String> {
    let mut started = Instant::now();
    let mut stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| format!("cannot connect: {error}"))?;
    step("connected", &mut started);
    if caretaker.has_connect() {
        let (shaken, tag) = caretaker
            .connect(stream, caretaker.default_target())
            .await
            .map_err(|why| format!("the plugin's connect failed: {why}"))?;
        stream = shaken;
        step("connect hook succeeded", &mut started);
        if !tag.is_empty() {
            println!("  tag: {}", printable(&tag));
        }
    }
    caretaker
        .probe(stream, Duration::ZERO)
        .await
        .map_err(|why| format!("the plugin's probe failed: {why}"))?;
    step("probe hook succeeded", &mut started);
    Ok(())
}

fn step(what: &str, started: &mut Instant) {
    println!("  {what} after {:.1?}", started.elapsed());
    *started = Instant::now();
}

/// Bytes as a person can read them, at most 200.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes.iter().take(200) {
        // Writing to a string does not fail.
        let _ = write!(text, "{}", byte.escape_ascii());
    }
    text
}

//! `leaseway probe`: one dial, handshake and probe, told step by step.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tokio::net::TcpStream;

use super::args::ProbeArgs;
use crate::config::values::show_duration;
use crate::config::{self, PluginConfig, PluginLimits};
use crate::contract::Target;
use crate::plugin::{Conversations, Runtime};
use crate::pool::{Caretaker, Greeting};

/// Runs the plugin's probe once. Alive is success; dead, exit code 1.
///
/// # Errors
/// The plugin does not load or has no probe, or standard output cannot be written to.
pub fn probe(args: &ProbeArgs) -> anyhow::Result<ExitCode> {
    // Errors call the plugin what its user calls it.
    let name = &args.plugin;
    let module = config::module(name, Path::new("")).map_err(|why| anyhow!("--plugin: {why}"))?;
    let config = PluginConfig {
        name: name.clone(),
        module,
        config: args.plugin_config.clone(),
        // Paths on the command line begin at the current one.
        folder: PathBuf::new(),
        limits: PluginLimits {
            conversation: args.timeout,
            ..PluginLimits::default()
        },
    };
    // Its clock bounds the conversations.
    let engine = Runtime::new(None)?;
    let caretaker = Conversations::new(engine.load(&config)?);
    anyhow::ensure!(
        caretaker.has_probe(),
        "plugin {name} has no probe hook, so it cannot tell whether anything is alive"
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start an event loop")?;
    let mut report = Report(&mut io::stdout().lock());
    runtime.block_on(tell(&mut report, args, &caretaker))
}

/// What is printed. Each line is shown at once.
struct Report<'a>(&'a mut dyn Write);

impl Report<'_> {
    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        writeln!(self.0, "{line}")
            .and_then(|()| self.0.flush())
            .context("cannot write to standard output")
    }

    fn step(&mut self, what: &str, started: &mut Instant) -> anyhow::Result<()> {
        let line = format!("  {what} after {:.1?}", started.elapsed());
        *started = Instant::now();
        self.line(&line)
    }
}

async fn tell(
    report: &mut Report<'_>,
    args: &ProbeArgs,
    caretaker: &Conversations,
) -> anyhow::Result<ExitCode> {
    let (host, port) = &args.address;
    report.line(&format!("probing {host}:{port} with {}", args.plugin))?;
    let limit = args.timeout;
    let alive = tokio::time::timeout(limit, converse(report, caretaker, host, *port))
        .await
        .unwrap_or_else(|_| {
            let limit = show_duration(limit);
            Ok(Err(format!("no answer within --timeout {limit}")))
        })?;
    match alive {
        Ok(()) => {
            report.line("alive")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(why) => {
            report.line(&format!("dead: {why}"))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Why the upstream is dead, if it is. An error is none of the upstream's.
async fn converse(
    report: &mut Report<'_>,
    caretaker: &Conversations,
    host: &str,
    port: u16,
) -> anyhow::Result<Result<(), String>> {
    let mut started = Instant::now();
    let mut stream = match TcpStream::connect((host, port)).await {
        Ok(stream) => stream,
        Err(error) => return Ok(Err(format!("cannot connect: {error}"))),
    };
    report.step("connected", &mut started)?;
    // As `leaseway relay` calls its only group.
    let target = &Target {
        group: Some(config::RELAY.to_owned()),
        endpoint: None,
        affinity: None,
        unpooled: false,
        ..Target::clone(caretaker.default_target())
    };
    if caretaker.has_connect() {
        let (shaken, Greeting { tag, .. }) = match caretaker.connect(stream, target).await {
            Ok(done) => done,
            Err(why) => return Ok(Err(format!("the plugin's connect failed: {why}"))),
        };
        stream = shaken;
        report.step("connect hook succeeded", &mut started)?;
        if !tag.is_empty() {
            report.line(&format!("  tag: {}", printable(&tag)))?;
        }
    }
    if let Err(why) = caretaker.probe(stream, target, Duration::ZERO).await {
        return Ok(Err(format!("the plugin's probe failed: {why}")));
    }
    report.step("probe hook succeeded", &mut started)?;
    Ok(Ok(()))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::plugin::tests::load;

    fn args(plugin: &str) -> ProbeArgs {
        ProbeArgs {
            plugin: plugin.to_owned(),
            plugin_config: serde_json::json!({}),
            timeout: Duration::from_secs(2),
            address: ("127.0.0.1".to_owned(), 1),
        }
    }

    #[test]
    fn a_name_without_its_prefix_is_told_the_right_one() {
        let error = probe(&args("redis")).unwrap_err().to_string();
        assert!(error.starts_with("--plugin: \"redis\" is not"), "{error}");
        assert!(error.contains("did you mean \"builtin:redis\"?"), "{error}");
    }

    #[test]
    fn errors_name_the_plugin_as_its_user_does() {
        let error = probe(&args("/nowhere/p.wasm")).unwrap_err().to_string();
        assert!(error.starts_with("plugin /nowhere/p.wasm: "), "{error}");
    }

    #[test]
    fn an_output_that_is_full_is_an_error_and_no_death() {
        let caretaker = Conversations::new(load(serde_json::json!({})));
        let mut full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let told = runtime.block_on(tell(&mut Report(&mut full), &args("p"), &caretaker));
        let error = format!("{:#}", told.unwrap_err());
        assert!(
            error.starts_with("cannot write to standard output: "),
            "{error}"
        );
    }
}

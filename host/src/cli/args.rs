//! What may be written after `leaseway`, and the help that says so.
//!
//! Reads arguments and nothing else: files are opened by the commands.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::values;

/// A TCP relay that WebAssembly plugins program.
///
/// Clients connect to Leaseway as if it were their server. Leaseway leases them connections from
/// a pool that it keeps to the real servers, the upstreams; a plugin that knows the protocol
/// decides when a connection is free for the next client.
#[derive(Debug, Parser)]
#[command(
    name = "leaseway",
    version,
    subcommand_required = true,
    after_help = "Exit codes: 0 success, 1 failure, 2 wrong usage. Each command's --help says what failure means for it."
)]
pub struct Cli {
    /// How and what to log.
    #[command(flatten)]
    pub log: LogArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// How log lines look. Without it: human on a terminal, json otherwise. The log goes to
    /// standard error.
    #[arg(long, value_enum, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// What to log: error, warn, info, debug or trace, for everything or by module, as in
    /// "info,leaseway::pool=debug". At debug, each session logs one line when it ends.
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        env = "LEASEWAY_LOG",
        default_value = "info"
    )]
    pub log: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people: time, level, message, fields.
    Human,
    /// For programs: one JSON object a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Relay as a config file says.
    ///
    /// Everything is checked and every plugin loaded before anything listens. SIGTERM or SIGINT
    /// stops accepting clients and lets leases end, up to drain-timeout; a second one ends them
    /// at once.
    ///
    /// Exit codes: 0 stopped by a signal, 1 cannot start, 2 wrong usage.
    Run(RunArgs),

    /// Relay without a config file.
    ///
    /// One listener and one upstream group; every other setting has its default. With a plugin,
    /// connections are pooled and probed. Without one, each session gets a connection of its own
    /// and bytes are copied as they come.
    ///
    /// Exit codes: 0 stopped by a signal, 1 cannot start, 2 wrong usage.
    Relay(RelayArgs),

    /// Check a config file, and say all that is wrong with it.
    ///
    /// Its plugins are loaded with their config. Nothing is bound and nothing connected to.
    ///
    /// Exit codes: 0 fine, perhaps with warnings, 1 has mistakes or cannot be read, 2 wrong usage.
    Check(CheckArgs),

    /// Probe one upstream once, as a plugin does, and print what happened.
    ///
    /// Exit codes: 0 alive, 1 dead, 2 wrong usage or a plugin that does not load.
    Probe(ProbeArgs),

    /// Look at plugins.
    #[command(subcommand)]
    Plugin(PluginCommand),
}

/// `leaseway run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The config file; docs/config.md describes every key.
    #[arg(long, short, value_name = "FILE")]
    pub config: PathBuf,
}

/// `leaseway check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The config file to check.
    #[arg(long, short, value_name = "FILE")]
    pub config: PathBuf,
}

/// `leaseway relay`.
#[derive(Debug, Args)]
pub struct RelayArgs {
    /// Where clients connect: IP:PORT. Port 0 takes a free one, which the log names.
    #[arg(long, value_name = "IP:PORT", value_parser = values::bind_address)]
    pub listen: SocketAddr,

    /// Where the server is: HOST:PORT, or `[IPv6]:PORT`. Give it again for each further server.
    #[arg(long = "upstream", required = true, value_name = "HOST:PORT")]
    pub upstreams: Vec<String>,

    /// What governs the sessions: builtin:NAME, or the path of a .wasm file. Without it, bytes
    /// are copied plainly and connections never shared.
    #[arg(long, value_name = "PLUGIN")]
    pub plugin: Option<String>,

    /// Connections to each upstream, leased and idle together [default: 100]
    #[arg(long, value_name = "N")]
    pub max_connections: Option<u32>,

    /// Where to serve /metrics, /ready and /status: IP:PORT. Without it, nowhere.
    #[arg(long, value_name = "IP:PORT", value_parser = values::bind_address)]
    pub admin: Option<SocketAddr>,
}

/// `leaseway probe`.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// Whose probe: builtin:NAME, or the path of a .wasm file.
    #[arg(long, value_name = "PLUGIN")]
    pub plugin: String,

    /// The plugin's config as JSON, as `config` of a plugin in the config file.
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = json)]
    pub plugin_config: serde_json::Value,

    /// For everything: dialing, the plugin's connect, its probe.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = some_duration)]
    pub timeout: Duration,

    /// Whom to probe: HOST:PORT, or `[IPv6]:PORT`.
    #[arg(value_name = "ADDRESS", value_parser = values::endpoint_address)]
    pub address: (String, u16),
}

/// `leaseway plugin ...`.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Print what a plugin is: name, version, contract, hooks, size.
    ///
    /// Exit codes: 0 it loads, 1 it does not, 2 wrong usage.
    Inspect(InspectArgs),
}

/// `leaseway plugin inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// builtin:NAME, or the path of a .wasm file: a module for wasm32-wasip1, or a component.
    #[arg(value_name = "PLUGIN")]
    pub plugin: String,
}

fn json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| {
        format!("not JSON ({error}); write an object, as in '{{\"pooling\": \"session\"}}'")
    })
}

fn some_duration(text: &str) -> Result<Duration, String> {
    match values::duration(text)? {
        Duration::ZERO => Err("no time at all; write at least \"1ms\"".to_owned()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn relay_takes_all_that_a_quick_start_needs() {
        let cli = parse(
            "leaseway relay --listen 127.0.0.1:6380 --upstream a:1 --upstream [::1]:2 \
             --plugin builtin:redis --max-connections 20 --admin 127.0.0.1:9900 --log-format json",
        )
        .unwrap();
        assert_eq!(cli.log.log_format, Some(LogFormat::Json));
        let Command::Relay(relay) = cli.command else {
            panic!("another command")
        };
        assert_eq!(relay.listen, "127.0.0.1:6380".parse().unwrap());
        assert_eq!(relay.upstreams, ["a:1", "[::1]:2"]);
        assert_eq!(relay.plugin.as_deref(), Some("builtin:redis"));
        assert_eq!(relay.max_connections, Some(20));
        assert_eq!(relay.admin, Some("127.0.0.1:9900".parse().unwrap()));
    }

    #[test]
    fn run_and_check_need_a_config_file() {
        for command in ["run", "check"] {
            let error = parse(&format!("leaseway {command}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::MissingRequiredArgument);
            assert_eq!(error.exit_code(), 2);
            parse(&format!("leaseway {command} --config x.toml")).unwrap();
        }
    }

    #[test]
    fn probe_has_defaults_and_checks_its_values() {
        let cli = parse("leaseway probe --plugin builtin:redis localhost:6379").unwrap();
        let Command::Probe(probe) = cli.command else {
            panic!("another command")
        };
        assert_eq!(probe.timeout, Duration::from_secs(2));
        assert_eq!(probe.plugin_config, serde_json::json!({}));
        assert_eq!(probe.address, ("localhost".to_owned(), 6379));
        for (arguments, part) in [
            ("localhost", "has no port; write \"localhost:PORT\""),
            (
                "localhost:1 --timeout 2",
                "write \"2s\" or another unit of ms, s, m, h, d",
            ),
            ("localhost:1 --timeout 0s", "write at least \"1ms\""),
            ("localhost:1 --plugin-config {", "write an object"),
        ] {
            let error = parse(&format!("leaseway probe --plugin p {arguments}")).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn every_command_documents_its_exit_codes() {
        for command in Cli::command().get_subcommands() {
            let command = command.get_subcommands().next().unwrap_or(command);
            let help = command.get_long_about().unwrap().to_string();
            assert!(help.contains("Exit codes: 0 "), "{help}");
        }
    }
}

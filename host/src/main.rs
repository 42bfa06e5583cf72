//! The `leaseway` binary: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use leaseway::cli::args::{CheckArgs, Cli, Command, PluginCommand, RelayArgs, RunArgs};
use leaseway::cli::{check, inspect, logging, probe, run};
use leaseway::config;

/// Wrong usage, as clap has it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = logging::init(&cli.log) {
        eprintln!("{error}");
        return ExitCode::from(USAGE);
    }
    let (result, otherwise) = match &cli.command {
        Command::Run(args) => (run_file(args), ExitCode::FAILURE),
        Command::Relay(args) => (run_arguments(args), ExitCode::FAILURE),
        Command::Check(args) => (check_file(args), ExitCode::FAILURE),
        Command::Probe(args) => (probe::probe(args), ExitCode::from(USAGE)),
        Command::Plugin(PluginCommand::Inspect(args)) => {
            (inspect::inspect(&args.file), ExitCode::FAILURE)
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("leaseway: {error:#}");
        otherwise
    })
}

fn check_file(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    Ok(check::check(&args.config)?)
}

fn run_file(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let (config, warnings) = config::read(&args.config)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    run::run(&config)
}

fn run_arguments(args: &RelayArgs) -> anyhow::Result<ExitCode> {
    let config = config::for_relay(
        args.listen,
        &args.upstreams,
        args.plugin.as_deref(),
        args.max_connections,
        args.admin,
    )?;
    run::run(&config)
}

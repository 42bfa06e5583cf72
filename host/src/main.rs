//! The `leaseway` binary: arguments in, exit code out.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use leaseway::cli::args::{CheckArgs, Cli, Command, PluginCommand, RelayArgs, RunArgs};
use leaseway::cli::{check, inspect, logging, probe, run};
use leaseway::config;

/// Wrong usage, as clap has it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let log = match logging::init(&cli.log) {
        Ok(log) => log,
        Err(error) => {
            logging::complain(error);
            return ExitCode::from(USAGE);
        }
    };
    let relayed = match &cli.command {
        Command::Run(args) => run_file(args),
        Command::Relay(args) => run_arguments(args),
        Command::Check(args) => return told(check_file(args), ExitCode::FAILURE),
        Command::Probe(args) => return told(probe::probe(args), ExitCode::from(USAGE)),
        Command::Plugin(PluginCommand::Inspect(args)) => {
            return told(inspect::inspect(&args.plugin), ExitCode::FAILURE);
        }
    };
    relayed.unwrap_or_else(|error| {
        log.fail(&error);
        ExitCode::FAILURE
    })
}

/// The end of a command that somebody waits for, and who reads what it says.
fn told(result: anyhow::Result<ExitCode>, otherwise: ExitCode) -> ExitCode {
    result.unwrap_or_else(|error| {
        logging::complain(format_args!("{error:#}"));
        otherwise
    })
}

fn check_file(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    check::check(&args.config).context("cannot write to standard output")
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

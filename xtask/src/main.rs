//! `cargo xtask`: what a contributor runs. Each command is a module; this file only parses.
//!
//! Part of no release, and nothing else depends on it: it drives cargo, the package manager and
//! the binaries that the other crates make.

#![forbid(unsafe_code)]

mod bench;
mod demo;
mod drivers;
mod packages;
mod plugins;
mod shell;
mod test;
mod wasm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds plugins, runs the tests, the demo and the bench.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures the relay beside haproxy, nginx, twemproxy, a Go program and PgBouncer, on this machine.
    Bench(bench::Options),
    /// A peer of the bench, for itself alone.
    #[command(name = bench::bare::COMMAND, hide = true)]
    BareRelay(bench::bare::Options),
    /// Shows 1,000 clients on 20 connections to a real server; ends by itself.
    Demo {
        /// Use the dev build of the relay: sooner built, with worse figures.
        #[arg(long)]
        dev: bool,
    },
    /// Installs Python's drivers of PostgreSQL and MySQL into target/drivers, for the tests.
    Drivers,
    /// Builds the plugins and examples for wasm32-wasip1 into target/plugins.
    Plugins {
        /// Where to take the wasm target from; left out, the first that works.
        #[arg(long, value_enum)]
        with: Option<wasm::Source>,
    },
    /// Runs every check and every test, against real servers; installs what is missing.
    Test,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Bench(options) => bench::run(&options),
        Command::BareRelay(options) => bench::bare::run(&options),
        Command::Demo { dev } => demo::run(dev),
        Command::Drivers => drivers::run(),
        Command::Plugins { with } => plugins::run(with),
        Command::Test => test::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why:#}");
            ExitCode::FAILURE
        }
    }
}

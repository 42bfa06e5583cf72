//! `cargo xtask bench`: Leaseway beside what a user would pick instead, on the same work.
//!
//! Machines differ and are shared, so no figure stands alone: in each round every peer does the
//! work in turn, and what counts is a figure's ratio to that of the direct connection and of the
//! best peer in the same round. Here is the order of events; `load` is what clients do, `peers` what is
//! measured, `workloads` which of them does what, and `report` what is written of it.

pub(crate) mod bare;
mod load;
mod loading;
mod machine;
mod peers;
mod report;
mod series;
mod usage;
mod workloads;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::plugins;
use crate::shell;
use crate::workspace::Workspace;
use peers::Tools;
use report::Report;
use workloads::Workload;

/// Files that each process should be allowed: both ends of 10,000 sessions, and some to spare.
const FILES: u64 = 21_000;

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Times that each peer does each work.
    rounds: usize,
    /// How long it does it.
    time: Duration,
}

impl Effort {
    const FULL: Self = Self {
        rounds: 5,
        time: Duration::from_secs(3),
    };
    /// All of it within three minutes.
    const QUICK: Self = Self {
        rounds: 1,
        time: Duration::from_millis(400),
    };
}

/// What the command line says.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// One short round of each: within three minutes, and figures that only show what is far off.
    #[arg(long)]
    quick: bool,
    /// Only these workloads; left out, all.
    #[arg(value_enum)]
    only: Vec<Workload>,
    /// Another build of leaseway, to be measured beside this one.
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// Rounds, in place of 5, or 1 with --quick.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: Option<u16>,
    /// Where to write the report, as NAME.md and NAME.json; left out, target/bench/report.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Runs the bench.
///
/// # Errors
/// A peer cannot be installed or started, or a client got anything but the reply that it should.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    let mut effort = if options.quick {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    if let Some(rounds) = options.rounds {
        effort.rounds = usize::from(rounds);
    }
    plugins::run(None)?;
    let files = shell::raise_file_limit(FILES);
    let tools = Tools::build(
        &workspace,
        workspace.build_host("dist")?,
        options.baseline.clone(),
        files,
    )?;
    let work = if options.only.is_empty() {
        Workload::ALL.to_vec()
    } else {
        options.only.clone()
    };
    let started = Instant::now();
    let runtime = tokio::runtime::Runtime::new().context("cannot start an event loop")?;
    let mut report = Report::new(machine::facts(&tools));
    for workload in work {
        eprintln!("{}", workload.title());
        report.add(workloads::run(workload, effort, &tools, &runtime)?);
    }
    let output = options
        .output
        .clone()
        .unwrap_or_else(|| workspace.target().join("bench").join("report"));
    report.took(started.elapsed());
    report.write(&output)?;
    println!("{}", report.markdown());
    println!("written to {0}.md and {0}.json", output.display());
    Ok(())
}

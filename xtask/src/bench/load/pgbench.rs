//! pgbench, the load that PostgreSQL comes with: a process of its own, whose report is read.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use leaseway_tests::tool;

use super::{GRACE, whole_seconds};
use crate::bench::usage::Meter;

/// A transaction that takes longer has waited for a turn that did not come.
const LATE: Duration = Duration::from_millis(500);

/// How clients ask: pgbench's `-M`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Protocol {
    Simple,
    Extended,
    /// Extended, with statements that are prepared once, under names.
    Prepared,
}

impl Protocol {
    pub(in crate::bench) fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
            Self::Prepared => "prepared",
        }
    }
}

/// Clients that select a row by its key, one transaction after the other.
#[derive(Debug, Clone, Copy)]
pub(in crate::bench) struct Pgbench {
    pub(in crate::bench) clients: usize,
    /// Threads that the clients are dealt to. A thread waits while a client of it logs in, so this is
    /// how many do at a time.
    pub(in crate::bench) threads: usize,
    pub(in crate::bench) protocol: Protocol,
    /// Whether each transaction has a connection of its own, logged in and closed.
    pub(in crate::bench) reconnects: bool,
    /// Rounded up to seconds.
    pub(in crate::bench) time: Duration,
}

/// What one run has brought.
#[derive(Debug)]
pub(in crate::bench) struct Figures {
    /// Transactions, without the time until all clients were connected; with all connecting, if
    /// each transaction has a connection of its own.
    pub(in crate::bench) per_second: f64,
    /// The relay's processor time for each; that of the clients' logins is in it.
    pub(in crate::bench) cpu_micros: f64,
    /// Transactions that took longer than half a second.
    pub(in crate::bench) late: u64,
}

impl Pgbench {
    /// Fills the tables, `scale` times 100,000 rows.
    pub(in crate::bench) async fn fill(url: &str, scale: u32) -> anyhow::Result<()> {
        let scale = scale.to_string();
        let output = tool::pgbench(&["-i", "-q", "-s", &scale, url], 10 * GRACE).await;
        ensure!(output.success, "pgbench -i failed: {}", output.stderr);
        Ok(())
    }

    /// Runs it to the end.
    ///
    /// # Errors
    /// It did not end in time, or a client had an error.
    pub(in crate::bench) async fn run(&self, url: &str, meter: &Meter) -> anyhow::Result<Figures> {
        let late = LATE.as_millis().to_string();
        let [clients, threads] = [self.clients, self.threads].map(|count| count.to_string());
        let seconds = whole_seconds(self.time).to_string();
        let mut args = vec!["-S", "-n", "-c", &clients, "-j", &threads];
        args.extend(["-T", &seconds, "-M", self.protocol.name(), "-L", &late]);
        if self.reconnects {
            args.push("-C");
        }
        args.push(url);
        let before = meter.cpu()?;
        let deadline = self.time + GRACE;
        let Some(output) = tool::pgbench_within(&args, deadline).await else {
            bail!("pgbench had not ended after {deadline:?}");
        };
        let cpu = meter.cpu()?.saturating_sub(before);
        if !output.success {
            bail!("{}", complaint(&output.stderr));
        }
        let report = Report::parse(&output.stdout)
            .with_context(|| format!("pgbench says {:?}", output.stdout))?;
        ensure!(report.transactions > 0, "no transaction was done");
        Ok(Figures {
            per_second: report.per_second,
            cpu_micros: cpu.as_secs_f64() * 1e6 / report.transactions as f64,
            late: report.late,
        })
    }
}

/// Of what it prints at the end.
#[derive(Debug, PartialEq)]
struct Report {
    transactions: u64,
    late: u64,
    per_second: f64,
}

impl Report {
    fn parse(text: &str) -> Option<Self> {
        let after = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let late = after("number of transactions above the ")?;
        let (_, late) = late.split_once(": ")?;
        let per_second = after("tps = ")?.split(' ').next()?;
        Some(Self {
            transactions: after("number of transactions actually processed: ")?
                .parse()
                .ok()?,
            late: late.split('/').next()?.parse().ok()?,
            per_second: per_second.parse().ok()?,
        })
    }
}

/// The first thing that went wrong, in one line.
fn complaint(said: &str) -> &str {
    let is_error = |line: &&str| {
        ["error:", "ERROR:", "FATAL:"]
            .iter()
            .any(|word| line.contains(word))
    };
    let line = said.lines().find(is_error).or_else(|| said.lines().last());
    let line = line.unwrap_or("pgbench failed without a word");
    line.strip_prefix("pgbench: error: ").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let text = "pgbench (15.18)\n\
            transaction type: <builtin: select only>\n\
            number of transactions actually processed: 39217\n\
            number of failed transactions: 0 (0.000%)\n\
            number of transactions above the 500.0 ms latency limit: 12/39217 (0.031%)\n\
            latency average = 0.815 ms\n\
            tps = 39245.123 (without initial connection time)\n";
        let expected = Report {
            transactions: 39217,
            late: 12,
            per_second: 39245.123,
        };
        assert_eq!(Report::parse(text), Some(expected));
        assert_eq!(Report::parse("pgbench (15.18)\n"), None);
    }

    #[test]
    fn the_first_error_is_what_is_told() {
        let said = "pgbench (15.18)\n\
            pgbench: error: client 3 aborted: no luck\n\
            pgbench: error: Run was aborted\n";
        assert_eq!(complaint(said), "client 3 aborted: no luck");
        assert_eq!(complaint(""), "pgbench failed without a word");
    }
}

//! wrk, a process of its own that asks over HTTP and whose report is read.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use leaseway_tests::tool;

use super::{GRACE, whole_seconds};
use crate::bench::usage::Meter;

/// Clients that ask for one page again and again, each on a connection that it keeps.
#[derive(Debug, Clone, Copy)]
pub(in crate::bench) struct Wrk {
    pub(in crate::bench) clients: usize,
    /// Rounded up to seconds.
    pub(in crate::bench) time: Duration,
}

/// What one run has brought.
#[derive(Debug)]
pub(in crate::bench) struct Figures {
    pub(in crate::bench) per_second: f64,
    /// The relay's processor time for each request; that of accepting the clients is in it.
    pub(in crate::bench) cpu_micros: f64,
}

impl Wrk {
    /// Runs it to the end, on one thread.
    ///
    /// # Errors
    /// A connection failed or stood still, or a response was not one of 200.
    pub(in crate::bench) async fn run(
        &self,
        address: SocketAddr,
        meter: &Meter,
    ) -> anyhow::Result<Figures> {
        let clients = format!("-c{}", self.clients);
        let time = format!("-d{}s", whole_seconds(self.time));
        let url = format!("http://{address}/");
        let before = meter.cpu()?;
        let output = tool::wrk(&["-t1", &clients, &time, &url], self.time + GRACE).await;
        let cpu = meter.cpu()?.saturating_sub(before);
        ensure!(output.success, "wrk failed: {}", output.stderr.trim());
        let report = Report::parse(&output.stdout)
            .with_context(|| format!("wrk says {:?}", output.stdout))?;
        if let Some(faults) = report.faults {
            anyhow::bail!("wrk complains: {faults}");
        }
        ensure!(report.requests > 0, "no request was answered");
        Ok(Figures {
            per_second: report.per_second,
            cpu_micros: cpu.as_secs_f64() * 1e6 / report.requests as f64,
        })
    }
}

/// Of what it prints at the end.
#[derive(Debug, PartialEq)]
struct Report {
    requests: u64,
    per_second: f64,
    /// Its lines on errors of sockets and on statuses; it prints none when there were none.
    faults: Option<String>,
}

impl Report {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim);
        let requests = lines.clone().find_map(|line| {
            let (count, _) = line.split_once(" requests in ")?;
            count.parse().ok()
        })?;
        let per_second = lines.clone().find_map(|line| {
            let rate = line.strip_prefix("Requests/sec:")?;
            rate.trim().parse().ok()
        })?;
        let is_fault =
            |line: &&str| line.starts_with("Socket errors:") || line.starts_with("Non-2xx");
        Some(Self {
            requests,
            per_second,
            faults: lines.find(is_fault).map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let text = "Running 1s test @ http://127.0.0.1:8080/\n  \
              1 threads and 256 connections\n  \
              Thread Stats   Avg      Stdev     Max   +/- Stdev\n    \
              Latency     6.21ms    1.02ms  20.50ms   80.11%\n  \
              41234 requests in 1.01s, 9.12MB read\n\
            Requests/sec:  40825.74\n\
            Transfer/sec:      9.03MB\n";
        let mut expected = Report {
            requests: 41234,
            per_second: 40825.74,
            faults: None,
        };
        assert_eq!(Report::parse(text), Some(expected));
        let faults = "Socket errors: connect 0, read 3, write 0, timeout 1";
        let text = text.replace("Requests/sec", &format!("  {faults}\nRequests/sec"));
        expected = Report {
            requests: 41234,
            per_second: 40825.74,
            faults: Some(faults.to_owned()),
        };
        assert_eq!(Report::parse(&text), Some(expected));
        assert_eq!(Report::parse("unable to connect\n"), None);
    }
}

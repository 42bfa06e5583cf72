//! What a peer uses: processor time and resident memory, summed over its processes and threads.

use std::fs;
use std::time::Duration;

use anyhow::Context;

/// A process and its children, which nginx has and the others do not.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    root: Option<u32>,
}

impl Meter {
    /// Measures this process; none: nothing stands between client and server, and nothing is used.
    pub(super) fn new(root: Option<u32>) -> Self {
        Self { root }
    }

    /// Processor time so far, of all threads that live now.
    ///
    /// From `schedstat`, whose first field is in nanoseconds (Documentation/scheduler/sched-stats.rst of
    /// Linux), where `stat` counts ticks of 10 ms.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        let mut nanos = 0;
        for pid in self.processes() {
            let tasks = format!("/proc/{pid}/task");
            for task in fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}"))? {
                let path = task?.path().join("schedstat");
                // A thread may end between the two looks.
                let Ok(text) = fs::read_to_string(&path) else {
                    continue;
                };
                let first = text.split(' ').next().unwrap_or_default();
                let time: u64 = first
                    .parse()
                    .with_context(|| format!("{} says {text:?}", path.display()))?;
                nanos += time;
            }
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Memory of its own, in bytes: what would be free if it ended (`Private_*` and its part of
    /// what is shared, `Pss`).
    pub(super) fn memory(&self) -> anyhow::Result<u64> {
        let mut kilobytes = 0;
        for pid in self.processes() {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            let pss = text
                .lines()
                .find_map(|line| line.strip_prefix("Pss:"))
                .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
                .with_context(|| format!("{path} has no Pss"))?;
            kilobytes += pss;
        }
        Ok(kilobytes * 1024)
    }

    fn processes(&self) -> Vec<u32> {
        let Some(root) = self.root else {
            return Vec::new();
        };
        let mut all = vec![root];
        let children = fs::read_to_string(format!("/proc/{root}/task/{root}/children"));
        let children = children.unwrap_or_default();
        all.extend(
            children
                .split(' ')
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
        all
    }
}

//! A child process that is killed when its value is dropped. Signals go by id, never by name.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::eventually;

/// A running program whose output goes to a file.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; both outputs go to `log`. `mend` is how to get the program.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(name: &'static str, mut command: Command, log: &Path, mend: &str) -> Self {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap_or_else(|why| panic!("cannot write {}: {why}", log.display()));
        let both = file.try_clone().expect("a file handle can be cloned");
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(both)
            .spawn()
            .unwrap_or_else(|why| {
                let program = command.get_program().to_string_lossy();
                panic!("cannot start {program}: {why}; mend it with `{mend}`")
            });
        Self {
            name,
            child,
            log: log.to_owned(),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes that it has started and that have not ended.
    ///
    /// # Panics
    /// It has ended, or this is not Linux.
    #[must_use]
    pub fn children(&self) -> Vec<Pid> {
        let pid = self.pid();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{path}: {why}"));
        text.split_whitespace()
            .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
            .collect()
    }

    /// What it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child
            .try_wait()
            .expect("one's own child can be awaited")
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// It has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal)
            .unwrap_or_else(|why| panic!("cannot send {signal:?} to {}: {why}", self.name));
    }

    /// Asks it to end by this signal, and waits; kills it if it has not ended within `patience`.
    /// It may have ended before.
    pub fn stop(&mut self, signal: Signal, patience: Duration) {
        let started = Instant::now();
        if self.ended().is_none() {
            self.signal(signal);
        }
        while self.ended().is_none() {
            if started.elapsed() > patience {
                return self.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it and waits until it is gone. It may have ended before.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// It does not within `deadline`; with its log.
    pub async fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let started = tokio::time::Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(
                started.elapsed() < deadline,
                "{} has not ended within {deadline:?}; it said:\n{}",
                self.name,
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the kernel reports it stopped, or running again.
    pub async fn wait_paused(&self, paused: bool) {
        let path = format!("/proc/{}/stat", self.pid());
        let what = format!("{} paused: {paused}", self.name);
        eventually(&what, Duration::from_secs(10), async || {
            let stat = std::fs::read_to_string(&path).unwrap_or_default();
            // "PID (NAME) STATE ...", where NAME may hold anything.
            let state = stat
                .rsplit(") ")
                .next()
                .and_then(|rest| rest.chars().next());
            (state == Some('T')) == paused
        })
        .await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

//! A real `leaseway run` of a test's own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::Signal;

use crate::command::{MEND, binary};
use crate::dir::TempDir;
use crate::metrics::Metrics;
use crate::process::Process;
use crate::wait::eventually;
use crate::{http, plugins, ports};

/// Plugins may have to be compiled at start, on a busy machine.
const START: Duration = Duration::from_secs(120);

/// Of its log, that a test which fails shows.
const LAST_LINES: usize = 20;

/// A running relay. Killed on drop.
#[derive(Debug)]
pub struct Relay {
    addresses: BTreeMap<String, SocketAddr>,
    process: Process,
    #[expect(
        dead_code,
        reason = "holds the config and the log until the relay is gone"
    )]
    dir: TempDir,
}

impl Relay {
    /// As [`Self::start_with`], without values.
    ///
    /// # Panics
    /// As there.
    pub async fn start(config: &str) -> Self {
        Self::start_with(config, &[]).await
    }

    /// Starts `leaseway run` with this config, and waits until `/ready` says so.
    ///
    /// In the text, `{NAME}` stands for the value that `values` gives it; `{plugins}` for the
    /// folder of the built plugins, `{dir}` for a folder of the relay's own; and any other name for
    /// a free loopback address, the same each time: `{listen}`, `{admin}`, `{listen-b}`.
    /// `{admin}` has to be there.
    ///
    /// # Panics
    /// It does not start, or is not ready within two minutes; with its log.
    pub async fn start_with(config: &str, values: &[(&str, &str)]) -> Self {
        Self::start_binary(&binary(), config, values).await
    }

    /// As [`Self::start_with`], with another log filter than the binary's own: `"debug"`.
    ///
    /// # Panics
    /// As there.
    pub async fn start_logging(filter: &str, config: &str, values: &[(&str, &str)]) -> Self {
        let relay = Self::launch_binary(&binary(), &["--log", filter], config, values).await;
        relay.ready().await
    }

    /// As [`Self::start_with`], with this binary.
    ///
    /// # Panics
    /// As there.
    pub async fn start_binary(binary: &Path, config: &str, values: &[(&str, &str)]) -> Self {
        let relay = Self::launch_binary(binary, &[], config, values).await;
        relay.ready().await
    }

    async fn ready(mut self) -> Self {
        let relay = &mut self;
        let admin = relay.admin();
        let started = tokio::time::Instant::now();
        loop {
            relay.assert_running();
            let answer = http::get(admin, "/ready").await;
            if matches!(answer, Ok((200, _))) {
                return self;
            }
            assert!(
                started.elapsed() < START,
                "/ready says {answer:?}; the relay's log:\n{}",
                relay.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// As [`Self::start_with`], but waits only until the admin address answers: for relays that
    /// are not to become ready.
    ///
    /// # Panics
    /// As there.
    pub async fn launch(config: &str, values: &[(&str, &str)]) -> Self {
        Self::launch_binary(&binary(), &[], config, values).await
    }

    async fn launch_binary(
        binary: &Path,
        options: &[&str],
        config: &str,
        values: &[(&str, &str)],
    ) -> Self {
        let dir = TempDir::new("relay");
        let (text, addresses) = substitute(config, values, &dir);
        let file = dir.path().join("leaseway.toml");
        std::fs::write(&file, text).expect("the temporary folder can be written to");
        let mut command = Command::new(binary);
        command
            .args(["run", "--config"])
            .arg(&file)
            .args(options)
            // The tests' own environment decides nothing.
            .env_remove("LEASEWAY_LOG")
            .current_dir(dir.path())
            // Compiled plugins are shared by all tests, and kept out of the user's own cache.
            .env("XDG_CACHE_HOME", plugins::programs().join("tests-cache"));
        let log = dir.path().join("log");
        let mut relay = Self {
            addresses,
            process: Process::start("leaseway", command, &log, MEND),
            dir,
        };
        let admin = relay.admin();
        eventually("the admin address answers", START, async || {
            relay.assert_running();
            http::get(admin, "/ready").await.is_ok()
        })
        .await;
        relay
    }

    /// The address of `{listen}`.
    ///
    /// # Panics
    /// The config has no `{listen}`.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr_of("listen")
    }

    /// The address that was put in for `{name}`.
    ///
    /// # Panics
    /// The config has no such placeholder.
    #[must_use]
    pub fn addr_of(&self, name: &str) -> SocketAddr {
        *self
            .addresses
            .get(name)
            .unwrap_or_else(|| panic!("the config has no {{{name}}}"))
    }

    /// The admin address.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.addr_of("admin")
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What `/metrics` says now.
    ///
    /// # Panics
    /// It does not answer with 200.
    pub async fn metrics(&self) -> Metrics {
        Metrics::parse(&self.get("/metrics").await)
    }

    /// The sum of all samples called `name`.
    ///
    /// # Panics
    /// As [`Self::metrics`].
    pub async fn metric_sum(&self, name: &str) -> f64 {
        self.metrics().await.sum(name)
    }

    /// What `/status` says now.
    ///
    /// # Panics
    /// It does not answer with 200 and JSON.
    pub async fn status(&self) -> serde_json::Value {
        let text = self.get("/status").await;
        serde_json::from_str(&text)
            .unwrap_or_else(|why| panic!("/status is no JSON: {why}: {text}"))
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The lines that it has logged so far, each a JSON object. One that is being written is left
    /// out.
    ///
    /// # Panics
    /// A line is none.
    #[must_use]
    pub fn log_lines(&self) -> Vec<serde_json::Value> {
        self.log()
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| {
                serde_json::from_str(line)
                    .unwrap_or_else(|why| panic!("not a JSON object: {why}: {line}"))
            })
            .collect()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Asks it to drain (SIGTERM), and waits until it has ended.
    ///
    /// # Panics
    /// It has not ended within `deadline`.
    pub async fn terminate(&mut self, deadline: Duration) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.wait(deadline).await
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// It has not within `deadline`.
    pub async fn wait(&mut self, deadline: Duration) -> ExitStatus {
        self.process.wait(deadline).await
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// Its resident memory.
    ///
    /// # Panics
    /// It has ended, or this is not Linux.
    #[must_use]
    pub fn rss_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most that it has been since the start, or since [`Self::forget_peak`].
    ///
    /// # Panics
    /// As [`Self::rss_bytes`].
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Lets [`Self::peak_bytes`] begin anew.
    ///
    /// # Panics
    /// As [`Self::rss_bytes`].
    pub fn forget_peak(&self) {
        let path = format!("/proc/{}/clear_refs", self.pid());
        std::fs::write(&path, "5").unwrap_or_else(|why| panic!("{path}: {why}"));
    }

    fn memory(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{path}: {why}"));
        let kilobytes = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .unwrap_or_else(|| panic!("{path} has no {name}"));
        kilobytes * 1024
    }

    /// How many files it has open, sockets included.
    ///
    /// # Panics
    /// It has ended, or this is not Linux.
    #[must_use]
    pub fn fd_count(&self) -> usize {
        self.descriptors().count()
    }

    /// How many ends of pipes it has open: those in use, and a few that it keeps.
    ///
    /// # Panics
    /// It has ended, or this is not Linux.
    #[must_use]
    pub fn pipe_count(&self) -> usize {
        // One that is closed meanwhile leads nowhere.
        self.descriptors()
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("pipe:"))
            .count()
    }

    fn descriptors(&self) -> std::fs::ReadDir {
        let path = format!("/proc/{}/fd", self.pid());
        std::fs::read_dir(&path).unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    async fn get(&self, path: &str) -> String {
        match http::get(self.admin(), path).await {
            Ok((200, body)) => body,
            other => panic!("{path} says {other:?}; the relay's log:\n{}", self.log()),
        }
    }

    fn assert_running(&mut self) {
        if let Some(status) = self.process.ended() {
            panic!("leaseway ended, {status}:\n{}", self.log());
        }
    }
}

/// A panic of the relay's own ends a task and not the process, so nobody else might notice.
impl Drop for Relay {
    fn drop(&mut self) {
        let log = self.log();
        // Whatever is logged is an object a line; a plugin's own panics are inside of one.
        let panics = log
            .split_inclusive("\nthread '")
            .skip(1)
            .map(|text| text.lines().take(2).collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>();
        if std::thread::panicking() {
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.len().saturating_sub(LAST_LINES);
            eprintln!("the relay's last words:\n{}", lines[last..].join("\n"));
        }
        if panics.is_empty() {
            return;
        }
        if std::thread::panicking() {
            eprintln!("the relay panicked, too: {panics:#?}");
        } else {
            panic!("the relay panicked: {panics:#?}");
        }
    }
}

/// Fills in the placeholders; returns the addresses that were made up for them.
fn substitute(
    config: &str,
    values: &[(&str, &str)],
    dir: &TempDir,
) -> (String, BTreeMap<String, SocketAddr>) {
    let mut addresses = BTreeMap::new();
    let mut text = String::new();
    let mut rest = config;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        let name = from[1..].split('}').next().unwrap_or_default();
        // Anything else in braces is a table of TOML's own.
        let is_name = !name.is_empty()
            && from.len() > name.len() + 1
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if !is_name {
            text.push('{');
            rest = &from[1..];
            continue;
        }
        match values.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => text.push_str(value),
            None if name == "dir" => text.push_str(&dir.path().to_string_lossy()),
            None if name == "plugins" => text.push_str(&plugins::folder().to_string_lossy()),
            None => {
                let address = addresses
                    .entry(name.to_owned())
                    .or_insert_with(ports::free_address);
                text.push_str(&address.to_string());
            }
        }
        rest = &from[name.len() + 2..];
    }
    text.push_str(rest);
    (text, addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in_and_tables_left_alone() {
        let dir = TempDir::new("substitute");
        let config =
            "a = \"{listen}\"\nb = \"{redis}\"\npool = { max = 1 }\nc = {}\nd = \"{listen}\"\n{";
        let (text, addresses) = substitute(config, &[("redis", "127.0.0.1:1")], &dir);
        let listen = addresses["listen"];
        assert_eq!(
            text,
            format!(
                "a = \"{listen}\"\nb = \"127.0.0.1:1\"\npool = {{ max = 1 }}\nc = {{}}\nd = \"{listen}\"\n{{"
            )
        );
        assert_eq!(addresses.len(), 1);
    }
}

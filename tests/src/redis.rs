//! A real redis-server of a test's own.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::Mutex;

use crate::dir::TempDir;
use crate::ports;
use crate::process::Process;
use crate::resp::{Reply, Resp};
use crate::wait::eventually;

const MEND: &str = "apt-get install redis-server";
const START: Duration = Duration::from_secs(30);

/// A redis-server on a free loopback port, without persistence. Killed on drop.
#[derive(Debug)]
pub struct RedisServer {
    address: SocketAddr,
    args: Vec<String>,
    dir: TempDir,
    /// None while stopped.
    process: Option<Process>,
    /// The test's own, of which no count of clients knows. None after a command that failed.
    control: Mutex<Option<Resp>>,
}

impl RedisServer {
    /// Starts one with `args` beside its own, for instance `["--requirepass", "secret"]`, and
    /// waits until it answers.
    ///
    /// # Panics
    /// It is not installed, or does not start; with what it said.
    pub async fn start(args: &[&str]) -> Self {
        let mut server = Self {
            address: ports::free_address(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            dir: TempDir::new("redis"),
            process: None,
            control: Mutex::new(None),
        };
        server.launch().await;
        server
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    ///
    /// # Panics
    /// It is stopped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running().pid()
    }

    /// What it has logged, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Freezes it: connections stay open, and nothing is answered.
    pub async fn pause(&self) {
        self.running().signal(Signal::STOP);
        self.running().wait_paused(true).await;
    }

    /// Lets it go on.
    pub async fn resume(&self) {
        self.running().signal(Signal::CONT);
        self.running().wait_paused(false).await;
    }

    /// Kills it, and waits until it is gone: its connections end, and new ones are refused.
    pub async fn stop(&mut self) {
        self.process = None;
        *self.control.lock().await = None;
    }

    /// Stops it and starts it again on the same port, empty.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.launch().await;
    }

    /// One command over a connection of the server's own, which is no test's.
    ///
    /// # Panics
    /// The server does not answer.
    pub async fn cmd<A: AsRef<[u8]>>(&self, words: &[A]) -> Reply {
        let mut control = self.control.lock().await;
        let mut connection = match control.take() {
            Some(connection) => connection,
            None => self.log_in(Resp::connect(self.address).await).await,
        };
        let reply = connection.cmd(words).await;
        *control = Some(connection);
        reply
    }

    /// A number from a section of `INFO`; none if it says none of that name.
    ///
    /// # Panics
    /// As [`Self::cmd`].
    pub async fn info(&self, section: &str, key: &str) -> Option<u64> {
        let text = self.cmd(&["INFO", section]).await.text();
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .and_then(|value| value.trim().parse().ok())
    }

    /// How many clients are connected, subscribers included and the control connection left out.
    pub async fn clients(&self) -> usize {
        self.client_ids().await.len() - 1
    }

    /// How many of them are connected at two looks, one right after the other. A connection that
    /// has ended, and of which the server has not noticed that yet, does not count.
    pub async fn standing_clients(&self) -> usize {
        let first = self.client_ids().await;
        let second = self.client_ids().await;
        first.intersection(&second).count() - 1
    }

    /// All connections by the server's number for them, the control connection included.
    async fn client_ids(&self) -> HashSet<String> {
        let list = self.cmd(&["CLIENT", "LIST"]).await.text();
        list.lines()
            .filter_map(|line| line.strip_prefix("id=")?.split(' ').next())
            .map(str::to_owned)
            .collect()
    }

    /// Ends all normal connections but the control connection, as a server does that is short of
    /// something; returns how many.
    pub async fn kill_clients(&self) -> i64 {
        let command = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
        self.cmd(&command).await.integer()
    }

    async fn launch(&mut self) {
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1"])
            .args(["--port", &self.address.port().to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .arg("--dir")
            .arg(self.dir.path())
            .args(&self.args);
        let log = self.dir.path().join("log");
        let mut process = Process::start("redis-server", command, &log, MEND);
        let address = self.address;
        let mut first = None;
        eventually("redis-server answers", START, async || {
            if let Some(status) = process.ended() {
                panic!("redis-server ended, {status}:\n{}", process.log());
            }
            if first.is_none() {
                first = Resp::try_connect(address).await.ok();
            }
            let Some(connection) = &mut first else {
                return false;
            };
            match connection.try_cmd(&["PING"]).await {
                // An error is an answer too: a password may be asked for.
                Ok(Reply::Error(text)) => !text.starts_with("LOADING"),
                Ok(_) => true,
                Err(_) => {
                    first = None;
                    false
                }
            }
        })
        .await;
        self.process = Some(process);
        // No other connection was ever made, so a test may count clients from the start.
        if let Some(connection) = first {
            let control = self.log_in(connection).await;
            *self.control.lock().await = Some(control);
        }
    }

    async fn log_in(&self, mut connection: Resp) -> Resp {
        if let Some(password) = self.password() {
            let reply = connection.cmd(&["AUTH", password]).await;
            assert_eq!(reply, Reply::ok(), "the control connection's password");
        }
        connection
    }

    fn password(&self) -> Option<&str> {
        let at = self.args.iter().position(|arg| arg == "--requirepass")?;
        self.args.get(at + 1).map(String::as_str)
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the redis-server is stopped")
    }
}

//! A real redis-server of a test's own.

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
    /// Made when first needed: a test may count clients before it has sent anything.
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
            None => self.connect_control().await,
        };
        let reply = connection.cmd(words).await;
        *control = Some(connection);
        reply
    }

    /// How many normal clients are connected, the control connection left out.
    pub async fn clients(&self) -> usize {
        let list = self.cmd(&["CLIENT", "LIST", "TYPE", "normal"]).await.text();
        list.lines().filter(|line| !line.is_empty()).count() - 1
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
        eventually("redis-server answers", START, async || {
            if let Some(status) = process.ended() {
                panic!("redis-server ended, {status}:\n{}", process.log());
            }
            match Resp::try_connect(address).await {
                // An error is an answer too: a password may be asked for.
                Ok(mut probe) => match probe.try_cmd(&["PING"]).await {
                    Ok(Reply::Error(text)) => !text.starts_with("LOADING"),
                    Ok(_) => true,
                    Err(_) => false,
                },
                Err(_) => false,
            }
        })
        .await;
        self.process = Some(process);
        // The look above was a client too, until the server notices that it has gone.
        eventually("redis-server forgets the probe", START, async || {
            self.clients().await == 0
        })
        .await;
    }

    async fn connect_control(&self) -> Resp {
        let mut connection = Resp::connect(self.address).await;
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

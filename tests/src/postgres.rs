//! A real PostgreSQL cluster of a test's own.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::dir::TempDir;
use crate::ports;
use crate::process::Process;
use crate::servant;
use crate::tool::{self, Output};
use crate::wait::eventually;

const MEND: &str = "apt-get install postgresql";
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(10);

/// Where Debian puts the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// As whom everything runs if the test is root, whom PostgreSQL does not serve.
const SERVANT: &str = "postgres";

/// Users and databases that each cluster has.
const SETUP: &str = "
    CREATE USER app PASSWORD 'secret';
    CREATE USER other PASSWORD 'secret';
    CREATE USER plain PASSWORD 'plain-secret';
    SET password_encryption = md5;
    CREATE USER old PASSWORD 'old-secret';
    CREATE DATABASE shop OWNER app;
";

/// How each of them logs in.
const ACCESS: &str = "
host all postgres 127.0.0.1/32 trust
host replication postgres 127.0.0.1/32 trust
host all app,other 127.0.0.1/32 scram-sha-256
host all plain 127.0.0.1/32 password
host all old 127.0.0.1/32 md5
";

/// A server on a free loopback port, with the users `postgres` (trusted), `app` and `other` (SCRAM, the
/// password is `secret`), `plain` (`plain-secret`) and `old` (MD5, `old-secret`), and a database
/// `shop` of `app`. Stopped on drop.
#[derive(Debug)]
pub struct PostgresServer {
    address: SocketAddr,
    dir: TempDir,
    process: Option<Process>,
    /// Those of its backends that have been stopped with it.
    paused: Vec<Pid>,
}

impl PostgresServer {
    /// Makes a cluster, starts it, and waits until it answers.
    ///
    /// # Panics
    /// It is not installed, or does not start; with what it said.
    pub async fn start() -> Self {
        let (mut server, data) = Self::in_a_folder();
        let mut init = servant(newest().join("bin/initdb"));
        init.arg("--pgdata").arg(&data);
        init.args(["--username", "postgres", "--auth", "trust", "--no-sync"]);
        init.args(["--encoding", "UTF8", "--locale", "C.UTF-8"]);
        run(init);
        std::fs::write(data.join("pg_hba.conf"), ACCESS).expect("the access rules can be written");
        server.launch().await;
        // In one session, where a SET holds; and each by itself, since a database is not made within a
        // transaction.
        let commands: Vec<&str> = SETUP.split_terminator(';').map(str::trim).collect();
        server.run("postgres", &commands).await;
        let hashed = "SELECT rolpassword LIKE 'md5%' FROM pg_authid WHERE rolname = 'old'";
        assert_eq!(server.sql("postgres", hashed).await, "t");
        server
    }

    /// Makes a standby of this one, and waits until it follows.
    ///
    /// # Panics
    /// It does not; with what it said.
    pub async fn standby(&self) -> Self {
        let (mut standby, data) = Self::in_a_folder();
        let mut copy = servant(newest().join("bin/pg_basebackup"));
        copy.arg("--pgdata").arg(&data);
        copy.args(["--dbname", &self.url("postgres", "postgres")]);
        copy.args(["--write-recovery-conf", "--checkpoint", "fast", "--no-sync"]);
        run(copy);
        standby.launch().await;
        standby.follows(self).await;
        standby
    }

    /// Waits until it has all that its primary has written so far.
    ///
    /// # Panics
    /// It is no standby, or does not follow.
    pub async fn follows(&self, primary: &Self) {
        let written = primary.sql("postgres", "SELECT pg_current_wal_lsn()").await;
        let has = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
        eventually("the standby follows", START, async || {
            self.sql("postgres", &has).await == "t"
        })
        .await;
    }

    /// Makes a primary of a standby.
    ///
    /// # Panics
    /// It is none.
    pub async fn promote(&self) {
        assert_eq!(self.sql("postgres", "SELECT pg_promote()").await, "t");
    }

    /// One without data, and the folder for them.
    fn in_a_folder() -> (Self, PathBuf) {
        let dir = TempDir::new("postgres");
        give(dir.path());
        let data = dir.path().join("data");
        let server = Self {
            address: ports::free_address(),
            dir,
            process: None,
            paused: Vec::new(),
        };
        (server, data)
    }

    async fn launch(&mut self) {
        let mut command = servant(newest().join("bin/postgres"));
        command.arg("-D").arg(self.dir.path().join("data"));
        command.args(["-h", "127.0.0.1", "-p", &self.address.port().to_string()]);
        for setting in [
            "unix_socket_directories=",
            "fsync=off",
            "max_connections=200",
        ] {
            command.args(["-c", setting]);
        }
        let log = self.dir.path().join("log");
        self.process = Some(Process::start("postgres", command, &log, MEND));
        let url = self.url("postgres", "postgres");
        eventually("PostgreSQL answers", START, async || {
            if let Some(process) = &mut self.process
                && let Some(status) = process.ended()
            {
                panic!("PostgreSQL ended with {status}: {}", process.log());
            }
            tool::psql(&[&url, "-c", "SELECT 1"], START).await.success
        })
        .await;
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// What psql and drivers connect to.
    #[must_use]
    pub fn url(&self, user: &str, database: &str) -> String {
        url(self.address, user, "", database)
    }

    /// Stops it as an operator does who is in a hurry: clients are told.
    pub async fn stop(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        process.signal(Signal::INT);
        eventually("PostgreSQL stops", START, async || {
            process.ended().is_some()
        })
        .await;
    }

    /// Ends it at once with all of its backends, which do not end what they are at.
    pub async fn crash(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        process.signal(Signal::QUIT);
        process.wait(START).await;
    }

    /// Stops it and starts it again, with what it has.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.launch().await;
    }

    /// Freezes it with all of its backends: what is sent to it arrives, and nobody answers.
    ///
    /// # Panics
    /// It is not running.
    pub async fn pause(&mut self) {
        let process = self.process.as_ref().expect("it is running");
        // First the one that makes the others, so that there are no more of them.
        process.signal(Signal::STOP);
        process.wait_paused(true).await;
        self.paused = process.children();
        for backend in &self.paused {
            // One that has ended answers nobody either.
            let _ = kill_process(*backend, Signal::STOP);
        }
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// It is not running.
    pub async fn resume(&mut self) {
        self.resume_backends();
        let process = self.process.as_ref().expect("it is running");
        process.signal(Signal::CONT);
        process.wait_paused(false).await;
    }

    fn resume_backends(&mut self) {
        for backend in self.paused.drain(..) {
            let _ = kill_process(backend, Signal::CONT);
        }
    }

    /// Ends all backends of this user, and waits until they are gone; how many there were.
    ///
    /// # Panics
    /// They are not.
    pub async fn terminate(&self, user: &str) -> usize {
        let all = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{user}'"
        );
        let count = self.sql("postgres", &all).await;
        eventually("the backends are gone", START, async || {
            self.backends(user).await == 0
        })
        .await;
        count.parse().expect("a number")
    }

    /// Runs commands as the superuser, directly; what they print, without decoration.
    ///
    /// # Panics
    /// They fail.
    pub async fn sql(&self, database: &str, commands: &str) -> String {
        self.run(database, &[commands]).await
    }

    /// Runs each of these by itself, in one session.
    async fn run(&self, database: &str, commands: &[&str]) -> String {
        let url = self.url("postgres", database);
        let mut args = vec![&*url, "-AtXq", "-v", "ON_ERROR_STOP=1"];
        for command in commands {
            args.extend(["-c", command]);
        }
        let Output {
            success,
            stdout,
            stderr,
        } = tool::psql(&args, START).await;
        assert!(success, "{commands:?}: {stderr}");
        stdout.trim_end().to_owned()
    }

    /// How many backends serve this user's clients.
    pub async fn backends(&self, user: &str) -> usize {
        let count = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{user}'");
        let count = self.sql("postgres", &count).await;
        count.parse().expect("a number")
    }
}

/// Killed, it would leave segments of shared memory behind.
impl Drop for PostgresServer {
    fn drop(&mut self) {
        // Backends that stand still would not notice that they are to end.
        self.resume_backends();
        if let Some(process) = &mut self.process {
            // Without a checkpoint: its data go as well.
            process.stop(Signal::QUIT, STOP);
        }
    }
}

/// A connection string, for a server or a relay.
#[must_use]
pub fn url(address: SocketAddr, user: &str, password: &str, database: &str) -> String {
    let colon = if password.is_empty() { "" } else { ":" };
    format!("postgresql://{user}{colon}{password}@{address}/{database}")
}

/// A program that refuses to run as root, run as somebody else then. That user has to own the
/// folders that it writes to: [`give`].
#[must_use]
pub fn servant(program: impl AsRef<OsStr>) -> Command {
    servant::command(SERVANT, program)
}

fn newest() -> PathBuf {
    let versions = std::fs::read_dir(VERSIONS).map(|versions| {
        let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
        let versions = versions.filter_map(|entry| Some(entry.ok()?.path()));
        versions.max_by_key(number)
    });
    match versions {
        Ok(Some(newest)) => newest,
        _ => panic!("there is no PostgreSQL in {VERSIONS}; mend it with `{MEND}`"),
    }
}

/// Lets a [`servant()`] write to a folder.
///
/// # Panics
/// There is no such folder, or no such user.
pub fn give(folder: &Path) {
    servant::give(SERVANT, folder);
}

fn run(command: Command) {
    servant::run(command, MEND);
}

//! A real MariaDB server of a test's own. Or one of MySQL, which Debian does not have: where `LEASEWAY_TESTS_MYSQLD` names
//! its program.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::dir::TempDir;
use crate::process::Process;
use crate::tool::{self, Output};
use crate::wait::eventually;
use crate::{ports, servant};

const MEND: &str = "apt-get install mariadb-server mariadb-client";
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);

/// As whom it runs if the test is root, whom MariaDB does not serve.
const SERVANT: &str = "mysql";

/// Users and databases that each server has.
const SETUP: &str = "
    CREATE USER app@'127.0.0.1' IDENTIFIED BY 'secret';
    CREATE USER other@'127.0.0.1' IDENTIFIED BY 'secret';
    CREATE DATABASE shop;
    CREATE DATABASE store;
    GRANT ALL ON shop.* TO app@'127.0.0.1';
    GRANT ALL ON store.* TO app@'127.0.0.1';
    GRANT ALL ON shop.* TO other@'127.0.0.1';
";

/// What a server of MySQL needs before.
const ROOT: &str =
    "CREATE USER root@'127.0.0.1';\nGRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n";

/// A server on a free loopback port, with the users `root` (no password), `app` and `other` (the password is
/// `secret`), and databases `shop` of both and `store` of `app`. Stopped on drop.
#[derive(Debug)]
pub struct MariaServer {
    address: SocketAddr,
    dir: TempDir,
    options: Vec<String>,
    process: Option<Process>,
}

impl MariaServer {
    /// Makes a folder of data, starts a server with it, and waits until it answers.
    ///
    /// # Panics
    /// It is not installed, or does not start; with what it said.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with these options.
    ///
    /// # Panics
    /// As there.
    pub async fn start_with(options: &[&str]) -> Self {
        let dir = TempDir::new("mariadb");
        servant::give(SERVANT, dir.path());
        let mut server = Self {
            address: ports::free_address(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            dir,
            process: None,
        };
        let datadir = format!("--datadir={}", server.data().display());
        let mut init = match mysqld() {
            Some(mysqld) => {
                let mut init = servant::command(SERVANT, mysqld);
                init.args(["--no-defaults", "--initialize-insecure", &datadir]);
                // MariaDB's installer lets root in from here, too.
                let file = server.dir.path().join("init.sql");
                std::fs::write(&file, ROOT).expect("a file can be written");
                init.arg(format!("--init-file={}", file.display()));
                init
            }
            None => {
                let mut init = servant::command(SERVANT, "mariadb-install-db");
                // Not by the socket, which nobody uses here.
                let root = "--auth-root-authentication-method=normal";
                init.args(["--no-defaults", root, "--skip-test-db", &datadir]);
                init
            }
        };
        init.env("TMPDIR", server.dir.path());
        servant::run(init, MEND);
        server.launch().await;
        server.sql(SETUP).await;
        server
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    async fn launch(&mut self) {
        let mut command = servant::command(SERVANT, program());
        let folder = self.dir.path();
        // Servers side by side must not find each other's temporary tables.
        command.arg("--no-defaults").env("TMPDIR", folder);
        for (option, value) in [
            ("datadir", self.data().display().to_string()),
            ("port", self.address.port().to_string()),
            ("bind-address", self.address.ip().to_string()),
            ("socket", folder.join("socket").display().to_string()),
            ("pid-file", folder.join("pid").display().to_string()),
            ("max-connections", "300".to_owned()),
            // Data need not outlive the machine.
            ("innodb-flush-log-at-trx-commit", "2".to_owned()),
            ("skip-name-resolve", "1".to_owned()),
            ("character-set-server", "utf8mb4".to_owned()),
        ] {
            command.arg(format!("--{option}={value}"));
        }
        if mysqld().is_some() {
            command.args(["--mysqlx=OFF", "--secure-file-priv=NULL", "--skip-log-bin"]);
        }
        command.args(&self.options);
        let log = folder.join("log");
        self.process = Some(Process::start("mariadbd", command, &log, MEND));
        let args = self.args(&["--execute", "SELECT 1"]);
        eventually("MariaDB answers", START, async || {
            if let Some(process) = &mut self.process
                && let Some(status) = process.ended()
            {
                panic!("MariaDB ended with {status}: {}", process.log());
            }
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            tool::mariadb(&args, START).await.success
        })
        .await;
    }

    /// Whether it is not MySQL that tests run against.
    #[must_use]
    pub fn is_mariadb(&self) -> bool {
        mysqld().is_none()
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops it as an operator does: clients are told.
    pub async fn stop(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        process.signal(Signal::TERM);
        process.wait(START).await;
    }

    /// Ends it at once, in whatever it is at.
    pub async fn crash(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        process.signal(Signal::KILL);
        process.wait(START).await;
    }

    /// Starts it again, with what it has.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.launch().await;
    }

    /// Runs commands as root, directly; what they print, without decoration.
    ///
    /// # Panics
    /// They fail.
    pub async fn sql(&self, commands: &str) -> String {
        let args = self.args(&["--batch", "--skip-column-names", "--execute", commands]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let Output {
            success,
            stdout,
            stderr,
        } = tool::mariadb(&args, START).await;
        assert!(success, "{commands}: {stderr}");
        stdout.trim_end().to_owned()
    }

    fn args(&self, more: &[&str]) -> Vec<String> {
        let mut args = client(self.address, "root", "");
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        args
    }

    /// How many connections this user's clients have.
    pub async fn connections(&self, user: &str) -> usize {
        let count =
            format!("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER='{user}'");
        self.sql(&count).await.parse().expect("a number")
    }

    /// Ends all connections of this user, and says how many there were.
    pub async fn kill(&self, user: &str) -> usize {
        let all = format!("SELECT ID FROM information_schema.PROCESSLIST WHERE USER='{user}'");
        let all = self.sql(&all).await;
        for id in all.lines() {
            // One may have ended by itself.
            let kill = self.args(&["--force", "--execute", &format!("KILL {id}")]);
            let kill: Vec<&str> = kill.iter().map(String::as_str).collect();
            tool::mariadb(&kill, START).await;
        }
        all.lines().count()
    }
}

impl Drop for MariaServer {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // Its data go as well.
            process.stop(Signal::KILL, STOP);
        }
    }
}

/// What a client's programs are told to connect to a server or a relay.
#[must_use]
pub fn client(address: SocketAddr, user: &str, password: &str) -> Vec<String> {
    vec![
        format!("--host={}", address.ip()),
        format!("--port={}", address.port()),
        format!("--user={user}"),
        format!("--password={password}"),
    ]
}

/// A connection string, for drivers.
#[must_use]
pub fn url(address: SocketAddr, user: &str, password: &str, database: &str) -> String {
    format!("mysql://{user}:{password}@{address}/{database}")
}

/// The program of MySQL's server, if tests are to run against that.
fn mysqld() -> Option<PathBuf> {
    std::env::var_os("LEASEWAY_TESTS_MYSQLD").map(PathBuf::from)
}

/// The server, which Debian puts where only root looks.
fn program() -> PathBuf {
    if let Some(mysqld) = mysqld() {
        return mysqld;
    }
    let known = Path::new("/usr/sbin/mariadbd");
    match known.is_file() {
        true => known.to_owned(),
        false => PathBuf::from("mariadbd"),
    }
}

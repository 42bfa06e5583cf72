//! A real nginx of a test's own.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::dir::TempDir;
use crate::process::Process;
use crate::wait::eventually;
use crate::{http, ports};

const MEND: &str = "apt-get install nginx-light";
const START: Duration = Duration::from_secs(30);

/// An nginx with one worker, on a free loopback port. Killed on drop.
///
/// It serves the files that a test [`put`](Self::put)s there, and says of each request by which of its
/// connections it has come, in the header `X-Connection`.
#[derive(Debug)]
pub struct Nginx {
    address: SocketAddr,
    config: String,
    dir: TempDir,
    /// None while stopped.
    process: Option<Process>,
}

impl Nginx {
    /// Starts one whose `server` block has `server` in it, and waits until it answers.
    ///
    /// # Panics
    /// It is not installed, or does not start; with what it said.
    pub async fn start(server: &str) -> Self {
        let address = ports::free_address();
        let dir = TempDir::new("nginx");
        let path = dir.path().display();
        let config = format!(
            "daemon off;\nworker_processes 1;\npid {path}/pid;\nerror_log {path}/errors;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n\
             log_format lines $request;\naccess_log {path}/access lines;\nkeepalive_requests 1000000;\n\
             client_body_temp_path {path}/body;\nproxy_temp_path {path}/proxy;\n\
             fastcgi_temp_path {path}/fastcgi;\nuwsgi_temp_path {path}/uwsgi;\nscgi_temp_path {path}/scgi;\n\
             server {{\nlisten {address};\nroot {path}/root;\n\
             add_header X-Connection $connection always;\n{server}\n}}\n}}\n"
        );
        std::fs::create_dir(dir.path().join("root"))
            .expect("the temporary folder can be written to");
        let mut nginx = Self {
            address,
            config,
            dir,
            process: None,
        };
        nginx.launch().await;
        nginx
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Puts a file where it is served.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn put(&self, name: &str, content: &[u8]) {
        let file = self.dir.path().join("root").join(name);
        std::fs::write(&file, content).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    }

    /// The request lines that it has been sent, over all its starts.
    #[must_use]
    pub fn requests(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("access")).unwrap_or_default()
    }

    /// Kills its worker, as a fault would: connections end, and another worker takes its place.
    pub fn kill_worker(&self) {
        for worker in self.running().children() {
            // It may have ended by itself meanwhile.
            let _ = rustix::process::kill_process(worker, Signal::KILL);
        }
    }

    /// Freezes its worker, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        for worker in self.running().children() {
            let _ = rustix::process::kill_process(worker, signal);
        }
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the nginx is stopped")
    }

    /// What it has complained of.
    #[must_use]
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("errors")).unwrap_or_default()
    }

    /// Kills it and its worker, and waits until both are gone: connections end, and new ones are refused.
    pub async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop(Signal::TERM, START);
        }
    }

    /// Stops it and starts it again on the same port.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.launch().await;
    }

    async fn launch(&mut self) {
        let file = self.dir.path().join("nginx.conf");
        std::fs::write(&file, &self.config).expect("the temporary folder can be written to");
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file).arg("-p").arg(self.dir.path());
        // Before it has read where its own log is.
        command.arg("-e").arg(self.dir.path().join("errors"));
        let log = self.dir.path().join("log");
        let mut process = Process::start("nginx", command, &log, MEND);
        let address = self.address;
        eventually("nginx answers", START, async || {
            if let Some(status) = process.ended() {
                panic!("nginx ended, {status}:\n{}", process.log());
            }
            http::get(address, "/").await.is_ok()
        })
        .await;
        self.process = Some(process);
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killed at once, the master would leave its worker behind; a frozen one would not end.
        if self.process.is_some() {
            self.freeze(false);
        }
        if let Some(process) = &mut self.process {
            process.stop(Signal::TERM, START);
        }
    }
}

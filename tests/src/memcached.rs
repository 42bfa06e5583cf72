//! A real memcached of a test's own, and a client that reads its replies line by line.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::dir::TempDir;
use crate::ports;
use crate::process::Process;
use crate::wait::{GENEROUS, eventually};

const MEND: &str = "apt-get install memcached";
const START: Duration = Duration::from_secs(30);

/// A memcached on a free loopback port. Killed on drop.
#[derive(Debug)]
pub struct MemcachedServer {
    address: SocketAddr,
    dir: TempDir,
    /// None while stopped.
    process: Option<Process>,
}

impl MemcachedServer {
    /// Starts one, and waits until it answers.
    ///
    /// # Panics
    /// It is not installed, or does not start; with what it said.
    pub async fn start() -> Self {
        let mut server = Self {
            address: ports::free_address(),
            dir: TempDir::new("memcached"),
            process: None,
        };
        server.launch().await;
        server
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Kills it, and waits until it is gone: its connections end, and new ones are refused.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Stops it and starts it again on the same port, empty.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn restart(&mut self) {
        self.stop();
        self.launch().await;
    }

    /// Freezes it: connections stay open, and nothing is answered.
    ///
    /// # Panics
    /// It is stopped.
    pub async fn pause(&self) {
        let process = self.process.as_ref().expect("it runs");
        process.signal(Signal::STOP);
        process.wait_paused(true).await;
    }

    async fn launch(&mut self) {
        let port = self.address.port().to_string();
        let mut command = Command::new("memcached");
        command.args([
            "-l",
            "127.0.0.1",
            "-U",
            "0",
            "-t",
            "2",
            "-m",
            "256",
            "-p",
            &port,
        ]);
        // Started by root it would have to be told to stay so.
        if rustix::process::geteuid().is_root() {
            command.args(["-u", "root"]);
        }
        let log = self.dir.path().join("log");
        let mut process = Process::start("memcached", command, &log, MEND);
        let address = self.address;
        eventually("memcached accepts", START, async || {
            if let Some(status) = process.ended() {
                panic!("memcached ended, {status}:\n{}", process.log());
            }
            TcpStream::connect(address).await.is_ok()
        })
        .await;
        self.process = Some(process);
    }
}

/// A client of the text protocol.
#[derive(Debug)]
pub struct Memcache(BufReader<TcpStream>);

impl Memcache {
    /// Connects.
    ///
    /// # Panics
    /// Nobody listens there.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket has that option");
        Self(BufReader::new(stream))
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await
    }

    /// One line, without its end.
    ///
    /// # Errors
    /// The connection is broken, or has ended.
    pub async fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line).await? == 0 || !line.ends_with("\r\n") {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.len() - 2);
        Ok(line)
    }

    /// A request of one line as reply.
    ///
    /// # Errors
    /// The connection is broken, or has ended.
    pub async fn ask(&mut self, request: &str) -> std::io::Result<String> {
        self.send(request.as_bytes()).await?;
        self.line().await
    }

    /// The reply to a retrieval: items, up to its `END`, or the error in its place.
    ///
    /// # Errors
    /// The connection is broken, or has ended.
    pub async fn items(&mut self) -> std::io::Result<Result<Vec<(String, Vec<u8>)>, String>> {
        let mut items = Vec::new();
        loop {
            let line = self.line().await?;
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["END"] => return Ok(Ok(items)),
                ["VALUE", key, _, length, ..] => {
                    let length: usize = length.parse().map_err(std::io::Error::other)?;
                    let mut data = vec![0; length + 2];
                    self.0.read_exact(&mut data).await?;
                    data.truncate(length);
                    items.push(((*key).to_owned(), data));
                }
                _ => return Ok(Err(line)),
            }
        }
    }

    /// Ends the client's side, and returns everything that still comes.
    ///
    /// # Panics
    /// The other side does not end its own within half a minute.
    pub async fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // It may have ended before.
        let _ = self.0.get_mut().shutdown().await;
        tokio::time::timeout(GENEROUS, self.0.read_to_end(&mut rest))
            .await
            .expect("the other side hangs")
            .expect("the connection breaks");
        rest
    }

    /// The client leaves, without a goodbye.
    ///
    /// # Panics
    /// Never: a socket has that option.
    pub fn abort(self) {
        self.0
            .get_ref()
            .set_zero_linger()
            .expect("a socket has that option");
    }
}

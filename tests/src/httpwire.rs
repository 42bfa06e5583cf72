//! A raw client of HTTP/1.1, which sends what it is told and reads one response after the other.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Guards against hanging only.
const DEADLINE: Duration = Duration::from_secs(60);

/// One response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// The status line and the header lines.
    pub head: String,
    /// The body, without chunks.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether its connection serves no other request.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

/// A connection to a server of HTTP/1.1.
#[derive(Debug)]
pub struct HttpClient {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl HttpClient {
    /// Connects.
    ///
    /// # Panics
    /// There is nobody.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await;
        let stream = stream.unwrap_or_else(|why| panic!("cannot connect to {address}: {why}"));
        stream.set_nodelay(true).expect("a socket option");
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within(self.stream.write_all(bytes.as_ref())).await
    }

    /// Sends no more.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn finish(&mut self) -> io::Result<()> {
        within(self.stream.shutdown()).await
    }

    /// `GET`, and its response.
    ///
    /// # Errors
    /// As [`Self::response`].
    pub async fn get(&mut self, path: &str) -> io::Result<Response> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
            .await?;
        self.response().await
    }

    /// Reads a response to anything but `HEAD` and `CONNECT`, to the end that it says it has.
    ///
    /// # Errors
    /// The connection ends before that, or what comes is no response.
    pub async fn response(&mut self) -> io::Result<Response> {
        within(self.read_response()).await
    }

    /// Reads what comes until the connection ends, or breaks.
    pub async fn rest(&mut self) -> Vec<u8> {
        let read = async {
            while self.more().await.is_ok() {}
            Ok(())
        };
        within(read).await.expect("the connection ends");
        std::mem::take(&mut self.unread)
    }

    /// Waits until something has come that has not been read.
    ///
    /// # Errors
    /// The connection ends before that.
    pub async fn begins(&mut self) -> io::Result<()> {
        if self.unread.is_empty() {
            within(self.more()).await?;
        }
        Ok(())
    }

    /// Reads so many bytes, or a few more, as they are.
    ///
    /// # Errors
    /// The connection ends before that.
    pub async fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let read = async {
            while self.unread.len() < count {
                self.more().await?;
            }
            Ok(())
        };
        within(read).await?;
        Ok(std::mem::take(&mut self.unread))
    }

    async fn read_response(&mut self) -> io::Result<Response> {
        let head = loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                let head = self.take(end + 4);
                break String::from_utf8_lossy(&head[..end]).into_owned();
            }
            self.more().await?;
        };
        let status = head
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| io::Error::other(format!("no response: {head:?}")))?;
        let mut response = Response {
            status,
            head,
            body: Vec::new(),
        };
        if matches!(status, 100..200 | 204 | 304) {
            return Ok(response);
        }
        if response.header("transfer-encoding").is_some() {
            response.body = self.chunks().await?;
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            response.body = self.exactly(length).await?;
        } else {
            while self.more().await.is_ok() {}
            response.body = std::mem::take(&mut self.unread);
        }
        Ok(response)
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                if let Some(end) = find(&self.unread, b"\r\n") {
                    break self.take(end + 2);
                }
                self.more().await?;
            };
            let text = String::from_utf8_lossy(&line);
            let size = usize::from_str_radix(text.trim(), 16).map_err(io::Error::other)?;
            let chunk = self.exactly(size + 2).await?;
            if !chunk.ends_with(b"\r\n") {
                return Err(io::Error::other("a chunk without an end"));
            }
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    async fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < count {
            self.more().await?;
        }
        Ok(self.take(count))
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.unread.drain(..count).collect()
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

async fn within<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(DEADLINE, what)
        .await
        .unwrap_or_else(|_| panic!("nothing within {DEADLINE:?}"))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

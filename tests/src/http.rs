//! As much of an HTTP client as the admin address needs.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(10);

/// `GET path`: the status code and the body.
///
/// # Errors
/// No connection, no answer within ten seconds, or one that is not HTTP.
pub async fn get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    timeout(DEADLINE, exchange(address, path))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("{path} has not answered")))?
}

async fn exchange(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    // 1.0: the body ends with the connection, and comes in one piece.
    let request = format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| io::Error::other("no end of the headers"))?;
    let code = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| io::Error::other(format!("no status in {head:?}")))?;
    Ok((code, body.to_owned()))
}

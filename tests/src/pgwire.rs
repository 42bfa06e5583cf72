//! A client of PostgreSQL that says just what a test wants, to a server or a relay.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::wait::GENEROUS;

/// The length of a message, its type and its own four bytes left out, that no test expects.
const TOO_LONG: usize = 1 << 20;

/// One connection.
#[derive(Debug)]
pub struct Raw(TcpStream);

impl Raw {
    /// Connects, and says nothing.
    ///
    /// # Panics
    /// Nobody listens there.
    pub async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await;
        Self(stream.unwrap_or_else(|why| panic!("cannot connect to {to}: {why}")))
    }

    /// Says this. It is no error if nobody hears it.
    pub async fn say(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    /// The next message: its type and its body. None if the connection has ended instead.
    ///
    /// # Panics
    /// Nothing comes, or half of one, or one of over a megabyte.
    pub async fn hear(&mut self) -> Option<(u8, Vec<u8>)> {
        let message = timeout(GENEROUS, self.message()).await;
        message.expect("nothing comes").expect("a whole message")
    }

    async fn message(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        let kind = match self.0.read_u8().await {
            Ok(kind) => kind,
            Err(why) if is_end(&why) => return Ok(None),
            Err(why) => return Err(why),
        };
        let length = self.0.read_u32().await? as usize;
        assert!((4..TOO_LONG).contains(&length), "{kind} of {length} bytes");
        let mut body = vec![0; length - 4];
        self.0.read_exact(&mut body).await?;
        Ok(Some((kind, body)))
    }

    /// One byte, which answers an `SSLRequest`.
    ///
    /// # Panics
    /// None comes.
    pub async fn hear_byte(&mut self) -> u8 {
        let byte = timeout(GENEROUS, self.0.read_u8()).await;
        byte.expect("nothing comes").expect("a byte")
    }

    /// The SQLSTATE with which the connection ends; none if it ends without a word.
    ///
    /// # Panics
    /// It goes on, or another message comes.
    pub async fn hear_end(&mut self) -> Option<String> {
        let (kind, body) = self.hear().await?;
        assert_eq!(kind, b'E', "{}", body.escape_ascii());
        assert_eq!(self.hear().await, None);
        Some(field(&body, b'C').expect("an error has a code"))
    }
}

/// What a connection says that has been closed, or closed with something of ours unread.
fn is_end(why: &io::Error) -> bool {
    matches!(
        why.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
    )
}

/// A field of an error: `C` is its SQLSTATE, `M` its text.
#[must_use]
pub fn field(error: &[u8], kind: u8) -> Option<String> {
    let mut fields = error.split(|byte| *byte == 0);
    let field = fields.find(|field| field.first() == Some(&kind))?;
    Some(String::from_utf8_lossy(&field[1..]).into_owned())
}

/// A message of this type.
///
/// # Panics
/// It is too long for its length.
#[must_use]
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &packet(body)].concat()
}

/// What is no message yet, but has a length.
///
/// # Panics
/// It is too long for that.
#[must_use]
pub fn packet(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a short packet");
    [&length.to_be_bytes()[..], body].concat()
}

/// `StartupMessage`.
///
/// # Panics
/// As [`packet`].
#[must_use]
pub fn startup(user: &str, database: &str) -> Vec<u8> {
    let mut body = 0x0003_0000_u32.to_be_bytes().to_vec();
    for text in ["user", user, "database", database, ""] {
        body.extend(text.as_bytes());
        body.push(0);
    }
    packet(&body)
}

/// `SSLRequest`.
#[must_use]
pub fn ssl_request() -> Vec<u8> {
    packet(&80_877_103_u32.to_be_bytes())
}

/// `CancelRequest`.
#[must_use]
pub fn cancel_request(key: [u8; 8]) -> Vec<u8> {
    packet(&[&80_877_102_u32.to_be_bytes()[..], &key].concat())
}

/// `SASLInitialResponse` of SCRAM-SHA-256, with this nonce of the client's.
///
/// # Panics
/// As [`packet`].
#[must_use]
pub fn scram_begin(nonce: &str) -> Vec<u8> {
    let first = format!("n,,n=,r={nonce}");
    let body = [b"SCRAM-SHA-256\0", &packet_of(&first)[..]].concat();
    message(b'p', &body)
}

fn packet_of(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// The last message of SCRAM, to a server that has answered this to the first, with a proof that is none.
///
/// # Panics
/// The answer has no nonce.
#[must_use]
pub fn scram_guess(answer: &str) -> Vec<u8> {
    let nonce = answer.split(',').find(|part| part.starts_with("r="));
    let nonce = nonce.expect("a nonce");
    let proof = "A".repeat(43);
    message(b'p', format!("c=biws,{nonce},p={proof}=").as_bytes())
}

//! A client that speaks RESP2 and RESP3, and that shows what arrived instead of hiding it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one reply may take: longer means that it never comes.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// One reply, of either version of the protocol.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `+OK`.
    Simple(String),
    /// `-ERR ...` or `!`, without the sign.
    Error(String),
    /// `:1`.
    Integer(i64),
    /// `$3`, or a verbatim string with its format: `txt:...`.
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` or `_`.
    Null,
    /// `*2`.
    Array(Vec<Reply>),
    /// `,1.5`.
    Double(f64),
    /// `#t`.
    Boolean(bool),
    /// `(123`.
    BigNumber(String),
    /// `%1`.
    Map(Vec<(Reply, Reply)>),
    /// `~1`.
    Set(Vec<Reply>),
    /// `>2`: not an answer to a command.
    Push(Vec<Reply>),
}

impl Reply {
    /// `+TEXT`.
    #[must_use]
    pub fn simple(text: &str) -> Self {
        Self::Simple(text.to_owned())
    }

    /// `+OK`.
    #[must_use]
    pub fn ok() -> Self {
        Self::simple("OK")
    }

    /// A bulk string.
    #[must_use]
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bulk(bytes.as_ref().to_vec())
    }

    /// The text of a simple, bulk or error reply.
    ///
    /// # Panics
    /// It is none of these, or not UTF-8.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Simple(text) | Self::Error(text) => text.clone(),
            Self::Bulk(bytes) => String::from_utf8(bytes.clone()).expect("a reply in UTF-8"),
            other => panic!("not a text: {other:?}"),
        }
    }

    /// The number of an integer reply.
    ///
    /// # Panics
    /// It is another.
    #[must_use]
    pub fn integer(&self) -> i64 {
        match self {
            Self::Integer(number) => *number,
            other => panic!("not an integer: {other:?}"),
        }
    }

    /// Whether it is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }
}

/// One client connection.
#[derive(Debug)]
pub struct Resp {
    stream: BufReader<TcpStream>,
}

impl Resp {
    /// Connects.
    ///
    /// # Panics
    /// Nobody listens there.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address)
            .await
            .unwrap_or_else(|why| panic!("cannot connect to {address}: {why}"))
    }

    /// Connects, if somebody listens there.
    ///
    /// # Errors
    /// As connect(2).
    pub async fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = timeout(DEADLINE, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends one command and reads one reply.
    ///
    /// # Panics
    /// The connection breaks, or no reply comes.
    pub async fn cmd<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Reply {
        self.try_cmd(words).await.unwrap_or_else(|why| {
            let words: Vec<_> = words.iter().map(|word| shown(word.as_ref())).collect();
            panic!("{}: {why}", words.join(" "))
        })
    }

    /// As [`Self::cmd`], where the connection may break.
    ///
    /// # Errors
    /// It did, or no reply came within [`DEADLINE`].
    pub async fn try_cmd<A: AsRef<[u8]>>(&mut self, words: &[A]) -> io::Result<Reply> {
        self.send_raw(&encode(words)).await?;
        self.read_reply().await
    }

    /// Sends all commands in one write, then reads as many replies.
    ///
    /// # Errors
    /// As [`Self::try_cmd`].
    pub async fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[&[A]]) -> io::Result<Vec<Reply>> {
        let bytes: Vec<u8> = commands.iter().flat_map(|words| encode(words)).collect();
        self.send_raw(&bytes).await?;
        let mut replies = Vec::with_capacity(commands.len());
        for _ in commands {
            replies.push(self.read_reply().await?);
        }
        Ok(replies)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection broke, or nobody takes the bytes within [`DEADLINE`].
    pub async fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(DEADLINE, self.stream.get_mut().write_all(bytes)).await?
    }

    /// Reads one reply.
    ///
    /// # Errors
    /// The connection broke or ended, or sent what is not RESP, or nothing within [`DEADLINE`].
    pub async fn read_reply(&mut self) -> io::Result<Reply> {
        timeout(DEADLINE, read(&mut self.stream)).await?
    }

    /// Reads whatever comes until the other side closes; a reset counts as the end.
    ///
    /// # Errors
    /// It has not closed within [`DEADLINE`].
    pub async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        match timeout(DEADLINE, self.stream.read_to_end(&mut rest)).await? {
            Err(why) if why.kind() != io::ErrorKind::ConnectionReset => Err(why),
            _ => Ok(rest),
        }
    }

    /// Ends this side's sending; replies can still be read.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.stream.get_mut().shutdown().await
    }

    /// The socket, for tests that do with it what no client does.
    pub fn socket(&mut self) -> &mut TcpStream {
        self.stream.get_mut()
    }
}

/// A command as an array of bulk strings.
#[must_use]
pub fn encode<A: AsRef<[u8]>>(words: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Reply> {
    let line = read_line(stream).await?;
    let mut chars = line.chars();
    let sign = chars.next().unwrap_or(' ');
    let rest = chars.as_str();
    Ok(match sign {
        '+' => Reply::Simple(rest.to_owned()),
        '-' => Reply::Error(rest.to_owned()),
        ':' => Reply::Integer(parse(rest)?),
        '(' => Reply::BigNumber(rest.to_owned()),
        ',' => Reply::Double(parse(rest)?),
        '#' => Reply::Boolean(rest == "t"),
        '_' => Reply::Null,
        '$' | '*' if rest == "-1" => Reply::Null,
        '$' | '=' => Reply::Bulk(read_bulk(stream, parse(rest)?).await?),
        '!' => {
            let text = read_bulk(stream, parse(rest)?).await?;
            Reply::Error(String::from_utf8_lossy(&text).into_owned())
        }
        '*' => Reply::Array(read_many(stream, parse(rest)?).await?),
        '~' => Reply::Set(read_many(stream, parse(rest)?).await?),
        '>' => Reply::Push(read_many(stream, parse(rest)?).await?),
        '%' => Reply::Map(read_pairs(stream, parse(rest)?).await?),
        '|' => {
            // Attributes say something about the reply that follows; no test asks what.
            read_pairs(stream, parse(rest)?).await?;
            Box::pin(read(stream)).await?
        }
        _ => return Err(invalid(&line)),
    })
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match line.strip_suffix(b"\r\n") {
        Some(text) => Ok(String::from_utf8_lossy(text).into_owned()),
        None => Err(invalid(&shown(&line))),
    }
}

async fn read_bulk(stream: &mut BufReader<TcpStream>, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length + 2];
    stream.read_exact(&mut bytes).await?;
    if !bytes.ends_with(b"\r\n") {
        return Err(invalid(&shown(&bytes)));
    }
    bytes.truncate(length);
    Ok(bytes)
}

async fn read_many(stream: &mut BufReader<TcpStream>, count: usize) -> io::Result<Vec<Reply>> {
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(Box::pin(read(stream)).await?);
    }
    Ok(items)
}

async fn read_pairs(
    stream: &mut BufReader<TcpStream>,
    count: usize,
) -> io::Result<Vec<(Reply, Reply)>> {
    let mut pairs = Vec::new();
    for _ in 0..count {
        let key = Box::pin(read(stream)).await?;
        pairs.push((key, Box::pin(read(stream)).await?));
    }
    Ok(pairs)
}

fn parse<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.parse().map_err(|_| invalid(text))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not RESP: {what:?}"))
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().take(200).map(char::from).collect()
}

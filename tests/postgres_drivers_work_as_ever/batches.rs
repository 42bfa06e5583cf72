//! Batches, as drivers send them that do not wait for answers: many queries with one `Sync` behind them.

use leaseway_tests::wait::GENEROUS;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{MODES, Site};

/// Whose answers are more than the 8 KiB that a server gathers before it sends them.
const QUERIES: usize = 150;

/// A message; the first of a session has no type.
fn message(kind: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [kind, &length, body].concat()
}

/// The type of the next message.
async fn next(stream: &mut TcpStream) -> u8 {
    let kind = stream.read_u8().await.expect("the session goes on");
    let length = stream.read_u32().await.unwrap() as usize;
    stream.read_exact(&mut vec![0; length - 4]).await.unwrap();
    kind
}

/// A query for a text of this length.
fn query(text: usize) -> Vec<u8> {
    let sql = format!("\0SELECT '{}'\0\0\0", "x".repeat(text));
    [
        message(b"P", sql.as_bytes()),
        message(b"B", b"\0\0\0\0\0\0\0\0"),
        message(b"D", b"P\0"),
        message(b"E", b"\0\0\0\0\0"),
    ]
    .concat()
}

/// Reads up to `ReadyForQuery`; how many commands are complete.
async fn completed(client: &mut TcpStream) -> usize {
    let mut done = 0;
    loop {
        match next(client).await {
            b'C' => done += 1,
            b'Z' => return done,
            b'E' => panic!("a query has failed"),
            _ => {}
        }
    }
}

/// The server sends answers as its buffer is full, and that is in the middle of one of several messages, as their
/// lengths are. The rest of it comes only after the client's next message, which must not wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_goes_on_behind_half_an_answer() {
    let site = Site::start().await;
    for mode in MODES {
        println!("pooling by {mode}");
        let address = site.relay.addr_of(&format!("listen-{mode}"));
        let mut client = TcpStream::connect(address).await.unwrap();
        let start = b"\0\x03\0\0user\0postgres\0database\0shop\0\0";
        client.write_all(&message(b"", start)).await.unwrap();
        assert_eq!(completed(&mut client).await, 0);
        for text in 10..30 {
            let batch = query(text).repeat(QUERIES);
            client.write_all(&batch).await.unwrap();
            let seen = timeout(GENEROUS, client.peek(&mut [0])).await;
            seen.expect("the server's buffer is full").unwrap();
            client.write_all(&message(b"S", b"")).await.unwrap();
            let done = timeout(GENEROUS, completed(&mut client)).await;
            assert_eq!(done.expect("the rest comes"), QUERIES, "{text}");
        }
    }
    site.end().await;
}

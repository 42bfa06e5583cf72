//! A client of PostgreSQL that waits for nothing for ever, and what may be said to it.

use std::error::Error as _;
use std::future::Future;

use leaseway_tests::wait::GENEROUS;
use tokio::time::timeout;
use tokio_postgres::{Client, Error, NoTls};

/// What a client waits for.
pub(crate) async fn bounded<T>(answer: impl Future<Output = T>) -> T {
    let answer = timeout(GENEROUS, answer).await;
    answer.expect("a client waits for ever")
}

/// Logs in.
pub(crate) async fn connect(url: &str) -> Result<Client, Error> {
    let (client, connection) = bounded(tokio_postgres::connect(url, NoTls)).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// A statement without a name, and its only value.
pub(crate) async fn ask(client: &Client, sql: &str) -> Result<i32, Error> {
    let row = bounded(client.query_typed_one(sql, &[])).await?;
    Ok(row.get(0))
}

/// A failure of the server's or the way to it, and none of the query: of a class that drivers take for that,
/// or a session that has ended.
#[track_caller]
pub(crate) fn assert_told(why: &Error) {
    let is_io = why
        .source()
        .is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
    let is_told = match why.code() {
        // No connection, no room, and what operators do.
        Some(code) => ["08", "53", "57"].contains(&&code.code()[..2]),
        None => why.is_closed() || is_io,
    };
    assert!(is_told, "{why:?}");
}

//! What is large passes, and the relay holds none of it.

use std::pin::pin;

use futures_util::{SinkExt as _, TryStreamExt as _};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls};

use super::{MODES, Site};

const SIZE: usize = 100 << 20;

/// What the relay may grow by meanwhile: buffers, and not a part of a row that counts.
const MEMORY: u64 = 16 << 20;

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// One of 100 MiB as a parameter, as a column, and as a row of a copy either way; in one session, which goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_of_100_mib_passes_in_bounded_memory() {
    let site = Site::start().await;
    // Of which each part can be told from the others.
    let value: Vec<u8> = (0..SIZE).map(|at| (at / 1000 % 251) as u8).collect();
    for mode in MODES {
        let client = connect(&site.url(mode)).await;
        let table = "DROP TABLE IF EXISTS large; CREATE TABLE large (v bytea);
            ALTER TABLE large ALTER v SET STORAGE EXTERNAL";
        client.batch_execute(table).await.unwrap();
        site.relay.forget_peak();
        let before = site.relay.rss_bytes();
        let bounded = |what: &str| {
            let peak = site.relay.peak_bytes();
            let grown = peak.saturating_sub(before);
            println!("{what}: {grown} bytes more than {before}");
            assert!(grown < MEMORY, "{what}: {grown} bytes more");
        };

        let insert = "INSERT INTO large VALUES ($1)";
        let inserted = client.execute_typed(insert, &[(&value, Type::BYTEA)]).await;
        assert_eq!(inserted.unwrap(), 1);
        bounded("a parameter");
        let select = "SELECT v FROM large";
        let row = client.query_typed_one(select, &[]).await.unwrap();
        assert!(row.get::<_, &[u8]>(0) == value, "as a column");
        drop(row);
        bounded("a column");

        let copy = "COPY large TO STDOUT (FORMAT binary)";
        let copy = client.copy_out(copy).await.unwrap();
        let pieces: Vec<_> = copy.try_collect().await.unwrap();
        client.batch_execute("TRUNCATE large").await.unwrap();
        let copy = "COPY large FROM STDIN (FORMAT binary)";
        let mut copy = pin!(client.copy_in(copy).await.unwrap());
        for piece in pieces {
            copy.send(piece).await.unwrap();
        }
        assert_eq!(copy.finish().await.unwrap(), 1);
        let row = client.query_typed_one(select, &[]).await.unwrap();
        assert!(row.get::<_, &[u8]>(0) == value, "as it was copied");
        bounded("a copy");
        drop(row);
        client.batch_execute("DROP TABLE large").await.unwrap();
    }
    site.end().await;
}

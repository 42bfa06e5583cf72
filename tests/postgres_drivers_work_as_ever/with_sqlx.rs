//! sqlx, which keeps statements under names, has a pool of its own, and asks for the types of parameters first.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use futures_util::future::join_all;
use leaseway_tests::wait::GENEROUS;
use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgConnection, PgListener, PgPoolOptions, Postgres};
use sqlx::{Connection as _, Decode, Encode, Error, Executor as _, Row as _, Type};
use tokio::time::timeout;

use super::{CONNECTIONS, CROWD, MODES, MODES_WITH_BLOCKS, SOON, Site, TEXT};

const ROWS: i64 = 100_000;

async fn connect(url: &str) -> PgConnection {
    let connected = timeout(SOON, PgConnection::connect(url)).await;
    connected.expect("in time").expect("the relay lets it in")
}

fn code(result: Result<impl Sized, Error>) -> String {
    match result.err().expect("it fails") {
        Error::Database(why) => why.code().expect("an SQLSTATE").into_owned(),
        why => panic!("{why:?}"),
    }
}

/// The only value of a query without parameters.
async fn value<T>(connection: &mut PgConnection, sql: &str) -> T
where
    T: Send + Unpin + Type<Postgres> + for<'r> Decode<'r, Postgres>,
{
    let value = sqlx::query_scalar(sql).fetch_one(connection).await;
    value.expect(sql)
}

/// What goes out as a parameter comes back, by a statement with a name and by one without.
async fn comes_back<T>(connection: &mut PgConnection, kind: &str, value: T)
where
    T: Clone + PartialEq + std::fmt::Debug + Send + Unpin + Type<Postgres>,
    T: for<'q> Encode<'q, Postgres> + for<'r> Decode<'r, Postgres> + 'static,
{
    let sql = format!("SELECT $1::{kind}");
    for is_named in [true, false, true] {
        let query = sqlx::query(&sql).bind(value.clone()).persistent(is_named);
        let row = query.fetch_one(&mut *connection).await.expect(&sql);
        assert_eq!(row.get::<T, _>(0), value, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_of_all_kinds_come_back() {
    let site = Site::start().await;
    for mode in MODES {
        let mut own = connect(&site.url(mode)).await;
        comes_back(&mut own, "bool", true).await;
        comes_back(&mut own, "int2", i16::MIN).await;
        comes_back(&mut own, "int4", i32::MIN).await;
        comes_back(&mut own, "int8", i64::MAX).await;
        comes_back(&mut own, "float8", f64::NEG_INFINITY).await;
        comes_back(&mut own, "text", TEXT.to_owned()).await;
        comes_back(&mut own, "text", TEXT.repeat(5000)).await;
        comes_back(&mut own, "text", None::<String>).await;
        comes_back(&mut own, "bytea", (0..=255).collect::<Vec<u8>>()).await;
        comes_back(&mut own, "int8[]", vec![Some(1_i64), None]).await;
        comes_back(&mut own, "text[]", vec![TEXT.to_owned(), String::new()]).await;
        let interval = PgInterval::try_from(Duration::from_micros(90_000_000_001)).unwrap();
        comes_back(&mut own, "interval", interval).await;
        let sql = "SELECT ('2024-02-28 00:00+00'::timestamptz + $1) AT TIME ZONE 'UTC'
            = '2024-02-29 01:00:00.000001'";
        let same = sqlx::query_scalar(sql).bind(interval).fetch_one(&mut own);
        let same: bool = same.await.unwrap();
        assert!(same);
        own.close().await.unwrap();
    }
    site.end().await;
}

/// A program with a pool of its own, beside clients without one; more of both than there are connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_are_used_again_and_again_by_more_clients_than_connections() {
    let site = Site::start().await;
    for mode in MODES {
        let url = site.url(mode);
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS as u32 - 1)
            .acquire_timeout(SOON)
            .connect(&url)
            .await
            .unwrap();
        let pooled = (0..CROWD).map(async |id| {
            for n in 0..20_i64 {
                let query = sqlx::query_scalar("SELECT $1::int8 * $2");
                let got: i64 = query.bind(id).bind(n).fetch_one(&pool).await.unwrap();
                assert_eq!(got, id * n);
            }
        });
        let alone = (0..CROWD).map(async |id| {
            let mut own = connect(&url).await;
            for n in 0..20_i64 {
                let query = sqlx::query_scalar("SELECT concat($1::text, $2::int8)");
                let query = query.bind(TEXT).bind(id + n);
                let got: String = query.fetch_one(&mut own).await.unwrap();
                assert_eq!(got, format!("{TEXT}{}", id + n));
            }
            own.close().await.unwrap();
        });
        let all = async { tokio::join!(join_all(pooled), join_all(alone)) };
        timeout(SOON, all).await.expect("nobody waits for ever");
        pool.close().await;
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_commit_fail_and_roll_back() {
    let site = Site::start().await;
    for mode in MODES_WITH_BLOCKS {
        let mut own = connect(&site.url(mode)).await;
        let table = "DROP TABLE IF EXISTS t; CREATE TABLE t (n int8)";
        sqlx::raw_sql(table).execute(&mut own).await.unwrap();
        let insert = |n: i64| sqlx::query("INSERT INTO t VALUES ($1)").bind(n);
        let mut outer = own.begin().await.unwrap();
        insert(1).execute(&mut *outer).await.unwrap();
        let mut inner = outer.begin().await.unwrap();
        insert(2).execute(&mut *inner).await.unwrap();
        inner.rollback().await.unwrap();
        outer.commit().await.unwrap();
        let mut dropped = own.begin().await.unwrap();
        insert(3).execute(&mut *dropped).await.unwrap();
        drop(dropped);
        assert_eq!(
            value::<i64>(&mut own, "SELECT sum(n)::int8 FROM t").await,
            1
        );

        let mut failed = own.begin().await.unwrap();
        let zero = sqlx::query("SELECT 1 / 0").execute(&mut *failed).await;
        assert_eq!(code(zero), "22012");
        assert_eq!(code(insert(4).execute(&mut *failed).await), "25P02");
        failed.rollback().await.unwrap();
        assert_eq!(value::<i64>(&mut own, "SELECT count(*) FROM t").await, 1);
        own.close().await.unwrap();
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_pass_either_way_and_may_fail_in_the_middle() {
    let site = Site::start().await;
    let text: String = (0..ROWS).map(|n| format!("{n}\tvalue {n} é👩‍🚀\n")).collect();
    for mode in MODES {
        let mut own = connect(&site.url(mode)).await;
        let table = "DROP TABLE IF EXISTS c; CREATE TABLE c (n int8, v text)";
        sqlx::raw_sql(table).execute(&mut own).await.unwrap();
        let mut copy = own.copy_in_raw("COPY c FROM STDIN").await.unwrap();
        for piece in text.as_bytes().chunks(10_007) {
            copy.send(piece).await.unwrap();
        }
        assert_eq!(copy.finish().await.unwrap(), ROWS as u64);
        let mut binary = Vec::new();
        for (form, all) in [("text", &mut Vec::new()), ("binary", &mut binary)] {
            let sql = format!("COPY c TO STDOUT (FORMAT {form})");
            let mut copy = own.copy_out_raw(&sql).await.unwrap();
            while let Some(piece) = copy.try_next().await.unwrap() {
                all.extend_from_slice(&piece);
            }
            assert!(form == "binary" || *all == text.as_bytes());
        }
        let sql = "COPY c FROM STDIN (FORMAT binary)";
        let mut copy = own.copy_in_raw(sql).await.unwrap();
        copy.send(binary).await.unwrap();
        assert_eq!(copy.finish().await.unwrap(), ROWS as u64);
        let pairs = "SELECT count(*) FROM c a JOIN c b USING (n, v)";
        assert_eq!(value::<i64>(&mut own, pairs).await, 4 * ROWS);

        sqlx::raw_sql("TRUNCATE c").execute(&mut own).await.unwrap();
        let mut copy = own.copy_in_raw("COPY c FROM STDIN").await.unwrap();
        copy.send(&b"1\tone\n"[..]).await.unwrap();
        copy.abort("no more").await.unwrap();
        let mut copy = own.copy_in_raw("COPY c FROM STDIN").await.unwrap();
        copy.send(&b"no number\tone\n"[..]).await.unwrap();
        assert_eq!(code(copy.finish().await), "22P02");
        assert_eq!(value::<i64>(&mut own, "SELECT count(*) FROM c").await, 0);
        own.close().await.unwrap();
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_are_heard() {
    let site = Site::start().await;
    for mode in MODES {
        let url = site.url(mode);
        let mut listener = PgListener::connect(&url).await.unwrap();
        listener.listen("news").await.unwrap();
        let mut other = connect(&url).await;
        for text in [TEXT, "", "again"] {
            let notify = sqlx::query("SELECT pg_notify('news', $1)").bind(text);
            notify.execute(&mut other).await.unwrap();
            let heard = timeout(GENEROUS, listener.recv()).await;
            let heard = heard.expect("it is heard").unwrap();
            assert_eq!((heard.channel(), heard.payload()), ("news", text));
        }
        other.close().await.unwrap();
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_queries_are_answered() {
    let site = Site::start().await;
    for mode in MODES {
        let mut own = connect(&site.url(mode)).await;
        for _ in 0..2 {
            let none = sqlx::query("SELECT 1 WHERE false")
                .fetch_all(&mut own)
                .await;
            assert!(none.unwrap().is_empty());
            for empty in [
                own.execute("").await,
                sqlx::query("").execute(&mut own).await,
            ] {
                assert_eq!(empty.unwrap().rows_affected(), 0);
            }
            let several = "SELECT 1; SELECT 2 WHERE false; SELECT 3";
            let rows = sqlx::raw_sql(several).fetch_all(&mut own).await.unwrap();
            let values: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
            assert_eq!(values, [1, 3]);
            let several = "CREATE TABLE gone (); SELECT 1 / 0; SELECT 2";
            let failed = sqlx::raw_sql(several).execute(&mut own).await;
            assert_eq!(code(failed), "22012");
            let gone = "SELECT to_regclass('gone') IS NULL";
            assert!(value::<bool>(&mut own, gone).await);
            // Left by its reader after the first row.
            let mut rows = sqlx::query("SELECT generate_series(1, 10000)").fetch(&mut own);
            let first = rows.try_next().await.unwrap().unwrap();
            assert_eq!(first.get::<i32, _>(0), 1);
            drop(rows);
            assert_eq!(value::<i32>(&mut own, "SELECT 5").await, 5);
        }
        own.close().await.unwrap();
    }
    site.end().await;
}

//! tokio-postgres, which gives each statement a name unless it is told the types of its parameters.

use std::future::poll_fn;
use std::io::Cursor;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use futures_util::{SinkExt as _, TryStreamExt as _};
use leaseway_tests::wait::GENEROUS;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::error::{Error, SqlState};
use tokio_postgres::types::{FromSqlOwned, ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

use super::{CROWD, MODES, MODES_WITH_BLOCKS, SOON, Site, TEXT};

const ROWS: i64 = 100_000;

/// Connects; the other end has what the server says without being asked.
async fn connect(url: &str) -> (Client, UnboundedReceiver<AsyncMessage>) {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("the relay lets it in");
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            // Most tests do not listen.
            let _ = sender.send(message);
        }
    });
    (client, receiver)
}

async fn next(messages: &mut UnboundedReceiver<AsyncMessage>) -> AsyncMessage {
    let message = timeout(GENEROUS, messages.recv()).await;
    message
        .expect("it says something")
        .expect("the session goes on")
}

/// The values of a query's only column, under a statement without a name.
async fn column<T: FromSqlOwned>(client: &Client, sql: &str) -> Vec<T> {
    let rows = client.query_typed(sql, &[]).await.expect(sql);
    rows.iter().map(|row| row.get(0)).collect()
}

fn code(result: Result<impl Sized, Error>) -> SqlState {
    let why = result.err().expect("it fails");
    why.code().cloned().unwrap_or_else(|| panic!("{why:?}"))
}

/// What goes out as a parameter of this type comes back, by a named statement and by one without a name.
async fn comes_back<T>(client: &Client, kind: &Type, value: T)
where
    T: ToSql + Sync + FromSqlOwned + PartialEq + std::fmt::Debug,
{
    let sql = format!("SELECT $1::{kind}");
    for _ in 0..2 {
        let row = client.query_one(&sql, &[&value]).await.expect(&sql);
        assert_eq!(row.get::<_, T>(0), value, "{kind}");
        let typed: [(&(dyn ToSql + Sync), Type); 1] = [(&value, kind.clone())];
        let row = client.query_typed_one(&sql, &typed).await.expect(&sql);
        assert_eq!(row.get::<_, T>(0), value, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_of_all_kinds_come_back() {
    let site = Site::start().await;
    let date = SystemTime::UNIX_EPOCH + Duration::from_micros(1_709_251_199_999_999);
    for mode in MODES {
        let (client, _) = connect(&site.url(mode)).await;
        comes_back(&client, &Type::BOOL, true).await;
        comes_back(&client, &Type::INT2, i16::MIN).await;
        comes_back(&client, &Type::INT4, i32::MIN).await;
        comes_back(&client, &Type::INT8, i64::MAX).await;
        comes_back(&client, &Type::FLOAT4, f32::MIN_POSITIVE).await;
        comes_back(&client, &Type::FLOAT8, f64::NEG_INFINITY).await;
        comes_back(&client, &Type::TEXT, TEXT.to_owned()).await;
        comes_back(&client, &Type::TEXT, TEXT.repeat(5000)).await;
        comes_back(&client, &Type::TEXT, String::new()).await;
        comes_back(&client, &Type::TEXT, None::<String>).await;
        comes_back(&client, &Type::BYTEA, (0..=255).collect::<Vec<u8>>()).await;
        comes_back(&client, &Type::TIMESTAMPTZ, date).await;
        comes_back(&client, &Type::TIMESTAMP, date).await;
        comes_back(&client, &Type::INT8_ARRAY, vec![Some(1_i64), None]).await;
        comes_back(&client, &Type::TEXT_ARRAY, vec![TEXT.to_owned()]).await;
        comes_back(&client, &Type::TEXT_ARRAY, Vec::<String>::new()).await;
    }
    site.end().await;
}

/// Twice as many clients as connections. Each that names a statement keeps its connection, and leaves for
/// the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_are_used_again_and_again_by_more_clients_than_connections() {
    let site = Site::start().await;
    for mode in MODES {
        let url = site.url(mode);
        let clients = (0..CROWD).map(async |id| {
            for round in 0..5 {
                let (client, _) = connect(&url).await;
                let times = client.prepare("SELECT $1::int8 * $2::int8").await.unwrap();
                let joined = client.prepare("SELECT concat($1::text, $2::int8)").await;
                let joined = joined.unwrap();
                for n in 0..20_i64 {
                    let row = client.query_one(&times, &[&id, &n]).await.unwrap();
                    assert_eq!(row.get::<_, i64>(0), id * n);
                    let row = client.query_one(&joined, &[&TEXT, &id]).await.unwrap();
                    assert_eq!(row.get::<_, &str>(0), format!("{TEXT}{id}"));
                    let sql = format!("SELECT {id} + {round}");
                    assert_eq!(column::<i32>(&client, &sql).await[0], id as i32 + round);
                }
            }
        });
        let all = timeout(SOON, join_all(clients)).await;
        all.expect("nobody waits for ever");
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_commit_fail_and_roll_back() {
    let site = Site::start().await;
    for mode in MODES_WITH_BLOCKS {
        let (mut client, _) = connect(&site.url(mode)).await;
        client
            .batch_execute("DROP TABLE IF EXISTS t; CREATE TABLE t (n int8)")
            .await
            .unwrap();
        let insert = "INSERT INTO t VALUES ($1)";
        let mut outer = client.transaction().await.unwrap();
        outer.execute(insert, &[&1_i64]).await.unwrap();
        let inner = outer.savepoint("point").await.unwrap();
        inner.execute(insert, &[&2_i64]).await.unwrap();
        inner.rollback().await.unwrap();
        outer.commit().await.unwrap();
        let dropped = client.transaction().await.unwrap();
        dropped.execute(insert, &[&3_i64]).await.unwrap();
        drop(dropped);
        assert_eq!(column::<i64>(&client, "SELECT n FROM t").await, [1]);

        let failed = client.transaction().await.unwrap();
        let zero = failed.query("SELECT 1 / 0", &[]).await;
        assert_eq!(code(zero), SqlState::DIVISION_BY_ZERO);
        let next = failed.execute_typed(insert, &[(&4_i64, Type::INT8)]).await;
        assert_eq!(code(next), SqlState::IN_FAILED_SQL_TRANSACTION);
        // Which rolls back, as the server says and this driver does not.
        failed.commit().await.unwrap();
        assert_eq!(column::<i64>(&client, "SELECT n FROM t").await, [1]);
    }
    site.end().await;
}

/// A portal is what other drivers call a cursor of the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn portals_give_some_rows_at_a_time() {
    let site = Site::start().await;
    for mode in MODES_WITH_BLOCKS {
        let (mut client, _) = connect(&site.url(mode)).await;
        let block = client.transaction().await.unwrap();
        let sql = "SELECT generate_series(1, $1::int8)";
        let portal = block.bind(sql, &[&1000_i64]).await.unwrap();
        let other = block.bind(sql, &[&3_i64]).await.unwrap();
        let mut seen = Vec::new();
        loop {
            let rows = block.query_portal(&portal, 300).await.unwrap();
            if rows.is_empty() {
                break;
            }
            seen.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
        }
        assert!(seen.into_iter().eq(1..=1000));
        assert_eq!(block.query_portal(&other, 0).await.unwrap().len(), 3);
        block.commit().await.unwrap();
        assert_eq!(column::<i32>(&client, "SELECT 1").await, [1]);
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_pass_either_way_as_text_and_in_binary() {
    let site = Site::start().await;
    let text: String = (0..ROWS).map(|n| format!("{n}\tvalue {n} é👩‍🚀\n")).collect();
    for mode in MODES {
        let (client, _) = connect(&site.url(mode)).await;
        client
            .batch_execute("DROP TABLE IF EXISTS c; CREATE TABLE c (n int8, v text)")
            .await
            .unwrap();
        let mut sink = pin!(client.copy_in("COPY c FROM STDIN").await.unwrap());
        for piece in text.as_bytes().chunks(10_007) {
            sink.send(Cursor::new(piece.to_vec())).await.unwrap();
        }
        assert_eq!(sink.finish().await.unwrap(), ROWS as u64);
        let stream = client.copy_out("COPY c TO STDOUT").await.unwrap();
        let out = stream
            .try_fold(Vec::new(), async |mut all, piece| {
                all.extend_from_slice(&piece);
                Ok(all)
            })
            .await
            .unwrap();
        assert!(out == text.as_bytes(), "{} bytes came back", out.len());

        client.batch_execute("TRUNCATE c").await.unwrap();
        let types = [Type::INT8, Type::TEXT];
        let sink = client.copy_in("COPY c FROM STDIN (FORMAT binary)").await;
        let mut writer = pin!(BinaryCopyInWriter::new(sink.unwrap(), &types));
        for n in 0..ROWS {
            writer.as_mut().write(&[&n, &TEXT]).await.unwrap();
        }
        assert_eq!(writer.finish().await.unwrap(), ROWS as u64);
        let sum = "SELECT sum(n)::int8 FROM c";
        let wanted = ROWS * (ROWS - 1) / 2;
        assert_eq!(column::<i64>(&client, sum).await, [wanted]);
        let stream = client.copy_out("COPY c TO STDOUT (FORMAT binary)").await;
        let mut rows = pin!(BinaryCopyOutStream::new(stream.unwrap(), &types));
        let mut sum = 0;
        while let Some(row) = rows.try_next().await.unwrap() {
            sum += row.get::<i64>(0);
            assert_eq!(row.get::<&str>(1), TEXT);
        }
        assert_eq!(sum, wanted);
    }
    site.end().await;
}

/// The client gives up, or the server does not like what it gets: no row stays, and the session goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_may_fail_in_the_middle() {
    let site = Site::start().await;
    for mode in MODES {
        let (client, _) = connect(&site.url(mode)).await;
        client
            .batch_execute("DROP TABLE IF EXISTS f; CREATE TABLE f (n int8)")
            .await
            .unwrap();
        for round in 0..3 {
            {
                let mut sink = pin!(client.copy_in("COPY f FROM STDIN").await.unwrap());
                for _ in 0..100 {
                    sink.send(&b"1\n2\n3\n"[..]).await.unwrap();
                }
                // Dropped before its end, which is a `CopyFail`.
            }
            assert_eq!(column::<i64>(&client, "SELECT n FROM f").await, [0; 0]);
            let mut sink = pin!(client.copy_in("COPY f FROM STDIN").await.unwrap());
            let mut outcome = Ok(0);
            for n in 0..1000 {
                let line = if n == 10 { &b"no number\n"[..] } else { b"4\n" };
                if let Err(why) = sink.send(line).await {
                    outcome = Err(why);
                    break;
                }
            }
            if outcome.is_ok() {
                outcome = sink.finish().await;
            }
            assert_eq!(
                code(outcome),
                SqlState::INVALID_TEXT_REPRESENTATION,
                "round {round}"
            );
            let row = client.query_one("SELECT count(*) FROM f", &[]).await;
            assert_eq!(row.unwrap().get::<_, i64>(0), 0);
        }
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_and_notices_are_heard() {
    let site = Site::start().await;
    for mode in MODES {
        let url = site.url(mode);
        let (listener, mut heard) = connect(&url).await;
        let (other, mut said) = connect(&url).await;
        listener.batch_execute("LISTEN news").await.unwrap();
        for text in [TEXT, "", "again"] {
            let notify = "SELECT 1 FROM pg_notify('news', $1)";
            let typed = other.query_typed(notify, &[(&text, Type::TEXT)]).await;
            assert_eq!(typed.unwrap().len(), 1);
            match next(&mut heard).await {
                AsyncMessage::Notification(news) => {
                    assert_eq!((news.channel(), news.payload()), ("news", text));
                }
                message => panic!("{message:?}"),
            }
        }
        assert_eq!(column::<i32>(&listener, "SELECT 1").await, [1]);
        let sql = format!("DO $$ BEGIN RAISE NOTICE '%', $x${TEXT}$x$; END $$");
        other.batch_execute(&sql).await.unwrap();
        match next(&mut said).await {
            AsyncMessage::Notice(notice) => {
                assert_eq!((notice.severity(), notice.message()), ("NOTICE", TEXT));
            }
            message => panic!("{message:?}"),
        }
        assert!(
            said.is_empty() && heard.is_empty(),
            "nothing is heard twice"
        );
    }
    site.end().await;
}

/// All are sent before the first is answered; each has a `Sync` of its own, so only those that are wrong fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_in_a_pipeline_are_those_of_their_queries() {
    let site = Site::start().await;
    for mode in MODES {
        let (client, _) = connect(&site.url(mode)).await;
        for is_named in [false, true] {
            let statement = client.prepare("SELECT 100 / $1::int4").await.unwrap();
            let queries = (0..200).map(async |n: i32| {
                let divisor = n % 10;
                let row = if is_named {
                    client.query_one(&statement, &[&divisor]).await
                } else {
                    let parameter: (&(dyn ToSql + Sync), Type) = (&divisor, Type::INT4);
                    client
                        .query_typed_one("SELECT 100 / $1", &[parameter])
                        .await
                };
                match divisor {
                    0 => assert_eq!(code(row), SqlState::DIVISION_BY_ZERO),
                    _ => assert_eq!(row.unwrap().get::<_, i32>(0), 100 / divisor),
                }
            });
            timeout(SOON, join_all(queries))
                .await
                .expect("all are answered");
            assert_eq!(column::<i32>(&client, "SELECT 1").await, [1]);
        }
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_queries_are_answered() {
    let site = Site::start().await;
    for mode in MODES {
        let (client, _) = connect(&site.url(mode)).await;
        for _ in 0..2 {
            let none = column::<i32>(&client, "SELECT 1 WHERE false").await;
            assert_eq!(none, [0; 0]);
            client.batch_execute("").await.unwrap();
            assert!(client.query("", &[]).await.unwrap().is_empty());
            assert_eq!(client.execute("", &[]).await.unwrap(), 0);
            assert_eq!(client.query("SELECT", &[]).await.unwrap().len(), 1);
            let several = "SELECT 1; SELECT 2 WHERE false; SELECT 'é'";
            let answers = client.simple_query(several).await.unwrap();
            let values: Vec<_> = answers
                .iter()
                .filter_map(|answer| match answer {
                    SimpleQueryMessage::Row(row) => row.get(0),
                    _ => None,
                })
                .collect();
            assert_eq!(values, ["1", "é"]);
            // What stands in front of the error has been answered, and is undone.
            let several = "CREATE TABLE gone (); SELECT 1 / 0; SELECT 2";
            let failed = client.simple_query(several).await;
            assert_eq!(code(failed), SqlState::DIVISION_BY_ZERO);
            let gone = "SELECT to_regclass('gone')::text";
            assert_eq!(column::<Option<String>>(&client, gone).await, [None]);
        }
    }
    site.end().await;
}

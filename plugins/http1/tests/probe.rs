//! The probe: which answers prove that a server is alive.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use leaseway_plugin_http1::Http1;
use leaseway_sdk::Target;
use leaseway_sdk::testing::{self, ScriptedConnection};

const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: leaseway\r\n\r\n";
const GET: &str = "GET /health HTTP/1.1\r\nHost: a\r\nUser-Agent: leaseway\r\n\r\n";
const HEALTH: &str = r#"{"probe": {"request": "GET /health", "host": "a", "expect": 200}}"#;

fn probe(config: &str, request: &str, reply: &str, closes: bool) -> Result<(), String> {
    let plugin = testing::configure::<Http1>(config).unwrap();
    let mut outcome = None;
    for pieces in [1, 5, 10_000] {
        let mut server = ScriptedConnection::new()
            .expect(request.as_bytes())
            .reply(reply.as_bytes())
            .in_pieces_of(pieces);
        if closes {
            server = server.close();
        }
        let said = testing::probe(&plugin, server, &Target::default(), 1000);
        assert!(outcome.is_none_or(|before: Result<(), String>| before.is_ok() == said.is_ok()));
        outcome = Some(said);
    }
    outcome.unwrap()
}

#[test]
fn any_status_below_500_will_do_by_itself() {
    let ask = |reply| probe("{}", HEAD, reply, false);
    assert_eq!(
        ask("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
        Ok(())
    );
    assert_eq!(
        ask("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Ok(())
    );
    assert_eq!(
        ask("HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 204 No\r\n\r\n"),
        Ok(())
    );
    assert!(
        ask("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
            .unwrap_err()
            .contains("503")
    );
    assert!(ask("SSH-2.0-OpenSSH_9\r\n").is_err());
    assert!(ask("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200").is_err());
}

#[test]
fn the_expected_status_is_read_with_its_body() {
    let ask = |reply| probe(HEALTH, GET, reply, false);
    assert_eq!(
        ask("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        Ok(())
    );
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    assert_eq!(ask(chunks), Ok(()));
    let other = ask("HTTP/1.1 204 No\r\n\r\n").unwrap_err();
    assert_eq!(other, "it answers 204, not 200");
    let long = "HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n";
    assert!(ask(long).unwrap_err().contains("longer than"));
    assert!(ask("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n").is_err());
}

#[test]
fn a_server_that_closes_is_alive() {
    let ask = |reply| probe(HEALTH, GET, reply, true);
    assert_eq!(
        ask("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
        Ok(())
    );
    assert_eq!(ask("HTTP/1.0 200 OK\r\n\r\nok"), Ok(()));
    assert!(ask("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok").is_err());
    assert!(ask("").is_err());
}

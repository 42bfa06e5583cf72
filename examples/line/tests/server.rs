//! The line server speaks the protocol that the plugin expects.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Guards against hanging only.
const DEADLINE: Duration = Duration::from_secs(30);

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_server_greets_answers_each_line_and_says_goodbye() {
    let mut server = Server(
        Command::new(env!("CARGO_BIN_EXE_line-server"))
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut said = String::new();
    BufReader::new(server.0.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    let address = said.strip_prefix("listening on ").expect(&said).trim_end();

    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.write_all(b"PING\r\nhello\nQUIT\r\n").unwrap();
    let mut replies = String::new();
    client.read_to_string(&mut replies).unwrap();
    assert_eq!(
        replies,
        format!("HELLO {address}\r\nPONG\r\nECHO hello\r\nBYE\r\n")
    );
}

#[test]
fn an_address_that_cannot_be_bound_is_an_error() {
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_line-server"))
            .args(arguments)
            .output()
            .unwrap()
    };
    assert_eq!(run(&[]).status.code(), Some(2));
    let failed = run(&["127.0.0.1:notaport"]);
    assert_eq!(failed.status.code(), Some(1));
    let message = String::from_utf8(failed.stderr).unwrap();
    assert!(message.contains("127.0.0.1:notaport"), "{message}");
}

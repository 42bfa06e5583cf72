//! What the command lists say, against what a real server says of itself.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use leaseway_plugin_redis::commands::{Class, classify};
use leaseway_plugin_redis::resp::request::{Front, front};
use leaseway_sdk::frame::Parsed;

/// Guards against hanging only.
const DEADLINE: Duration = Duration::from_secs(30);

/// A server that ends with the test.
struct Server {
    process: Child,
    connection: BufReader<TcpStream>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts one on a free port. Another process may take that before the server does: tried
    /// again until the deadline.
    fn start() -> Self {
        let started = Instant::now();
        loop {
            let port = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            let process = Command::new("redis-server")
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
                .args(["--save", "", "--appendonly", "no"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("no redis-server here: apt-get install redis-server");
            if let Some(server) = Self::reached(process, port, started) {
                return server;
            }
            assert!(started.elapsed() < DEADLINE, "redis-server does not start");
        }
    }

    fn reached(mut process: Child, port: u16, started: Instant) -> Option<Self> {
        while process.try_wait().unwrap().is_none() && started.elapsed() < DEADLINE {
            if let Ok(connection) = TcpStream::connect(("127.0.0.1", port)) {
                connection.set_read_timeout(Some(DEADLINE)).unwrap();
                let connection = BufReader::new(connection);
                return Some(Self {
                    process,
                    connection,
                });
            }
            std::thread::yield_now();
        }
        let _ = process.kill();
        let _ = process.wait();
        None
    }

    fn ask(&mut self, line: &str) -> Value {
        let stream = self.connection.get_mut();
        stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        self.value()
    }

    fn value(&mut self) -> Value {
        let mut line = String::new();
        self.connection.read_line(&mut line).unwrap();
        let (kind, says) = line.trim_end().split_at(1);
        match kind {
            "*" => Value::Many(
                (0..says.parse::<usize>().unwrap())
                    .map(|_| self.value())
                    .collect(),
            ),
            "$" => {
                let mut body = vec![0; says.parse::<usize>().unwrap() + 2];
                self.connection.read_exact(&mut body).unwrap();
                body.truncate(body.len() - 2);
                Value::Text(String::from_utf8(body).unwrap())
            }
            "+" | ":" => Value::Text(says.to_owned()),
            _ => panic!("{line}"),
        }
    }
}

/// A reply, as far as `COMMAND` needs one.
enum Value {
    Text(String),
    Many(Vec<Value>),
}

impl Value {
    fn many(&self) -> &[Self] {
        match self {
            Self::Many(values) => values,
            Self::Text(text) => panic!("not an array: {text}"),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Many(_) => panic!("an array"),
        }
    }

    fn has(&self, text: &str) -> bool {
        self.many().iter().any(|value| value.text() == text)
    }
}

fn class(line: &str) -> Class {
    let line = format!("{line}\r\n");
    match front(line.as_bytes()) {
        Parsed::Complete {
            value: Front::Command(command),
            ..
        } => match classify(&command) {
            Parsed::Complete { value, .. } => value,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// They read, and are not sent again: what `XREAD` calls the end of a stream is another one then.
const NOT_TWICE: [&str; 1] = ["xread"];

/// Commands of which nobody can tell how many replies follow, although they are known.
const UNCOUNTED: [&str; 12] = [
    "subscribe",
    "psubscribe",
    "ssubscribe",
    "unsubscribe",
    "punsubscribe",
    "sunsubscribe",
    "monitor",
    "sync",
    "psync",
    "replconf",
    "debug",
    "client|reply",
];

#[test]
fn every_command_of_a_real_server_is_known_and_reads_agree() {
    let mut server = Server::start();
    let commands = server.ask("COMMAND");
    assert!(commands.many().len() > 200);
    let mut wrong = Vec::new();
    for command in commands.many() {
        let name = command.many()[0].text();
        let flags = &command.many()[2];
        let subcommands = command.many().get(9).map_or(&[][..], Value::many);
        let found = class(name);
        if matches!(found, Class::Stream | Class::Unknown) && !UNCOUNTED.contains(&name) {
            wrong.push(format!("{name} is not known"));
        }
        if flags.has("readonly") && found != Class::Read && !NOT_TWICE.contains(&name) {
            wrong.push(format!("{name} only reads, and is {found:?}"));
        }
        if flags.has("write") && !matches!(found, Class::Write | Class::Block) {
            wrong.push(format!("{name} writes, and is {found:?}"));
        }
        // `WAIT` has the flag only since 7.2.
        if flags.has("blocking") && found != Class::Block {
            wrong.push(format!("{name} blocks, and is {found:?}"));
        }
        for subcommand in subcommands {
            let line = subcommand.many()[0].text().replace('|', " ");
            let found = class(&line);
            let known = found != Class::Unknown;
            if !known {
                wrong.push(format!("{line} is not known"));
            }
            if subcommand.many()[2].has("write") && found == Class::Read {
                wrong.push(format!("{line} writes, and is a read here"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

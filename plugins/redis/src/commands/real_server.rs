//! The tables against what a real server says of its commands.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Class, class};

const MEND: &str = "apt-get install redis-server redis-tools";

/// A redis-server on a socket of its own; killed on drop.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(socket: &Path, words: &[&str]) -> Option<String> {
    let output = Command::new("redis-cli")
        .args(["-s".as_ref(), socket.as_os_str()])
        .args(words)
        .stderr(Stdio::null())
        .output()
        .unwrap_or_else(|why| panic!("redis-cli: {why}; mend it with `{MEND}`"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[test]
fn every_command_of_a_real_server_is_classified_as_it_says() {
    let dir = std::env::temp_dir().join(format!("leaseway-commands-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let socket = dir.join("redis.sock");
    let child = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(&socket)
        .current_dir(&dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|why| panic!("redis-server: {why}; mend it with `{MEND}`"));
    let server = Server(child);
    let started = Instant::now();
    while ask(&socket, &["PING"]).as_deref() != Some("PONG\n") {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "redis-server does not answer"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let commands = ask(&socket, &["--json", "COMMAND"]).unwrap();
    drop(server);
    std::fs::remove_dir_all(&dir).unwrap();

    let commands: Vec<serde_json::Value> = serde_json::from_str(&commands).unwrap();
    assert!(commands.len() > 200, "{} commands", commands.len());
    // What changes its connection, or answers with more or less than one reply.
    let streams = [
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
        "shutdown",
        "failover",
        "pfdebug",
        "pfselftest",
        "restore-asking",
    ];
    for command in &commands {
        let name = command[0].as_str().unwrap();
        let flags = command[2].as_array().unwrap();
        let read = flags.iter().any(|flag| flag == "readonly");
        let class = class(name.as_bytes());
        if streams.contains(&name) {
            assert_eq!(class, Class::Stream, "{name}");
        } else if read {
            assert!(
                matches!(class, Class::Plain { read: true }) || name == "readonly",
                "{name} is flagged readonly, and classified {class:?}"
            );
        } else {
            assert!(
                !matches!(class, Class::Stream | Class::Plain { read: true }),
                "{name} is not known, or taken to change nothing: {class:?}"
            );
        }
    }
}

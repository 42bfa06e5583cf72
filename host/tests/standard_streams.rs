//! Whoever reads what leaseway says may stall or leave: the relay goes on, and ends when it is told.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, PipeReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Guards against hanging; nothing that passes comes near it.
const GUARD: Duration = Duration::from_secs(60);

fn leaseway(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leaseway"));
    command.args(args).stdin(Stdio::null());
    command
}

/// A relay to nowhere that logs each session, and where it listens. Its log has been read so far.
fn relay() -> (Child, BufReader<PipeReader>, SocketAddr) {
    let (reader, writer) = std::io::pipe().unwrap();
    let args = [
        "relay",
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        "127.0.0.1:1",
        "--log",
        "debug",
    ];
    let child = leaseway(&args).stderr(writer).spawn().unwrap();
    let mut log = BufReader::new(reader);
    let mut line = String::new();
    while !line.contains("listening on ") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it has ended");
    }
    let (_, rest) = line.split_once("listening on ").unwrap();
    let address = rest.split('"').next().unwrap().parse().unwrap();
    (child, log, address)
}

/// Clients whose sessions end and are logged.
fn clients(count: usize, address: SocketAddr) {
    for _ in 0..count {
        let mut client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(GUARD)).unwrap();
        // There is no upstream: the session ends at once, well or not.
        let _ = client.read(&mut [0]);
    }
}

fn terminate(child: &mut Child) -> ExitStatus {
    kill_process(Pid::from_child(child), Signal::TERM).unwrap();
    wait(child)
}

fn wait(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if started.elapsed() > GUARD {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_log_that_nobody_reads_any_more_stops_neither_sessions_nor_signals() {
    let (mut child, log, address) = relay();
    // More than the pipe holds.
    clients(1000, address);
    let status = terminate(&mut child);
    assert!(status.success(), "{status}");
    drop(log);
}

#[test]
fn a_log_whose_reader_has_left_stops_neither_sessions_nor_signals() {
    let (mut child, log, address) = relay();
    drop(log);
    clients(20, address);
    let status = terminate(&mut child);
    assert!(status.success(), "{status}");
}

#[test]
fn the_last_lines_are_written_before_the_end() {
    let (mut child, mut log, address) = relay();
    clients(1, address);
    assert!(terminate(&mut child).success());
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    let last = rest.lines().last().unwrap();
    assert!(last.contains("\"stopped\""), "{rest}");
}

/// Standard error whose reader has left.
fn closed() -> Stdio {
    let (_, writer) = std::io::pipe().unwrap();
    Stdio::from(writer)
}

#[test]
fn errors_that_nobody_can_read_keep_their_exit_code() {
    for (args, code) in [
        (&["run", "--config", "/nowhere.toml"][..], 1),
        (&["plugin", "inspect", "/nowhere.wasm"], 1),
        (&["probe", "--plugin", "/nowhere.wasm", "127.0.0.1:1"], 2),
        (&["check", "--config", "/nowhere.toml", "--log", "=,"], 2),
    ] {
        let mut child = leaseway(args).stderr(closed()).spawn().unwrap();
        assert_eq!(wait(&mut child).code(), Some(code), "{args:?}");
    }
}

fn says(args: &[&str]) -> String {
    let output = leaseway(args).output().unwrap();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_start_that_fails_is_one_line_of_the_log_where_programs_read_it() {
    let args = ["relay", "--listen", "127.0.0.1:1", "--upstream", "a"];
    let upstreams = ["--upstream", "b", "--log", "off"];
    let args = [&args[..], &upstreams].concat();
    let said = says(&args);
    assert_eq!(said.lines().count(), 1, "{said}");
    let line: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(line["level"], "ERROR");
    let message = line["message"].as_str().unwrap();
    assert!(
        message.starts_with("--upstream: \"a\" has no port"),
        "{message}"
    );
    assert!(
        message.contains("; --upstream: \"b\" has no port"),
        "{message}"
    );
    let human = says(&[&args[..], &["--log-format", "human"]].concat());
    assert!(
        human.starts_with("leaseway: --upstream: \"a\" has no port"),
        "{human}"
    );
}

#[test]
fn a_bad_filter_is_told_by_name() {
    let said = says(&["check", "--config", "/nowhere.toml", "--log", ",,="]);
    assert!(
        said.starts_with("leaseway: cannot read \"=\" in the log filter \",,=\": "),
        "{said}"
    );
}

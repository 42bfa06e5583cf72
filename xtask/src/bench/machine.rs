//! The machine, and the versions of what is measured on it.

use std::fs;
use std::process::Command;

use super::peers::Tools;

/// Facts, each a name and what it is.
pub(super) fn facts(tools: &Tools) -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut facts = vec![
        ("processor", processor()),
        (
            "cores, shared by clients, relay and server",
            cores.to_string(),
        ),
        ("memory", memory()),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        ("tcp_tw_reuse", read("/proc/sys/net/ipv4/tcp_tw_reuse")),
        ("load average at the start", load()),
    ];
    let leaseway = tools.leaseway.to_string_lossy();
    for (name, program, option) in [
        ("leaseway", &*leaseway, "--version"),
        ("haproxy", "haproxy", "-v"),
        ("nginx", "nginx", "-v"),
        ("twemproxy", "nutcracker", "-V"),
        ("go", "go", "version"),
        ("redis-server", "redis-server", "--version"),
        ("pgbouncer", "pgbouncer", "--version"),
        ("postgresql", "pgbench", "--version"),
    ] {
        facts.push((name, version(program, option)));
    }
    facts
}

/// The first line that a program prints of itself, wherever it prints it.
pub(super) fn version(program: &str, option: &str) -> String {
    let said = Command::new(program).arg(option).output();
    let said = said.map(|output| [output.stdout, output.stderr].concat());
    let text = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
    let first = text.lines().next();
    first.map_or_else(|| "does not say".to_owned(), str::to_owned)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
}

fn processor() -> String {
    field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned())
}

fn memory() -> String {
    field("/proc/meminfo", "MemTotal").unwrap_or_else(|| "unknown".to_owned())
}

fn load() -> String {
    let text = read("/proc/loadavg");
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

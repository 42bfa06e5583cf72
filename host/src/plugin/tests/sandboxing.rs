//! A plugin that reaches for what it must not have finds nothing, and the host goes on.

use super::logged::logged;
use super::*;
use crate::contract::{Side, Step};
use crate::plugin::SessionHooks;

/// Session hooks run inside of a runtime, where nothing may block.
fn in_runtime<R>(run: impl FnOnce() -> R) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { run() })
}

#[test]
fn a_plugin_finds_clocks_and_random_numbers_and_nothing_else() {
    let log = logged(|| {
        in_runtime(|| {
            let worker = worker(deed("look"));
            let mut session = open(&worker, 7);
            let steps = session.on_data(Side::Client, b"now").unwrap();
            let [Step::Send((Side::Client, report))] = &steps[..] else {
                panic!("{steps:?}");
            };
            assert_eq!(
                String::from_utf8_lossy(report),
                "env 0, args 0, cwd false, root false, read false, write false, stdin 0, \
                 connect false, bind false, clock true, random true"
            );
        });
    });
    let line = log.lines().find(|line| line.contains("a line on stdout"));
    let line = line.unwrap_or_else(|| panic!("stdout is not in the log:\n{log}"));
    for part in ["session=7", r#"listener="test""#, r#"plugin="hostile""#] {
        assert!(line.contains(part), "no {part} in {line}");
    }
}

#[test]
fn a_hook_that_sleeps_is_ended_and_says_why() {
    in_runtime(|| {
        let worker = worker(deed("sleep"));
        let fault = open(&worker, 1).on_data(Side::Client, b"now").unwrap_err();
        assert_eq!(
            message(&fault),
            "trap in on-data: wanted to sleep: session hooks must not wait"
        );
        assert!(open(&worker, 2).on_data(Side::Client, b"x").is_ok());
    });
}

#[test]
fn exit_ends_the_instance_and_not_the_host() {
    let worker = worker(deed("exit"));
    let fault = open(&worker, 1).on_data(Side::Client, b"now").unwrap_err();
    assert_eq!(message(&fault), "trap in on-data: called exit with code 1");
}

#[test]
fn a_chatterbox_is_cut_off_and_forges_no_lines() {
    let chatter = json!({ "mode": "chatter", "trigger": "now", "count": 1000 });
    let log = logged(|| {
        let worker = worker(chatter);
        open(&worker, 1).on_data(Side::Client, b"now").unwrap();
    });
    let lines = log
        .lines()
        .filter(|line| line.contains("chatterbox"))
        .count();
    assert!((100..1000).contains(&lines), "{lines} lines");
    assert!(log.lines().all(|line| !line.starts_with("forged")), "{log}");
}

#[test]
fn a_fresh_instance_brings_no_fresh_lines_and_what_was_left_out_is_told() {
    let chatter = json!({ "mode": "chatter", "trigger": "now", "count": 150 });
    let started = std::time::Instant::now();
    let log = logged(|| {
        let limits = PluginLimits {
            sessions_per_instance: 1,
            ..PluginLimits::default()
        };
        let worker = WorkerPlugin::new(load_with(chatter, limits));
        let mut sessions: Vec<_> = (0..4).map(|id| open(&worker, id)).collect();
        assert_eq!(worker.instances(), 4);
        for session in &mut sessions {
            session.on_data(Side::Client, b"now").unwrap();
        }
    });
    let lines = log
        .lines()
        .filter(|line| line.contains("chatterbox"))
        .count();
    // A machine that is very slow gives a second its own hundred.
    let seconds = usize::try_from(started.elapsed().as_secs()).unwrap() + 1;
    assert!(lines <= 100 * seconds, "{lines} lines in {seconds} s");
    let left_out: usize = log
        .lines()
        .filter(|line| line.contains("log lines left out"))
        .map(|line| {
            let (before, _) = line.split_once(" log lines").unwrap();
            let (_, count) = before.rsplit_once(' ').unwrap();
            count.parse::<usize>().unwrap()
        })
        .sum();
    assert_eq!(lines + left_out, 4 * 150, "{log}");
}

#[test]
fn a_fault_is_logged_with_plugin_hook_reason_and_sessions() {
    let log = logged(|| {
        let worker = worker(deed("trap"));
        let (mut session, _sibling) = (open(&worker, 1), open(&worker, 2));
        session.on_data(Side::Client, b"now").unwrap_err();
    });
    let line = log
        .lines()
        .find(|line| line.contains("plugin fault"))
        .unwrap();
    for part in [
        r#"plugin="hostile""#,
        r#"hook="on-data""#,
        r#"reason="trap""#,
        "sessions=2",
    ] {
        assert!(line.contains(part), "no {part} in {line}");
    }
}

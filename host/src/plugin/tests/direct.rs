//! Modules written by hand, called directly: what no tool writes and no plugin's author means.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use wasmtime::Store;

use super::*;
use crate::contract::{Choice, Side};
use crate::plugin::direct::{Calls, Direct};
use crate::plugin::hooks::TimeLimit;
use crate::plugin::limits::{Overrun, most_copied};
use crate::plugin::output::Speaker;
use crate::plugin::plugin_log::PluginLog;
use crate::plugin::state::{GuestState, begin};
use crate::plugin::store::SharedStore;

const META: &str = "leaseway:plugin/plugin-meta@0.1.0";
const HOOKS: &str = "leaseway:plugin/session-hooks@0.1.0";

/// Imported by all of them.
const IMPORTS: &str = r#"
    (import "[export]leaseway:plugin/session-hooks@0.1.0" "[resource-new]session"
        (func $new (param i32) (result i32)))
    (import "leaseway:plugin/store@0.1.0" "get" (func $get (param i32 i32 i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff"
        (func $poll (param i32 i32 i32 i32) (result i32)))
"#;

/// Returns an answer that is all zeros: nothing, done, or to be asked again.
const ZEROS: &str = "(i32.const 64)";

/// All that is called, as it is if a module has nothing of its own.
fn functions() -> Vec<(String, String)> {
    let hook =
        |name: &str, ty: &str, body: &str| (format!("{HOOKS}#{name}"), format!("{ty} {body}"));
    vec![
        (
            "cabi_realloc".to_owned(),
            "(param i32 i32 i32 i32) (result i32) (i32.const 2048)".to_owned(),
        ),
        (
            format!("{META}#configure"),
            format!("(param i32 i32) (result i32) {ZEROS}"),
        ),
        hook(
            "[constructor]session",
            "(param i64 i32 i32 i32 i32 i32 i32) (result i32)",
            "(call $new (i32.const 7))",
        ),
        hook(
            "[method]session.choose-upstream",
            "(param i32 i32 i32) (result i32)",
            ZEROS,
        ),
        hook(
            "[method]session.on-leased",
            "(param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)",
            ZEROS,
        ),
        hook(
            "[method]session.on-lease-failed",
            "(param i32 i32 i32 i32) (result i32)",
            ZEROS,
        ),
        hook(
            "[method]session.on-data",
            "(param i32 i32 i32 i32) (result i32)",
            ZEROS,
        ),
        hook(
            "[method]session.on-eof",
            "(param i32 i32) (result i32)",
            ZEROS,
        ),
        hook(
            "[method]session.pool-return",
            "(param i32 i32 i64 i64) (result i32)",
            "(i32.const 2)",
        ),
        hook(
            "[method]session.on-request-failed",
            "(param i32 i32 i32 i32 i32) (result i32)",
            ZEROS,
        ),
        hook("[dtor]session", "(param i32)", ""),
        hook(
            "[constructor]replies",
            "(result i32)",
            "(call $new (i32.const 8))",
        ),
        hook(
            "[method]replies.measure",
            "(param i32 i32 i32) (result i32)",
            ZEROS,
        ),
        hook("[dtor]replies", "(param i32)", ""),
    ]
}

/// A module with these functions, each by its name, in the place of the usual ones. One without a text is left out.
fn module(own: &[(&str, &str)]) -> Vec<u8> {
    with_memory("(memory (export \"memory\") 1)", own)
}

fn with_memory(memory: &str, own: &[(&str, &str)]) -> Vec<u8> {
    let usual = functions();
    let usual = usual
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    let usual = usual.filter(|(name, _)| own.iter().all(|(other, _)| other != name));
    let mut text = format!("(module {IMPORTS} {memory}");
    for (name, function) in own.iter().copied().chain(usual) {
        if !function.is_empty() {
            text.push_str(&format!("(func (export \"{name}\") {function})"));
        }
    }
    text.push(')');
    wat::parse_str(text).unwrap()
}

/// Why it cannot be called directly.
fn refused(code: &[u8]) -> String {
    let direct = Direct::new(&runtime().engine, code);
    format!("{:#}", direct.map(drop).unwrap_err())
}

struct Started {
    store: Store<GuestState>,
    calls: Calls,
}

/// Instantiates it, beside a store that has something under the empty key.
fn start(code: &[u8]) -> Started {
    try_start(&runtime(), code).unwrap()
}

fn try_start(runtime: &Runtime, code: &[u8]) -> wasmtime::Result<Started> {
    let limits = PluginLimits::default();
    let direct = Direct::new(&runtime.engine, code)?;
    let shared = SharedStore::new(&limits, Arc::default());
    shared
        .put(b"", b"value", 60_000, std::time::Instant::now())
        .unwrap();
    let log = PluginLog::new(Arc::from("test"));
    let time = TimeLimit::Hook(limits.hook);
    let mut store = GuestState::for_sessions(&runtime.engine, log, shared, &limits, time);
    begin(&mut store, Speaker::Plugin);
    let calls = direct.instantiate(&mut store, most_copied(&limits))?;
    Ok(Started { store, calls })
}

impl Started {
    /// Opens a session and shows it these bytes.
    fn show(&mut self, data: &[u8]) -> Result<(), String> {
        let Self { store, calls } = self;
        begin(store, Speaker::Plugin);
        let session = calls
            .open(store, &info(1))
            .map_err(|why| format!("{:#}", why.root_cause()))?;
        begin(store, Speaker::Plugin);
        let steps = calls.on_data(store, session, Side::Client, data);
        let steps = steps.map_err(|why| format!("{:#}", why.root_cause()))?;
        assert_eq!(steps, []);
        Ok(())
    }
}

#[test]
fn a_module_that_does_nothing_is_called_directly() {
    let mut started = start(&module(&[]));
    started.show(b"x").unwrap();
    let Started { store, calls } = &mut started;
    let session = calls.open(store, &info(2)).unwrap();
    assert_eq!(
        calls.choose_upstream(store, session, b"x").unwrap(),
        Choice::NeedMore
    );
    calls.close(store, session).unwrap();
    let replies = calls.open_replies(store).unwrap();
    assert_eq!(calls.measure(store, replies, b"x").unwrap(), Ok(Vec::new()));
}

/// Found out while loading, or else every session would fail.
#[test]
fn what_does_as_a_component_alone_is_not_called_directly() {
    let named = |name: &str| format!("{HOOKS}#{name}");
    let (dtor, eof) = (named("[dtor]session"), named("[method]session.on-eof"));
    let data = named("[method]session.on-data");
    let (post_data, post_return) = (
        format!("cabi_post_{data}"),
        format!("cabi_post_{}", named("[method]session.pool-return")),
    );
    let later = dtor.replace("0.1.0", "0.1.7");
    let room = "(param i32 i32 i32 i32) (result i32) (i32.const 0)";
    for (own, why) in [
        ((dtor.as_str(), ""), format!("there is no {dtor}")),
        ((&eof, ""), format!("there is no {eof}")),
        (
            (&data, "(param i32 i32 i32) (result i32) (i32.const 64)"),
            format!("{data} is of another type"),
        ),
        (
            (&eof, "(param i32 i32) (result i64) (i64.const 64)"),
            format!("{eof} is of another type"),
        ),
        (
            (&post_data, "(param i32) (result i32) (i32.const 0)"),
            format!("{post_data} is of another type"),
        ),
        (
            (&post_return, "(param i32)"),
            format!("{post_return} takes back what is no place"),
        ),
        (
            (&later, "(param i32)"),
            "session-hooks is there in two versions".to_owned(),
        ),
        (("cabi_realloc", ""), "there is no cabi_realloc".to_owned()),
        (
            ("cabi_export_realloc", room),
            "cabi_export_realloc is for the component".to_owned(),
        ),
        (
            ("cabi_import_realloc", room),
            "cabi_import_realloc is for the component".to_owned(),
        ),
        (
            ("__wasm_init_task", "nop"),
            "__wasm_init_task is for the component".to_owned(),
        ),
    ] {
        assert_eq!(refused(&module(&[own])), why);
    }
    let no_memory = "there is no memory of 32 bits and its own";
    for memory in [
        "(memory 1)",
        "(memory (export \"memory\") i64 1)",
        "(global (export \"memory\") i32 (i32.const 0))",
    ] {
        assert_eq!(refused(&with_memory(memory, &[])), no_memory, "{memory}");
    }
}

/// Whatever else of the same names the module has, it is another interface's.
#[test]
fn the_hooks_are_those_of_their_interface() {
    let code = module(&[
        (
            "leaseway:plugin/other@0.1.0#[constructor]session",
            "(result i32) unreachable",
        ),
        (
            "leaseway:plugin/other@0.1.0#configure",
            "(result i32) unreachable",
        ),
    ]);
    start(&code).show(b"x").unwrap();
}

#[test]
fn a_module_whose_texts_are_not_utf8_is_called_as_a_component() {
    let code = std::fs::read(hostile()).unwrap();
    let name = b"wit-component-encoding\x04";
    let at = code
        .windows(name.len())
        .position(|bytes| bytes == name)
        .unwrap()
        + name.len();
    for encoding in [1, 2] {
        let mut other = code.clone();
        other[at] = encoding;
        assert_eq!(refused(&other), "its texts are not UTF-8");
    }
}

/// Or it would call itself through the host, which keeps what it has found for each of these calls.
#[test]
fn the_host_is_not_called_while_it_asks_for_room_or_gives_an_answer_back() {
    let call = "(call $get (i32.const 0) (i32.const 0) (i32.const 32))";
    let new = "(drop (call $new (i32.const 0)))";
    let post = format!("cabi_post_{HOOKS}#[method]session.on-data");
    for call in [call, new] {
        let realloc = format!("(param i32 i32 i32 i32) (result i32) {call} (i32.const 2048)");
        let back = format!("(param i32) {call}");
        for own in [("cabi_realloc", realloc.as_str()), (&post, &back)] {
            let why = start(&module(&[own])).show(b"x").unwrap_err();
            assert_eq!(
                why,
                "called the host where it may only make room or free some"
            );
        }
    }
    let data = format!("(param i32 i32 i32 i32) (result i32) {call} {ZEROS}");
    let may = format!("{HOOKS}#[method]session.on-data");
    start(&module(&[(&may, &data)])).show(b"x").unwrap();
}

#[test]
fn handles_of_one_call_do_not_count_in_the_next() {
    let data = format!("{HOOKS}#[method]session.on-data");
    let three = "(drop (call $new (i32.const 1)))".repeat(3);
    let body = format!("(param i32 i32 i32 i32) (result i32) {three} {ZEROS}");
    let mut started = start(&module(&[(&data, &body)]));
    let Started { store, calls } = &mut started;
    begin(store, Speaker::Plugin);
    let session = calls.open(store, &info(1)).unwrap();
    for _ in 0..20 {
        begin(store, Speaker::Plugin);
        calls.on_data(store, session, Side::Client, b"x").unwrap();
    }
    started.show(b"x").unwrap();
}

/// As the canonical ABI has it: a guest may free what it has been handed, whatever its length.
#[test]
fn room_for_nothing_is_asked_for_as_well() {
    let data = format!("{HOOKS}#[method]session.on-data");
    let body = format!(
        "(param i32 i32 i32 i32) (result i32)
        (if (i32.ne (local.get 2) (i32.const 2048)) (then unreachable)) {ZEROS}"
    );
    let mut started = start(&module(&[(&data, &body)]));
    started.show(b"x").unwrap();
    started.show(b"").unwrap();
}

/// What a guest says of its memory is not taken on trust.
#[test]
fn what_lies_outside_of_the_guests_memory_is_a_fault() {
    let data = format!("{HOOKS}#[method]session.on-data");
    let ty = "(param i32 i32 i32 i32) (result i32)";
    for place in ["65536", "65530", "-1", "-4", "0x7fffffff"] {
        let answer = format!("{ty} (i32.const {place})");
        let why = start(&module(&[(&data, &answer)])).show(b"x").unwrap_err();
        assert_eq!(
            why, "handed the host what lies outside of its memory",
            "{place}"
        );
    }
    for place in ["65536", "-1"] {
        let room = format!("{ty} (i32.const {place})");
        let why = start(&module(&[("cabi_realloc", &room)]))
            .show(b"x")
            .unwrap_err();
        assert_eq!(why, "wanted bytes outside of its memory", "{place}");
    }
    for handle in ["0", "2", "-1"] {
        let open = format!("{HOOKS}#[constructor]session");
        let body = format!(
            "(param i64 i32 i32 i32 i32 i32 i32) (result i32)
            (drop (call $new (i32.const 7))) (i32.const {handle})"
        );
        let why = start(&module(&[(&open, &body)])).show(b"x").unwrap_err();
        assert!(why.starts_with("returned the handle "), "{why}");
    }
}

/// A time that is over is no wait, and nothing is nothing to wait for; a time to come is.
#[test]
fn a_poll_for_what_is_over_returns() {
    let data = format!("{HOOKS}#[method]session.on-data");
    // Clock, timeout in nanoseconds, whether that is a time of the clock; how many, and what the poll returns.
    for (clock, timeout, flags, count, errno) in [
        (1, 1_u64, 1, 1, 0),
        (0, 1, 1, 1, 0),
        (1, 0, 0, 1, 0),
        (7, 0, 0, 1, 28),
        (1, 0, 0, 0, 28),
    ] {
        let body = format!(
            "(param i32 i32 i32 i32) (result i32)
            (i32.store (i32.const 272) (i32.const {clock}))
            (i64.store (i32.const 280) (i64.const {timeout}))
            (i32.store16 (i32.const 296) (i32.const {flags}))
            (call $poll (i32.const 256) (i32.const 512) (i32.const {count}) (i32.const 1024))
            (if (i32.ne (i32.const {errno})) (then unreachable)) {ZEROS}"
        );
        let shown = start(&module(&[(&data, &body)])).show(b"x");
        assert_eq!(shown, Ok(()), "{clock} {timeout} {flags} {count}");
    }
    for (clock, timeout, flags) in [(1, 1_u64, 0), (1, u64::MAX >> 1, 1), (0, u64::MAX >> 1, 1)] {
        let body = format!(
            "(param i32 i32 i32 i32) (result i32)
            (i32.store (i32.const 272) (i32.const {clock}))
            (i64.store (i32.const 280) (i64.const {timeout}))
            (i32.store16 (i32.const 296) (i32.const {flags}))
            (drop (call $poll (i32.const 256) (i32.const 512) (i32.const 1) (i32.const 1024)))
            {ZEROS}"
        );
        let why = start(&module(&[(&data, &body)])).show(b"x").unwrap_err();
        assert_eq!(why, "wanted to sleep: session hooks must not wait");
    }
}

/// Wherever a guest does not return, its time ends it.
#[test]
fn a_guest_that_does_not_return_is_ended() {
    let endless = "(loop $on (br $on))";
    let room = format!("(param i32 i32 i32 i32) (result i32) {endless} (i32.const 2048)");
    let runtime = runtime();
    let done = AtomicBool::new(false);
    let clock = || {
        while !done.load(Relaxed) {
            runtime.engine.increment_epoch();
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(clock);
        let begins = try_start(&runtime, &module(&[("_initialize", endless)]));
        let starts = with_memory(
            &format!("(memory (export \"memory\") 1) (start $begin) (func $begin {endless})"),
            &[],
        );
        let starts = try_start(&runtime, &starts);
        let rooms = try_start(&runtime, &module(&[("cabi_realloc", &room)]));
        let shown = rooms.map(|mut started| started.show(b"x"));
        done.store(true, Relaxed);
        for ended in [begins, starts] {
            assert!(ended.map(drop).unwrap_err().is::<Overrun>());
        }
        assert_eq!(shown.unwrap().unwrap_err(), "ran past its limit");
    });
}

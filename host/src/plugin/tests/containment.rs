//! What a faulting call ends, and what goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use prometheus_client::registry::Registry;

use super::*;
use crate::contract::{Choice, Disposition, EndReason, LeaseOutcome, Side, Step};
use crate::plugin::{SessionHooks, TimeLimit};

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll(session: &mut SessionHandle) -> Poll<Fault> {
    session.poll_fault(&mut Context::from_waker(Waker::noop()))
}

/// Makes the session misbehave; what came of it.
fn provoke(session: &mut SessionHandle) -> Fault {
    session.on_data(Side::Client, b"now").unwrap_err()
}

fn is_alive(session: &mut SessionHandle) {
    let steps = session.on_data(Side::Client, b"hello").unwrap();
    assert_eq!(steps, [Step::Forward(5)]);
    assert!(poll(session).is_pending());
}

#[test]
fn a_well_behaved_session_gets_its_answers() {
    let worker = worker(json!({}));
    let mut session = open(&worker, 1);
    match session.choose_upstream(b"abc").unwrap() {
        Choice::Lease(request) => {
            assert_eq!(request.target.unwrap().identity, "hostile");
            assert_eq!(request.then, [Step::Forward(3)]);
        }
        other => panic!("{other:?}"),
    }
    is_alive(&mut session);
    assert_eq!(session.on_eof(Side::Client).unwrap(), []);
    let outcome = LeaseOutcome {
        reason: EndReason::ClientClosed,
        sent: 1,
        received: 2,
    };
    assert_eq!(session.pool_return(outcome).unwrap(), Disposition::Keep);
}

#[test]
fn an_endless_loop_ends_at_its_deadline_and_alone() {
    let limits = PluginLimits {
        sessions_per_instance: 1,
        ..PluginLimits::default()
    };
    let worker = WorkerPlugin::new(load_with(deed("loop"), limits));
    let mut other = open(&worker, 1);
    let mut session = open(&worker, 2);
    assert_eq!(worker.instances(), 2);
    let fault = provoke(&mut session);
    let limit = TimeLimit::Hook(Duration::from_millis(10));
    assert_eq!(
        fault,
        Fault::Deadline {
            hook: "on-data",
            limit
        }
    );
    assert_eq!(message(&fault), "on-data ran past limits.hook = 10ms");
    assert_eq!(worker.instances(), 1);
    is_alive(&mut other);
}

#[test]
fn a_trap_ends_the_sessions_of_its_instance_and_no_others() {
    let limits = PluginLimits {
        sessions_per_instance: 2,
        ..PluginLimits::default()
    };
    let worker = WorkerPlugin::new(load_with(deed("trap"), limits));
    let mut faulting = open(&worker, 1);
    let mut sibling = open(&worker, 2);
    let mut elsewhere = open(&worker, 3);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    assert!(
        sibling
            .poll_fault(&mut Context::from_waker(&waker))
            .is_pending()
    );

    let fault = provoke(&mut faulting);
    assert_eq!(bell.0.load(Ordering::SeqCst), 1, "the sibling is woken");
    assert_eq!(poll(&mut sibling), Poll::Ready(fault.clone()));
    assert_eq!(poll(&mut faulting), Poll::Ready(fault.clone()));
    assert_eq!(sibling.on_data(Side::Client, b"x").unwrap_err(), fault);
    is_alive(&mut elsewhere);

    let mut next = open(&worker, 4);
    is_alive(&mut next);
    drop((faulting, sibling));
    is_alive(&mut next);
    assert_eq!(
        worker.instances(),
        1,
        "the new session joined the one with room"
    );
}

#[test]
fn a_panic_tells_its_message() {
    let worker = worker(deed("trap"));
    let fault = provoke(&mut open(&worker, 1));
    let text = message(&fault);
    assert_eq!(fault.reason(), "trap");
    assert!(text.starts_with("trap in on-data: "), "{text}");
    assert!(text.contains("as the config says"), "{text}");
    assert!(text.contains("deeds.rs:"), "{text}");
    assert!(!text.contains("RUST_BACKTRACE"), "{text}");
}

#[test]
fn memory_past_the_limit_is_told_from_a_trap() {
    // Filling it may take a busy machine longer than a hook has.
    let limits = PluginLimits {
        hook: Duration::from_secs(10),
        ..PluginLimits::default()
    };
    let worker = WorkerPlugin::new(load_with(deed("memory"), limits));
    let fault = provoke(&mut open(&worker, 1));
    let limit = 16 << 20;
    assert_eq!(
        fault,
        Fault::Memory {
            hook: "on-data",
            limit
        }
    );
    assert_eq!(
        message(&fault),
        "on-data wanted more memory than limits.memory = 16MiB"
    );
    is_alive(&mut open(&worker, 2));
}

/// By itself, wasmtime allows 100,000 handles.
#[test]
fn an_instance_holds_as_many_sessions_as_its_limit_says() {
    let limits = PluginLimits {
        sessions_per_instance: 150_000,
        ..PluginLimits::default()
    };
    let worker = WorkerPlugin::new(load_with(json!({}), limits));
    let sessions: Vec<_> = (0..100_100).map(|id| open(&worker, id)).collect();
    assert_eq!(worker.instances(), 1);
    drop(sessions);
}

#[test]
fn a_stack_overflow_is_a_trap() {
    let worker = worker(deed("stack"));
    let fault = provoke(&mut open(&worker, 1));
    assert_eq!(fault.reason(), "trap", "{fault}");
    is_alive(&mut open(&worker, 2));
}

#[test]
fn a_step_list_a_million_long_is_refused() {
    let limits = PluginLimits {
        memory: 256 << 20,
        hook: Duration::from_secs(10),
        ..PluginLimits::default()
    };
    let worker = WorkerPlugin::new(load_with(deed("steps"), limits));
    let text = message(&provoke(&mut open(&worker, 1)));
    assert_eq!(
        text,
        "trap in on-data: handed too much data to the host in one call"
    );
    is_alive(&mut open(&worker, 2));
}

#[test]
fn more_steps_than_anybody_means_are_refused() {
    let mut just = json!({ "mode": "steps", "trigger": "now", "count": 4096 });
    let worker = super::worker(just.clone());
    assert_eq!(
        open(&worker, 1)
            .on_data(Side::Client, b"now")
            .unwrap()
            .len(),
        4096
    );
    just["count"] = json!(4097);
    let worker = super::worker(just);
    let text = message(&provoke(&mut open(&worker, 1)));
    assert_eq!(
        text,
        "trap in on-data: returned 4097 steps, at most 4096 a call"
    );
}

#[test]
fn strange_steps_are_for_the_engine_to_judge() {
    for (mode, steps) in [
        ("forward-max", vec![Step::Forward(u64::MAX)]),
        ("release-twice", vec![Step::Release(Disposition::Keep); 2]),
    ] {
        let worker = worker(deed(mode));
        let mut session = open(&worker, 1);
        assert_eq!(session.on_data(Side::Client, b"now").unwrap(), steps);
        is_alive(&mut session);
    }
}

#[test]
fn a_fault_in_the_constructor_or_the_destructor_is_contained() {
    let in_constructor = worker(json!({ "mode": "trap", "hook": "constructor" }));
    let fault = in_constructor.open(&info(1)).map(drop).unwrap_err();
    assert_eq!(fault.hook(), "constructor");
    assert_eq!(in_constructor.instances(), 0);

    let in_destructor = worker(json!({ "mode": "loop", "hook": "drop" }));
    let session = open(&in_destructor, 1);
    let mut sibling = open(&in_destructor, 2);
    drop(session);
    let Poll::Ready(fault) = poll(&mut sibling) else {
        panic!("the sibling has not been told");
    };
    assert_eq!((fault.hook(), fault.reason()), ("drop", "deadline"));
}

#[test]
fn sessions_fill_the_fullest_instance_and_one_spare_is_kept() {
    let limits = PluginLimits {
        sessions_per_instance: 3,
        ..PluginLimits::default()
    };
    let worker = WorkerPlugin::new(load_with(json!({}), limits));
    let mut sessions: Vec<_> = (1..=7).map(|id| open(&worker, id)).collect();
    assert_eq!(worker.instances(), 3);
    // The first instance loses two, the last has one: of these, new sessions join either, but
    // never make a fourth.
    sessions.drain(..2);
    sessions.push(open(&worker, 8));
    sessions.push(open(&worker, 9));
    assert_eq!(worker.instances(), 3);
    sessions.clear();
    assert_eq!(worker.instances(), 1);
    sessions.push(open(&worker, 10));
    assert_eq!(worker.instances(), 1);
}

#[test]
fn what_plugins_do_is_counted() {
    let runtime = Runtime::new(None).unwrap();
    let mut registry = Registry::default();
    runtime.register(&mut registry);
    let worker = WorkerPlugin::new(runtime.load(&config(deed("trap"))).unwrap());
    let mut session = open(&worker, 1);
    is_alive(&mut session);
    provoke(&mut session);
    let _spare = open(&worker, 2);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        r#"leaseway_plugin_calls_total{plugin="hostile",hook="on-data"} 2"#,
        r#"leaseway_plugin_calls_total{plugin="hostile",hook="constructor"} 2"#,
        r#"leaseway_plugin_faults_total{plugin="hostile",hook="on-data",reason="trap"} 1"#,
        r#"leaseway_plugin_instances{plugin="hostile"} 1"#,
        r#"leaseway_plugin_sessions{plugin="hostile"} 2"#,
    ] {
        assert!(text.lines().any(|one| one == line), "no {line} in\n{text}");
    }
}

//! A plugin's own time limit: when it passes, and what the client is told then.

use std::future::poll_fn;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::told::Told;
use super::toy::target;
use super::world::{Event, World};
use crate::config::ListenerConfig;
use crate::contract::{Deadline, Disposition, EndReason, Hooks, LeaseOutcome, Side, Step};
use crate::copy::{BufferPool, Room};
use crate::session::clock::{Clock, Passed};
use crate::session::engine::OUTPUT_HIGH_WATER;
use crate::session::{End, Engine, EngineLimits};

/// More than comes in any of these tests.
const ALL: usize = 1 << 20;

const SEND: Event = Event::Send {
    session: 0,
    count: ALL,
};
const LEASE: Event = Event::Lease { session: 0 };
const WRITE: Event = Event::Write {
    session: 0,
    count: ALL,
};
const READ: Event = Event::Read {
    session: 0,
    count: ALL,
};
const DELIVER: Event = Event::Deliver {
    session: 0,
    count: ALL,
};
const EXPIRE: Event = Event::Expire { session: 0 };

/// One session with this plugin, in front of a server that sends every byte back, whose client has
/// sent two bytes.
fn play(plugin: Told, events: &[Event]) -> World {
    let mut world = World::new(2);
    world.echoes_bytes = true;
    world.add(Box::new(plugin), b"ab".to_vec());
    for event in events {
        world.happen(event);
    }
    world
}

fn within(ms: u64) -> Deadline {
    Deadline {
        ms,
        farewell: b"bye".to_vec(),
    }
}

fn deadline(ms: u64) -> Step {
    Step::Deadline(Some(within(ms)))
}

fn say(text: impl Into<Vec<u8>>) -> Step {
    Step::Send((Side::Client, text.into()))
}

fn received(world: &World) -> String {
    String::from_utf8_lossy(&world.sessions[0].received).into_owned()
}

fn end(world: &World) -> Option<&End> {
    world.sessions[0].engine.end()
}

#[test]
fn the_farewell_stands_behind_all_that_was_sent() {
    let plugin = || {
        Told::default()
            .lease([deadline(7), say("hello "), Step::Forward(2)])
            .data(Side::Upstream, [Step::Forward(2)])
    };
    let plugin_only = [SEND, LEASE, EXPIRE, DELIVER];
    assert_eq!(received(&play(plugin(), &plugin_only)), "hello bye");
    let a_reply_too = [SEND, LEASE, WRITE, READ, EXPIRE, DELIVER];
    let world = play(plugin(), &a_reply_too);
    assert_eq!(received(&world), "hello abbye");
    assert_eq!(end(&world), Some(&End::Deadline(7)));
    assert_eq!(
        end(&world).unwrap().to_string(),
        "the plugin's deadline of 7 ms passed"
    );
}

#[test]
fn a_lease_ends_as_with_any_other_time_limit() {
    let plugin = Told::default()
        .lease([deadline(7), Step::Forward(2)])
        .data(Side::Upstream, [Step::Forward(2)]);
    let outcomes = plugin.outcomes();
    let world = play(plugin, &[SEND, LEASE, WRITE, READ, EXPIRE]);
    let timeout = LeaseOutcome {
        reason: EndReason::Timeout,
        sent: 2,
        received: 2,
    };
    assert_eq!(*outcomes.borrow(), [timeout]);
    assert_eq!(world.idle, [0]);
}

#[test]
fn nothing_is_said_in_the_middle_of_a_reply() {
    for rest in [
        vec![Step::Forward(3)],
        vec![Step::ForwardRest],
        vec![Step::Discard(3), say("more")],
        vec![Step::Discard(3), Step::Forward(1)],
        vec![say(vec![b'.'; OUTPUT_HIGH_WATER]), say("more")],
    ] {
        let plugin = Told::default()
            .lease([deadline(7), Step::Forward(2)])
            .data(Side::Upstream, rest.clone());
        let world = play(plugin, &[SEND, LEASE, WRITE, READ, EXPIRE, DELIVER]);
        assert_eq!(end(&world), Some(&End::Deadline(7)), "{rest:?}");
        assert!(!received(&world).contains("bye"), "{rest:?}");
    }
    let copied = Told::default().without(Hooks::ON_DATA).lease([deadline(7)]);
    let world = play(copied, &[SEND, LEASE, WRITE, READ, EXPIRE, DELIVER]);
    assert_eq!(received(&world), "ab");
    let waits = Told::default().lease([deadline(7), say("one "), Step::Discard(3), say("two ")]);
    let world = play(waits, &[SEND, LEASE, EXPIRE, DELIVER]);
    assert_eq!(received(&world), "one ");
}

#[test]
fn it_holds_while_a_lease_is_waited_for() {
    let plugin = Told::default().lease([Step::Forward(2), say("never")]);
    let plugin = plugin.failed([deadline(9), Step::Lease(target())]);
    let refused = [SEND, Event::Refuse { session: 0 }];
    let mut world = play(plugin, &refused);
    assert!(world.sessions[0].engine.is_asking());
    assert_eq!(world.sessions[0].deadline, Some(within(9)));
    for event in [EXPIRE, LEASE, DELIVER] {
        world.happen(&event);
    }
    assert_eq!(received(&world), "bye");
    assert!(world.connections.is_empty());
}

#[test]
fn the_last_one_counts_and_none_lifts_it() {
    let plugin = |last| {
        let steps = [
            deadline(1),
            deadline(2),
            Step::Forward(2),
            last,
            Step::Release(Disposition::Keep),
        ];
        Told::default().lease(steps)
    };
    let world = play(plugin(deadline(3)), &[SEND, LEASE]);
    assert_eq!(world.sessions[0].deadline, Some(within(3)));
    let mut world = play(plugin(Step::Deadline(None)), &[SEND, LEASE]);
    assert_eq!(world.sessions[0].deadline, None);
    world.happen(&EXPIRE);
    assert_eq!(end(&world), Some(&End::Timeout("idle-timeout")));
}

#[test]
fn it_is_carried_out_in_its_turn() {
    let plugin = Told::default()
        .lease([deadline(1), Step::Forward(2)])
        .data(Side::Upstream, [Step::Forward(3), Step::Deadline(None)]);
    let mut world = play(plugin, &[SEND, LEASE, WRITE, READ, DELIVER]);
    assert_eq!(world.sessions[0].deadline, Some(within(1)));
    world.connections[0].outbound.push_back(b'c');
    world.happen(&READ);
    assert_eq!(world.sessions[0].deadline, None);
}

/// A clock at the beginning of a session, on time that stands still but for its waits.
fn with_clock<F: Future<Output = ()>>(config: ListenerConfig, test: impl FnOnce(Ticking) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let limits = EngineLimits {
            max_shown: 512,
            replay_limit: 256,
            calls_a_turn: u32::MAX,
        };
        test(Ticking {
            clock: Clock::new(&config),
            engine: Engine::new(Hooks::CHOOSE_UPSTREAM, limits, std::rc::Rc::default(), None),
            config,
            begun: Instant::now(),
        })
        .await;
    });
}

struct Ticking {
    clock: Clock,
    engine: Engine,
    config: ListenerConfig,
    begun: Instant,
}

impl Ticking {
    /// What passes within so many milliseconds.
    async fn passed(&mut self, ms: u64) -> Option<Passed> {
        let Self {
            clock,
            engine,
            config,
            ..
        } = self;
        let next = poll_fn(|cx| clock.poll(cx, engine, config));
        timeout(Duration::from_millis(ms), next).await.ok()
    }

    /// The client sends this.
    fn hears(&mut self, bytes: &[u8]) {
        let pool = BufferPool::new();
        let Room::Memory(room) = self.engine.room(Side::Client, &pool) else {
            panic!("what is short needs no pipe");
        };
        room[..bytes.len()].copy_from_slice(bytes);
        self.engine.filled(Side::Client, bytes.len());
    }

    fn has_taken(&self, ms: u64) {
        let took = self.begun.elapsed().as_millis();
        assert!(
            (u128::from(ms)..u128::from(ms) + 5).contains(&took),
            "{took} ms"
        );
    }
}

#[test]
fn it_passes_in_its_time_and_once() {
    with_clock(ListenerConfig::default(), |mut it| async move {
        it.clock.set_deadline(Some(within(1_500)));
        assert_eq!(
            it.passed(10_000).await,
            Some(Passed::Deadline(within(1_500)))
        );
        it.has_taken(1_500);
        assert_eq!(it.passed(1 << 40).await, None);
    });
}

#[test]
fn a_new_one_begins_anew_and_one_that_is_lifted_never_passes() {
    with_clock(ListenerConfig::default(), |mut it| async move {
        it.clock.set_deadline(Some(within(1_500)));
        assert_eq!(it.passed(1_000).await, None);
        it.clock.set_deadline(Some(within(1_000)));
        assert_eq!(it.passed(900).await, None);
        it.clock.set_deadline(Some(within(100)));
        assert_eq!(
            it.passed(1 << 40).await,
            Some(Passed::Deadline(within(100)))
        );
        it.has_taken(2_000);
        it.clock.set_deadline(Some(within(100)));
        it.clock.set_deadline(None);
        assert_eq!(it.passed(1 << 40).await, None);
    });
}

#[test]
fn one_that_is_too_far_away_to_be_told_never_passes() {
    with_clock(ListenerConfig::default(), |mut it| async move {
        it.clock.set_deadline(Some(within(u64::MAX)));
        assert_eq!(it.passed(1 << 40).await, None);
    });
}

#[test]
fn the_limits_of_the_config_hold_beside_it() {
    let config = ListenerConfig {
        session_timeout: Some(Duration::from_secs(2)),
        ..ListenerConfig::default()
    };
    with_clock(config, |mut it| async move {
        it.clock.set_deadline(Some(within(1_000)));
        assert_eq!(
            it.passed(9_000).await,
            Some(Passed::Deadline(within(1_000)))
        );
        it.clock.set_deadline(Some(within(3_000)));
        assert_eq!(
            it.passed(9_000).await,
            Some(Passed::Limit("session-timeout"))
        );
        it.has_taken(2_000);
    });
}

#[test]
fn a_client_that_says_nothing_has_its_own_limit() {
    let config = || ListenerConfig {
        first_byte_timeout: Some(Duration::from_secs(2)),
        ..ListenerConfig::default()
    };
    with_clock(config(), |mut it| async move {
        assert_eq!(
            it.passed(9_000).await,
            Some(Passed::Limit("first-byte-timeout"))
        );
        it.has_taken(2_000);
    });
    with_clock(config(), |mut it| async move {
        assert_eq!(it.passed(1_000).await, None);
        it.hears(b"x");
        assert_eq!(it.passed(1 << 40).await, None);
    });
}

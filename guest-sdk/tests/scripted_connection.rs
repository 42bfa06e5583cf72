//! The scripted connection, through conversations of a plugin that does as it is told; and what
//! `Connection` itself promises.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use leaseway_sdk::log::Level;
use leaseway_sdk::testing::{self, ScriptedConnection};
use leaseway_sdk::*;

type Conversation = fn(&mut Connection<'_>) -> Result<(), String>;

/// A plugin whose probe is whatever the test says.
struct Told(Conversation);

impl Plugin for Told {
    type Config = NoConfig;
    type Session = ();
    const NAME: Option<&'static str> = Some("told");
    const CONFIG_FILES: &'static [&'static str] = &["users"];
    fn configure(_: NoConfig) -> Result<Self, String> {
        Ok(Self(|_| Ok(())))
    }
    fn session(&self, _: &SessionInfo) {}
}
impl Probe for Told {
    fn probe(&self, c: &mut Connection<'_>, _: &Target, _: u64) -> Result<(), String> {
        self.0(c)
    }
}
impl Connect for Told {
    fn connect(&self, c: &mut Connection<'_>, target: &Target) -> Result<Vec<u8>, String> {
        self.0(c)?;
        Ok(target.secret.clone())
    }
}
export!(Told);

fn run(script: ScriptedConnection, conversation: Conversation) -> Result<(), String> {
    testing::probe(&Told(conversation), script, &Target::default(), 0)
}

#[test]
fn name_and_config_files_can_be_set_and_the_hooks_are_found() {
    let info = testing::describe::<Told>();
    let hooks = Hooks::CONNECT | Hooks::PROBE;
    assert_eq!((info.name.as_str(), info.hooks), ("told", hooks));
    assert_eq!(info.config_files, ["users"]);
}

#[test]
fn frames_that_came_together_are_read_apart() {
    for pieces in 1..12 {
        let script = ScriptedConnection::new()
            .expect(b"ab")
            .reply(b"one\r\ntwo\nxyz")
            .in_pieces_of(pieces);
        let result = run(script, |c| {
            c.write(b"a")?;
            c.write(b"b")?;
            assert_eq!(c.read_line(10)?, b"one");
            assert_eq!(c.read_line(10)?, b"two");
            assert_eq!(c.read_exact(2)?, b"xy");
            assert_eq!(c.read(10)?, b"z");
            Ok(())
        });
        assert_eq!(result, Ok(()), "in pieces of {pieces}");
    }
}

#[test]
fn bytes_read_ahead_fail_a_conversation_that_ends_well() {
    let why = run(ScriptedConnection::new().reply(b"a\nb"), |c| {
        c.read_line(9).map(drop)
    });
    assert!(why.unwrap_err().contains("\"b\" behind the last reply"));
}

#[test]
fn bytes_left_unread_fail_it_too() {
    let why = run(ScriptedConnection::new().reply(b"ab"), |c| {
        Ok(c.read_exact(1).map(drop)?)
    });
    assert!(why.unwrap_err().contains("left unread"));
}

#[test]
fn what_connect_leaves_unread_is_for_the_first_session() {
    let told = Told(|c| Ok(c.read_exact(1).map(drop)?));
    let script = ScriptedConnection::new().reply(b"ab");
    let target = Target::default().secret(*b"tag");
    assert_eq!(
        testing::connect(&told, script, &target),
        Ok(b"tag".to_vec())
    );
}

#[test]
fn conversations_get_the_target_in_a_group() {
    struct Placed;
    impl Plugin for Placed {
        type Config = NoConfig;
        type Session = ();
        fn configure(_: NoConfig) -> Result<Self, String> {
            Ok(Self)
        }
        fn session(&self, _: &SessionInfo) {}
    }
    impl Connect for Placed {
        fn connect(&self, _: &mut Connection<'_>, target: &Target) -> Result<Vec<u8>, String> {
            Err(format!("{target:?}"))
        }
    }
    impl Reset for Placed {
        fn reset(&self, _: &mut Connection<'_>, target: &Target) -> Result<(), String> {
            Err(format!("{target:?}"))
        }
    }
    impl Probe for Placed {
        fn probe(&self, _: &mut Connection<'_>, target: &Target, _: u64) -> Result<(), String> {
            Err(format!("{target:?}"))
        }
    }
    export!(Placed);
    let silent = ScriptedConnection::new;
    let asked = Target::new("a").endpoint("127.0.0.1:1").affinity(7);
    for (asked, group) in [(asked.clone(), "test"), (asked.group("blue"), "blue")] {
        let told = Err(format!("{:?}", Target::new("a").group(group)));
        assert_eq!(testing::connect(&Placed, silent(), &asked).map(drop), told);
        assert_eq!(testing::reset(&Placed, silent(), &asked), told);
        assert_eq!(testing::probe(&Placed, silent(), &asked, 0), told);
    }
}

#[test]
fn a_tag_has_a_limit() {
    let told = Told(|_| Ok(()));
    let target = Target::default().secret(vec![0; (64 << 10) + 1]);
    let why = testing::connect(&told, ScriptedConnection::new(), &target);
    assert!(why.unwrap_err().contains("a tag of 65537 bytes"));
}

#[test]
fn reads_have_limits() {
    let of_none = run(ScriptedConnection::new().reply(b"a"), |c| {
        Ok(c.read(0).map(drop)?)
    });
    assert_eq!(of_none, Err("read of 0 bytes".into()));
    let of_too_much = run(ScriptedConnection::new(), |c| {
        Ok(c.read_exact((1 << 20) + 1).map(drop)?)
    });
    assert!(of_too_much.unwrap_err().contains("at most 1048576"));
    let script = ScriptedConnection::new().reply(&[b'x'; 70_000]);
    let at_once = run(script, |c| {
        assert_eq!(c.read(u32::MAX)?.len(), 64 << 10);
        Ok(c.read_exact(70_000 - (64 << 10)).map(drop)?)
    });
    assert_eq!(at_once, Ok(()));
}

#[test]
fn a_wrong_reply_is_quoted_and_not_waited_for() {
    let script = ScriptedConnection::new().expect(b"PING").reply(b"NO");
    let why = run(script, |c| c.ask(b"PING", b"YES!")).unwrap_err();
    assert!(why.contains("YES!") && why.contains("\"NO\""), "{why}");
}

#[test]
fn closing_and_breaking_are_told_apart() {
    let closed = run(ScriptedConnection::new().reply(b"a").close(), |c| {
        c.expect(b"ab")
    });
    assert!(closed.unwrap_err().contains("closed the connection"));
    let broken = run(ScriptedConnection::new().fail("reset by peer"), |c| {
        Ok(c.write(b"a")?)
    });
    assert_eq!(broken, Err("reset by peer".into()));
}

#[test]
#[should_panic(expected = "the script expects \"PING\"")]
fn writing_something_else_panics() {
    let _ = run(ScriptedConnection::new().expect(b"PING"), |c| {
        Ok(c.write(b"PUNG")?)
    });
}

#[test]
#[should_panic(expected = "the script expects it to write \"PING\" first")]
fn waiting_for_an_upstream_that_waits_panics() {
    let _ = run(ScriptedConnection::new().expect(b"PING"), |c| {
        c.expect(b"PONG")
    });
}

#[test]
#[should_panic(expected = "the script expects it to write \"PING\"")]
fn ending_before_the_script_panics() {
    let _ = run(ScriptedConnection::new().expect(b"PING"), |_| Ok(()));
}

#[test]
#[should_panic(expected = "the script is at its end")]
fn waiting_for_nothing_panics() {
    let _ = run(ScriptedConnection::new(), |c| c.expect(b"PONG"));
}

#[test]
fn a_config_error_names_the_key() {
    let why = testing::configure::<Told>(r#"{"colour": 1}"#)
        .err()
        .unwrap();
    assert!(why.contains("unknown field `colour`"), "{why}");
}

#[test]
fn log_lines_can_be_collected() {
    let (sum, lines) = testing::logged(|| {
        leaseway_sdk::info!("a {}", 1);
        log::warn!("b");
        1 + 1
    });
    assert_eq!(sum, 2);
    assert_eq!(
        lines,
        [(Level::Info, "a 1".into()), (Level::Warn, "b".into())]
    );
}

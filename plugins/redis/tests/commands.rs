//! Plain commands: a connection is leased for as long as replies are expected, and no longer.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_redis::Redis;
use leaseway_sdk::testing::{LeaseEnd, ScriptedSession, SessionEnd};
use leaseway_sdk::{
    Choice, ChooseUpstream, Disposition, OnData, Plugin, Replies, Request, SessionInfo, Side, Step,
};

fn bare_session() -> <Redis as Plugin>::Session {
    bare_session_of(r#"{"pooling": "command-exclusive"}"#)
}

fn bare_session_of(config: &str) -> <Redis as Plugin>::Session {
    let plugin = leaseway_sdk::testing::configure::<Redis>(config).unwrap();
    plugin.session(&SessionInfo {
        id: 1,
        listener: "test".into(),
        client_address: "127.0.0.1:1".into(),
        local_address: "127.0.0.1:2".into(),
    })
}

fn steps_of(choice: Choice) -> Vec<Step> {
    match choice {
        Choice::Lease(request) => request.then,
        other => panic!("no lease: {other:?}"),
    }
}

#[test]
fn a_command_costs_two_calls() {
    let mut session = bare_session();
    let get = requests("GET k");
    let then = steps_of(session.choose_upstream(&get));
    assert_eq!(then, [Step::ForwardIdempotent(get.len() as u64)]);
    let steps: Vec<Step> = session.on_data(Side::Upstream, b"$1\r\nv\r\n").into();
    assert_eq!(steps, [Step::Forward(7), Step::Release(Disposition::Keep)]);
}

#[test]
fn only_reads_may_be_sent_twice_and_only_among_themselves() {
    for (text, replayable) in [
        ("GET a; MGET a b; PING; EXISTS a", true),
        ("GET a; SET a b", false),
        ("INCR a", false),
        ("MULTI; GET a", false),
        ("WATCH a; GET a", false),
        ("EVAL x 0", false),
        ("XREAD STREAMS s $", false),
        ("NONSENSE", false),
    ] {
        let bytes = requests(text);
        let len = bytes.len() as u64;
        let expected = match replayable {
            true => Step::ForwardIdempotent(len),
            false => Step::Forward(len),
        };
        assert_eq!(
            steps_of(bare_session().choose_upstream(&bytes)),
            [expected],
            "{text}"
        );
    }
}

#[test]
fn commands_that_leave_nothing_behind_share_a_connection() {
    let shared = |text: &str| match bare_session_of("{}").choose_upstream(&requests(text)) {
        Choice::Share(share) => share.requests,
        Choice::Lease(_) | Choice::Answer(_) | Choice::NeedMore => Vec::new(),
    };
    let request = |text: &str, idempotent| Request {
        length: requests(text).len() as u32,
        replies: 1,
        idempotent,
    };
    assert_eq!(
        shared("GET a; SET a b; MGET a b"),
        [
            request("GET a", true),
            request("SET a b", false),
            request("MGET a b", true)
        ]
    );
    // Half a command behind reads comes to the plugin again, when there is more of it.
    let cut = requests("GET a; GET b");
    match bare_session_of("{}").choose_upstream(&cut[..cut.len() - 1]) {
        Choice::Share(share) => assert_eq!(share.requests, [request("GET a", true)]),
        other => panic!("{other:?}"),
    }
    // Behind a write it may be a `WAIT` for that.
    let cut = requests("SET a b; WAIT 1 0");
    let choice = bare_session_of("{}").choose_upstream(&cut[..cut.len() - 1]);
    assert!(matches!(choice, Choice::Lease(_)), "{choice:?}");
    for text in [
        "SET a b; WAIT 1 0",
        "GET a; MULTI; GET b",
        "MULTI; GET a",
        "WATCH a",
        "BLPOP a 0",
        "XREAD BLOCK 0 STREAMS a $",
        "SUBSCRIBE a",
        "MONITOR",
        "CLIENT TRACKING ON",
        "CLIENT REPLY OFF",
        "CLIENT ID",
        "CLIENT UNPAUSE",
        "SCRIPT KILL",
        "Function Kill",
        "SHUTDOWN NOSAVE",
        "FAILOVER ABORT",
        "ASKING",
        "SELECT 1",
        "AUTH x",
        "HELLO 3",
        "RESET",
        "QUIT",
        "NONSENSE",
    ] {
        assert_eq!(shared(text), [], "{text}");
    }
    // A request that is not all here would keep the others waiting.
    let whole = requests("SET a b");
    for end in 1..whole.len() {
        let choice = bare_session_of("{}").choose_upstream(&whole[..end]);
        assert!(
            !matches!(choice, Choice::Share(_)),
            "{end} bytes: {choice:?}"
        );
    }
}

#[test]
fn a_shared_target_is_said_once_for_each_identity() {
    let mut session = bare_session_of("{}");
    let mut target_of = |text: &str| match session.choose_upstream(&requests(text)) {
        Choice::Share(share) => share.target.map(|target| target.identity),
        other => panic!("{other:?}"),
    };
    let first = target_of("GET a");
    assert!(
        first
            .as_deref()
            .is_some_and(|identity| identity.contains("db=0"))
    );
    assert_eq!(target_of("GET a"), None);
}

#[test]
fn replies_are_measured_wherever_they_are_cut() {
    let whole: [&[u8]; 6] = [
        b"+OK\r\n",
        b"$5\r\na\r\nb$\r\n",
        b"*2\r\n$1\r\nx\r\n*1\r\n:1\r\n",
        b"-ERR no\r\n",
        b"$-1\r\n",
        b"*0\r\n",
    ];
    let all = whole.concat();
    for cut in 0..=all.len() {
        let plugin = leaseway_sdk::testing::configure::<Redis>("{}").unwrap();
        let mut measure = plugin.replies();
        let (mut covered, mut shown, mut ends) = (0, 0, Vec::new());
        for end in [cut, all.len()] {
            // As the host does: what is covered past the bytes that are here is not shown.
            while covered < end && shown < end {
                let spans = measure.measure(&all[covered..end]).unwrap();
                shown = if spans.is_empty() { end } else { covered };
                for span in spans {
                    covered += span.length as usize;
                    ends.extend(span.ends.then_some(covered));
                }
            }
        }
        let expected: Vec<usize> = whole
            .iter()
            .scan(0, |at, reply| {
                *at += reply.len();
                Some(*at)
            })
            .collect();
        assert_eq!(ends, expected, "cut at {cut}");
    }
    let plugin = leaseway_sdk::testing::configure::<Redis>("{}").unwrap();
    for stray in ["what?\r\n", ">2\r\n+invalidate\r\n*0\r\n"] {
        assert!(
            plugin.replies().measure(stray.as_bytes()).is_err(),
            "{stray}"
        );
    }
}

#[test]
fn the_connection_is_kept_once_all_replies_are_in() {
    let mut session = session();
    let bytes = requests("SET a b; GET a; INCR n");
    session.client(&bytes);
    assert_eq!(session.take_upstream(), bytes);
    session.upstream(b"+OK\r\n$1\r\nb\r\n");
    assert!(session.is_leased());
    session.upstream(b":1\r\n");
    assert!(!session.is_leased());
    assert_eq!(returned(&mut session), Disposition::Keep);
    assert_eq!(session.take_client(), b"+OK\r\n$1\r\nb\r\n:1\r\n");
    exchange(&mut session, "GET a", "-ERR plain errors are replies\r\n");
    assert_eq!(returned(&mut session), Disposition::Keep);
    assert_eq!(session.leases().len(), 2);
}

#[test]
fn more_commands_may_follow_while_replies_are_expected() {
    let mut session = session();
    session.client(&requests("GET a"));
    session.client(&requests("SET b c"));
    session.upstream(b"$-1\r\n");
    session.client(&requests("GET c"));
    session.upstream(b"+OK\r\n$-1\r\n");
    assert_eq!(session.leases().len(), 1);
    assert!(!session.is_leased());
    assert_eq!(session.leases()[0].sent, requests("GET a; SET b c; GET c"));
}

#[test]
fn large_values_pass_unseen_in_both_directions() {
    let mut session = session().with_max_shown(100);
    session.client(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\n");
    session.client(&[b'x'; 1002]);
    session.upstream(b"+OK\r\n");
    assert!(!session.is_leased());
    session.client(&requests("GET k"));
    session.upstream(b"$1000\r\n");
    session.upstream(&[b'y'; 1001]);
    assert!(session.is_leased(), "the last byte has not come");
    session.upstream(b"y");
    assert!(!session.is_leased());
    assert_eq!(session.leases()[0].sent.len(), 27 + 1002);
    assert_eq!(returned(&mut session), Disposition::Keep);
}

#[test]
fn a_client_that_never_waits_lets_others_have_their_turn() {
    let mut session = ScriptedSession::<Redis>::new(
        r#"{"pooling": "command-exclusive", "max-commands-per-lease": 2}"#,
    );
    session.client(&requests("GET 1; GET 2; GET 3"));
    assert_eq!(session.take_upstream(), requests("GET 1; GET 2"));
    session.client(&requests("GET 4"));
    assert_eq!(session.take_upstream(), b"");
    session.upstream(b":1\r\n:2\r\n");
    assert_eq!(session.take_upstream(), requests("GET 3; GET 4"));
    session.upstream(b":3\r\n:4\r\n");
    assert_eq!(session.take_client(), b":1\r\n:2\r\n:3\r\n:4\r\n");
    assert_eq!(session.leases().len(), 2);
}

#[test]
fn inline_commands_and_empty_lines_are_understood() {
    let mut session = session();
    session.client(b"\r\n*0\r\n");
    assert_eq!(session.leases().len(), 0);
    session.client(b"PING\r\nget \"a b\"\n");
    assert_eq!(session.take_upstream(), b"PING\r\nget \"a b\"\n");
    session.upstream(b"+PONG\r\n$-1\r\n");
    assert!(!session.is_leased());
}

#[test]
fn quit_waits_for_replies_and_reaches_no_server() {
    let mut session = session();
    session.client(&requests("GET a; QUIT; GET b"));
    assert_eq!(session.take_upstream(), requests("GET a"));
    assert_eq!(session.end(), None);
    session.upstream(b"$-1\r\n");
    assert_eq!(session.take_client(), b"$-1\r\n+OK\r\n");
    assert_eq!(
        session.end(),
        Some(&SessionEnd::Plugin(Some("QUIT".into())))
    );
    assert_eq!(session.take_upstream(), b"");
    assert_eq!(returned(&mut session), Disposition::Keep);
}

#[test]
fn what_the_client_is_called_by_its_library_is_answered_here() {
    let mut session = session();
    answered(&mut session, "CLIENT SETINFO lib-name x", "+OK\r\n");
    answered(
        &mut session,
        "client setinfo lib-name",
        "-ERR wrong number of arguments for 'client|setinfo' command\r\n",
    );
    answered(
        &mut session,
        "client setinfo lib-color x",
        "-ERR Unrecognized option 'lib-color'\r\n",
    );
    assert_eq!(session.leases().len(), 0);
}

#[test]
fn notices_of_maintenance_are_refused_here() {
    let mut session = session();
    answered(
        &mut session,
        "CLIENT Maint_Notifications ON moving-endpoint-type none",
        "-ERR unknown subcommand 'Maint_Notifications'. Try CLIENT HELP.\r\n",
    );
    assert_eq!(session.leases().len(), 0);
    exchange(&mut session, "GET a", "$-1\r\n");
    assert_eq!(returned(&mut session), Disposition::Keep);
}

#[test]
fn empty_requests_reach_no_server() {
    for pieces in [1, 3, 1000] {
        let mut session = session().in_pieces_of(pieces);
        let get = requests("GET a");
        session.client(
            &[
                b"*0\r\n\r\n*-5\r\n",
                &get[..],
                b"*0\r\n\r\n",
                &get,
                b"*-1\r\n",
            ]
            .concat(),
        );
        assert_eq!(session.take_upstream(), requests("GET a; GET a"));
        session.upstream(b"$-1\r\n$-1\r\n");
        assert_eq!(returned(&mut session), Disposition::Keep);
        session.client(&[&get[..], b"*-0\r\n"].concat());
        session.upstream(b"$-1\r\n");
        assert_eq!(
            escaped(&session.take_client()),
            escaped(b"$-1\r\n$-1\r\n$-1\r\n-ERR Protocol error: invalid multibulk length\r\n")
        );
        assert!(session.end().is_some());
    }
}

#[test]
fn a_connection_that_the_server_is_about_to_close_is_not_kept() {
    for pieces in [1, 5, 1000] {
        let mut session = session().in_pieces_of(pieces);
        session.client(&requests("GET a"));
        session.upstream(b"-ERR Protocol error: expected '$', got ' '\r\n");
        assert_eq!(returned(&mut session), Disposition::Close);
    }
}

#[test]
fn protocol_errors_are_answered_in_turn_and_end_the_session() {
    for (bytes, why) in [
        (&b"*1\r\nPING\r\n"[..], "expected '$'"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"GET \"a\r\n", "unbalanced quotes in request"),
        (b"*2\r\n$3\r\nGET\r\n:1\r\n", "expected '$'"),
    ] {
        for pieces in [1, 7, 1000] {
            let mut session = session().in_pieces_of(pieces);
            session.client(&[&requests("INCR n")[..], bytes].concat());
            session.upstream(b":1\r\n");
            assert_eq!(
                escaped(&session.take_client()),
                escaped(format!(":1\r\n-ERR Protocol error: {why}\r\n").as_bytes()),
                "{} in pieces of {pieces}",
                bytes.escape_ascii()
            );
            assert!(session.end().is_some());
        }
    }
}

#[test]
fn a_browser_is_shown_the_door() {
    for line in ["POST / HTTP/1.1\r\n", "Host: localhost\r\n"] {
        let mut session = session();
        session.client(line.as_bytes());
        assert!(session.end().is_some(), "{line}");
        assert_eq!(session.leases().len(), 0);
    }
}

#[test]
fn a_client_that_closes_its_side_still_gets_its_replies() {
    let mut session = session();
    session.client(&requests("GET a; QUIT"));
    session.client_eof();
    assert_eq!(session.end(), None);
    session.upstream(b"$-1\r\n");
    assert_eq!(session.take_client(), b"$-1\r\n+OK\r\n");
    assert!(session.end().is_some());
    assert_eq!(returned(&mut session), Disposition::Keep);
}

#[test]
fn a_client_that_closes_in_mid_request_costs_the_connection() {
    let mut session = session();
    session.client(&requests("GET a"));
    session.client(b"*2\r\n$3\r\nGET\r\n$100\r\nxx");
    session.client_eof();
    session.upstream(b"$1\r\nx\r\n");
    assert_eq!(
        session.take_client(),
        b"$1\r\nx\r\n",
        "the whole one is answered"
    );
    session.lose("closed");
    assert_eq!(session.take_client(), b"");
    assert!(session.end().is_some());
}

#[test]
fn a_client_that_stops_between_two_arguments_has_no_connection() {
    let request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10\r\n0123456789\r\n";
    let announced = request.len() - b"0123456789\r\n".len();
    for cut in 1..announced {
        for stop in cut..announced {
            let mut session = session();
            session.client(&request[..cut]);
            session.client(&request[cut..stop]);
            assert_eq!(session.leases().len(), 0, "{cut}, {stop}");
            session.client(&request[stop..announced]);
            assert_eq!(
                session.leases().len(),
                1,
                "its last bytes can be waited for"
            );
        }
        let mut session = session();
        session.client(&request[..cut]);
        session.client_eof();
        assert!(session.end().is_some());
        assert_eq!(session.leases().len(), 0);
    }
}

#[test]
fn a_client_that_ends_between_two_arguments_of_a_long_request_costs_the_connection() {
    let mut begun = b"*3\r\n$3\r\nSET\r\n$20000\r\n".to_vec();
    begun.resize(begun.len() + 20_000, b'k');
    begun.extend_from_slice(b"\r\n");
    let mut alone = session();
    alone.client(&begun);
    assert_eq!(alone.leases().len(), 1);
    alone.client_eof();
    assert!(alone.end().is_some(), "no reply is to come");
    assert_eq!(returned(&mut alone), Disposition::Close);

    let mut behind = session();
    behind.client(&requests("GET a"));
    behind.client(&begun);
    behind.client_eof();
    assert_eq!(behind.end(), None);
    behind.upstream(b"$1\r\nx\r\n");
    assert_eq!(behind.take_client(), b"$1\r\nx\r\n");
    behind.lose("closed");
    assert_eq!(behind.take_client(), b"");
    assert!(behind.end().is_some());
}

#[test]
fn a_client_that_leaves_in_mid_reply_costs_the_connection() {
    let mut session = session();
    session.client(&requests("GET a; GET b"));
    session.upstream(b"$1\r\na\r\n");
    session.client_error();
    assert_eq!(returned(&mut session), Disposition::Close);
    let mut session = common::session();
    session.client(&requests("GET a"));
    session.upstream(b"$10\r\nabc");
    session.client_error();
    assert_eq!(returned(&mut session), Disposition::Close);
}

#[test]
fn what_nobody_asked_for_costs_the_connection() {
    let mut session = session();
    session.client(&requests("GET a"));
    session.upstream(b"$-1\r\n+more\r\n");
    assert_eq!(session.take_client(), b"$-1\r\n");
    assert!(matches!(session.leases()[0].end, LeaseEnd::Doubted(_)));
    let mut session = common::session();
    session.client(&requests("GET a"));
    session.upstream(b"HTTP/1.1 200 OK\r\n");
    assert_eq!(session.take_client(), b"");
    assert!(session.end().is_some());
    assert_eq!(returned(&mut session), Disposition::Close);
}

#[test]
fn pushes_pass_and_are_no_replies() {
    let mut session = session();
    session.client(&requests("GET a"));
    session.upstream(b">2\r\n+x\r\n+y\r\n|1\r\n+ttl\r\n:1\r\n");
    assert!(session.is_leased());
    session.upstream(b"$1\r\na\r\n");
    assert_eq!(
        returned(&mut session),
        Disposition::Close,
        "somebody has turned pushes to it"
    );
    assert_eq!(
        session.take_client(),
        b">2\r\n+x\r\n+y\r\n|1\r\n+ttl\r\n:1\r\n$1\r\na\r\n"
    );
}

#[test]
fn any_split_of_a_pipeline_has_the_same_transcript() {
    let client = requests(
        "SET k value; GET k; CLIENT SETINFO lib-name x; MULTI; INCR n; EXEC; HGETALL h; QUIT",
    );
    let replies = [
        &b"+OK\r\n$5\r\nvalue\r\n"[..],
        b"+OK\r\n+QUEUED\r\n*1\r\n:1\r\n%1\r\n+f\r\n$1\r\nv\r\n",
    ];
    let transcript = |pieces: usize| {
        let mut session = session().in_pieces_of(pieces);
        session.client(&client);
        session.upstream(replies[0]);
        session.upstream(replies[1]);
        let sent = session.leases().iter().map(|lease| lease.sent.clone());
        let sent: Vec<_> = sent.collect();
        (session.take_client(), sent, session.end().cloned())
    };
    let whole = transcript(1000);
    assert_eq!(
        escaped(&whole.0),
        escaped(&[replies[0], b"+OK\r\n", replies[1], b"+OK\r\n"].concat())
    );
    assert_eq!(whole.1.len(), 2);
    for pieces in 1..40 {
        assert_eq!(transcript(pieces), whole, "in pieces of {pieces}");
    }
}

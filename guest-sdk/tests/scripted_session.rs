//! The scripted session keeps the contract's rules: with a puppet for a plugin, whose hooks
//! answer what the test has put down.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use leaseway_sdk::testing::{LeaseEnd, ScriptedSession, SessionEnd};
use leaseway_sdk::*;
use proptest::prelude::*;

/// What the hooks answer next, and what they were called with.
#[derive(Default)]
struct Strings {
    choices: VecDeque<Choice>,
    leased: VecDeque<Steps>,
    failed: VecDeque<Steps>,
    data: VecDeque<Steps>,
    shown: Vec<String>,
}

#[derive(Clone, Default)]
struct Puppet(Rc<RefCell<Strings>>);

impl Puppet {
    fn choice(self, choice: Choice) -> Self {
        self.0.borrow_mut().choices.push_back(choice);
        self
    }
    fn leased(self, steps: Steps) -> Self {
        self.0.borrow_mut().leased.push_back(steps);
        self
    }
    fn failed(self, steps: Steps) -> Self {
        self.0.borrow_mut().failed.push_back(steps);
        self
    }
    fn data(self, steps: Steps) -> Self {
        self.0.borrow_mut().data.push_back(steps);
        self
    }
    fn session(&self) -> ScriptedSession<Puppet> {
        ScriptedSession::of(self.clone())
    }
    fn shown(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut().shown)
    }
    fn note(&self, hook: &str, bytes: &[u8]) {
        let line = format!("{hook} {}", bytes.escape_ascii());
        self.0.borrow_mut().shown.push(line);
    }
}

impl Plugin for Puppet {
    type Config = NoConfig;
    type Session = Puppet;
    fn configure(_: NoConfig) -> Result<Self, String> {
        Ok(Self::default())
    }
    fn session(&self, _: &SessionInfo) -> Puppet {
        self.clone()
    }
}

impl ChooseUpstream for Puppet {
    fn choose_upstream(&mut self, bytes: &[u8]) -> Choice {
        self.note("choose", bytes);
        let choice = self.0.borrow_mut().choices.pop_front();
        choice.unwrap_or(Choice::NeedMore)
    }
}
impl OnLeased for Puppet {
    fn on_leased(&mut self, lease: &Leased) -> Steps {
        self.note(if lease.fresh { "fresh" } else { "reused" }, &lease.tag);
        self.0.borrow_mut().leased.pop_front().unwrap_or_default()
    }
}
impl OnLeaseFailed for Puppet {
    fn on_lease_failed(&mut self, why: &LeaseError) -> Steps {
        self.note("failed", why.to_string().as_bytes());
        self.0.borrow_mut().failed.pop_front().unwrap_or_default()
    }
}
impl OnData for Puppet {
    fn on_data(&mut self, origin: Side, data: &[u8]) -> Steps {
        let side = match origin {
            Side::Client => "Client",
            Side::Upstream => "Upstream",
        };
        self.note(side, data);
        self.0.borrow_mut().data.pop_front().unwrap_or_default()
    }
}
impl PoolReturn for Puppet {
    fn pool_return(&mut self, _: LeaseOutcome) -> Disposition {
        self.note("return", b"");
        Disposition::Keep
    }
}
impl OnRequestFailed for Puppet {
    fn on_request_failed(&mut self, why: &LeaseError, replies: u32) -> Vec<u8> {
        self.note("lost", why.to_string().as_bytes());
        b"sorry;".repeat(replies as usize)
    }
}
impl Replies for Puppet {
    fn replies(&self) -> Box<dyn MeasureReplies> {
        Box::new(Sentences)
    }
}

/// Replies end with a semicolon.
struct Sentences;

impl MeasureReplies for Sentences {
    fn measure(&mut self, data: &[u8]) -> Result<Vec<Span>, String> {
        if data.contains(&b'!') {
            return Err("an outcry".to_owned());
        }
        let pieces = data.split_inclusive(|byte| *byte == b';');
        Ok(pieces
            .map(|piece| Span {
                length: piece.len() as u64,
                ends: piece.ends_with(b";"),
            })
            .collect())
    }
}
export!(Puppet);

fn share(requests: &[(u32, u32)]) -> Choice {
    let requests = requests.iter().map(|(length, replies)| Request {
        length: *length,
        replies: *replies,
        idempotent: false,
    });
    Choice::share(Some(Target::default()), requests.collect())
}

fn lease() -> Choice {
    Choice::lease(Target::default())
}

fn ended(session: &mut ScriptedSession<Puppet>) -> LeaseEnd {
    session.leases().last().unwrap().end.clone()
}

#[test]
fn forward_reaches_past_what_was_shown_and_the_rest_is_shown() {
    let puppet = Puppet::default()
        .choice(lease())
        .data(Steps::new().forward(5));
    let mut session = puppet.session();
    session.client(b"ab");
    assert_eq!(session.take_upstream(), b"ab");
    session.client(b"cdeXY");
    assert_eq!(session.take_upstream(), b"cde");
    assert_eq!(
        puppet.shown(),
        ["choose ab", "fresh ", "Client ab", "Client XY"]
    );
}

#[test]
fn a_tag_that_was_put_on_shows_from_the_next_lease_on() {
    let round = |tag: &str, how| {
        Steps::new()
            .discard(1)
            .retag("passing")
            .retag(tag)
            .release(how)
    };
    let puppet = Puppet::default()
        .choice(lease())
        .data(round("second", Disposition::Keep))
        .choice(lease())
        .data(Steps::new().discard(1).release(Disposition::Keep))
        .choice(lease())
        .data(round("fourth", Disposition::Reset))
        .choice(Choice::lease(Target::new("another")));
    let mut session = puppet.session().with_tag(b"first");
    session.client(b"abc");
    let leases = session.leases();
    let tags: Vec<_> = leases.iter().map(|lease| lease.retagged.clone()).collect();
    // Without the hook `reset` a connection is closed for it.
    assert_eq!(
        tags,
        [
            Some(b"second".to_vec()),
            Some(b"second".to_vec()),
            Some(b"fourth".to_vec())
        ]
    );
    session.client(b"d");
    let shown = puppet.shown();
    let told: Vec<_> = shown
        .iter()
        .filter(|line| line.starts_with("fresh") || line.starts_with("reused"))
        .collect();
    assert_eq!(
        told,
        [
            "fresh first",
            "reused second",
            "reused second",
            "fresh first"
        ]
    );
}

#[test]
fn a_tag_that_somebody_else_has_put_on_shows() {
    let steps = Steps::new()
        .discard(1)
        .retag("own")
        .release(Disposition::Keep);
    let puppet = Puppet::default()
        .choice(lease())
        .data(steps)
        .choice(lease());
    let mut session = puppet.session().with_tag(b"first");
    session.client(b"a");
    let mut session = session.with_tag(b"theirs");
    session.client(b"b");
    let shown = puppet.shown();
    let is_told = |line: &&String| line.starts_with("fresh") || line.starts_with("reused");
    let told: Vec<_> = shown.iter().filter(is_told).collect();
    assert_eq!(told, ["fresh first", "reused theirs"]);
}

#[test]
fn a_deadline_ends_the_session_with_its_farewell_behind_what_was_sent() {
    let login = Steps::new()
        .deadline(Duration::from_secs(60), "too late")
        .send(Side::Client, "password? ");
    let puppet = Puppet::default().choice(Choice::answer(login.discard(1)));
    let mut session = puppet.session();
    assert!(session.deadline().is_none());
    session.client(b"a");
    let expected = Deadline {
        ms: 60_000,
        farewell: b"too late".to_vec(),
    };
    assert_eq!(session.deadline(), Some(&expected));
    session.deadline_passes();
    assert_eq!(session.take_client(), b"password? too late");
    assert_eq!(session.end(), Some(&SessionEnd::Deadline));
    assert!(session.deadline().is_none());
}

#[test]
fn the_farewell_is_left_out_in_the_middle_of_a_reply_and_the_lease_ends() {
    let puppet = Puppet::default()
        .choice(lease().then(Steps::new().forward(1).deadline(Duration::ZERO, "bye")))
        .data(Steps::new().forward(3));
    let mut session = puppet.session();
    session.client(b"a");
    session.upstream(b"A");
    session.deadline_passes();
    assert_eq!(session.take_client(), b"A");
    assert_eq!(session.end(), Some(&SessionEnd::Deadline));
    assert!(!session.is_leased());
}

#[test]
#[should_panic(expected = "no deadline that could pass")]
fn a_deadline_that_was_lifted_cannot_pass() {
    let steps = Steps::new()
        .deadline(Duration::from_secs(1), "")
        .no_deadline();
    let puppet = Puppet::default().choice(Choice::answer(steps));
    let mut session = puppet.session();
    session.client(b"a");
    session.deadline_passes();
}

#[test]
#[should_panic(expected = "a farewell of 65537 bytes")]
fn a_farewell_has_a_limit() {
    let steps = Steps::new().deadline(Duration::from_secs(1), vec![0; (64 << 10) + 1]);
    let puppet = Puppet::default().choice(Choice::answer(steps));
    puppet.session().client(b"a");
}

#[test]
fn an_unpooled_connection_is_fresh_and_closed_whatever_the_plugin_says() {
    let alone = || Choice::lease(Target::default().unpooled());
    let over = |how| Steps::new().discard(1).release(how);
    let puppet = Puppet::default()
        .choice(lease().then(over(Disposition::Keep)))
        .choice(alone().then(over(Disposition::Keep)))
        .choice(alone().then(over(Disposition::Close)))
        .choice(lease().then(over(Disposition::Keep)));
    let mut session = puppet.session();
    session.client(b"abcd");
    let told: Vec<_> = puppet.shown();
    let told: Vec<_> = told
        .iter()
        .filter(|line| !line.contains("choose"))
        .collect();
    assert_eq!(told, ["fresh ", "fresh ", "fresh ", "reused "]);
    let kept = LeaseEnd::Returned(Disposition::Keep);
    let closed = LeaseEnd::Returned(Disposition::Close);
    let ends: Vec<_> = session.leases().iter().map(|lease| &lease.end).collect();
    assert_eq!(ends, [&kept, &closed, &closed, &kept]);
}

#[test]
#[should_panic(expected = "share of an unpooled target")]
fn an_unpooled_connection_cannot_be_shared() {
    let share = Choice::share(
        Target::default().unpooled(),
        vec![Request {
            length: 1,
            replies: 1,
            idempotent: true,
        }],
    );
    Puppet::default().choice(share).session().client(b"a");
}

#[test]
#[should_panic(expected = "`retag` without a lease")]
fn a_tag_needs_a_connection_to_be_put_on() {
    let steps = Steps::new().discard(1).retag("whose");
    let puppet = Puppet::default().choice(Choice::answer(steps));
    puppet.session().client(b"a");
}

#[test]
#[should_panic(expected = "put on a tag of 65537 bytes")]
fn a_tag_put_on_has_a_limit_too() {
    let steps = Steps::new().retag(vec![0; (64 << 10) + 1]);
    let puppet = Puppet::default().choice(lease().then(steps));
    puppet.session().client(b"a");
}

#[test]
fn a_plugin_may_take_one_frame_a_call() {
    let one = || Steps::new().forward(1);
    let puppet = Puppet::default().choice(lease()).data(one()).data(one());
    let mut session = puppet.session();
    session.client(b"abc");
    assert_eq!(
        puppet.shown(),
        [
            "choose abc",
            "fresh ",
            "Client abc",
            "Client bc",
            "Client c"
        ]
    );
}

#[test]
fn what_no_step_covers_is_shown_again_with_more_and_not_before() {
    let puppet = Puppet::default()
        .choice(lease())
        .data(Steps::new().send(Side::Client, "wait"));
    let mut session = puppet.session();
    session.client(b"abc");
    assert_eq!(puppet.shown(), ["choose abc", "fresh ", "Client abc"]);
    session.client(b"d");
    assert_eq!(puppet.shown(), ["Client abcd"]);
}

#[test]
fn what_waits_for_the_other_side_is_not_shown_for_a_send_to_it() {
    let puppet = Puppet::default()
        .choice(lease())
        .data(Steps::new())
        .data(Steps::new().send(Side::Client, "wait"));
    let mut session = puppet.session();
    session.client(b"c");
    session.upstream(b"u");
    assert_eq!(session.take_client(), b"wait");
    assert_eq!(
        puppet.shown(),
        ["choose c", "fresh ", "Client c", "Upstream u"]
    );
}

#[test]
fn steps_of_the_other_side_show_it_again_too() {
    let puppet = Puppet::default()
        .choice(lease())
        .data(Steps::new())
        .data(Steps::new().forward(1));
    let mut session = puppet.session();
    session.client(b"c");
    session.upstream(b"u");
    assert_eq!(
        puppet.shown(),
        ["choose c", "fresh ", "Client c", "Upstream u", "Client c"]
    );
}

#[test]
fn steps_behind_a_lease_follow_those_of_on_leased() {
    let puppet = Puppet::default()
        .choice(lease().then(Steps::new().forward(3)))
        .leased(Steps::new().send(Side::Upstream, "hi "));
    let mut session = puppet.session().with_tag(b"tag");
    session.hold_leases();
    session.client(b"abc");
    assert!(session.is_waiting());
    assert_eq!(session.take_upstream(), b"");
    session.grant();
    assert_eq!(session.take_upstream(), b"hi abc");
    assert_eq!(puppet.shown(), ["choose abc", "fresh tag"]);
}

#[test]
fn a_failed_lease_drops_the_steps_behind_it() {
    let puppet = Puppet::default()
        .choice(lease().then(Steps::new().forward(3)))
        .failed(Steps::new().discard(3).send(Side::Client, "sorry"));
    let mut session = puppet.session();
    session.fail_leases(LeaseError::Draining);
    session.client(b"abcd");
    assert_eq!(session.take_client(), b"sorry");
    assert_eq!(session.end(), None);
    let shown = puppet.shown();
    assert_eq!(shown[2..], ["choose d"], "goes on with what is left");
}

#[test]
fn nothing_said_about_a_failed_lease_ends_the_session() {
    let mut session = Puppet::default().choice(lease()).session();
    session.fail_leases(LeaseError::Draining);
    session.client(b"a");
    let end = SessionEnd::LeaseFailed(LeaseError::Draining);
    assert_eq!(session.end(), Some(&end));
}

#[test]
fn bytes_promised_to_a_lost_lease_are_not_taken_for_a_new_message() {
    let puppet = Puppet::default()
        .choice(lease())
        .data(Steps::new().forward(6))
        .failed(Steps::new().send(Side::Client, "lost"));
    let mut session = puppet.session();
    session.client(b"abc");
    session.lose("reset by peer");
    assert_eq!(session.take_client(), b"lost");
    puppet.shown();
    session.client(b"defNEW");
    assert_eq!(puppet.shown(), ["choose NEW"]);
    assert_eq!(ended(&mut session), LeaseEnd::Lost);
}

#[test]
fn a_kept_connection_comes_back_reused() {
    let turn = || Steps::new().forward(1).release(Disposition::Keep);
    let puppet = Puppet::default()
        .choice(lease())
        .data(turn())
        .choice(lease());
    let mut session = puppet.session();
    session.client(b"a");
    session.client(b"b");
    let shown = puppet.shown();
    assert_eq!(
        shown,
        [
            "choose a", "fresh ", "Client a", "choose b", "reused ", "Client b"
        ]
    );
}

#[test]
fn bytes_left_over_at_a_release_are_shown_to_choose_upstream() {
    let turn = Steps::new().forward(1).release(Disposition::Keep);
    let puppet = Puppet::default().choice(lease()).data(turn);
    puppet.session().client(b"ab");
    assert_eq!(
        puppet.shown(),
        ["choose ab", "fresh ", "Client ab", "choose b"]
    );
}

#[test]
fn a_release_with_bytes_owed_or_unread_closes_the_connection() {
    let puppet = Puppet::default()
        .choice(lease())
        .data(Steps::new().forward(9))
        .data(Steps::new().forward(1).release(Disposition::Keep));
    let mut session = puppet.session();
    session.client(b"abc");
    session.upstream(b"u");
    assert!(matches!(ended(&mut session), LeaseEnd::Doubted(why) if why.contains("had not come")));

    let puppet = Puppet::default()
        .choice(lease())
        .data(Steps::new().forward(1))
        .data(Steps::new().forward(1).release(Disposition::Keep));
    let mut session = puppet.session();
    session.client(b"a");
    session.upstream(b"uv");
    assert!(matches!(ended(&mut session), LeaseEnd::Doubted(why) if why.contains("unread")));
}

#[test]
fn reset_without_the_hook_closes() {
    let puppet = Puppet::default()
        .choice(lease())
        .data(Steps::new().forward(1).release(Disposition::Reset));
    let mut session = puppet.session();
    session.client(b"a");
    assert_eq!(ended(&mut session), LeaseEnd::Returned(Disposition::Close));
}

#[test]
fn forward_rest_copies_unseen_and_the_half_close_passes() {
    let puppet = Puppet::default()
        .choice(lease())
        .data(Steps::new().forward_rest());
    let mut session = puppet.session();
    session.client(b"abc");
    session.client(b"def");
    session.client_eof();
    assert_eq!(session.take_upstream(), b"abcdef");
    assert!(session.upstream_saw_eof());
    assert_eq!(puppet.shown(), ["choose abc", "fresh ", "Client abc"]);
    session.timeout();
    assert_eq!(ended(&mut session), LeaseEnd::Returned(Disposition::Close));
    assert_eq!(puppet.shown(), [] as [&str; 0], "not asked: it is in doubt");
}

#[test]
fn asking_for_more_than_max_shown_ends_the_session() {
    let mut session = Puppet::default().session().with_max_shown(4);
    session.client(b"abc");
    assert_eq!(session.end(), None);
    session.client(b"d");
    assert_eq!(session.end(), Some(&SessionEnd::MaxShown(4)));
}

#[test]
fn a_close_ends_through_pool_return() {
    let puppet = Puppet::default().choice(lease()).data(
        Steps::new()
            .discard(1)
            .send(Side::Client, "bye")
            .close("done"),
    );
    let mut session = puppet.session();
    session.client(b"a");
    assert_eq!(session.take_client(), b"bye");
    let end = SessionEnd::Plugin(Some("done".into()));
    assert_eq!(session.end(), Some(&end));
    assert_eq!(ended(&mut session), LeaseEnd::Returned(Disposition::Keep));
}

#[test]
#[should_panic(expected = "`release` without a lease")]
fn release_without_a_lease_panics() {
    let steps = Steps::new().release(Disposition::Keep);
    let puppet = Puppet::default().choice(Choice::answer(steps));
    puppet.session().client(b"a");
}

#[test]
#[should_panic(expected = "`release` without a lease")]
fn release_twice_panics() {
    let steps = Steps::new()
        .forward(1)
        .release(Disposition::Keep)
        .release(Disposition::Keep);
    Puppet::default()
        .choice(lease())
        .data(steps)
        .session()
        .client(b"a");
}

#[test]
#[should_panic(expected = "`lease` while a lease is held")]
fn lease_in_mid_lease_panics() {
    let steps = Steps::new().lease(Target::default());
    Puppet::default()
        .choice(lease())
        .data(steps)
        .session()
        .client(b"a");
}

#[test]
#[should_panic(expected = "`forward` without a lease")]
fn forward_without_a_lease_panics() {
    let puppet = Puppet::default().choice(Choice::answer(Steps::new().forward(1)));
    puppet.session().client(b"a");
}

#[test]
#[should_panic(expected = "steps behind `forward-rest`")]
fn steps_behind_forward_rest_panic() {
    let steps = Steps::new().forward_rest().discard(1);
    Puppet::default()
        .choice(lease())
        .data(steps)
        .session()
        .client(b"a");
}

#[test]
#[should_panic(expected = "answered with no steps")]
fn an_empty_answer_panics() {
    let puppet = Puppet::default().choice(Choice::answer(Steps::new()));
    puppet.session().client(b"a");
}

/// Frames of one length byte and a body: even ones are forwarded, odd ones swallowed.
struct Framed;

impl Plugin for Framed {
    type Config = NoConfig;
    type Session = Framed;
    fn configure(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }
    fn session(&self, _: &SessionInfo) -> Framed {
        Framed
    }
}
impl OnData for Framed {
    fn on_data(&mut self, _: Side, mut data: &[u8]) -> Steps {
        let mut steps = Steps::new();
        while let frame::Parsed::Complete { value, len } =
            frame::LengthPrefix::u8().measure(data, 255)
        {
            steps = match value % 2 {
                0 => steps.forward(len as u64),
                _ => steps.discard(len as u64),
            };
            data = data.get(len..).unwrap_or_default();
        }
        steps
    }
}
export!(Framed);

proptest! {
    /// However the bytes arrive, the same ones pass, in order.
    #[test]
    fn any_split_passes_the_same_bytes(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
        cuts in prop::collection::vec(1usize..30, 1..20),
    ) {
        let (mut all, mut even) = (Vec::new(), Vec::new());
        for body in &bodies {
            let frame = [&[body.len() as u8], body.as_slice()].concat();
            if body.len() % 2 == 0 {
                even.extend_from_slice(&frame);
            }
            all.extend(frame);
        }
        let mut session = ScriptedSession::<Framed>::new("{}");
        let (mut rest, mut cuts) = (all.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            session.client(piece);
            session.upstream(piece);
            rest = more;
        }
        prop_assert_eq!(session.take_upstream(), even.clone());
        prop_assert_eq!(session.take_client(), even);
    }
}

/// No hooks at all.
struct Bare;

impl Plugin for Bare {
    type Config = NoConfig;
    type Session = ();
    fn configure(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }
    fn session(&self, _: &SessionInfo) {}
    fn default_target(&self) -> Target {
        Target::new("bare").group("g")
    }
}
export!(Bare);

#[test]
fn without_hooks_the_default_target_is_leased_and_all_is_copied() {
    assert_eq!(testing::describe::<Bare>().hooks, Hooks::empty());
    let mut session = ScriptedSession::<Bare>::new("{}");
    assert!(session.is_leased(), "at accept");
    session.client(b"abc");
    session.upstream(b"def");
    assert_eq!(session.take_upstream(), b"abc");
    assert_eq!(session.take_client(), b"def");
    session.upstream_eof();
    assert_eq!(session.end(), None);
    session.client_eof();
    assert_eq!(session.end(), Some(&SessionEnd::UpstreamClosed));
    let lease = &session.leases()[0];
    assert_eq!(lease.target, Target::new("bare").group("g"));
    assert_eq!(lease.end, LeaseEnd::Returned(Disposition::Close));
}

/// Forwards everything, and releases with the first reply after the client's end.
#[derive(Default)]
struct Last {
    ended: bool,
}

impl Plugin for Last {
    type Config = NoConfig;
    type Session = Last;
    fn configure(_: NoConfig) -> Result<Self, String> {
        Ok(Self::default())
    }
    fn session(&self, _: &SessionInfo) -> Last {
        Last::default()
    }
}
impl OnData for Last {
    fn on_data(&mut self, origin: Side, data: &[u8]) -> Steps {
        let steps = Steps::new().forward(data.len() as u64);
        match origin {
            Side::Upstream if self.ended => steps.release(Disposition::Keep),
            _ => steps,
        }
    }
}
impl OnEof for Last {
    fn on_eof(&mut self, origin: Side) -> Steps {
        assert_eq!(origin, Side::Client);
        self.ended = true;
        Steps::new()
    }
}
export!(Last);

#[test]
fn after_the_clients_end_what_is_expected_still_comes() {
    let mut session = ScriptedSession::<Last>::new("{}");
    session.client(b"ask");
    session.client_eof();
    assert!(session.state().ended);
    assert_eq!(session.end(), None);
    assert!(
        !session.upstream_saw_eof(),
        "only `forward-rest` passes it on"
    );
    session.upstream(b"answer");
    assert_eq!(session.take_client(), b"answer");
    assert_eq!(session.end(), Some(&SessionEnd::ClientClosed));
    assert_eq!(
        session.leases()[0].end,
        LeaseEnd::Returned(Disposition::Keep)
    );
}

#[test]
fn without_on_eof_the_clients_end_goes_through_pool_return() {
    let puppet = Puppet::default()
        .choice(lease())
        .data(Steps::new().forward(1));
    let mut session = puppet.session();
    session.client(b"a");
    session.client_eof();
    assert_eq!(session.end(), Some(&SessionEnd::ClientClosed));
    assert_eq!(ended(&mut session), LeaseEnd::Returned(Disposition::Keep));
}

#[test]
fn a_client_that_ends_while_it_waits_for_a_lease_still_gets_it() {
    let mut session = ScriptedSession::<Last>::new("{}");
    session.hold_leases();
    session.client(b"ask");
    session.client_eof();
    assert!(session.is_waiting());
    session.grant();
    assert_eq!(session.take_upstream(), b"ask");
}

#[test]
fn a_reply_that_is_cut_ends_the_session_and_no_hook_is_called() {
    let cut = |lose: fn(&mut ScriptedSession<Puppet>)| {
        let puppet = Puppet::default()
            .choice(lease().then(Steps::new().forward(1)))
            .data(Steps::new().forward(2).discard(2).forward(4))
            .failed(Steps::new().send(Side::Client, "sorry"));
        let mut session = puppet.session();
        session.client(b"a");
        session.upstream(b"xy");
        puppet.shown();
        lose(&mut session);
        assert_eq!(session.take_client(), b"xy");
        assert!(matches!(session.end(), Some(SessionEnd::ReplyCut(_))));
        assert_eq!(ended(&mut session), LeaseEnd::Lost);
        assert_eq!(puppet.shown(), [] as [&str; 0]);
    };
    cut(|session| session.lose("reset by peer"));
    cut(ScriptedSession::upstream_eof);
}

#[test]
fn a_client_that_ends_in_the_middle_of_what_is_forwarded_ends_the_session() {
    for steps in [Steps::new().forward(5), Steps::new().discard(5)] {
        let puppet = Puppet::default().choice(lease()).data(steps);
        let mut session = puppet.session();
        session.client(b"ab");
        session.client_eof();
        assert_eq!(session.end(), Some(&SessionEnd::ClientClosed));
        assert_eq!(ended(&mut session), LeaseEnd::Returned(Disposition::Close));
        assert_eq!(puppet.shown().last().unwrap(), "Client ab", "not asked");
    }
}

#[test]
fn a_drained_session_keeps_its_lease_to_the_end() {
    let puppet = Puppet::default()
        .choice(lease().then(Steps::new().forward(1)))
        .data(Steps::new().forward(1).release(Disposition::Keep));
    let mut session = puppet.session();
    session.client(b"a");
    session.drain();
    assert_eq!(session.end(), None);
    session.upstream(b"b");
    assert_eq!(session.take_client(), b"b");
    assert_eq!(session.end(), Some(&SessionEnd::Drain));
    assert_eq!(ended(&mut session), LeaseEnd::Returned(Disposition::Keep));
}

#[test]
fn no_lease_is_granted_to_a_drained_session() {
    let puppet = Puppet::default().choice(lease());
    let mut session = puppet.session();
    session.hold_leases();
    session.client(b"a");
    session.drain();
    let end = SessionEnd::LeaseFailed(LeaseError::Draining);
    assert_eq!(session.end(), Some(&end));
}

#[test]
fn what_stands_behind_a_release_of_the_upstreams_program_is_the_clients() {
    let puppet = Puppet::default()
        .choice(lease().then(Steps::new().forward(1)))
        .data(
            Steps::new()
                .forward(1)
                .release(Disposition::Keep)
                .discard(2),
        );
    let mut session = puppet.session();
    session.client(b"a");
    session.upstream(b"u");
    session.client(b"bcd");
    assert_eq!(puppet.shown()[3..], ["choose d"]);
}

#[test]
fn the_clients_program_goes_on_without_a_lease_behind_what_is_said_about_it() {
    let puppet = Puppet::default()
        .choice(
            lease().then(
                Steps::new()
                    .forward(4)
                    .send(Side::Upstream, "gone")
                    .send(Side::Client, "behind"),
            ),
        )
        .failed(Steps::new().send(Side::Client, "sorry "));
    let mut session = puppet.session();
    session.client(b"ab");
    session.lose("reset by peer");
    session.client(b"cdNEW");
    assert_eq!(session.take_client(), b"sorry behind");
    assert_eq!(session.take_upstream(), b"ab");
    assert_eq!(puppet.shown().last().unwrap(), "choose NEW");
}

#[test]
fn an_upstream_that_ends_while_it_alone_is_copied_ends_the_session() {
    let puppet = Puppet::default()
        .choice(lease().then(Steps::new().forward(1)))
        .data(Steps::new().forward_rest());
    let mut session = puppet.session();
    session.client(b"a");
    session.upstream(b"u");
    session.upstream_eof();
    assert_eq!(session.end(), Some(&SessionEnd::UpstreamClosed));
}

#[test]
fn a_client_with_a_lease_is_not_read_past_max_shown() {
    let puppet = Puppet::default()
        .choice(lease().then(Steps::new().forward(1)))
        .data(Steps::new())
        .data(Steps::new().forward(1))
        .data(Steps::new().forward(4));
    let mut session = puppet.session().with_max_shown(4);
    session.client(b"a");
    session.client(b"bcde");
    session.client(b"fg");
    assert_eq!(session.end(), None);
    session.upstream(b"u");
    assert_eq!(session.take_upstream(), b"abcde");
    assert_eq!(
        puppet.shown()[2..],
        ["Client bcde", "Upstream u", "Client bcde", "Client fg"]
    );
}

#[test]
fn an_upstream_that_is_not_understood_within_max_shown_ends_the_session() {
    let puppet = Puppet::default().choice(lease().then(Steps::new().forward(1)));
    let mut session = puppet.session().with_max_shown(4);
    session.client(b"a");
    session.upstream(b"1234");
    assert_eq!(session.end(), Some(&SessionEnd::MaxShown(4)));
    assert_eq!(puppet.shown().last().unwrap(), "Upstream 1234", "not asked");
}

#[test]
#[should_panic(expected = "16 leases in a row moved no byte")]
fn leasing_in_circles_panics() {
    let mut puppet = Puppet::default();
    for _ in 0..17 {
        puppet = puppet
            .choice(lease())
            .leased(Steps::new().release(Disposition::Keep));
    }
    puppet.session().client(b"a");
}

#[test]
#[should_panic(expected = "`on-data` returned 4097 steps, at most 4096")]
fn too_many_steps_panic() {
    let steps = vec![Step::Discard(0); 4097];
    let puppet = Puppet::default().choice(lease()).data(steps.into());
    puppet.session().client(b"a");
}

#[test]
#[should_panic(expected = "`on-data` handed 4194305 bytes to the host")]
fn too_many_bytes_panic() {
    let steps = Steps::new().send(Side::Client, vec![b'x'; (4 << 20) + 1]);
    let puppet = Puppet::default().choice(lease()).data(steps);
    puppet.session().client(b"a");
}

#[test]
#[should_panic(expected = "identity has 1025 bytes, at most 1024")]
fn an_identity_that_is_too_long_panics() {
    let target = Target::new("x".repeat(1025));
    let puppet = Puppet::default().choice(Choice::lease(target));
    puppet.session().client(b"a");
}

#[test]
#[should_panic(expected = "secret has 65537 bytes, at most 65536")]
fn a_secret_that_is_too_long_panics() {
    let target = Target::default().secret(vec![0; (64 << 10) + 1]);
    let puppet = Puppet::default().choice(Choice::lease(target));
    puppet.session().client(b"a");
}

#[test]
fn what_the_client_is_told_waits_for_the_reply_under_way() {
    let over = Steps::new()
        .discard(1)
        .send(Side::Client, *b"!")
        .release(Disposition::Keep);
    let puppet = Puppet::default()
        .choice(lease().then(Steps::new().forward(1)))
        .data(Steps::new().forward(5))
        .data(Steps::new().forward(1))
        .data(over)
        .data(Steps::new().forward(1));
    let mut session = puppet.session();
    session.client(b"a");
    session.upstream(b"uv");
    assert_eq!(session.take_client(), b"uv");
    // The rest of the reply may need what the client sends next.
    session.client(b"b");
    assert_eq!(session.take_upstream(), b"ab");
    session.client(b"c");
    assert_eq!(session.take_client(), b"");
    assert!(session.is_leased());
    session.upstream(b"wxy");
    assert_eq!(session.take_client(), b"wxy!");
    let end = session.leases().last().map(|lease| lease.end.clone());
    assert_eq!(end, Some(LeaseEnd::Returned(Disposition::Keep)));
}

#[test]
fn shared_requests_go_at_once_and_what_is_not_shared_waits_for_their_replies() {
    let puppet = Puppet::default()
        .choice(share(&[(2, 1), (1, 0), (2, 2)]))
        .choice(share(&[(1, 1)]))
        .choice(lease().then(Steps::new().forward(1)));
    let mut session = puppet.session();
    session.client(b"aabccd");
    assert_eq!(session.take_upstream(), b"aabccd");
    assert!(session.is_sharing() && !session.is_leased());
    session.client(b"e");
    assert_eq!(puppet.shown(), ["choose aabccd", "choose d", "choose e"]);
    for (sent, got) in [("one;t", "one;t"), ("wo;three;", "wo;three;"), ("fo", "fo")] {
        session.upstream(sent.as_bytes());
        assert_eq!(session.take_client(), got.as_bytes());
        assert_eq!(session.take_upstream(), b"", "it waits for all replies");
    }
    session.upstream(b"ur;");
    assert_eq!(session.take_client(), b"ur;");
    assert_eq!(session.take_upstream(), b"e");
    assert!(!session.is_sharing() && session.is_leased());
}

#[test]
fn a_client_that_closes_its_side_gets_the_replies_to_what_it_has_shared() {
    let puppet = Puppet::default().choice(share(&[(1, 1)]));
    let mut session = puppet.session();
    session.client(b"a");
    session.client_eof();
    assert_eq!(session.end(), None);
    session.upstream(b"one;");
    assert_eq!(session.take_client(), b"one;");
    assert_eq!(session.end(), Some(&SessionEnd::ClientClosed));
}

#[test]
fn a_lost_shared_connection_is_told_for_each_request_but_for_half_a_reply() {
    let puppet = Puppet::default().choice(share(&[(1, 1), (1, 2), (1, 0)]));
    let mut session = puppet.session();
    session.client(b"abc");
    session.upstream(b"one;two;");
    session.lose("gone");
    assert_eq!(session.take_client(), b"one;two;sorry;");
    assert_eq!(
        puppet.shown(),
        ["choose abc", "lost the connection was lost: gone"]
    );
    assert_eq!(session.end(), None);

    let puppet = Puppet::default().choice(share(&[(1, 1)]));
    let mut session = puppet.session();
    session.client(b"a");
    session.upstream(b"on");
    session.lose("gone");
    assert!(matches!(session.end(), Some(SessionEnd::ReplyCut(_))));
}

#[test]
fn what_nobody_asked_for_and_what_is_no_reply_end_a_shared_connection() {
    for (sent, got) in [("one;two;", "one;"), ("!", "sorry;")] {
        let puppet = Puppet::default().choice(share(&[(1, 1)]));
        let mut session = puppet.session();
        session.client(b"a");
        session.upstream(sent.as_bytes());
        assert_eq!(session.take_client(), got.as_bytes());
        assert!(!session.is_sharing());
    }
}

#[test]
#[should_panic(expected = "share of requests that have not all been shown")]
fn sharing_what_was_not_shown_panics() {
    let puppet = Puppet::default().choice(share(&[(2, 1)]));
    puppet.session().client(b"a");
}

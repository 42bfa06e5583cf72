//! The SDK's side: a scripted session of the dealt plugin.

use std::cell::{Cell, RefCell};

use leaseway_sdk::export::Exported;
use leaseway_sdk::testing::{self, ScriptedSession, SessionEnd};
use leaseway_sdk::{
    Choice, Connection, Disposition, Hooks, LeaseError, LeaseOutcome, Leased, MeasureReplies,
    NoConfig, Plugin, SessionInfo, Side, Span, Steps, Target,
};

use super::dealt::{Deal, Dealt, measure};
use super::{Event, Lease, LeaseEnd, Seen, busy, text};

thread_local! {
    /// The hooks of the plugin at hand; the trait asks for them without a plugin.
    static HAS: Cell<Hooks> = Cell::new(Hooks::empty());
}

/// The dealt plugin, with the upstream or the client to speak first.
pub(crate) struct Told<const UPSTREAM_FIRST: bool>(Deal);

impl<const UPSTREAM_FIRST: bool> Plugin for Told<UPSTREAM_FIRST> {
    type Config = NoConfig;
    type Session = RefCell<Dealt>;
    const SPEAKS_FIRST: Side = if UPSTREAM_FIRST {
        Side::Upstream
    } else {
        Side::Client
    };

    fn configure(_: NoConfig) -> Result<Self, String> {
        Err("is dealt".to_owned())
    }

    fn session(&self, _: &SessionInfo) -> RefCell<Dealt> {
        RefCell::new(Dealt::new(&self.0))
    }

    fn default_target(&self) -> Target {
        Target::new("default")
    }
}

/// By hand, since `export!` finds the hooks while compiling, and these are dealt.
impl<const UPSTREAM_FIRST: bool> Exported for Told<UPSTREAM_FIRST> {
    const PACKAGE: &'static str = "told";
    const VERSION: &'static str = "0";

    fn hooks() -> Hooks {
        HAS.get()
    }
    fn choose_upstream(session: &mut RefCell<Dealt>, bytes: &[u8]) -> Choice {
        session.get_mut().choose_upstream(bytes)
    }
    fn on_leased(session: &mut RefCell<Dealt>, lease: &Leased) -> Steps {
        session
            .get_mut()
            .on_leased(&lease.tag, &lease.endpoint, &lease.identity)
            .into()
    }
    fn on_lease_failed(session: &mut RefCell<Dealt>, why: &LeaseError) -> Steps {
        session.get_mut().on_lease_failed(why).into()
    }
    fn on_data(session: &mut RefCell<Dealt>, origin: Side, data: &[u8]) -> Steps {
        session.get_mut().on_data(origin, data).into()
    }
    fn on_eof(session: &mut RefCell<Dealt>, origin: Side) -> Steps {
        session.get_mut().on_eof(origin).into()
    }
    fn pool_return(session: &mut RefCell<Dealt>, outcome: LeaseOutcome) -> Disposition {
        session.get_mut().pool_return(outcome)
    }
    fn connect(_: &Self, _: &mut Connection<'_>, _: &Target) -> Result<Vec<u8>, String> {
        Err("is never called".to_owned())
    }
    fn reset(_: &Self, _: &mut Connection<'_>, _: &Target) -> Result<(), String> {
        Err("is never called".to_owned())
    }
    fn probe(_: &Self, _: &mut Connection<'_>, _: &Target, _: u64) -> Result<(), String> {
        Err("is never called".to_owned())
    }
    fn replies(_: &Self) -> Box<dyn MeasureReplies> {
        Box::new(Measure)
    }
    fn on_request_failed(session: &mut RefCell<Dealt>, why: &LeaseError, replies: u32) -> Vec<u8> {
        session.get_mut().on_request_failed(why, replies)
    }
}

struct Measure;

impl MeasureReplies for Measure {
    fn measure(&mut self, data: &[u8]) -> Result<Vec<Span>, String> {
        measure(data)
    }
}

/// A scripted session, with what its test has to remember.
pub(crate) struct Sdk<const UPSTREAM_FIRST: bool> {
    session: ScriptedSession<Told<UPSTREAM_FIRST>>,
    from_client: usize,
    from_upstream: usize,
    to_client: Vec<u8>,
    to_upstream: Vec<u8>,
}

impl<const UPSTREAM_FIRST: bool> Sdk<UPSTREAM_FIRST> {
    pub(crate) fn new(deal: &Deal, max_shown: usize) -> Self {
        HAS.set(deal.has);
        let mut session = ScriptedSession::of(Told(deal.clone()))
            .with_max_shown(max_shown)
            .with_tag(b"tag");
        session.hold_leases();
        Self {
            session,
            from_client: 0,
            from_upstream: 0,
            to_client: Vec::new(),
            to_upstream: Vec::new(),
        }
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.session.state().borrow().calls.clone()
    }

    pub(crate) fn happen(&mut self, event: &Event) {
        match *event {
            Event::Client(count) => {
                let bytes = text(b'a', &mut self.from_client, count);
                self.session.client(&bytes);
            }
            Event::ClientEof => self.session.client_eof(),
            Event::ClientError => self.session.client_error(),
            Event::Upstream(count) => {
                let bytes = text(b'A', &mut self.from_upstream, count);
                self.session.upstream(&bytes);
            }
            Event::UpstreamEof => self.session.upstream_eof(),
            Event::Lose => self.session.lose("reset by peer"),
            Event::Grant => self.session.grant(),
            Event::Fail => self.session.fail(busy()),
            Event::GrantLeases => self.session.grant_leases(),
            Event::HoldLeases => self.session.hold_leases(),
            Event::FailLeases => self.session.fail_leases(busy()),
            Event::Timeout => self.session.timeout(),
            Event::Deadline => self.session.deadline_passes(),
            Event::Drain => self.session.drain(),
        }
    }

    pub(crate) fn seen(&mut self) -> Seen {
        self.to_client.extend(self.session.take_client());
        self.to_upstream.extend(self.session.take_upstream());
        let leases = self
            .session
            .leases()
            .iter()
            .map(|lease| Lease {
                identity: lease.target.identity.clone(),
                unpooled: lease.target.unpooled,
                sent: lease.sent.escape_ascii().to_string(),
                received: lease.received,
                retagged: lease
                    .retagged
                    .as_ref()
                    .map(|tag| tag.escape_ascii().to_string()),
                end: match &lease.end {
                    testing::LeaseEnd::Waiting => LeaseEnd::Waiting,
                    testing::LeaseEnd::Held => LeaseEnd::Held,
                    testing::LeaseEnd::Failed(_) => LeaseEnd::Failed,
                    testing::LeaseEnd::Lost => LeaseEnd::Closed,
                    testing::LeaseEnd::Returned(Disposition::Keep) => LeaseEnd::Kept,
                    testing::LeaseEnd::Returned(Disposition::Reset) => LeaseEnd::Reset,
                    testing::LeaseEnd::Returned(Disposition::Close) => LeaseEnd::Closed,
                    testing::LeaseEnd::Doubted(_) => LeaseEnd::Doubted,
                },
            })
            .map(|lease| lease.told())
            .collect();
        Seen {
            calls: self.calls(),
            to_client: self.to_client.escape_ascii().to_string(),
            to_upstream: self.to_upstream.escape_ascii().to_string(),
            leases,
            leased: self.session.is_leased(),
            waiting: self.session.is_waiting(),
            deadline: self
                .session
                .deadline()
                .map(|deadline| format!("{} {}", deadline.ms, deadline.farewell.len())),
            end: self.session.end().map(name),
        }
    }
}

fn name(end: &SessionEnd) -> String {
    match end {
        SessionEnd::Plugin(why) => format!("plugin-close {why:?}"),
        SessionEnd::ClientClosed => "client-closed".to_owned(),
        SessionEnd::ClientError => "client-broke".to_owned(),
        SessionEnd::UpstreamClosed => "upstream-closed".to_owned(),
        SessionEnd::ReplyCut(_) => "reply-cut".to_owned(),
        SessionEnd::LeaseFailed(_) => "no-lease".to_owned(),
        SessionEnd::MaxShown(limit) => format!("max-shown {limit}"),
        SessionEnd::Timeout => "timeout".to_owned(),
        SessionEnd::Deadline => "plugin-deadline".to_owned(),
        SessionEnd::Drain => "drain".to_owned(),
    }
}

//! Requests on a shared connection: the part of [`Relay`] that the host has in `session/sharing.rs`
//! and `session/shared`, for one session.
//!
//! To a plugin's session it looks as if the connection were its own: its requests go out in order,
//! and replies come back in that order. Nothing is sent again: that no plugin sees.

use std::collections::VecDeque;

use super::hooked::Hooked;
use super::record::SessionEnd;
use super::relay::Relay;
use super::way::up_to;
use crate::{Choice, Hooks, LeaseError, MeasureReplies, Share, Target};

/// Bytes of replies that a plugin may leave unmeasured.
const MAX_UNMEASURED: usize = 64 << 10;

/// Where a session stands with shared connections.
#[derive(Default)]
pub(super) struct Sharing {
    /// What the plugin has chosen, and what must not overtake the requests under way.
    held: Option<Choice>,
    /// Replies that each request under way has still to get.
    under_way: VecDeque<u32>,
    /// Sent by the upstream, and not given to anybody yet.
    pub(super) unread: Vec<u8>,
    measure: Option<Box<dyn MeasureReplies>>,
    /// Bytes of `unread` that were shown, and not measured.
    shown: usize,
    /// So many more bytes belong to the reply under way, which ends with them or does not.
    passing: u64,
    ends: bool,
    /// A part of the first reply has gone to the client.
    midway: bool,
}

impl Sharing {
    /// No request is under way.
    pub(super) fn is_quiet(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether the plugin is not to be shown what the client sends.
    pub(super) fn holds_up(&self) -> bool {
        self.held.is_some() && !self.is_quiet()
    }

    /// Hands a choice back if it may be carried out now, and else keeps it until it may. `named`:
    /// the target of the requests under way.
    pub(super) fn hold(&mut self, choice: Choice, named: Option<&Target>) -> Option<Choice> {
        let joins = match &choice {
            Choice::Share(share) => share.target.is_none() || share.target.as_ref() == named,
            _ => false,
        };
        if self.is_quiet() || joins {
            return Some(choice);
        }
        self.held = Some(choice);
        None
    }

    /// A choice that had to wait, once it need not any more.
    pub(super) fn take_held(&mut self) -> Option<Choice> {
        self.held.take_if(|_| self.under_way.is_empty())
    }

    /// Takes out the requests at the front that are done.
    fn settle(&mut self) {
        while self.under_way.front() == Some(&0) {
            self.under_way.pop_front();
        }
    }
}

impl Relay {
    /// Takes the plugin's word for what the next requests are.
    pub(super) fn share(&mut self, share: Share) {
        assert!(
            self.has(Hooks::REPLIES),
            "`choose-upstream`: share without the hook `replies`"
        );
        let Share { target, requests } = share;
        let mut length = 0_u64;
        for request in &requests {
            assert!(request.length > 0, "share of a request without bytes");
            length += u64::from(request.length);
        }
        assert!(
            length <= self.client.uncovered.len() as u64,
            "share of requests that have not all been shown"
        );
        let target = self.named(target);
        assert!(!target.unpooled, "share of an unpooled target");
        for request in requests {
            let length = request.length as usize;
            self.to_upstream
                .extend(self.client.uncovered.drain(..length));
            self.sharing.under_way.push_back(request.replies);
        }
        self.client.shown = 0;
        self.barren_leases = 0;
        self.sharing.settle();
    }

    /// Gives the client what has come for it on a shared connection. True if anything changed.
    pub(super) fn deal_out(&mut self, plugin: &mut dyn Hooked) -> bool {
        if self.end.is_some() || self.sharing.unread.len() <= self.sharing.shown {
            return false;
        }
        if let Err(why) = self.measure(plugin) {
            self.lose_shared(&why, plugin);
        }
        self.run(plugin);
        true
    }

    fn measure(&mut self, plugin: &mut dyn Hooked) -> Result<(), String> {
        loop {
            self.pass_reply();
            let sharing = &mut self.sharing;
            let held = sharing.unread.len();
            if held == 0 || sharing.passing > 0 {
                return Ok(());
            }
            if sharing.is_quiet() {
                return Err("it sent bytes that nobody had asked for".to_owned());
            }
            if held <= sharing.shown {
                return match held {
                    MAX_UNMEASURED.. => Err("the plugin cannot measure a reply".to_owned()),
                    _ => Ok(()),
                };
            }
            let measure = sharing.measure.get_or_insert_with(|| plugin.replies());
            let spans = measure.measure(&sharing.unread)?;
            sharing.shown = if spans.is_empty() { held } else { 0 };
            for span in spans {
                assert!(
                    self.sharing.passing == 0,
                    "`measure` returned a span behind one that reaches past what was shown"
                );
                assert!(span.length > 0, "`measure` returned a span without bytes");
                if self.sharing.is_quiet() {
                    return Err("it sent bytes that nobody had asked for".to_owned());
                }
                self.sharing.passing = span.length;
                self.sharing.ends = span.ends;
                self.pass_reply();
            }
        }
    }

    /// Passes on what is there of the reply under way.
    fn pass_reply(&mut self) {
        let sharing = &mut self.sharing;
        let count = up_to(sharing.passing, sharing.unread.len());
        if count == 0 {
            return;
        }
        self.to_client.extend(sharing.unread.drain(..count));
        sharing.passing -= count as u64;
        sharing.midway = true;
        if sharing.passing == 0 && std::mem::take(&mut sharing.ends) {
            sharing.midway = false;
            if let Some(replies) = sharing.under_way.front_mut() {
                *replies -= 1;
            }
            sharing.settle();
        }
    }

    /// The shared connection is gone, and nothing that was under way on it can be sent again.
    pub(super) fn lose_shared(&mut self, why: &str, plugin: &mut dyn Hooked) {
        let sharing = &mut self.sharing;
        let failed = std::mem::take(&mut sharing.under_way);
        sharing.unread.clear();
        sharing.measure = None;
        sharing.shown = 0;
        sharing.passing = 0;
        if std::mem::take(&mut sharing.midway) {
            return self.finish(SessionEnd::ReplyCut(why.to_owned()), plugin);
        }
        let why = LeaseError::Lost(why.to_owned());
        for replies in failed.into_iter().filter(|replies| *replies > 0) {
            let words = match self.has(Hooks::ON_REQUEST_FAILED) {
                true => plugin.on_request_failed(&why, replies),
                false => Vec::new(),
            };
            if words.is_empty() {
                return self.finish(SessionEnd::LeaseFailed(why), plugin);
            }
            self.to_client.extend(words);
        }
    }
}

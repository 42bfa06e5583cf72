//! What of a session goes to shared connections, and what has to wait until that is done.

use std::sync::Arc;

use super::end::End;
use super::engine::Engine;
use super::shared::Failure;
use super::steps::misuse;
use crate::contract::{Choice, Hooks, Request, Share, Side, Target};
use crate::plugin::SessionHooks;

/// Where a session stands with shared connections.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// Requests at the front of the client's bytes that no connection has taken yet.
    requests: Vec<Request>,
    /// How many of these have been taken meanwhile.
    taken: usize,
    /// Requests that a connection has taken, and that are not done.
    under_way: u32,
    /// What the plugin has chosen for the bytes behind these, and what must not overtake them.
    held: Option<Box<Choice>>,
}

impl Sharing {
    /// Nothing is under way, nor to be sent.
    pub(super) fn is_quiet(&self) -> bool {
        self.under_way == 0 && !self.waits_for_room()
    }

    /// Requests wait for a connection to take them.
    pub(super) fn waits_for_room(&self) -> bool {
        self.taken < self.requests.len()
    }

    /// Whether what the client sends has to wait, and the plugin is not to be shown it.
    pub(super) fn holds_up(&self) -> bool {
        self.waits_for_room() || (self.held.is_some() && self.under_way > 0)
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
        self.held = Some(Box::new(choice));
        None
    }

    /// A choice that had to wait, once it need not any more.
    pub(super) fn take_held(&mut self) -> Option<Choice> {
        if self.under_way > 0 {
            return None;
        }
        self.held.take().map(|choice| *choice)
    }
}

impl Engine {
    /// Takes the plugin's word for what the next requests are.
    pub(super) fn share(&mut self, share: Share) -> Result<(), End> {
        if !self.has.contains(Hooks::REPLIES) {
            return Err(misuse("share without the hook `replies`"));
        }
        let Share { target, requests } = share;
        let mut length = 0_u64;
        for request in &requests {
            if request.length == 0 {
                return Err(misuse("share of a request without bytes"));
            }
            length += u64::from(request.length);
        }
        if requests.is_empty() || length > self.client.uncovered() as u64 {
            return Err(misuse("share of requests that have not all been shown"));
        }
        if self.named(target)?.unpooled {
            return Err(misuse("share of an unpooled target"));
        }
        self.sharing.requests = requests;
        self.sharing.taken = 0;
        Ok(())
    }

    /// Requests for a shared connection: where to, which, and their bytes.
    pub fn requests(&self) -> Option<(&Arc<Target>, &[Request], &[u8])> {
        let sharing = &self.sharing;
        let requests = &sharing.requests[sharing.taken..];
        match self.named.last() {
            Some(target) if !requests.is_empty() => {
                Some((target, requests, self.client.uncovered_bytes()))
            }
            _ => None,
        }
    }

    /// So many of [`Engine::requests`] have been taken.
    pub fn requests_taken(&mut self, count: usize, hooks: &mut dyn SessionHooks) {
        let sharing = &mut self.sharing;
        let taken = &sharing.requests[sharing.taken..][..count];
        let length: usize = taken.iter().map(|request| request.length as usize).sum();
        sharing.under_way += u32::try_from(count).unwrap_or(u32::MAX);
        sharing.taken += count;
        if !sharing.waits_for_room() {
            sharing.requests = Vec::new();
            sharing.taken = 0;
        }
        self.client.input.consume(length);
        self.client.shown = 0;
        self.barren_leases = 0;
        self.run(hooks);
    }

    /// Replies have come, and so many requests are done with them. Of `bytes` the storage is left,
    /// or other storage.
    pub fn replied(&mut self, bytes: &mut Vec<u8>, done: u32, hooks: &mut dyn SessionHooks) {
        if self.end.is_some() {
            return;
        }
        self.client.output.take_over(bytes);
        self.sharing.under_way = self.sharing.under_way.saturating_sub(done);
        self.run(hooks);
    }

    /// A request gets no reply any more.
    pub fn request_failed(&mut self, failure: Failure, hooks: &mut dyn SessionHooks) {
        if self.end.is_some() {
            return;
        }
        let Failure { why, replies, cut } = failure;
        if replies == 0 && !cut {
            // Nobody waits to hear of it.
            return self.replied(&mut Vec::new(), 1, hooks);
        }
        if cut {
            let why = crate::contract::lease_error_text(&why);
            return self.finish(End::ReplyCut(why), hooks);
        }
        let words = if self.has.contains(Hooks::ON_REQUEST_FAILED) {
            hooks.on_request_failed(&why, replies)
        } else {
            Ok(Vec::new())
        };
        match words {
            Err(fault) => self.finish(End::Fault(fault), hooks),
            Ok(words) if words.is_empty() => self.finish(End::NoLease(why), hooks),
            Ok(mut words) => self.replied(&mut words, 1, hooks),
        }
    }

    /// Whether everything for the client has been written, so that it can take more replies.
    pub fn takes_replies(&self) -> bool {
        !self.has_output(Side::Client)
    }
}

//! A session's connections: leases asked for, taken and given back, and its part in shared ones.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::driver::SessionTask;
use super::engine::{LeaseFacts, Loss};
use super::shared::{Mail, Member};
use crate::contract::{Disposition, LeaseError, Side, lease_error_kind, lease_error_text};
use crate::kernel;
use crate::lease::{Lease, Leasing};

impl SessionTask {
    /// Gives back, asks, and takes what was asked for. True if anything changed.
    pub(super) fn settle_lease(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        if let Some(giveback) = self.engine.take_giveback() {
            moved = true;
            if let Some(mut lease) = self.lease.take() {
                if let Some(reason) = giveback.unclean
                    && giveback.disposition != Disposition::Close
                {
                    self.context.counters.unclean(reason);
                }
                if let Some(tag) = giveback.retag {
                    lease.retag(tag);
                }
                lease.release(giveback.disposition, giveback.unclean.is_none());
            }
        }
        if !self.engine.is_asking() {
            self.leasing = None;
            return moved;
        }
        if let Some((target, fresh)) = self.engine.take_ask() {
            if fresh {
                self.context.counters.replays.inc();
            }
            // Whoever still stands in line for what is not wanted any more leaves it first.
            self.leasing = None;
            match self.context.borrow(target, fresh) {
                Leasing::Ready(result) => {
                    self.take_lease(result);
                    return true;
                }
                Leasing::Pending(waiting) => {
                    self.leasing = Some(waiting);
                    self.engine.park(&self.context.buffers);
                }
            }
        }
        if let Some(leasing) = &mut self.leasing
            && let Poll::Ready(result) = Pin::new(leasing).poll(cx)
        {
            self.leasing = None;
            self.take_lease(result);
            moved = true;
        }
        moved
    }

    /// Takes replies from shared connections and hands them requests. True if anything changed.
    pub(super) fn share(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        if self.engine.end().is_some() {
            self.sharing = None;
            return false;
        }
        if let Some(member) = &mut self.sharing {
            if member.is_asked() {
                let (waiting, _) = self.engine.output(Side::Client);
                let unread = kernel::unacknowledged(&self.client).unwrap_or(0);
                let untaken = waiting.len() as u64 + unread;
                member.client_has_taken(self.from_upstream.saturating_sub(untaken));
            }
            if member.is_too_slow() {
                self.engine
                    .expire("slow-reader-timeout", self.hooks.as_mut());
                // Those behind it wait no longer.
                self.sharing = None;
                return true;
            }
            if self.engine.takes_replies()
                && let Some(mail) = member.take_mail()
            {
                self.read_mail(mail);
                moved = true;
            }
        }
        let hooks = self.hooks.as_mut();
        let Some((target, requests, bytes)) = self.engine.requests() else {
            if let Some(member) = &self.sharing {
                member.adds_nothing();
            }
            return moved;
        };
        let member = match &mut self.sharing {
            Some(member) if member.is_for(target) => member,
            _ => self.sharing.insert(Member::new(&self.context, target, cx)),
        };
        let count = member.add(bytes, requests);
        if count == 0 {
            return moved;
        }
        self.shared += count as u64;
        self.context.counters.shared_requests.inc_by(count as u64);
        self.engine.requests_taken(count, hooks);
        true
    }

    /// Takes what has come from a shared connection, in its order.
    fn read_mail(&mut self, mail: Mail) {
        let Mail {
            mut bytes,
            finished,
            failures,
        } = mail;
        let hooks = self.hooks.as_mut();
        self.from_upstream += bytes.len() as u64;
        let mut gone = 0;
        for (at, failure) in failures {
            let rest = bytes.split_off(at - gone);
            gone = at;
            self.engine.replied(&mut bytes, 0, hooks);
            bytes = rest;
            self.engine.request_failed(failure, hooks);
        }
        self.engine.replied(&mut bytes, finished, hooks);
        self.context.buffers.give_output(bytes);
    }

    fn take_lease(&mut self, result: Result<Lease, LeaseError>) {
        let hooks = self.hooks.as_mut();
        match result {
            Ok(lease) => {
                self.leases += 1;
                let facts = LeaseFacts {
                    tag: lease.tag(),
                    fresh: !lease.reused(),
                    endpoint: lease.endpoint(),
                };
                let taken = self.engine.leased(facts, hooks);
                if !taken {
                    let what = "and its replacement has another tag";
                    let what = format!("a connection to {} was lost, {what}", lease.endpoint());
                    self.complain("lost", &what);
                }
                self.lease = Some(lease);
                self.quiet.upstream = false;
            }
            Err(why) => {
                if !matches!(why, LeaseError::Draining) {
                    let what = format!("a session gets no connection: {}", lease_error_text(&why));
                    self.complain(lease_error_kind(&why), &what);
                }
                self.engine.lease_failed(why, self.hooks.as_mut());
            }
        }
    }

    /// Reports an upstream that has ended to the engine.
    pub(super) fn lose(&mut self, why: &str) {
        if let Some(lease) = &self.lease
            && self.engine.holds_lease()
        {
            let delivered = lease.delivered();
            // An end that answers our own is what was to be expected, and so is that of a connection which
            // nobody would have got after this lease.
            let expected = lease.is_shut() || lease.is_spent();
            let why = format!("{}: {why}", lease.endpoint());
            let loss = Loss {
                why: &why,
                delivered,
                tag: lease.tag(),
            };
            self.engine.upstream_lost(loss, self.hooks.as_mut());
            // One that is replaced unseen is no trouble.
            if !expected && !self.engine.is_asking() {
                self.complain("lost", &format!("a connection was lost: {why}"));
            }
        }
    }
}

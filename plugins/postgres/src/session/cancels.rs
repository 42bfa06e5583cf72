//! Cancel requests, from either end: the session whose query it is, and the one that asks.

use leaseway_sdk::{Choice, Steps, Target};

use super::login::Stage;
use super::{Named, Session};
use crate::backend::CancelKey;
use crate::cancel::{self, Running};
use crate::identity::CANCEL;
use crate::wire::write;

impl Session {
    /// Says where the client's queries run, for as long as it holds this connection.
    pub(super) fn publish(&mut self) {
        let profile = self.profile.as_deref();
        let target = profile.and_then(|profile| match self.named {
            Named::ReadOnly => profile.read_only_target.as_ref(),
            _ => Some(&profile.target),
        });
        let group = target.and_then(|target| target.group.as_deref());
        let running = Running {
            group,
            endpoint: &self.lease.endpoint[..],
            backend: self.lease.backend.key(),
        };
        self.lease.published = cancel::publish(self.key, &running);
    }

    /// They do not run there any more. Returns whether nobody has asked to cancel one, so that the
    /// connection may be somebody else's.
    pub(super) fn withdraw(&mut self) -> bool {
        match self.lease.published.take() {
            Some(entry) => cancel::withdraw(self.key, &entry),
            None => true,
        }
    }

    /// A client wants a query cancelled, of a session that it knows the key of. There is no answer, whatever
    /// comes of it.
    pub(super) fn cancels(&mut self, key: &[u8], steps: Steps) -> Choice {
        let running = CancelKey::try_from(key).ok().and_then(cancel::mark);
        let Some(running) = running else {
            return Choice::answer(steps.close("a cancel request for nothing that runs"));
        };
        let mut target = Target::new("cancel")
            .secret([CANCEL])
            .endpoint(running.endpoint.clone())
            .unpooled();
        if let Some(group) = &running.group {
            target = target.group(group.clone());
        }
        self.stage = Stage::Cancel(running);
        Choice::answer(steps.lease(target))
    }
}

impl Running {
    /// What the server has to be told.
    pub(super) fn request(&self) -> Vec<u8> {
        write::cancel(self.backend)
    }
}

//! The hooks of a session without a plugin: none.

use std::task::{Context, Poll};

use crate::contract::{Choice, Disposition, Hooks, LeaseError, LeaseOutcome, Leased, Side, Step};
use crate::plugin::{Fault, SessionHooks};

/// Has no hook, so that nothing here is ever called.
#[derive(Debug)]
pub struct Unplugged;

impl SessionHooks for Unplugged {
    fn has(&self) -> Hooks {
        Hooks::empty()
    }

    fn choose_upstream(&mut self, _: &[u8]) -> Result<Choice, Fault> {
        Ok(Choice::NeedMore)
    }

    fn on_leased(&mut self, _: &Leased) -> Result<Vec<Step>, Fault> {
        Ok(Vec::new())
    }

    fn on_lease_failed(&mut self, _: &LeaseError) -> Result<Vec<Step>, Fault> {
        Ok(Vec::new())
    }

    fn on_data(&mut self, _: Side, _: &[u8]) -> Result<Vec<Step>, Fault> {
        Ok(Vec::new())
    }

    fn on_eof(&mut self, _: Side) -> Result<Vec<Step>, Fault> {
        Ok(Vec::new())
    }

    fn pool_return(&mut self, _: LeaseOutcome) -> Result<Disposition, Fault> {
        Ok(Disposition::Close)
    }

    fn on_request_failed(&mut self, _: &LeaseError, _: u32) -> Result<Vec<u8>, Fault> {
        Ok(Vec::new())
    }

    fn poll_fault(&mut self, _: &mut Context<'_>) -> Poll<Fault> {
        Poll::Pending
    }
}

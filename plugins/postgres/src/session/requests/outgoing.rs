//! What goes to the server for a client's messages, in as few steps and writes as may be.

use leaseway_sdk::{Side, Step, Steps};

/// The longest message that is copied into one write with others; a longer one passes unseen.
const MAX_COPIED: usize = 2048;

/// What is to be done with the messages at the front of a client's bytes.
#[derive(Default)]
pub(super) struct Outgoing {
    pub(super) steps: Steps,
    /// Bytes to send to the server, behind the steps.
    pub(super) bytes: Vec<u8>,
    /// How many of the client's bytes these stand for.
    pub(super) covered: u64,
}

impl Outgoing {
    /// The message passes as it is. So much of it has been shown.
    pub(super) fn pass(&mut self, shown: &[u8], length: u64) {
        // Among messages that do not pass as they are a short one is copied, to be written with them.
        if let Some(whole) = whole(shown, length)
            && whole.len() <= MAX_COPIED
            && !self.bytes.is_empty()
        {
            self.bytes.extend_from_slice(whole);
            self.covered += length;
            return;
        }
        self.flush();
        self.steps.push(Step::Forward(length));
    }

    /// The message passes with another beginning: `old` bytes of it go, and `new` ones come.
    pub(super) fn pass_with(&mut self, new: &[u8], old: usize, shown: &[u8], length: u64) {
        self.bytes.extend_from_slice(new);
        self.covered += old as u64;
        let rest = length - old as u64;
        match whole(shown, length) {
            Some(whole) if whole.len() <= MAX_COPIED => {
                self.bytes.extend_from_slice(&whole[old..]);
                self.covered += rest;
            }
            _ => {
                self.flush();
                self.steps.push(Step::Forward(rest));
            }
        }
    }

    /// The message does not go to the server.
    pub(super) fn swallow(&mut self, length: u64) {
        self.covered += length;
    }

    /// We send this.
    pub(super) fn own(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The client gets this.
    pub(super) fn tell(&mut self, bytes: Vec<u8>) {
        self.steps.push(Step::Send((Side::Client, bytes)));
    }

    pub(super) fn flush(&mut self) {
        if self.covered > 0 {
            self.steps
                .push(Step::Discard(std::mem::take(&mut self.covered)));
        }
        if !self.bytes.is_empty() {
            let bytes = std::mem::take(&mut self.bytes);
            self.steps.push(Step::Send((Side::Upstream, bytes)));
        }
    }

    pub(super) fn into_steps(mut self) -> Steps {
        self.flush();
        self.steps
    }
}

/// The message, if all of it has been shown.
pub(super) fn whole(shown: &[u8], length: u64) -> Option<&[u8]> {
    shown.get(..usize::try_from(length).ok()?)
}

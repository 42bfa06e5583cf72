//! What is known of the connection that a session holds, and of what it has left on it.

use super::ledger::{Ledger, Sent};
use crate::backend::Backend;
use crate::statements::Prepared;

/// The state of a lease.
#[derive(Debug, Default)]
pub(super) struct Lease {
    /// What has been sent and not been answered.
    pub(super) ledger: Ledger,
    /// What the connection's tag said.
    pub(super) backend: Backend,
    /// The server's address.
    pub(super) endpoint: String,
    /// The statements that it has, once somebody has asked.
    prepared: Option<Prepared>,
    /// What the client has left on the connection that is for nobody else.
    pin: Option<&'static str>,
    /// What is under way since all was answered.
    batch: Batch,
    /// Whose the statement without a name is.
    pub(super) unnamed: Unnamed,
    /// It has been parsed, and the client may bind it yet.
    pub(super) unbound: bool,
    /// Whether that, or the portal without a name, changes no setting.
    pub(super) harmless: Harmless,
    /// Something has been run since all was answered that may have changed settings, of which nobody has heard yet.
    pub(super) runs: bool,
    /// What has been sent since all was answered, and not been answered, that has the server forget all statements.
    pub(super) forgets: usize,
    /// Settings have changed in the transaction under way, and may change back.
    pub(super) is_tainted: bool,
    /// Settings may have changed that the server does not report.
    pub(super) is_unsure: bool,
    /// Settings are being restored, ahead of what the client wants the connection for.
    pub(super) restores: bool,
    /// Which settings the query asks for that we have sent ourselves.
    pub(super) asked: Vec<usize>,
    /// The server has said why it closes the connection.
    pub(super) has_ended: bool,
    /// What a cancel request finds while it lasts.
    pub(super) published: Option<Vec<u8>>,
}

/// Whose the statement without a name is on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// Somebody else's from before, if there is one.
    #[default]
    Others,
    /// The client has sent one in this segment, which the server may yet pass over.
    Sent(u64),
    /// The client's own.
    Own,
}

/// Whether the statement without a name is known to change no setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Harmless {
    /// It is not.
    #[default]
    No,
    /// It is, in this segment: whoever is passed over there is not run there either.
    Parsed(u64),
    /// So does the portal without a name.
    Bound(u64),
}

impl Harmless {
    /// The portal without a name becomes one of that statement, or of another.
    pub(super) fn bound(self, is_unnamed: bool, in_segment: u64) -> Self {
        match self {
            Self::Parsed(segment) | Self::Bound(segment) if is_unnamed && segment == in_segment => {
                Self::Bound(segment)
            }
            _ => Self::No,
        }
    }
}

/// What a client has sent since everything before it was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Batch {
    /// Nothing, or nothing that says what it is.
    #[default]
    Open,
    /// One `SET` that ends with its transaction, or is of a setting that follows the client.
    HarmlessSet,
    /// The same, and the portal without a name is of it; or a `Bind` that makes it one of the statement in front.
    Bound,
    /// What the portal without a name is of; by itself it may be anything.
    Runs,
    /// Anything else.
    Other,
}

impl Lease {
    /// The next one of a session, which takes the storage of the one before.
    pub(super) fn renew(&mut self) {
        self.endpoint.clear();
        *self = Self {
            ledger: self.ledger.renewed(),
            backend: std::mem::take(&mut self.backend).emptied(),
            endpoint: std::mem::take(&mut self.endpoint),
            ..Self::default()
        };
    }

    /// Of this connection, to a server at this address.
    pub(super) fn adopt(&mut self, backend: Backend, endpoint: &str) {
        self.backend = backend;
        // A `SET` ahead of the lease may have asked what nobody knew then.
        self.prepared = None;
        endpoint.clone_into(&mut self.endpoint);
    }

    /// The statements that the connection has.
    pub(super) fn prepared(&mut self) -> &mut Prepared {
        let statements = self.backend.statements();
        self.prepared
            .get_or_insert_with(|| Prepared::decode(statements))
    }

    /// Whether others have to know of it that it has other statements now.
    pub(super) fn has_other_statements(&self) -> bool {
        self.prepared.as_ref().is_some_and(Prepared::is_changed)
    }

    /// The statements, as a tag has them.
    pub(super) fn statements(&self) -> Vec<u8> {
        match &self.prepared {
            Some(prepared) => {
                let mut statements = Vec::new();
                prepared.encode(&mut statements);
                statements
            }
            None => self.backend.statements().to_vec(),
        }
    }

    /// Settings are not what they were: whatever is parsed from now on, or has been sent and not been parsed,
    /// is nobody else's.
    pub(super) fn taint(&mut self) {
        self.is_tainted = true;
        self.prepared().distrust();
    }

    /// Whether the client has left something on the connection.
    pub(super) fn is_pinned(&self) -> bool {
        self.pin.is_some() || self.unbound
    }

    /// The client leaves something on the connection.
    pub(super) fn pin(&mut self, what: &'static str) {
        self.pin.get_or_insert(what);
    }

    /// Whether it has to be seen first which statements the server has behind what is under way.
    pub(super) fn is_forgetting(&self) -> bool {
        self.forgets > 0 && self.ledger.front().is_some()
    }

    /// This goes to the server, and says so much about what all that is under way is.
    pub(super) fn send(&mut self, sent: Sent, batch: Batch) {
        if self.ledger.is_at_rest() {
            self.batch = Batch::Open;
            self.forgets = 0;
            self.runs = false;
        }
        self.batch = match (self.batch, batch) {
            (before, Batch::Open) => before,
            (Batch::HarmlessSet | Batch::Bound, Batch::Bound) => Batch::Bound,
            (Batch::Bound, Batch::Runs) => Batch::Bound,
            (Batch::Open, Batch::HarmlessSet) => Batch::HarmlessSet,
            (_, _) => Batch::Other,
        };
        self.ledger.push(sent);
    }

    /// Takes note of what a command has done, by its tag. Returns whether the connection is without
    /// any statement now.
    pub(super) fn completed(&mut self, tag: &[u8]) -> bool {
        if tag.starts_with(b"COPY ") {
            self.ledger.copied();
        }
        match tag {
            b"LISTEN" => self.pin = Some("LISTEN"),
            b"SET" | b"RESET" => {
                self.is_unsure = true;
                self.taint();
                let is_harmless = matches!(self.batch, Batch::HarmlessSet | Batch::Bound);
                if tag == b"SET" && !is_harmless {
                    self.pin("SET");
                }
            }
            b"PREPARE" => self.pin("PREPARE"),
            // Whose it was nobody knows; those that are there still are parsed once more.
            b"DEALLOCATE" => self.prepared().all_closed(),
            b"DECLARE CURSOR" => self.pin("DECLARE CURSOR"),
            b"DISCARD ALL" | b"DEALLOCATE ALL" => {
                self.is_unsure = true;
                self.forgets = self.forgets.saturating_sub(1);
                self.prepared().all_closed();
                // What has been sent behind it may have left something again.
                if tag == b"DISCARD ALL" {
                    self.taint();
                    if self.ledger.is_one_query() {
                        self.pin = None;
                        self.unnamed = Unnamed::Others;
                    }
                }
                return true;
            }
            _ => {}
        }
        false
    }
}

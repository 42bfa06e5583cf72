//! The traits that an author implements: [`Plugin`], and one for each hook.
//!
//! They say the same as the contract in `wit/leaseway.wit`, in Rust's terms. Nothing here calls
//! them: [`crate::export!`] finds out which of them a plugin has.

use serde::de::DeserializeOwned;

use crate::{
    Choice, Connection, Disposition, LeaseError, LeaseOutcome, Leased, SessionInfo, Side, Span,
    Steps, Target,
};

/// A plugin, configured.
///
/// There is one value in every instance of the module. Sessions that need it after they have
/// been made take what they need along, for instance in an `Rc`.
pub trait Plugin: Sized + 'static {
    /// The plugin's config: the `config` table of its section. Derive `Deserialize` with
    /// `#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]`, so that a misspelt
    /// key is an error and names the ones that exist. [`NoConfig`](crate::NoConfig) if there is
    /// nothing to set.
    type Config: DeserializeOwned;

    /// The state of one session; hooks of sessions are implemented on this type. Keep it small:
    /// a host has many idle sessions.
    type Session: 'static;

    /// Who speaks first in this protocol. With `Upstream`, or without [`ChooseUpstream`], a
    /// session leases as soon as it is accepted; with `Client`, at its first byte.
    const SPEAKS_FIRST: Side = Side::Client;

    /// Keys of the config's top level under which an operator gives the path of a text file. The
    /// host reads it, and [`Self::Config`](Plugin::Config) has the text under that key, as a
    /// `String` of at most 1 MiB; without the key in the config, nothing. (Native tests write the
    /// text there themselves.) It may hold passwords, so no error and no log line may show it. Every
    /// fresh instance is configured with it, those of conversations too.
    const CONFIG_FILES: &'static [&'static str] = &[];

    /// The plugin's short name. `None`: the package's name without `leaseway-plugin-` or
    /// `leaseway-example-` in front.
    const NAME: Option<&'static str> = None;

    /// Check the config and make the plugin.
    ///
    /// # Errors
    ///
    /// The text is shown to the operator and nothing starts: say which key is wrong and what it
    /// may be.
    fn configure(config: Self::Config) -> Result<Self, String>;

    /// A client has connected.
    fn session(&self, info: &SessionInfo) -> Self::Session;

    /// What connections are opened for when no session asks for one (`min-idle`, health
    /// checks), and what is leased when the plugin has no [`ChooseUpstream`].
    fn default_target(&self) -> Target {
        Target::default()
    }
}

/// **Choose the upstream.** On the session type.
pub trait ChooseUpstream {
    /// Called while no connection is leased, with all client bytes that no step has covered
    /// yet: at the first bytes of a session (with none, right at accept, if the upstream speaks
    /// first), and after a release as soon as there are more.
    fn choose_upstream(&mut self, client_bytes: &[u8]) -> Choice;
}

/// Greet on a new lease. On the session type.
pub trait OnLeased {
    /// The lease that was asked for is there. Not called again when a dead connection is
    /// replaced unseen, which is done only by one with the same tag.
    fn on_leased(&mut self, lease: &Leased) -> Steps;
}

/// Say sorry in the protocol's own words. On the session type.
pub trait OnLeaseFailed {
    /// No connection, or no longer one; there is no lease now. If nothing is returned, the
    /// session ends, as it does without this hook. Not called where a `forward` of the upstream's
    /// side is unfinished: nothing could follow half of what was promised to the client.
    fn on_lease_failed(&mut self, why: &LeaseError) -> Steps;
}

/// Read what passes. On the session type. Without it both sides are copied plainly from the
/// start of the lease, and bytes never enter the plugin.
pub trait OnData {
    /// Bytes have come while a connection is leased: all of this side that no step has covered.
    /// What the returned steps leave uncovered is shown again: at once if they have covered
    /// anything, so that one frame a call is enough, and otherwise with more, when more comes or
    /// the other side's steps have changed something.
    fn on_data(&mut self, origin: Side, data: &[u8]) -> Steps;
}

/// Take note of a half-close. On the session type. Without it the end of the client's side ends
/// the session, through [`PoolReturn`].
pub trait OnEof {
    /// This side will send no more, all its bytes have been shown, and a connection is leased.
    /// Not called where the client ends in the middle of a `forward`: what has come of it passes on,
    /// and the end behind it, and steps that wait are dropped; replies to what was sent before are
    /// still shown, and the connection is closed at the end of the lease.
    fn on_eof(&mut self, origin: Side) -> Steps;
}

/// **Decide whether the connection may go back to the pool.** On the session type. Without it a
/// connection that the session still holds at its end is closed.
pub trait PoolReturn {
    /// The session ends with a connection leased that no step has released. Not called where the
    /// host closes the connection in any case: it is in doubt (bytes owed, unread or unwritten, a
    /// half-close that was passed on), or there is no [`EndReason`](crate::EndReason) for how the
    /// session ended.
    fn pool_return(&mut self, outcome: LeaseOutcome) -> Disposition;
}

/// Say sorry for a request on a shared connection. On the session type. Without it the session
/// ends.
pub trait OnRequestFailed {
    /// It gets no reply any more, where `replies` were still to come: there was no connection, or it
    /// broke, and the request could not be sent again. Returns what the client is told instead,
    /// which takes its turn among the other replies; if that is nothing, the session ends. Not
    /// called where a reply has come in part: then the session ends.
    fn on_request_failed(&mut self, why: &LeaseError, replies: u32) -> Vec<u8>;
}

/// **Share connections.** On the plugin type. Without it [`Choice::Share`] is an error.
pub trait Replies {
    /// What measures the replies of one connection, whose next byte begins one.
    fn replies(&self) -> Box<dyn MeasureReplies>;
}

/// Measures the replies of one shared connection, whoever they are for. Kept for as long as the
/// connection, and used for another one after it only if every reply has ended.
pub trait MeasureReplies {
    /// Says where replies end, given the bytes that no span has covered, as they have come. What
    /// the returned spans leave uncovered is shown again: at once if they have covered anything,
    /// and otherwise with more, up to 64 KiB. A part that can be told to belong to the reply under
    /// way need not be kept until the whole can: it passes on. The last span may reach past what
    /// was shown.
    ///
    /// # Errors
    ///
    /// Bytes that are no reply, or one that nobody can have asked for. Closes the connection and
    /// fails everything on it; the text is for the log.
    fn measure(&mut self, data: &[u8]) -> Result<Vec<Span>, String>;
}

/// Shake hands on a fresh connection. On the plugin type.
pub trait Connect {
    /// Returns the connection's tag: at most 64 KiB that every lease of it gets to see, until a
    /// [`Steps::retag`]. `target` is what the connection is opened for, as in [`Reset`] and [`Probe`]:
    /// its `group` is always some, the upstream group that the endpoint is used from, and its
    /// `endpoint` and `affinity` are none.
    ///
    /// # Errors
    ///
    /// Closes the connection; the waiting session gets the text as
    /// [`LeaseError::HandshakeFailed`].
    fn connect(&self, connection: &mut Connection<'_>, target: &Target) -> Result<Vec<u8>, String>;
}

/// Make a used connection as good as new. On the plugin type.
pub trait Reset {
    /// The connection was released with [`Disposition::Reset`]; `target` is what it was opened
    /// for. Its tag is then again what [`Connect`] returned.
    ///
    /// # Errors
    ///
    /// Closes the connection, and so do bytes left unread.
    fn reset(&self, connection: &mut Connection<'_>, target: &Target) -> Result<(), String>;
}

/// **Liveness probe.** On the plugin type.
pub trait Probe {
    /// Is this connection, idle for so many milliseconds, alive, and the endpoint behind it?
    /// Exchange the cheapest message that proves it and check the reply exactly. `target` is what it
    /// was opened for: the default target, where that was a health check's doing.
    ///
    /// # Errors
    ///
    /// Closes the connection and counts against the endpoint, and so do bytes left unread.
    fn probe(
        &self,
        connection: &mut Connection<'_>,
        target: &Target,
        idle_ms: u64,
    ) -> Result<(), String>;
}

//! A plugin's session, driven by a test as the host would drive it.

use super::configure;
use super::hooked::{Hooked, Hooks};
use super::record::{Lease, SessionEnd};
use super::relay::{Lending, Relay};
use crate::export::Exported;
use crate::{Deadline, LeaseError, SessionInfo, Side};

/// One session of the plugin `P`, with a client and an upstream that the test plays.
///
/// Leases are granted at once, unless the test says otherwise; the first of an identity is fresh,
/// and later ones are not if an earlier one was kept. The session is accepted at the first thing
/// that the test lets happen, or looks at. Both sides take whatever is written to them at once.
///
/// Requests that the plugin shares go out as if nobody else used the connection, and what the
/// upstream sends while any are under way is measured by the plugin's [`Replies`](crate::Replies).
///
/// ```
/// use leaseway_sdk::testing::ScriptedSession;
/// use leaseway_sdk::*;
///
/// struct Upper;
/// impl Plugin for Upper {
///     type Config = NoConfig;
///     type Session = Upper;
///     fn configure(_: NoConfig) -> Result<Self, String> {
///         Ok(Upper)
///     }
///     fn session(&self, _: &SessionInfo) -> Upper {
///         Upper
///     }
/// }
/// impl OnData for Upper {
///     fn on_data(&mut self, origin: Side, data: &[u8]) -> Steps {
///         match origin {
///             Side::Client => Steps::new().forward(data.len() as u64),
///             Side::Upstream => Steps::new()
///                 .discard(data.len() as u64)
///                 .send(Side::Client, data.to_ascii_uppercase()),
///         }
///     }
/// }
/// leaseway_sdk::export!(Upper);
///
/// # fn main() {
/// let mut session = ScriptedSession::<Upper>::new("{}");
/// session.client(b"hello");
/// assert_eq!(session.take_upstream(), b"hello");
/// session.upstream(b"world");
/// assert_eq!(session.take_client(), b"WORLD");
/// # }
/// ```
pub struct ScriptedSession<P: Exported> {
    plugin: P,
    session: P::Session,
    relay: Relay,
    pieces: usize,
    accepted: bool,
}

impl<P: Exported> ScriptedSession<P> {
    /// A session of a plugin with this config, in JSON.
    ///
    /// # Panics
    ///
    /// If the plugin refuses the config.
    #[must_use]
    pub fn new(config: &str) -> Self {
        match configure::<P>(config) {
            Ok(plugin) => Self::of(plugin),
            Err(why) => panic!("the plugin refused its config: {why}"),
        }
    }

    /// A session of this plugin.
    #[must_use]
    pub fn of(plugin: P) -> Self {
        Self {
            session: plugin.session(&SessionInfo {
                id: 1,
                listener: "test".into(),
                client_address: "127.0.0.1:40000".into(),
                local_address: "127.0.0.1:4000".into(),
            }),
            relay: Relay::new(P::hooks(), plugin.default_target(), P::SPEAKS_FIRST),
            pieces: usize::MAX,
            accepted: false,
            plugin,
        }
    }

    // How the world is to be.

    /// Whatever is sent from now on arrives in pieces of so many bytes.
    ///
    /// # Panics
    ///
    /// If that is none.
    #[must_use]
    pub fn in_pieces_of(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "bytes cannot arrive in pieces of none");
        self.pieces = bytes;
        self
    }

    /// Connections leased from now on have this tag, as if `connect` or another session had put it
    /// on. One that a later lease of this session has put another tag on, and kept, shows that to the
    /// next of its identity; see [`Lease::retagged`].
    #[must_use]
    pub fn with_tag(mut self, tag: &[u8]) -> Self {
        self.relay.tag = tag.to_vec();
        self.relay.tagged_at = self.relay.leases.len() - usize::from(self.relay.waiting());
        self
    }

    /// The host's `max-shown`; 64 KiB otherwise.
    #[must_use]
    pub fn with_max_shown(mut self, bytes: usize) -> Self {
        self.relay.max_shown = bytes;
        self
    }

    /// Leases asked for from now on are granted at once, as they are at first.
    pub fn grant_leases(&mut self) {
        self.relay.lending = Lending::Grant;
    }

    /// Leases asked for from now on wait for [`grant`](Self::grant) or [`fail`](Self::fail).
    pub fn hold_leases(&mut self) {
        self.relay.lending = Lending::Hold;
    }

    /// Leases asked for from now on fail.
    pub fn fail_leases(&mut self, why: LeaseError) {
        self.relay.lending = Lending::Fail(why);
    }

    // What happens.

    /// The client sends this.
    pub fn client(&mut self, bytes: &[u8]) {
        self.arrive(Side::Client, bytes);
    }

    /// The leased connection sends this, or the shared one.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn upstream(&mut self, bytes: &[u8]) {
        self.arrive(Side::Upstream, bytes);
    }

    /// The client closes its side, and still reads.
    pub fn client_eof(&mut self) {
        self.after(|relay, _| relay.eof(Side::Client));
    }

    /// The upstream closes the leased connection.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn upstream_eof(&mut self) {
        self.after(|relay, _| relay.eof(Side::Upstream));
    }

    /// The client's connection breaks.
    pub fn client_error(&mut self) {
        self.after(Relay::client_broke);
    }

    /// A time limit of the session passes.
    pub fn timeout(&mut self) {
        self.after(|relay, plugin| relay.finish(SessionEnd::Timeout, plugin));
    }

    /// The deadline that the plugin has set passes.
    ///
    /// # Panics
    ///
    /// If there is none, in a session that has not ended.
    pub fn deadline_passes(&mut self) {
        self.after(Relay::deadline_passes);
    }

    /// The host shuts down: no lease is granted any more, and the session ends as soon as it
    /// holds none.
    pub fn drain(&mut self) {
        self.after(Relay::drain);
    }

    /// The lease that the session waits for is there.
    ///
    /// # Panics
    ///
    /// If it waits for none.
    pub fn grant(&mut self) {
        self.after(Relay::grant);
    }

    /// The lease that the session waits for fails.
    ///
    /// # Panics
    ///
    /// If it waits for none.
    pub fn fail(&mut self, why: LeaseError) {
        self.after(|relay, plugin| relay.fail(why, plugin));
    }

    /// The leased or the shared connection breaks, and what was sent cannot be replayed.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn lose(&mut self, why: &str) {
        self.after(|relay, plugin| relay.lose(why, plugin));
    }

    // What came of it.

    /// What has reached the client since this was last asked.
    pub fn take_client(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.relay().to_client)
    }

    /// What has reached any upstream since this was last asked; [`leases`](Self::leases) tell
    /// one from another.
    pub fn take_upstream(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.relay().to_upstream)
    }

    /// All leases asked for so far, in order.
    pub fn leases(&mut self) -> &[Lease] {
        &self.relay().leases
    }

    /// Whether a connection is leased now.
    pub fn is_leased(&mut self) -> bool {
        self.relay().held()
    }

    /// Whether requests are under way on a shared connection.
    pub fn is_sharing(&mut self) -> bool {
        !self.relay().sharing.is_quiet()
    }

    /// Whether a lease has been asked for and is neither granted nor failed.
    pub fn is_waiting(&mut self) -> bool {
        self.relay().waiting()
    }

    /// Whether the client's half-close has reached the upstream.
    pub fn upstream_saw_eof(&mut self) -> bool {
        self.relay().upstream_saw_eof
    }

    /// The deadline that the plugin has set last, unless it was lifted.
    pub fn deadline(&mut self) -> Option<&Deadline> {
        self.relay().deadline.as_ref()
    }

    /// Why the session ended, if it has.
    pub fn end(&mut self) -> Option<&SessionEnd> {
        self.relay().end.as_ref()
    }

    /// The state that the plugin keeps for this session.
    pub fn state(&self) -> &P::Session {
        &self.session
    }

    // How.

    fn relay(&mut self) -> &mut Relay {
        self.accept();
        &mut self.relay
    }

    fn accept(&mut self) {
        if !std::mem::replace(&mut self.accepted, true) {
            self.happen(Relay::accept);
        }
    }

    fn arrive(&mut self, side: Side, bytes: &[u8]) {
        for piece in bytes.chunks(self.pieces) {
            self.after(|relay, _| relay.arrive(side, piece));
        }
    }

    fn after(&mut self, event: impl FnOnce(&mut Relay, &mut dyn Hooked)) {
        self.accept();
        self.happen(event);
    }

    /// Lets something happen, and all that follows from it.
    fn happen(&mut self, event: impl FnOnce(&mut Relay, &mut dyn Hooked)) {
        let mut plugin = Hooks::<P> {
            plugin: &self.plugin,
            session: &mut self.session,
            max_shown: self.relay.max_shown,
        };
        self.relay.wake(&mut plugin);
        event(&mut self.relay, &mut plugin);
        self.relay.settle(&mut plugin);
    }
}

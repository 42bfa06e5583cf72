//! TLS passed through: routed by server name and protocol, and never decrypted.
//!
//! [`tls`] reads the ClientHello, [`name`] and [`routes`] know where it leads, [`Session`] puts
//! these together for one client, and steps aside: what follows is copied plainly in both
//! directions. Nothing is pooled, since a TLS connection is its client's for good: without the
//! hook `pool-return` every connection is closed behind its session. What operators need to know
//! is in `docs/plugins/sni.md`.

#![forbid(unsafe_code)]

pub mod config;
pub mod name;
mod probe;
pub mod routes;
mod session;
pub mod tls;

use std::rc::Rc;

use leaseway_sdk::{Connection, Plugin, Probe, SessionInfo, Side, Target};

use config::Config;
use routes::Routes;
pub use session::Session;

/// The identity of clients' connections.
const SESSION: &str = "client";

/// That of connections opened for a check. A handshake has begun there, so no client may get them.
const CHECK: &str = "check";

/// The plugin, configured.
pub struct Sni(Rc<Shared>);

/// What all sessions need.
struct Shared {
    config: Config,
    routes: Routes,
}

impl Plugin for Sni {
    type Config = Config;
    type Session = Session;

    /// A client does; but with this the plugin is asked as soon as one has connected, and can set a
    /// limit to its silence.
    const SPEAKS_FIRST: Side = Side::Upstream;

    fn configure(mut config: Config) -> Result<Self, String> {
        let routes = config.routes()?;
        // They are in another form now.
        config.routes = Vec::new();
        Ok(Self(Rc::new(Shared { config, routes })))
    }

    fn session(&self, info: &SessionInfo) -> Session {
        Session::new(Rc::clone(&self.0), info)
    }

    fn default_target(&self) -> Target {
        Target::new(CHECK)
    }
}

impl Probe for Sni {
    fn probe(&self, c: &mut Connection<'_>, target: &Target, _idle_ms: u64) -> Result<(), String> {
        // On a client's connection nobody says anything but its client.
        if self.0.config.probe == config::Probe::Tcp || target.identity != CHECK {
            return Ok(());
        }
        let group = target.group.as_deref().unwrap_or_default();
        probe::hello(c, self.0.routes.name_of(group).as_deref())
    }
}

leaseway_sdk::export!(Sni);

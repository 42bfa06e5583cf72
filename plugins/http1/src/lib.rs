//! HTTP/1.1 over pooled connections: a lease for each request.
//!
//! A client has a connection from the end of its request's head to the end of the response. [`wire`]
//! reads heads and measures bodies by RFC 9112, [`routes`] says where a request goes, [`rewrite`] makes
//! of a head what the next hop is to get, and [`Session`] puts these together for one client. Bodies
//! pass unseen. What operators need to know is in `docs/plugins/http1.md`.

#![forbid(unsafe_code)]

pub mod answers;
pub mod config;
mod probe;
pub mod rewrite;
pub mod routes;
mod session;
pub mod wire;

use std::rc::Rc;

use leaseway_sdk::{Connection, Plugin, Probe, SessionInfo, Target};

use config::Config;
use routes::Routes;
pub use session::Session;
use session::Shared;

/// The plugin, configured.
pub struct Http1(Rc<Shared>);

impl Plugin for Http1 {
    type Config = Config;
    type Session = Session;

    fn configure(config: Config) -> Result<Self, String> {
        config.check()?;
        let routes = Routes::new(&config)?;
        Ok(Self(Rc::new(Shared::new(config, routes))))
    }

    fn session(&self, info: &SessionInfo) -> Session {
        Session::new(Rc::clone(&self.0), info)
    }
}

impl Probe for Http1 {
    fn probe(&self, c: &mut Connection<'_>, _: &Target, _idle_ms: u64) -> Result<(), String> {
        probe::probe(c, &self.0.config)
    }
}

leaseway_sdk::export!(Http1);

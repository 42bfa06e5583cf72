//! Redis over pooled connections: many clients, few connections.
//!
//! A client has a connection only while it waits for replies, and for as long as it has left
//! state there. [`resp`] measures what passes, [`commands`] knows what each command leaves
//! behind, [`identity`] what makes connections interchangeable, [`Session`] puts these together
//! for one client, and the conversations open, reset and probe connections that no client
//! holds. What operators need to know is in `docs/plugins/redis.md`.

#![forbid(unsafe_code)]

pub mod commands;
pub mod config;
mod conversations;
pub mod identity;
pub mod resp;
mod session;

use std::rc::Rc;

use leaseway_sdk::{
    Connect, Connection, MeasureReplies, Plugin, Probe, Reset, SessionInfo, Span, Target,
};

use config::{Config, MOST_COMMANDS_PER_LEASE};
use identity::{Credentials, Identity};
use resp::reply::Replies;
pub use session::Session;
use session::Shared;

/// The plugin, configured.
pub struct Redis(Rc<Shared>);

impl Plugin for Redis {
    type Config = Config;
    type Session = Session;

    fn configure(config: Config) -> Result<Self, String> {
        if config.max_commands_per_lease.get() > MOST_COMMANDS_PER_LEASE {
            return Err(format!(
                "`max-commands-per-lease`: must be 1 to {MOST_COMMANDS_PER_LEASE}, not {}",
                config.max_commands_per_lease
            ));
        }
        let credentials = match (&config.username, &config.password) {
            (Some(_), None) => {
                return Err("`username`: there is no `password` to go with it".to_owned());
            }
            (user, Some(password)) => {
                let user = user.as_ref().map(String::as_bytes);
                Some(Credentials::new(user, password.as_bytes()))
            }
            (None, None) => None,
        };
        let identity = Rc::new(Identity {
            credentials,
            database: config.database,
            ..Identity::default()
        });
        Ok(Self(Rc::new(Shared { config, identity })))
    }

    fn session(&self, _: &SessionInfo) -> Session {
        Session::new(Rc::clone(&self.0))
    }

    fn default_target(&self) -> Target {
        self.0.identity.target()
    }
}

impl leaseway_sdk::Replies for Redis {
    fn replies(&self) -> Box<dyn MeasureReplies> {
        Box::new(Measure(Replies::default()))
    }
}

/// Measures what comes back on a connection that clients share.
struct Measure(Replies);

impl MeasureReplies for Measure {
    fn measure(&mut self, data: &[u8]) -> Result<Vec<Span>, String> {
        let mut spans = Vec::new();
        let mut at = 0;
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            let covered = self.0.cover(rest, 1).map_err(|why| why.to_string())?;
            if covered.pushes {
                return Err("a push, which no client here can have asked for".to_owned());
            }
            if covered.bytes == 0 {
                break;
            }
            spans.push(Span {
                length: covered.bytes,
                ends: covered.replies > 0,
            });
            let Some(next) = usize::try_from(covered.bytes)
                .ok()
                .and_then(|n| at.checked_add(n))
            else {
                break;
            };
            at = next;
        }
        Ok(spans)
    }
}

impl Connect for Redis {
    fn connect(&self, c: &mut Connection<'_>, target: &Target) -> Result<Vec<u8>, String> {
        conversations::handshake(c, &Identity::of(target)?)?;
        Ok(Vec::new())
    }
}

impl Reset for Redis {
    fn reset(&self, c: &mut Connection<'_>, target: &Target) -> Result<(), String> {
        conversations::reset(c, &Identity::of(target)?)
    }
}

impl Probe for Redis {
    fn probe(&self, c: &mut Connection<'_>, _: &Target, _idle_ms: u64) -> Result<(), String> {
        conversations::probe(c)
    }
}

leaseway_sdk::export!(Redis);

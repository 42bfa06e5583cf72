//! memcached over few connections: the text and meta commands of many clients travel together.
//!
//! [`wire`] measures what passes, [`places`] knows on which server a key is, and [`Session`] decides
//! for one client what shares a connection, and what has one of its own for as long as it takes. What
//! operators need to know is in `docs/plugins/memcached.md`.

#![forbid(unsafe_code)]

pub mod config;
pub mod ketama;
pub mod places;
mod session;
pub mod wire;

use std::rc::Rc;

use leaseway_sdk::{Connection, MeasureReplies, Plugin, Probe, SessionInfo, Span, Target};

use config::Config;
use places::Places;
pub use session::Session;
use wire::reply::{Kind, Replies};

/// How long the reply to a probe may be.
const MAX_VERSION: usize = 256;

/// The plugin, configured.
pub struct Memcached(Rc<Places>);

impl Plugin for Memcached {
    type Config = Config;
    type Session = Session;

    fn configure(config: Config) -> Result<Self, String> {
        Ok(Self(Rc::new(config.places()?)))
    }

    fn session(&self, _: &SessionInfo) -> Session {
        Session::new(Rc::clone(&self.0))
    }
}

impl leaseway_sdk::Replies for Memcached {
    fn replies(&self) -> Box<dyn MeasureReplies> {
        Box::new(Measure(Replies::default()))
    }
}

/// Measures what comes back on a connection that clients share.
struct Measure(Replies);

impl MeasureReplies for Measure {
    fn measure(&mut self, data: &[u8]) -> Result<Vec<Span>, String> {
        let mut spans: Vec<Span> = Vec::new();
        let mut at = 0;
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            let Some(piece) = self.0.next(rest).map_err(|why| why.0.to_owned())? else {
                break;
            };
            let ends = piece.kind != Kind::Part;
            match spans.last_mut() {
                Some(last) if !last.ends => {
                    last.length += piece.length;
                    last.ends = ends;
                }
                _ => spans.push(Span {
                    length: piece.length,
                    ends,
                }),
            }
            let Ok(length) = usize::try_from(piece.length) else {
                break;
            };
            at += length;
        }
        Ok(spans)
    }
}

impl Probe for Memcached {
    fn probe(&self, c: &mut Connection<'_>, _: &Target, _idle_ms: u64) -> Result<(), String> {
        c.write(b"version\r\n")?;
        let said = c.read_line(MAX_VERSION)?;
        if said.starts_with(b"VERSION ") {
            return Ok(());
        }
        Err(format!(
            "unexpected reply to version: {}",
            said.escape_ascii()
        ))
    }
}

leaseway_sdk::export!(Memcached);

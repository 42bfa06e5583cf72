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

use leaseway_sdk::{Connect, Connection, MeasureReplies, Plugin, Probe, SessionInfo, Span, Target};

use config::Config;
use places::Places;
pub use session::Session;
use wire::reply::{Kind, Replies};

/// How long a reply to a question of the relay's own may be.
const MAX_VERSION: usize = 256;

/// A store that no server carries out, for its mode is none, with a data block that is a command
/// itself: who answers both does not know where blocks end.
const META_CHECK: &[u8] = b"ms leaseway 2 M?\r\nmn\r\nversion\r\n";

/// The plugin, configured.
pub struct Memcached {
    places: Rc<Places>,
    meta: bool,
}

impl Plugin for Memcached {
    type Config = Config;
    type Session = Session;

    fn configure(config: Config) -> Result<Self, String> {
        let meta = config.meta;
        let places = Rc::new(config.places()?);
        Ok(Self { places, meta })
    }

    fn session(&self, _: &SessionInfo) -> Session {
        Session::new(Rc::clone(&self.places), self.meta)
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

impl Connect for Memcached {
    /// Makes sure of where the server sees the end of what is sent with `ms`. One that does not know
    /// the command would take what a client stores for commands, and answer each of them to whoever
    /// waits for a reply.
    fn connect(&self, c: &mut Connection<'_>, _: &Target) -> Result<Vec<u8>, String> {
        if !self.meta {
            return Ok(Vec::new());
        }
        c.write(META_CHECK)?;
        let said = c.read_line(MAX_VERSION)?;
        if said == b"CLIENT_ERROR unauthenticated" {
            return Err("the server wants a login (`-Y`), and a login would be everybody's".into());
        }
        // One that has too many clients says so, and leaves.
        let version = c.read_line(MAX_VERSION).map_err(|why| {
            let said = said.escape_ascii();
            format!("the server said \"{said}\", and then: {why}")
        })?;
        if version.starts_with(b"VERSION ") {
            return Ok(Vec::new());
        }
        Err(format!(
            "the server does not know the meta commands of memcached 1.6.10, and would take what is \
             stored with `ms` for commands (it answered \"{}\", \"{}\"); update it, or set `meta = \
             false`",
            said.escape_ascii(),
            version.escape_ascii()
        ))
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

//! What a PostgreSQL server does with the messages that matter to the relay: statements, settings and
//! transactions of one connection, and what it passes over after an error.

use std::collections::BTreeMap;

use leaseway_plugin_postgres::wire::{self, write};
use leaseway_sdk::frame::Parsed;

use super::{bound, closed, complete, failed, parsed, ready, row, zone};

/// One backend.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    statements: BTreeMap<Vec<u8>, String>,
    zone: String,
    /// What it was when the transaction began, and when it was last reported.
    zone_before: Option<String>,
    reported: String,
    status: u8,
    skips: bool,
    portal: Option<String>,
    unread: Vec<u8>,
    /// How many texts have been parsed.
    pub(crate) parses: usize,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            statements: BTreeMap::new(),
            zone: "UTC".to_owned(),
            zone_before: None,
            reported: "UTC".to_owned(),
            status: b'I',
            skips: false,
            portal: None,
            unread: Vec::new(),
            parses: 0,
        }
    }
}

impl Server {
    /// Takes what a client sends, in any pieces, and answers.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.unread.extend_from_slice(bytes);
        let mut said = Vec::new();
        loop {
            let unread = std::mem::take(&mut self.unread);
            let Parsed::Complete {
                value: (kind, body),
                len,
            } = wire::message(&unread, usize::MAX)
            else {
                self.unread = unread;
                return said;
            };
            self.message(kind, body, &mut said);
            self.unread = unread[len..].to_vec();
        }
    }

    /// Nothing is open, and nothing but statements and settings is left.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.status == b'I' && !self.skips && self.unread.is_empty()
    }

    fn message(&mut self, kind: u8, body: &[u8], said: &mut Vec<u8>) {
        match kind {
            b'S' => {
                self.skips = false;
                self.ready(said);
            }
            // What there is has been sent.
            b'H' => {}
            _ if self.skips => {}
            b'Q' => {
                let sql = String::from_utf8_lossy(wire::text(body).unwrap_or_default().0);
                match self.run(&sql, said) {
                    Ok(()) => {}
                    Err(sqlstate) => self.fail(sqlstate, said),
                }
                self.ready(said);
            }
            _ => {
                if let Err(sqlstate) = self.extended(kind, body, said) {
                    self.fail(sqlstate, said);
                    self.skips = true;
                }
            }
        }
    }

    fn fail(&mut self, sqlstate: &str, said: &mut Vec<u8>) {
        said.extend(failed(sqlstate));
        if self.status == b'T' {
            self.status = b'E';
        }
    }

    fn ready(&mut self, said: &mut Vec<u8>) {
        if self.status == b'I' {
            self.portal = None;
        }
        if self.zone != self.reported {
            said.extend(zone(&self.zone));
            self.reported.clone_from(&self.zone);
        }
        said.extend(ready(self.status));
    }

    fn extended(&mut self, kind: u8, body: &[u8], said: &mut Vec<u8>) -> Result<(), &'static str> {
        let is_broken = self.status == b'E';
        match kind {
            b'P' => {
                let (name, rest) = wire::text(body).unwrap_or_default();
                let sql = String::from_utf8_lossy(wire::text(rest).unwrap_or_default().0);
                if name.is_empty() {
                    // Whatever comes of this one.
                    self.statements.remove(name);
                }
                if sql.starts_with("bad") {
                    return Err("42601");
                }
                if is_broken {
                    return Err("25P02");
                }
                self.parses += usize::from(!name.is_empty());
                if !name.is_empty() && self.statements.contains_key(name) {
                    return Err("42P05");
                }
                self.statements.insert(name.to_vec(), sql.into_owned());
                said.extend(parsed());
            }
            b'B' => {
                let (_, rest) = wire::text(body).unwrap_or_default();
                let (name, _) = wire::text(rest).unwrap_or_default();
                let sql = self.statements.get(name).ok_or("26000")?;
                if is_broken {
                    return Err("25P02");
                }
                self.portal = Some(sql.clone());
                said.extend(bound());
            }
            b'D' => {
                let (name, _) = wire::text(&body[1..]).unwrap_or_default();
                let sql = self.statements.get(name).ok_or("26000")?;
                if is_broken {
                    return Err("25P02");
                }
                said.extend(write::message(b't', b"\0\0"));
                said.extend(write::message(b'T', sql.as_bytes()));
            }
            b'E' => {
                let sql = self.portal.clone().ok_or("34000")?;
                self.run(&sql, said)?;
            }
            b'C' => {
                let (name, _) = wire::text(&body[1..]).unwrap_or_default();
                self.statements.remove(name);
                said.extend(closed());
            }
            other => panic!("a message {other}"),
        }
        Ok(())
    }

    fn run(&mut self, sql: &str, said: &mut Vec<u8>) -> Result<(), &'static str> {
        if self.status == b'E' && !matches!(sql, "COMMIT" | "ROLLBACK") {
            return Err("25P02");
        }
        let words: Vec<&str> = sql
            .split([' ', '\''])
            .filter(|word| !word.is_empty())
            .collect();
        let tag = match words[..] {
            ["BEGIN"] => {
                self.status = b'T';
                self.zone_before = Some(self.zone.clone());
                "BEGIN"
            }
            ["COMMIT" | "ROLLBACK"] => {
                let is_kept = sql == "COMMIT" && self.status != b'E';
                let before = self.zone_before.take();
                if let Some(before) = before.filter(|_| !is_kept) {
                    self.zone = before;
                }
                self.status = b'I';
                if is_kept { "COMMIT" } else { "ROLLBACK" }
            }
            ["SET", _, "=", zone] => {
                zone.clone_into(&mut self.zone);
                "SET"
            }
            ["DEALLOCATE", "ALL"] => {
                self.statements.clear();
                "DEALLOCATE ALL"
            }
            ["DEALLOCATE", name] => {
                self.statements.remove(name.as_bytes()).ok_or("26000")?;
                "DEALLOCATE"
            }
            ["DISCARD", "ALL"] => {
                if self.status == b'T' {
                    return Err("25001");
                }
                self.statements.clear();
                "UTC".clone_into(&mut self.zone);
                "DISCARD ALL"
            }
            ["LISTEN", _] => "LISTEN",
            ["fail"] => return Err("22012"),
            _ if sql.contains("set_config('timezone'") => {
                let value = sql
                    .split("E'")
                    .nth(1)
                    .and_then(|rest| rest.split('\'').next());
                value.unwrap_or_default().clone_into(&mut self.zone);
                said.extend(write::message(b'T', b"set_config"));
                said.extend(row(&[&self.zone]));
                "SELECT 1"
            }
            _ => {
                let status = char::from(self.status).to_string();
                said.extend(row(&[sql, &self.zone, &status]));
                "SELECT 1"
            }
        };
        said.extend(complete(tag));
        Ok(())
    }
}

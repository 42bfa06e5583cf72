//! Reading TOML tables so that every mistake is found, each with its place.
//!
//! A [`Table`] remembers which keys it was asked for, and reports the others when it is finished.
//! A wrong value is reported where it stands and replaced by a default, so that reading goes on;
//! whoever reads looks at the [`Notes`] at the end. Knows nothing of what the keys mean.

use std::cell::Cell;

use toml::de::DeTable;

use super::names;
use super::notes::{Notes, Span};
use super::value::Value;

/// A table that is being read.
pub(super) struct Table<'a> {
    notes: &'a Notes<'a>,
    keys: &'a DeTable<'a>,
    /// `upstreams.cache.pool`; empty for the whole file.
    path: String,
    /// Where to complain about what is missing.
    at: Span,
    known: Vec<&'static str>,
    broken: Cell<bool>,
}

impl<'a> Table<'a> {
    pub(super) fn root(notes: &'a Notes<'a>, keys: &'a DeTable<'a>) -> Self {
        Self::new(notes, keys, String::new(), 0..0)
    }

    pub(super) fn new(notes: &'a Notes<'a>, keys: &'a DeTable<'a>, path: String, at: Span) -> Self {
        Self {
            notes,
            keys,
            path,
            at,
            known: Vec::new(),
            broken: Cell::new(false),
        }
    }

    /// Where the table begins.
    pub(super) fn at(&self) -> &Span {
        &self.at
    }

    /// Whether a value of this table was wrong, so that others cannot be compared with it.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Whether `key` is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// Where the value of `key` stands; the table itself if it is not given.
    pub(super) fn place_of(&self, key: &str) -> Span {
        self.keys
            .get(key)
            .map_or_else(|| self.at.clone(), toml::Spanned::span)
    }

    /// Reports a mistake of this table.
    pub(super) fn wrong(&self, at: &Span, message: impl AsRef<str>) {
        self.broken.set(true);
        self.notes
            .wrong(at, format!("{}{}", self.prefix(), message.as_ref()));
    }

    /// Reads `key` if it is there. `None` also if it is wrong, which has been reported then.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(key)?;
        match read(&value) {
            Ok(read) => Some(read),
            Err(why) => {
                self.broken.set(true);
                value.wrong(why);
                None
            }
        }
    }

    /// Reads `key`, or takes `default`.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Value<'a>) -> Result<T, String>,
    ) -> T {
        self.optional(key, read).unwrap_or(default)
    }

    /// Reads `key`, which must be there; `example` shows how to write it.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&Value<'a>) -> Result<T, String>,
    ) -> Option<T> {
        if !self.keys.contains_key(key) {
            self.known.push(key);
            let message = format!("{key:?} is missing; write {key} = {example}");
            self.wrong(&self.at, message);
            return None;
        }
        self.optional(key, read)
    }

    /// The table under `key`, if it is there and is one.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Table<'a>> {
        let value = self.value(key)?;
        let table = value.table(&self.path_of(key));
        if table.is_none() {
            self.broken.set(true);
        }
        table
    }

    /// The tables under this one, by name, in the order of the file. All keys are names here.
    pub(super) fn named(&self) -> Vec<(String, Table<'a>)> {
        let mut entries: Vec<_> = self.keys.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut tables = Vec::new();
        for (key, value) in entries {
            let name = key.get_ref().as_ref();
            let value = Value {
                notes: self.notes,
                value: value.get_ref(),
                span: key.span(),
                place: format!("{name:?} in [{}]", self.path),
            };
            if let Some(mut table) = value.table(&self.path_of(name)) {
                table.at = key.span();
                tables.push((name.to_owned(), table));
            }
        }
        tables
    }

    /// Reports the keys that nobody has asked for.
    pub(super) fn finish(self) {
        let mut unknown: Vec<_> = self
            .keys
            .keys()
            .filter(|key| !self.known.contains(&key.get_ref().as_ref()))
            .collect();
        unknown.sort_by_key(|key| key.span().start);
        for key in unknown {
            let name = key.get_ref().as_ref();
            let within = if self.path.is_empty() {
                String::new()
            } else {
                format!(" in [{}]", self.path)
            };
            let kind = if self.path.is_empty() {
                "sections"
            } else {
                "keys"
            };
            let what = if self.path.is_empty() {
                "section"
            } else {
                "key"
            };
            let suggestion = names::suggestion(name, kind, &self.known);
            self.notes.wrong(
                &key.span(),
                format!("unknown {what} {name:?}{within}{suggestion}"),
            );
        }
    }

    fn value(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.known.push(key);
        let value = self.keys.get(key)?;
        let within = if self.path.is_empty() {
            "at the top of the file".to_owned()
        } else {
            format!("in [{}]", self.path)
        };
        Some(Value {
            notes: self.notes,
            value: value.get_ref(),
            span: value.span(),
            place: format!("{key:?} {within}"),
        })
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn prefix(&self) -> String {
        if self.path.is_empty() {
            String::new()
        } else {
            format!("[{}]: ", self.path)
        }
    }
}

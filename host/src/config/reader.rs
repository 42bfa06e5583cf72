//! Reading TOML tables so that every mistake is found, each with its place.
//!
//! A [`Table`] remembers which keys it was asked for, and reports the others when it is finished.
//! A wrong value is reported where it stands and replaced by a default, so that reading goes on;
//! whoever reads looks at the [`Notes`] at the end. Knows nothing of what the keys mean.

use std::cell::{Cell, RefCell};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::de::{DeInteger, DeTable, DeValue};

use super::error::{Mistake, Place, Warning};
use super::{names, values};

/// Bytes of the file, from and to.
pub(super) type Span = Range<usize>;

/// What has been found wrong so far.
pub(super) struct Notes<'a> {
    file: &'a str,
    text: &'a str,
    mistakes: RefCell<Vec<Mistake>>,
    warnings: RefCell<Vec<Warning>>,
}

impl<'a> Notes<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            mistakes: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    pub(super) fn wrong(&self, at: &Span, message: impl Into<String>) {
        self.mistakes
            .borrow_mut()
            .push(Mistake::new(self.place(at), message));
    }

    pub(super) fn warn(&self, at: &Span, message: impl Into<String>) {
        self.warnings
            .borrow_mut()
            .push(Warning(Mistake::new(self.place(at), message)));
    }

    pub(super) fn into_inner(self) -> (Vec<Mistake>, Vec<Warning>) {
        (self.mistakes.into_inner(), self.warnings.into_inner())
    }

    /// The line that a span begins in, counted from 0.
    pub(super) fn line(&self, at: &Span) -> usize {
        self.text
            .get(..at.start)
            .map_or(0, |before| before.matches('\n').count())
    }

    fn place(&self, at: &Span) -> Place {
        // A span that does not fit the text would be the parser's mistake; the file still is right.
        let Some(before) = self.text.get(..at.start) else {
            return Place::File(self.file.to_owned());
        };
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place::Spot {
            file: self.file.to_owned(),
            line: self.line(at) + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

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

    fn new(notes: &'a Notes<'a>, keys: &'a DeTable<'a>, path: String, at: Span) -> Self {
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

/// A value that is being read.
pub(super) struct Value<'a> {
    notes: &'a Notes<'a>,
    value: &'a DeValue<'a>,
    pub(super) span: Span,
    /// `"bind" in [listeners.cache]`.
    place: String,
}

impl<'a> Value<'a> {
    /// Reports a mistake of this value.
    pub(super) fn wrong(&self, why: impl AsRef<str>) {
        self.wrong_at(&self.span, why);
    }

    /// Reports a mistake of a part of this value, which stands at `at`.
    pub(super) fn wrong_at(&self, at: &Span, why: impl AsRef<str>) {
        let why = why.as_ref();
        let is_sentence = why.starts_with("is ") || why.starts_with("must ");
        let colon = if is_sentence { "" } else { ":" };
        self.notes.wrong(at, format!("{}{colon} {why}", self.place));
    }

    pub(super) fn raw(&self) -> &'a DeValue<'a> {
        self.value
    }

    pub(super) fn text(&self, example: &str) -> Result<&'a str, String> {
        self.value.as_str().ok_or_else(|| {
            format!(
                "must be a string, as in {example:?}, not {}",
                kind_of(self.value)
            )
        })
    }

    pub(super) fn number<T: TryFrom<u64>>(&self, valid: RangeInclusive<u64>) -> Result<T, String> {
        let DeValue::Integer(written) = self.value else {
            let kind = kind_of(self.value);
            return Err(format!(
                "must be a whole number from {}, not {kind}",
                range(&valid)
            ));
        };
        integer(written)
            .and_then(|number| u64::try_from(number).ok())
            .filter(|number| valid.contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| format!("{written} is out of range; write {}", range(&valid)))
    }

    pub(super) fn duration(&self, shortest: Duration) -> Result<Duration, String> {
        let text = self.amount("5s", "duration", "s, m or another unit")?;
        let duration = values::duration(text)?;
        if duration < shortest {
            let shortest = values::show_duration(shortest);
            return Err(format!(
                "{text:?} is too short; write at least {shortest:?}"
            ));
        }
        Ok(duration)
    }

    pub(super) fn size(&self, valid: RangeInclusive<u64>) -> Result<u64, String> {
        let text = self.amount("16MiB", "size", "KiB, MiB or another unit")?;
        let size = values::size(text)?;
        if !valid.contains(&size) {
            return Err(format!(
                "{text:?} is out of range; write {:?} to {:?}",
                values::show_size(*valid.start()),
                values::show_size(*valid.end())
            ));
        }
        Ok(size)
    }

    /// The text of an amount with a unit.
    fn amount(&self, example: &str, kind: &str, units: &str) -> Result<&'a str, String> {
        match self.value {
            DeValue::Integer(number) => Err(format!(
                "{number} has no unit; a {kind} is a string with {units}, as in {example:?}"
            )),
            _ => self.text(example),
        }
    }

    /// The values of a list.
    pub(super) fn list(&self, example: &str) -> Result<Vec<Value<'a>>, String> {
        let items = self.value.as_array().ok_or_else(|| {
            format!(
                "must be a list, as in {example}, not {}",
                kind_of(self.value)
            )
        })?;
        if items.is_empty() {
            return Err(format!("is empty; write one at least, as in {example}"));
        }
        let item = |item: &'a toml::Spanned<DeValue<'a>>| Value {
            notes: self.notes,
            value: item.get_ref(),
            span: item.span(),
            place: self.place.clone(),
        };
        Ok(items.iter().map(item).collect())
    }

    /// This value as a table named `path`; a mistake if it is none.
    pub(super) fn table(&self, path: &str) -> Option<Table<'a>> {
        match self.value.as_table() {
            Some(keys) => Some(Table::new(
                self.notes,
                keys,
                path.to_owned(),
                self.span.clone(),
            )),
            None => {
                let kind = kind_of(self.value);
                self.wrong(format!("must be a table, as in [{path}], not {kind}"));
                None
            }
        }
    }
}

/// The number that is written, if 128 bits hold it.
pub(super) fn integer(written: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(written.as_str(), written.radix()).ok()
}

fn range(valid: &RangeInclusive<u64>) -> String {
    format!("{} to {}", valid.start(), valid.end())
}

/// A value's type, with its article.
fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

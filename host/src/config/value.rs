//! Reading one value: its type, its range, its unit.
//!
//! Each accessor returns the value, or why it is not valid and how to mend it. Knows nothing of
//! what keys mean.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::{DeInteger, DeValue};

use super::names;
use super::notes::{Notes, Span};
use super::table::Table;
use super::values;

/// A value that is being read.
pub(super) struct Value<'a> {
    pub(super) notes: &'a Notes<'a>,
    pub(super) value: &'a DeValue<'a>,
    pub(super) span: Span,
    /// `"bind" in [listeners.cache]`.
    pub(super) place: String,
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

    /// One of these names; `what` it is the name of.
    pub(super) fn one_of<T: Copy>(&self, what: &str, known: &[(&str, T)]) -> Result<T, String> {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let name = self.text(names.first().unwrap_or(&""))?;
        let found = known.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| *value).ok_or_else(|| {
            format!(
                "unknown {what} {name:?}{}",
                names::suggestion(name, "names", &names)
            )
        })
    }

    pub(super) fn boolean(&self) -> Result<bool, String> {
        match self.value {
            DeValue::Boolean(value) => Ok(*value),
            other => Err(format!("must be true or false, not {}", kind_of(other))),
        }
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

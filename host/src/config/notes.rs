//! What has been found wrong while reading, with the places in the text.

use std::cell::RefCell;
use std::ops::Range;

use super::error::{Mistake, Place, Warning};

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
    fn line(&self, at: &Span) -> usize {
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

//! What is wrong with a config, and how it is shown to whoever wrote it.

use std::fmt;

/// Where in the config something stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The file as a whole.
    File(String),
    /// A line and a column of the file, both counted from 1, columns in characters.
    Spot {
        file: String,
        line: usize,
        column: usize,
    },
    /// An argument of the command line.
    Argument(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(file) => f.write_str(file),
            Place::Spot { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Place::Argument(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong: where, what, and how to mend it.
///
/// Shown as `leaseway.toml:12:5: unknown key "max-conections" in [upstreams.cache.pool]; did you
/// mean "max-connections"?`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    place: Place,
    message: String,
}

impl Mistake {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            message: message.into(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// All that is wrong with a config, in the order of the file, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors {
    mistakes: Vec<Mistake>,
    unreadable: bool,
}

impl Errors {
    /// `mistakes` must hold one at least, or the error would say nothing.
    pub(super) fn new(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort();
        mistakes.dedup();
        Self {
            mistakes,
            unreadable: false,
        }
    }

    /// There is nothing to find mistakes in.
    pub(super) fn unreadable(why: Mistake) -> Self {
        Self {
            mistakes: vec![why],
            unreadable: true,
        }
    }

    /// Whether the file could not be read at all.
    pub fn is_unreadable(&self) -> bool {
        self.unreadable
    }

    /// The mistakes, in the order of the file.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// Something that works, but hardly as it was meant: shown as a [`Mistake`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub(super) Mistake);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

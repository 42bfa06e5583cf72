//! The config file: read, checked as a whole, and handed on as plain types.
//!
//! All mistakes of a file are found at once, each with line, column and a way to mend it. Opens
//! the config file and no other: whether a plugin is there and loads is found out by its loader.

mod error;
mod model;
mod names;
mod notes;
mod quick;
mod sections;
mod table;
mod value;
pub mod values;

use std::path::Path;

use toml::de::DeTable;

use self::error::Place;
pub use self::error::{Errors, Mistake, Warning};
pub use self::model::*;
use self::notes::Notes;
pub use self::quick::{NAME as RELAY, for_relay};
pub(crate) use self::sections::module;
use crate::file;

/// No config file is larger, so what is larger was given by mistake.
const MAX_FILE: u64 = 4 << 20;

/// What the TOML parser calls a key that is there twice; reading can go on after it.
const DUPLICATE: &str = "duplicate key";

/// Reads a config file. Paths in it are relative to its directory.
///
/// # Errors
/// All that is wrong with it, or that it cannot be read.
pub fn read(path: &Path) -> Result<(Config, Vec<Warning>), Errors> {
    let name = path.display().to_string();
    let text = read_text(path).map_err(|why| {
        let message =
            format!("cannot be read: {why}; give --config the path of a readable TOML file");
        Errors::unreadable(Mistake::new(Place::File(name.clone()), message))
    })?;
    parse(&text, &name, path.parent().unwrap_or(Path::new("")))
}

fn read_text(path: &Path) -> Result<String, String> {
    let bytes = file::read(path, MAX_FILE).map_err(|why| why.to_string())?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// Reads a config from text. `file_name` is for messages; paths are relative to `base_dir`.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(
    text: &str,
    file_name: &str,
    base_dir: &Path,
) -> Result<(Config, Vec<Warning>), Errors> {
    let notes = Notes::new(file_name, text);
    let (keys, wrong) = DeTable::parse_recoverable(text);
    let (twice, broken): (Vec<_>, Vec<_>) = wrong
        .iter()
        .map(|error| (error.span().unwrap_or(0..0), error.message()))
        .partition(|(_, message)| *message == DUPLICATE);
    // What follows a mistake in the syntax mostly follows from it.
    if let Some((at, message)) = broken.iter().min_by_key(|(at, _)| at.start) {
        notes.wrong(
            at,
            format!(
                "this is not TOML: {}; a line is key = value, with text in \"quotes\"",
                message.replace('\n', "; ")
            ),
        );
    } else {
        for (at, _) in &twice {
            notes.wrong(at, "this key or section is there twice; leave one out");
        }
    }
    // Nor would what remains of the file give any but misleading ones.
    let config = broken
        .is_empty()
        .then(|| sections::read(&notes, keys.get_ref(), base_dir));
    let (mistakes, warnings) = notes.into_inner();
    match config {
        Some(config) if mistakes.is_empty() => Ok((config, warnings)),
        _ => Err(Errors::new(mistakes)),
    }
}

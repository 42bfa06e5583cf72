//! The files that a plugin's config names, which the host reads in the plugin's place.
//!
//! What is in them may be passwords: it goes to the plugin, and into no message of ours. Called while
//! loading, once the plugin has said which keys name files.

use std::path::Path;

use serde_json::Value as Json;

use super::error::LoadError;
use super::output::printable;
use crate::config::PluginConfig;
use crate::file;

/// The largest file.
const MAX_CONFIG_FILE: u64 = 1 << 20;
/// Longer than any path that an operating system takes.
const MAX_PATH: usize = 4096;
/// How much of a refusal is looked at and shown, if there are files that it could quote.
const MAX_REFUSAL: usize = 4 << 10;
/// Lines that are shorter may stand in a refusal by chance.
const TELLING: usize = 8;
/// A line is told by its beginning.
const MAX_NEEDLE: usize = 32;

/// A plugin's config with what it is made of.
pub(super) struct WithFiles {
    /// What the plugin gets.
    pub(super) json: String,
    /// Keys, and the texts that stand under them.
    texts: Vec<(String, String)>,
}

impl WithFiles {
    /// Puts the text of each file under its key. Keys that are not in the config are left out.
    pub(super) fn read(config: &PluginConfig, keys: &[String]) -> Result<Self, LoadError> {
        let mut json = config.config.clone();
        let mut texts = Vec::new();
        for key in keys {
            // From the config as it was written: a key may be named twice.
            let (Some(value), Some(place)) = (config.config.get(key), json.get_mut(key)) else {
                continue;
            };
            let text = text(value, &config.folder).map_err(|message| LoadError::ConfigFile {
                plugin: config.name.clone(),
                key: printable(key).into_owned(),
                message,
            })?;
            *place = Json::String(text.clone());
            texts.push((key.clone(), text));
        }
        Ok(Self {
            json: json.to_string(),
            texts,
        })
    }

    /// The plugin's reason to refuse this config, unless it quotes a file: a library that finds a
    /// text in place of a number, say, shows the text.
    pub(super) fn refusal(&self, message: &str) -> String {
        if self.texts.is_empty() {
            return printable(message).into_owned();
        }
        let message = &message[..message.floor_char_boundary(MAX_REFUSAL)];
        let quoted = self.texts.iter().find(|(_, text)| quotes(message, text));
        match quoted {
            None => printable(message).into_owned(),
            Some((key, _)) => format!(
                "what it says quotes the text of the file under {:?}, and so is not shown; mend that file, or tell the plugin's author",
                printable(key)
            ),
        }
    }
}

/// Whether a line of the text stands in the message, as it is or with its quotes escaped.
fn quotes(message: &str, text: &str) -> bool {
    text.lines().map(str::trim).any(|line| {
        let needle = &line[..line.floor_char_boundary(MAX_NEEDLE)];
        needle.len() >= TELLING
            && (message.contains(needle) || message.contains(&needle.escape_debug().to_string()))
    })
}

/// What is in the file that this value names; else what is wrong, for people.
fn text(value: &Json, folder: &Path) -> Result<String, String> {
    let kind = match value {
        Json::String(path) if path.is_empty() => "empty",
        // Somebody has written down the text itself, which is not to be shown.
        Json::String(path) if path.len() > MAX_PATH || path.contains(char::is_control) => {
            "a text that is no path"
        }
        Json::String(path) => {
            let path = folder.join(path);
            return read(&path).map_err(|why| {
                format!(
                    "cannot read {}: {why}; give the path of a text file in UTF-8, of at most {}MiB",
                    printable(&path.display().to_string()),
                    MAX_CONFIG_FILE >> 20
                )
            });
        }
        Json::Null => "nothing",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::Array(_) => "a list",
        Json::Object(_) => "a table",
    };
    Err(format!(
        "is {kind}; give the path of a text file, relative to the folder of the config file"
    ))
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = file::read(path, MAX_CONFIG_FILE).map_err(|why| why.to_string())?;
    // The error would hold the bytes.
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

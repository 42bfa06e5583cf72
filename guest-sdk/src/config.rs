//! From the JSON that the host hands in to a plugin's own config type, with errors that an
//! operator, who wrote TOML and never saw the JSON, can act on.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_path_to_error::Error;

/// The config of a plugin that has nothing to set: any key is an error.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// Reads a plugin's config. The error names the key, in TOML's dotted form, and says what it may
/// be.
pub(crate) fn parse<C: DeserializeOwned>(json: &str) -> Result<C, String> {
    read(json).map_err(|error| {
        let path = error.path().to_string();
        let why = match nameless(json, error.inner()) {
            Some((kind, named)) => {
                let names = read::<C>(&named).err().and_then(|error| names(&error));
                let names = names.as_deref().unwrap_or("a string or table");
                format!("invalid type: {kind}, expected {names}")
            }
            None => in_words_of_toml(&without_position(&error.inner().to_string())),
        };
        if path == "." {
            why
        } else {
            format!("`{path}`: {why}")
        }
    })
}

fn read<C: DeserializeOwned>(json: &str) -> Result<C, Error<serde_json::Error>> {
    // By way of a `serde_json::Value` some messages would be better from the start, at twice the
    // code in every plugin that `nameless` costs.
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(json))
}

/// Where the reader wanted one of an enum's names and found no text, it can only say that it
/// expected something else. So: what it found, and the same config with a name there that no
/// author gives.
fn nameless(json: &str, error: &serde_json::Error) -> Option<(String, String)> {
    if !error.to_string().starts_with("expected value at ") {
        return None;
    }
    let lines = json.split_inclusive('\n');
    let start: usize = lines.take(error.line() - 1).map(str::len).sum();
    let at = start + error.column().checked_sub(1)?;
    let mut values = serde_json::Deserializer::from_str(json.get(at..)?).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let end = at + values.byte_offset();
    let found = &json[at..end];
    let kind = match found.as_bytes() {
        [b'[', ..] => "sequence".to_owned(),
        [b't' | b'f', ..] => format!("boolean `{found}`"),
        [b'n', ..] => "null".to_owned(),
        _ if found.contains(['.', 'e', 'E']) => format!("floating point `{found}`"),
        _ => format!("integer `{found}`"),
    };
    Some((kind, format!("{}\"\"{}", &json[..at], &json[end..])))
}

/// The names that there are, from the complaint about one that there is not.
fn names(error: &Error<serde_json::Error>) -> Option<String> {
    let why = without_position(&error.inner().to_string());
    let names = why.strip_prefix("unknown variant ``, expected ")?;
    Some(names.to_owned())
}

/// Cuts off where in the JSON the error is: the operator's file has other lines.
fn without_position(message: &str) -> String {
    match message.rfind(" at line ") {
        Some(end) => message[..end].to_owned(),
        None => message.to_owned(),
    }
}

/// The operator wrote TOML, where a map is a table and nobody knows the author's types.
fn in_words_of_toml(message: &str) -> String {
    let message = message
        .replace("invalid type: map", "invalid type: table")
        .replace("expected a map", "expected a table");
    match message.rsplit_once("expected struct ") {
        Some((got, name)) if !name.contains(' ') => format!("{got}expected a table"),
        _ => message,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Config {
        pooling: Pooling,
        #[serde(default)]
        limits: Option<Limits>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Pooling {
        Command,
        Session,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Limits {
        max_line: u32,
    }

    fn error(json: &str) -> String {
        parse::<Config>(json).unwrap_err()
    }

    #[test]
    fn a_good_config_is_read() {
        let config: Config =
            parse(r#"{"pooling": "command", "limits": {"max-line": 80}}"#).unwrap();
        assert_eq!(config.pooling, Pooling::Command);
        assert_eq!(config.limits, Some(Limits { max_line: 80 }));
    }

    #[test]
    fn a_wrong_value_names_its_key_and_what_it_may_be() {
        assert_eq!(
            error(r#"{"pooling": "none"}"#),
            "`pooling`: unknown variant `none`, expected `command` or `session`"
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_says_which_and_what_it_may_be() {
        for (json, kind) in [
            ("3", "integer `3`"),
            ("true", "boolean `true`"),
            ("1.5", "floating point `1.5`"),
            ("[1, [2]]", "sequence"),
        ] {
            assert_eq!(
                error(&format!(r#"{{"pooling": {json}}}"#)),
                format!("`pooling`: invalid type: {kind}, expected `command` or `session`")
            );
        }
        assert_eq!(
            error(r#"{"pooling": "session", "limits": {"max-line": -1}}"#),
            "`limits.max-line`: invalid value: integer `-1`, expected u32"
        );
        assert_eq!(
            error(r#"{"pooling": "session", "limits": 3}"#),
            "`limits`: invalid type: integer `3`, expected a table"
        );
    }

    #[test]
    fn a_nested_key_is_named_by_its_path() {
        assert_eq!(
            error(r#"{"pooling": "session", "limits": {"max-line": "long"}}"#),
            "`limits.max-line`: invalid type: string \"long\", expected u32"
        );
    }

    #[test]
    fn an_unknown_key_names_those_that_exist() {
        let message = error(r#"{"poolng": "session"}"#);
        assert!(message.contains("unknown field `poolng`"), "{message}");
        assert!(message.contains("`pooling`"), "{message}");
    }

    #[test]
    fn a_missing_key_is_named_and_no_json_position_is_shown() {
        assert_eq!(error("{}"), "missing field `pooling`");
    }

    #[test]
    fn no_config_takes_nothing() {
        assert!(parse::<NoConfig>("{}").is_ok());
        let message = parse::<NoConfig>(r#"{"a": 1}"#).unwrap_err();
        assert!(message.contains("unknown field `a`"), "{message}");
    }
}

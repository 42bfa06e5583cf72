//! From the JSON that the host hands in to a plugin's own config type, with errors that an
//! operator, who wrote TOML and never saw the JSON, can act on.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The config of a plugin that has nothing to set: any key is an error.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// Reads a plugin's config. The error names the key, in TOML's dotted form, and what it may be.
pub(crate) fn parse<C: DeserializeOwned>(json: &str) -> Result<C, String> {
    let mut reader = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let why = without_position(&error.inner().to_string());
        if path == "." {
            why
        } else {
            format!("`{path}`: {why}")
        }
    })
}

/// Cuts off where in the JSON the error is: the operator's file has other lines.
fn without_position(message: &str) -> String {
    match message.rfind(" at line ") {
        Some(end) => message[..end].to_owned(),
        None => message.to_owned(),
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

//! Finding the name that someone meant.

/// The valid name nearest to `given`, if one is near enough to be meant.
pub(super) fn nearest<'n>(given: &str, valid: &[&'n str]) -> Option<&'n str> {
    let plain = plain(given);
    valid
        .iter()
        .map(|name| (distance(&plain, name), *name))
        .filter(|(distance, name)| *distance <= tolerance(name))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `; did you mean "x"?`, or else `; valid KIND are "x", "y"`, or else nothing to choose from.
pub(super) fn suggestion(given: &str, kind: &str, valid: &[&str]) -> String {
    match nearest(given, valid) {
        Some(name) => format!("; did you mean {name:?}?"),
        None if valid.is_empty() => format!("; there are no {kind} to choose from"),
        None => format!("; valid {kind} are {}", list(valid)),
    }
}

/// `"x", "y"`.
pub(super) fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    quoted.join(", ")
}

/// Keys are written with dashes and small letters; other ways to write them are no typing errors.
fn plain(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c == '_' {
                '-'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect()
}

/// A name that the other begins with is meant more likely than the letters would say.
fn distance(given: &str, name: &str) -> usize {
    let letters = strsim::damerau_levenshtein(given, &plain(name));
    let begins = given.len() >= 3 && (name.starts_with(given) || given.starts_with(name));
    if begins { letters.min(1) } else { letters }
}

fn tolerance(name: &str) -> usize {
    (name.chars().count() / 3).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &[&str] = &["max-connections", "max-idle", "min-idle", "bind", "plugin"];

    #[test]
    fn typing_errors_find_the_name_that_was_meant() {
        assert_eq!(nearest("max-conections", KEYS), Some("max-connections"));
        assert_eq!(nearest("max_connections", KEYS), Some("max-connections"));
        assert_eq!(nearest("maxIdle", KEYS), Some("max-idle"));
        assert_eq!(nearest("min-idel", KEYS), Some("min-idle"));
        assert_eq!(nearest("plugins", KEYS), Some("plugin"));
    }

    #[test]
    fn other_words_find_none() {
        assert_eq!(nearest("colour", KEYS), None);
        assert_eq!(nearest("", KEYS), None);
        assert_eq!(nearest("x", &[]), None);
    }
}

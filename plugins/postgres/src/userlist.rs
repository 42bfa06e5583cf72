//! Users as PgBouncer's `userlist.txt` has them: a name and a secret in double quotes on each line.

/// Reads such a file. What stands on a line behind the secret is ignored, as are lines that begin with
/// `;`.
///
/// # Errors
/// A line is neither: says which.
pub fn read(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut users = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(';') {
            continue;
        }
        let user = quoted(line).and_then(|(name, rest)| {
            let (secret, _) = quoted(rest.trim_start())?;
            Some((name, secret))
        });
        let Some(user) = user.filter(|(name, _)| !name.is_empty()) else {
            return Err(format!(
                "`auth-file`: line {}: expected \"user\" \"secret\", each in double quotes",
                number + 1
            ));
        };
        users.push(user);
    }
    Ok(users)
}

/// A text in double quotes, in which two stand for one; and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut value = String::new();
    loop {
        let (part, behind) = rest.split_once('"')?;
        value.push_str(part);
        match behind.strip_prefix('"') {
            Some(more) => {
                value.push('"');
                rest = more;
            }
            None => return Some((value, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_with_their_secrets() {
        let text =
            "; who may come\n\n\"app\" \"se\"\"cret\"\n  \"other\"\t\"md5abc\" old options\n";
        let users = read(text).unwrap_or_default();
        let user = |name: &str, secret: &str| (name.to_owned(), secret.to_owned());
        assert_eq!(users, [user("app", "se\"cret"), user("other", "md5abc")]);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for line in [
            "app hunter2",
            "\"app\"",
            "\"app\" \"hunter2",
            "\"\" \"hunter2\"",
        ] {
            let why = read(&format!("\"a\" \"b\"\n{line}")).unwrap_err();
            assert!(why.contains("line 2") && !why.contains("hunter2"), "{why}");
        }
    }
}

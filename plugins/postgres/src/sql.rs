//! The few statements that matter to a relay, and only where they stand alone: whatever might be
//! something else is taken for something else.

/// The longest statement that is looked at.
pub const MAX_LOOKED_AT: usize = 1024;

/// What a query is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lone<'a> {
    /// Nothing that matters, or not one statement alone.
    Other,
    /// `SET LOCAL` or `SET TRANSACTION`: ends with the transaction.
    SetLocal,
    /// `SET` of this.
    Set(&'a [u8]),
    /// `DEALLOCATE` of this name.
    Deallocate(&'a [u8]),
    /// `DEALLOCATE ALL` or `DISCARD ALL`.
    ForgetAll,
    /// `BEGIN` or `START TRANSACTION`.
    Begin,
    /// The same, with `READ ONLY`.
    BeginReadOnly,
}

impl Lone<'_> {
    /// Whether it is known to change no setting, but for `DISCARD ALL`, which says so.
    #[must_use]
    pub fn sets_nothing(self) -> bool {
        match self {
            Self::Begin | Self::BeginReadOnly | Self::Deallocate(_) | Self::ForgetAll => true,
            Self::Other | Self::SetLocal | Self::Set(_) => false,
        }
    }
}

/// Words that such a statement begins with.
const BEGINNINGS: [&[u8]; 5] = [b"SET", b"DEALLOCATE", b"DISCARD", b"BEGIN", b"START"];

/// Whether a text that begins like this may turn out to be more than [`Lone::Other`].
#[must_use]
pub fn may_matter(begin: &[u8]) -> bool {
    let begin = begin.trim_ascii_start();
    BEGINNINGS.iter().any(|word| {
        let shared = word.len().min(begin.len());
        begin[..shared].eq_ignore_ascii_case(&word[..shared])
    })
}

/// What this text is, all of it.
#[must_use]
pub fn lone(sql: &[u8]) -> Lone<'_> {
    if sql.len() > MAX_LOOKED_AT || !may_matter(sql) {
        return Lone::Other;
    }
    let sql = sql.trim_ascii();
    let sql = sql.strip_suffix(b";").unwrap_or(sql);
    // In a text or a name it would be harmless, and in a comment anything may stand.
    let is_odd = |pair: &[u8]| matches!(pair, b"--" | b"/*");
    if sql.contains(&b';') || sql.windows(2).any(is_odd) {
        return Lone::Other;
    }
    let mut words = Words(sql);
    match words.next_word() {
        Some(word) if is(word, b"SET") => set(words),
        Some(word) if is(word, b"DEALLOCATE") => deallocate(words),
        Some(word) if is(word, b"DISCARD") => match words.next_word() {
            Some(word) if is(word, b"ALL") => Lone::ForgetAll,
            _ => Lone::Other,
        },
        Some(word) if is(word, b"BEGIN") => begin(&words),
        Some(word) if is(word, b"START") => match words.next_word() {
            Some(word) if is(word, b"TRANSACTION") => begin(&words),
            _ => Lone::Other,
        },
        _ => Lone::Other,
    }
}

fn set(mut words: Words<'_>) -> Lone<'_> {
    // In quotes no word is a keyword.
    if words.0.contains(&b'"') {
        return Lone::Other;
    }
    let Some(first) = words.next_word() else {
        return Lone::Other;
    };
    // Nor is the first part of a name: `SET local .x = 1`.
    if words.0.trim_ascii_start().starts_with(b".") {
        return Lone::Other;
    }
    if is(first, b"LOCAL") || is(first, b"TRANSACTION") {
        return Lone::SetLocal;
    }
    let name = match is(first, b"SESSION") {
        true => words.next_word(),
        false => Some(first),
    };
    let (name, rest) = match name {
        Some(name) if is(name, b"NAMES") => return Lone::Set(b"client_encoding"),
        Some(name) if is(name, b"TIME") => match words.next_word() {
            Some(zone) if is(zone, b"ZONE") => return Lone::Set(b"timezone"),
            _ => return Lone::Other,
        },
        Some(name) => (name, words.0.trim_ascii_start()),
        None => return Lone::Other,
    };
    let is_assignment =
        rest.starts_with(b"=") || words.next_word().is_some_and(|word| is(word, b"TO"));
    match is_assignment {
        true => Lone::Set(name),
        false => Lone::Other,
    }
}

fn deallocate(mut words: Words<'_>) -> Lone<'_> {
    let mut is_quoted = words.is_quoted();
    let mut name = words.next_word();
    if !is_quoted && name.is_some_and(|word| is(word, b"PREPARE")) {
        is_quoted = words.is_quoted();
        name = words.next_word();
    }
    let Some(name) = name.filter(|_| words.0.trim_ascii().is_empty()) else {
        return Lone::Other;
    };
    // Without quotes `all` means every one, and capitals are not what they seem.
    match is_quoted || !name.iter().any(u8::is_ascii_uppercase) {
        _ if !is_quoted && is(name, b"ALL") => Lone::ForgetAll,
        true => Lone::Deallocate(name),
        false => Lone::Other,
    }
}

fn begin<'a>(words: &Words<'a>) -> Lone<'a> {
    let rest: Vec<&[u8]> = words
        .0
        .split(|byte| byte.is_ascii_whitespace() || *byte == b',')
        .filter(|word| !word.is_empty())
        .collect();
    let is_read_only = rest
        .windows(2)
        .any(|two| is(two[0], b"READ") && is(two[1], b"ONLY"));
    match rest.iter().copied().flatten().all(u8::is_ascii_alphabetic) {
        true if is_read_only => Lone::BeginReadOnly,
        true => Lone::Begin,
        false => Lone::Other,
    }
}

fn is(word: &[u8], keyword: &[u8]) -> bool {
    word.eq_ignore_ascii_case(keyword)
}

/// What has not been read.
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    /// Whether the next name is in quotes.
    fn is_quoted(&self) -> bool {
        self.0.trim_ascii_start().starts_with(b"\"")
    }

    /// The next name, in quotes or not, without them. Names that hold quotes are not read.
    fn next_word(&mut self) -> Option<&'a [u8]> {
        let rest = self.0.trim_ascii_start();
        if let Some(quoted) = rest.strip_prefix(b"\"") {
            let end = quoted.iter().position(|byte| *byte == b'"')?;
            self.0 = &quoted[end + 1..];
            return (end > 0 && !self.0.starts_with(b"\"")).then(|| &quoted[..end]);
        }
        let is_of_name =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"_.$".contains(byte) || !byte.is_ascii();
        let end = rest.iter().position(|byte| !is_of_name(byte));
        let (word, rest) = rest.split_at(end.unwrap_or(rest.len()));
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_stand_alone_are_known() {
        for (sql, expected) in [
            (&b"set local x.y = '1';"[..], Lone::SetLocal),
            (b"SET TRANSACTION READ ONLY", Lone::SetLocal),
            (b" SET TimeZone TO 'UTC' ; ", Lone::Set(b"TimeZone")),
            (b"SET SESSION timezone='UTC'", Lone::Set(b"timezone")),
            (b"SET TIME ZONE 'UTC'", Lone::Set(b"timezone")),
            (b"set names 'UTF8'", Lone::Set(b"client_encoding")),
            (b"SET a.b = c", Lone::Set(b"a.b")),
            (b"DEALLOCATE s1", Lone::Deallocate(b"s1")),
            (
                b"deallocate prepare \"_pg3_0\";",
                Lone::Deallocate(b"_pg3_0"),
            ),
            (b"DEALLOCATE ALL", Lone::ForgetAll),
            (b"deallocate prepare all;", Lone::ForgetAll),
            (b"DEALLOCATE \"all\"", Lone::Deallocate(b"all")),
            (b"discard all", Lone::ForgetAll),
            (b"BEGIN", Lone::Begin),
            (b"begin work read write;", Lone::Begin),
            (b"BEGIN READ ONLY", Lone::BeginReadOnly),
            (
                b"START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
                Lone::BeginReadOnly,
            ),
        ] {
            assert_eq!(lone(sql), expected, "{}", sql.escape_ascii());
            for cut in 0..sql.len() {
                assert!(may_matter(&sql[..cut]));
            }
        }
    }

    #[test]
    fn whatever_might_be_something_else_is() {
        for sql in [
            &b""[..],
            b"SELECT 1",
            b"SETTLE",
            b"SET",
            b"SET x",
            b"SET LOCAL x = 1; SET x = 1",
            b"SET x = ';'",
            b"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            b"SET SESSION AUTHORIZATION x",
            b"SET ROLE x",
            b"SET /* x */ y = 1",
            b"SET \"a\"\"b\" = 1",
            b"SET \"local\".x = 1",
            b"SET\"names\".x = 1",
            b"SET local .x = 1",
            b"SET transaction\n.x = 1",
            b"SET names .x = 1",
            b"DISCARD TEMP",
            b"DEALLOCATE Upper",
            b"DEALLOCATE a b",
            b"BEGIN; SELECT 1",
            b"BEGIN -- x",
            b"BEGIN '",
            b"BEGIN READ ONLY; SELECT 1",
            b"START READ ONLY",
        ] {
            assert_eq!(lone(sql), Lone::Other, "{}", sql.escape_ascii());
        }
    }
}

//! SQL in words, as far as that is needed to know which statements leave something on a connection.
//!
//! Texts and comments are passed over. Names in quotes are words as well: functions can be called by
//! them, and so can, with `sql_mode=ANSI_QUOTES`, what stands in double quotes.

/// A part of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword, a name or a number.
    Word(&'a [u8]),
    /// A name in quotes.
    Quoted(&'a [u8]),
    /// `@@name`, without the signs; up to where the name ends.
    System(&'a [u8]),
    /// `@`: a variable of the user's.
    At,
    /// A text.
    Text,
    /// Anything else.
    Sign(u8),
}

/// In which quotes a backslash escapes what follows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Escapes {
    /// Single ones.
    pub(super) texts: bool,
    /// Double ones.
    pub(super) names: bool,
}

/// The tokens of SQL.
pub(super) struct Tokens<'a> {
    sql: &'a [u8],
    at: usize,
    escapes: Escapes,
    /// Where the last token begins and ends.
    last: (usize, usize),
    /// The same of the one before it.
    before: (usize, usize),
    /// Where the last text or name in quotes has ended.
    quoted_to: usize,
    /// Something may be hidden: a comment that is carried out, or a text that does not end.
    pub(super) is_unsure: bool,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(sql: &'a [u8], escapes: Escapes) -> Self {
        Self {
            sql,
            at: 0,
            escapes,
            last: (0, 0),
            before: (0, 0),
            quoted_to: 0,
            is_unsure: false,
        }
    }

    /// Whether nothing stands between the last token and the one before it.
    pub(super) fn is_close(&self) -> bool {
        self.before.1 == self.last.0
    }

    /// Whether the token before the last one may be a part of a longer name: bytes that are not of ASCII stand in front of
    /// it, or behind.
    pub(super) fn may_be_longer(&self) -> bool {
        let (from, to) = self.before;
        let ahead = self.sql[..from].last();
        let behind = &self.sql[to..self.last.0];
        ahead.is_some_and(|byte| !byte.is_ascii()) || !behind.is_ascii()
    }

    fn rest(&self) -> &'a [u8] {
        self.sql.get(self.at..).unwrap_or_default()
    }

    /// Everything up to where this is no longer so.
    fn take_while(&mut self, is: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let end = rest
            .iter()
            .position(|byte| !is(*byte))
            .unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Passes over everything up to the end of this, or all of it.
    fn skip_past(&mut self, end: &[u8]) {
        let rest = self.rest();
        match rest.windows(end.len()).position(|part| part == end) {
            Some(at) => self.at += at + end.len(),
            None => {
                self.at = self.sql.len();
                self.is_unsure = true;
            }
        }
    }

    /// What stands in quotes that have just begun.
    fn quoted(&mut self, quote: u8, escapes: bool) -> &'a [u8] {
        let rest = self.rest();
        let mut end = 0;
        while let Some(byte) = rest.get(end) {
            match *byte {
                b'\\' if escapes => end += 2,
                byte if byte == quote && rest.get(end + 1) == Some(&quote) => end += 2,
                byte if byte == quote => {
                    self.at += end + 1;
                    self.quoted_to = self.at;
                    return &rest[..end];
                }
                _ => end += 1,
            }
        }
        self.at = self.sql.len();
        self.is_unsure = true;
        rest
    }

    /// Passes over a comment, if one begins here.
    fn skips_comment(&mut self) -> bool {
        match self.rest() {
            // Servers carry these out, depending on their version.
            [b'/', b'*', b'!', ..] | [b'/', b'*', b'M', b'!', ..] => {
                self.is_unsure = true;
                self.at += 2;
                self.take_while(|byte| byte == b'!' || byte == b'M' || byte.is_ascii_digit());
            }
            [b'/', b'*', ..] => {
                self.at += 2;
                self.skip_past(b"*/");
            }
            [b'#', ..] => self.skip_line(),
            [b'-', b'-', more @ ..]
                if more
                    .first()
                    .is_none_or(|byte| *byte <= b' ' || *byte == 0x7f) =>
            {
                self.skip_line();
            }
            // A space, in some character sets.
            [b'-', b'-', more, ..] if !more.is_ascii() => {
                self.is_unsure = true;
                return false;
            }
            _ => return false,
        }
        true
    }

    fn skip_line(&mut self) {
        self.take_while(|byte| byte != b'\n');
    }

    /// What begins here.
    fn token(&mut self) -> Option<Token<'a>> {
        let first = *self.rest().first()?;
        // It may begin a text in quotes of its own.
        self.is_unsure |= first == b'$';
        if is_of_name(first) {
            return Some(Token::Word(self.take_while(is_of_name)));
        }
        self.at += 1;
        Some(match first {
            b'\'' => {
                self.quoted(first, self.escapes.texts);
                Token::Text
            }
            b'"' => Token::Quoted(self.quoted(first, self.escapes.names)),
            b'`' => Token::Quoted(self.quoted(first, false)),
            b'@' if self.rest().starts_with(b"@") => {
                self.at += 1;
                Token::System(self.take_while(|byte| is_of_name(byte) || byte == b'.'))
            }
            // Right behind a text it begins the host in the name of an account: `'app'@'%'`.
            b'@' if self.quoted_to > 0 && self.quoted_to == self.at - 1 => Token::Sign(first),
            b'@' => Token::At,
            sign => Token::Sign(sign),
        })
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')
}

/// What may stand between words. In some character sets other bytes than those of ASCII do, and no word that matters
/// has any.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b || !byte.is_ascii()
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            self.take_while(is_space);
            if !self.skips_comment() {
                break;
            }
        }
        let from = self.at;
        let token = self.token()?;
        self.before = std::mem::replace(&mut self.last, (from, self.at));
        Some(token)
    }
}

//! Which parentheses are those of a call of a function that is not built in. In doubt they are.

use super::tokens::{Token, Tokens};
use super::{builtins, is};

/// Behind these a table or an index is named, and no expression begins.
const NAMING: &[&str] = &[
    "INTO",
    "INSERT",
    "REPLACE",
    "IGNORE",
    "LOW_PRIORITY",
    "DELAYED",
    "TABLE",
    "EXISTS",
    "KEY",
    "INDEX",
    "UNIQUE",
    "FULLTEXT",
    "SPATIAL",
    "REFERENCES",
    "WITH",
    "RECURSIVE",
    "AS",
];

/// What may be the name of a function, as far as the tokens have been seen.
#[derive(Default)]
pub(super) struct Calls<'a> {
    last: Option<Token<'a>>,
    /// What stands in front of the last name, or of all its parts.
    before: Option<Token<'a>>,
    /// That name has several parts.
    is_qualified: bool,
}

impl<'a> Calls<'a> {
    /// Takes note of the next token, which has just been read, and says whether it begins the arguments of such a call.
    pub(super) fn next(&mut self, token: Token<'a>, tokens: &Tokens<'_>) -> bool {
        let last = self.last.replace(token);
        match token {
            Token::Word(_) | Token::Quoted(_) if last == Some(DOT) => {}
            Token::Word(_) | Token::Quoted(_) => {
                self.before = last;
                self.is_qualified = false;
            }
            DOT => {
                self.is_qualified = true;
                if !matches!(last, Some(Token::Word(_) | Token::Quoted(_))) {
                    self.before = last;
                }
            }
            Token::Sign(b'(') => return self.calls(last, tokens),
            _ => {}
        }
        false
    }

    fn calls(&self, name: Option<Token<'_>>, tokens: &Tokens<'_>) -> bool {
        if tokens.may_be_longer() {
            return true;
        }
        let is_known = match name {
            Some(Token::Word(word)) => !self.is_qualified && builtins::has(word, tokens.is_close()),
            Some(Token::Quoted(_)) => false,
            _ => true,
        };
        !is_known && !names(self.before)
    }
}

const DOT: Token<'static> = Token::Sign(b'.');

/// Whether what follows is a name, but not of a function.
fn names(token: Option<Token<'_>>) -> bool {
    match token {
        // `OVER (`, `AGAINST (`, a list of columns: no expression begins right behind another.
        Some(Token::Sign(b')')) => true,
        Some(Token::Word(word)) => NAMING.iter().any(|known| is(word, known)),
        _ => false,
    }
}

//! Field lines: headers and trailers (RFC 9112, 5).

use super::{Limits, Line, Read, is_tchar, line, trim};

/// What is wrong with a section of field lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is none, and why.
    Syntax(&'static str),
    /// It has more bytes than may be.
    TooLarge,
    /// It has more lines than may be.
    TooMany,
}

/// Whose field lines they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// A request's: nothing is put up with.
    Request,
    /// A response's: blanks in front of a colon are removed (RFC 9112, 5.1).
    Response,
}

/// Field lines that have been found to be right, with the empty line behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Reads a section up to and with the empty line; the value has its length too. `before`: so many
    /// bytes of the head have come before it.
    pub fn read(
        data: &'a [u8],
        before: usize,
        limits: Limits,
        of: Of,
    ) -> Read<(Self, usize), Flaw> {
        let room = limits.head.saturating_sub(before);
        let window = &data[..data.len().min(room)];
        let mut at = 0;
        let mut count = 0;
        loop {
            let text = match line(&window[at..]) {
                Line::Complete(text) => text,
                Line::Bare => return Read::Invalid(Flaw::Syntax("a bare CR or LF in a header")),
                Line::Incomplete if data.len() >= room => return Read::Invalid(Flaw::TooLarge),
                Line::Incomplete => return Read::Incomplete,
            };
            at += text.len() + 2;
            if text.is_empty() {
                return Read::Complete((Self(&data[..at]), at));
            }
            count += 1;
            if count > limits.fields {
                return Read::Invalid(Flaw::TooMany);
            }
            if let Err(why) = check(text, of) {
                return Read::Invalid(Flaw::Syntax(why));
            }
        }
    }

    /// Each name, and its value without blanks around it, in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let end = rest.iter().position(|byte| *byte == b'\r')?;
            let (text, behind) = rest.split_at(end);
            rest = behind.get(2..).unwrap_or_default();
            let colon = text.iter().position(|byte| *byte == b':')?;
            Some((trim(&text[..colon]), trim(&text[colon + 1..])))
        })
    }
}

fn check(text: &[u8], of: Of) -> Result<(), &'static str> {
    if matches!(text[0], b' ' | b'\t') {
        return Err("a folded header line");
    }
    let Some(colon) = text.iter().position(|byte| *byte == b':') else {
        return Err("a header line without a colon");
    };
    let (name, value) = text.split_at(colon);
    let name = match of {
        Of::Request => name,
        Of::Response => trim(name),
    };
    if name.is_empty() {
        return Err("a header without a name");
    }
    if matches!(name[name.len() - 1], b' ' | b'\t') {
        return Err("a blank between a header's name and its colon");
    }
    if !name.iter().copied().all(is_tchar) {
        return Err("a header's name that is no token");
    }
    // A tab, and all that is visible, in whatever encoding (RFC 9110, 5.5).
    if value
        .iter()
        .any(|byte| matches!(byte, 0..=8 | 10..=31 | 127))
    {
        return Err("a control character in a header");
    }
    Ok(())
}

//! Measuring replies: where each one ends, in RESP2 and RESP3.
//!
//! Owns the little that has to be remembered between two looks at the upstream's bytes: the
//! aggregates that are open, so memory grows with the depth of a reply and never with its size.
//! Never copies, buffers or judges a value, and never looks at a bulk body or at the line end
//! behind it, so what it says does not depend on how the bytes were split. The session calls it
//! with what `on-data` shows.

/// How deep aggregates may nest. Replies of real servers stay below ten.
pub const MAX_DEPTH: usize = 128;

/// How long a line may be that says a length, an integer, a double, a boolean or a null, its
/// line end included. Text (`+`, `-` and big numbers) may be of any length.
pub const MAX_HEADER: usize = 512;

/// What was found in the bytes shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    /// How many bytes are part of what was measured, from the start of those shown. May exceed
    /// them: a body that has not come yet is covered unseen.
    pub bytes: u64,
    /// How many replies end within these bytes.
    pub replies: u64,
    /// Whether one of them is an error.
    pub errors: bool,
    /// Whether one of them says that the server could not read what it was sent. It closes the
    /// connection after that.
    pub refused: bool,
    /// Whether a push begins within these bytes.
    pub pushes: bool,
}

/// How the error begins that a server closes the connection after.
const REFUSAL: &[u8] = b"-ERR Protocol error";

/// This is not RESP, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A value starts with a byte that is no type.
    #[error("a reply starts with a byte that is no RESP type")]
    Type,
    /// A length is not a number, is negative where that means nothing, or is too large.
    #[error("a reply has a length that is not valid")]
    Length,
    /// A line is over [`MAX_HEADER`].
    #[error("a reply has a header line over 512 bytes")]
    Header,
    /// Aggregates nest deeper than [`MAX_DEPTH`].
    #[error("a reply nests deeper than 128 levels")]
    Depth,
    /// A push inside of another value, or a chunk or an end outside of what is streamed.
    #[error("a part of a reply stands where it may not")]
    Place,
}

/// Measures a stream of replies, in any number of pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replies {
    /// Aggregates that have begun, outermost first.
    open: Vec<Open>,
    /// Within a line of text.
    text: Option<Text>,
    /// An attribute has been seen, and the reply that it belongs to has not begun.
    attributed: bool,
    /// The first byte of the reply under way is an error's.
    error: bool,
    /// How much of [`REFUSAL`] the reply under way has matched, as long as it does.
    refusal: Option<usize>,
}

/// An aggregate that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    left: Left,
    role: Role,
}

/// What is still missing of an aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// So many values, and at least one.
    Values(u64),
    /// Values up to an end marker.
    Streamed,
    /// Chunks of a string up to an empty one.
    Chunks,
}

/// What the end of an aggregate means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It is a value.
    Value,
    /// It precedes a value, and is none.
    Attribute,
    /// It is no reply to anything.
    Push,
}

/// How far a line of text is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    /// Anything may come.
    Body,
    /// A CR has been covered, and a LF would be the end.
    Cr,
}

/// One header line: its type, what it says, and its length with CR LF.
struct Header<'a> {
    kind: u8,
    says: &'a [u8],
    len: usize,
}

impl Replies {
    /// Whether everything that has been covered is whole replies.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.open.is_empty() && self.text.is_none() && !self.attributed
    }

    /// Looks at the upstream's uncovered bytes, for at most so many replies.
    ///
    /// Pushes ahead of a reply are covered along with it. With `most` 0 only pushes are, so
    /// nothing is covered if something stands there that nobody asked for. What stands behind
    /// the last reply is never covered.
    ///
    /// # Errors
    ///
    /// If the bytes are not RESP. There is no way on from there.
    pub fn cover(&mut self, shown: &[u8], most: u64) -> Result<Covered, Invalid> {
        let mut covered = Covered::default();
        loop {
            // A body may reach past what is shown, and then there is nothing to look at.
            let Some(rest) = usize::try_from(covered.bytes)
                .ok()
                .and_then(|at| shown.get(at..))
                .filter(|rest| !rest.is_empty())
            else {
                return Ok(covered);
            };
            if self.at_boundary() {
                let push = rest[0] == b'>';
                if covered.replies == most && !(most == 0 && push) {
                    return Ok(covered);
                }
            }
            if self.open.is_empty() && self.text.is_none() {
                self.error = matches!(rest[0], b'-' | b'!');
                self.refusal = (rest[0] == REFUSAL[0]).then_some(1);
            }
            let len = match self.text {
                Some(text) => self.text(text, rest, &mut covered),
                None => match header(rest)? {
                    None => return Ok(covered),
                    Some(header) => self.header(&header, &mut covered)?,
                },
            };
            covered.bytes = covered.bytes.checked_add(len).ok_or(Invalid::Length)?;
        }
    }

    /// Goes on within a line of text; how many bytes belong to it.
    fn text(&mut self, mut text: Text, rest: &[u8], covered: &mut Covered) -> u64 {
        for (at, byte) in rest.iter().enumerate() {
            if let Some(matched) = self.refusal {
                self.refusal = (REFUSAL[matched] == *byte).then_some(matched + 1);
                if self.refusal == Some(REFUSAL.len()) {
                    self.refusal = None;
                    covered.refused = true;
                }
            }
            text = match (text, byte) {
                (Text::Cr, b'\n') => {
                    self.text = None;
                    self.value(covered);
                    return at as u64 + 1;
                }
                (_, b'\r') => Text::Cr,
                _ => Text::Body,
            };
        }
        self.text = Some(text);
        rest.len() as u64
    }

    /// Takes a header line; how many bytes are covered, with the body that it announces.
    fn header(&mut self, header: &Header<'_>, covered: &mut Covered) -> Result<u64, Invalid> {
        let len = header.len as u64;
        let chunks = matches!(self.open.last(), Some(open) if open.left == Left::Chunks);
        if chunks != (header.kind == b';') {
            return Err(Invalid::Place);
        }
        match header.kind {
            b'+' | b'-' | b'(' => {
                self.attributed = false;
                self.text = Some(Text::Body);
                return Ok(1);
            }
            b':' | b',' | b'#' | b'_' => self.value(covered),
            b'$' | b'=' | b'!' => match length(header.says)? {
                Length::Known(body) => {
                    self.value(covered);
                    let end = body.checked_add(2).ok_or(Invalid::Length)?;
                    return end.checked_add(len).ok_or(Invalid::Length);
                }
                Length::Null => self.value(covered),
                Length::Streamed => self.begin(Left::Chunks, Role::Value)?,
            },
            b';' => match length(header.says)? {
                Length::Known(0) => self.end(covered),
                Length::Known(body) => {
                    let end = body.checked_add(2).ok_or(Invalid::Length)?;
                    return end.checked_add(len).ok_or(Invalid::Length);
                }
                Length::Null | Length::Streamed => return Err(Invalid::Length),
            },
            b'*' | b'~' => self.aggregate(length(header.says)?, 1, Role::Value, covered)?,
            b'%' => self.aggregate(length(header.says)?, 2, Role::Value, covered)?,
            b'|' => self.aggregate(length(header.says)?, 2, Role::Attribute, covered)?,
            b'>' if !self.at_boundary() => return Err(Invalid::Place),
            b'>' => {
                covered.pushes = true;
                self.aggregate(length(header.says)?, 1, Role::Push, covered)?;
            }
            b'.' => match self.open.last() {
                Some(open) if open.left == Left::Streamed => self.end(covered),
                _ => return Err(Invalid::Place),
            },
            _ => return Err(Invalid::Type),
        }
        Ok(len)
    }

    /// Begins an aggregate of so many values, times `each`.
    fn aggregate(
        &mut self,
        length: Length,
        each: u64,
        role: Role,
        covered: &mut Covered,
    ) -> Result<(), Invalid> {
        match (length, role) {
            (Length::Known(0), _) => {
                self.finished(role, covered);
                Ok(())
            }
            (Length::Known(count), _) => {
                let values = count.checked_mul(each).ok_or(Invalid::Length)?;
                self.begin(Left::Values(values), role)
            }
            (Length::Streamed, _) => self.begin(Left::Streamed, role),
            (Length::Null, Role::Value) => {
                self.value(covered);
                Ok(())
            }
            (Length::Null, _) => Err(Invalid::Length),
        }
    }

    fn begin(&mut self, left: Left, role: Role) -> Result<(), Invalid> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Invalid::Depth);
        }
        self.attributed = false;
        self.open.push(Open { left, role });
        Ok(())
    }

    /// The innermost aggregate ends by its own marker.
    fn end(&mut self, covered: &mut Covered) {
        if let Some(open) = self.open.pop() {
            self.finished(open.role, covered);
        }
    }

    /// An aggregate of this role has ended.
    fn finished(&mut self, role: Role, covered: &mut Covered) {
        match role {
            Role::Value => self.value(covered),
            Role::Attribute => self.attributed = self.open.is_empty(),
            Role::Push => self.attributed = false,
        }
    }

    /// A value has ended, and with it all aggregates whose last one it was.
    fn value(&mut self, covered: &mut Covered) {
        self.attributed = false;
        while let Some(open) = self.open.last_mut() {
            match &mut open.left {
                Left::Values(left) if *left > 1 => {
                    *left -= 1;
                    return;
                }
                Left::Values(_) => match open.role {
                    Role::Value => {
                        self.open.pop();
                    }
                    role => {
                        self.open.pop();
                        return self.finished(role, covered);
                    }
                },
                Left::Streamed | Left::Chunks => return,
            }
        }
        covered.replies += 1;
        covered.errors |= std::mem::take(&mut self.error);
    }
}

/// The header line at the front: `None` if it is not all there. Text needs its type alone.
fn header(rest: &[u8]) -> Result<Option<Header<'_>>, Invalid> {
    let kind = rest[0];
    match kind {
        b'+' | b'-' | b'(' => {
            return Ok(Some(Header {
                kind,
                says: &[],
                len: 1,
            }));
        }
        b':' | b',' | b'#' | b'_' | b'$' | b'=' | b'!' | b';' | b'*' | b'~' | b'%' | b'|'
        | b'>' | b'.' => {}
        _ => return Err(Invalid::Type),
    }
    let window = &rest[..rest.len().min(MAX_HEADER)];
    match window.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) => Ok(Some(Header {
            kind,
            says: &rest[1..end],
            len: end + 2,
        })),
        None if rest.len() >= MAX_HEADER => Err(Invalid::Header),
        None => Ok(None),
    }
}

/// What stands behind a type that has a length.
enum Length {
    Known(u64),
    Null,
    Streamed,
}

fn length(says: &[u8]) -> Result<Length, Invalid> {
    match says {
        b"?" => Ok(Length::Streamed),
        b"-1" => Ok(Length::Null),
        digits => super::number(digits)
            .map(Length::Known)
            .ok_or(Invalid::Length),
    }
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;

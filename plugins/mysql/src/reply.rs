//! Where the answer to a command ends. Sees the head of each packet; whole packets only where an answer, or
//! a part of it, ends (MySQL Source Code Documentation, "Command Phase").

use crate::wire::capability::{CURSOR_EXISTS, MORE_RESULTS};
use crate::wire::ok::{Done, end_of_rows};
use crate::wire::{Head, Reader};

/// The longest packet that is read whole.
pub const MAX_READ: u64 = 32 << 10;

/// What kinds of answers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One OK, EOF or ERR packet.
    One,
    /// One packet, whatever is in it.
    Raw,
    /// To a query, or the execution of a statement: OK, ERR, or a result; and perhaps more of them.
    Results,
    /// To the preparation of a statement.
    Prepared,
    /// Definitions of columns until EOF.
    Fields,
    /// Rows until EOF.
    Rows,
}

/// The answer to one command, as far as it has come.
#[derive(Clone, Debug)]
pub struct Reply {
    phase: Phase,
    /// Results end with OK packets.
    is_modern: bool,
    /// The next packet goes on with the last one.
    goes_on: bool,
    /// The number of the next packet.
    number: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    One,
    Raw,
    First,
    Columns(u64),
    EndOfColumns,
    Rows,
    Prepared,
    /// Definitions of parameters, then of columns.
    Definitions {
        left: u32,
        then: u32,
    },
    EndOfDefinitions {
        then: u32,
    },
    Fields,
}

/// What a packet is to the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// More follows.
    Middle,
    /// This result has ended, and another one follows.
    Result(End<'a>),
    /// The answer ends with it.
    Last(End<'a>),
    /// Not told until the whole packet is there.
    Unknown,
    /// No server says this here.
    Wrong(&'static str),
}

/// How an answer, or a result, ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// By an OK packet, in the place of a result or (`rows`) behind one.
    Done {
        /// What it says.
        done: Done<'a>,
        /// Whether it ends rows.
        rows: bool,
    },
    /// By an EOF packet: warnings and status.
    Eof(u16, u16),
    /// By an ERR packet.
    Failed,
    /// By a packet that says nothing of that kind.
    Told,
    /// A statement of this number has been prepared, with so many warnings.
    Prepared(u32, u16),
}

impl Reply {
    /// One that has not begun. `is_modern`: results end with OK packets, as the client has asked.
    #[must_use]
    pub fn new(kind: Kind, is_modern: bool) -> Self {
        let phase = match kind {
            Kind::One => Phase::One,
            Kind::Raw => Phase::Raw,
            Kind::Results => Phase::First,
            Kind::Prepared => Phase::Prepared,
            Kind::Fields => Phase::Fields,
            Kind::Rows => Phase::Rows,
        };
        Self {
            phase,
            is_modern,
            goes_on: false,
            number: 1,
        }
    }

    /// The number that the next packet has.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Whether a packet has begun that the next one goes on with.
    #[must_use]
    pub fn is_in_packet(&self) -> bool {
        self.goes_on
    }

    /// The next packet, with its payload as far as that has been shown.
    pub fn see<'a>(&mut self, head: Head, shown: &'a [u8]) -> Part<'a> {
        let before = self.phase;
        let part = self.part(head, shown);
        match part {
            Part::Unknown => self.phase = before,
            _ => {
                self.number = head.number.wrapping_add(1);
                self.goes_on = head.goes_on;
            }
        }
        part
    }

    fn part<'a>(&mut self, head: Head, shown: &'a [u8]) -> Part<'a> {
        if self.goes_on {
            return match (self.phase, head.goes_on) {
                (Phase::Raw, false) => Part::Last(End::Told),
                _ => Part::Middle,
            };
        }
        let is_small = head.length <= MAX_READ;
        let is_whole = is_small && shown.len() as u64 + 4 >= head.length;
        let Some(first) = head.first else {
            return match self.phase {
                // A row of one column that is empty has a byte; nothing else is empty.
                Phase::Raw => Part::Last(End::Told),
                _ => Part::Wrong("an empty packet"),
            };
        };
        // Rows begin with these as well, but they are longer then.
        let is_end = match self.is_modern {
            true => first == 0xfe && !head.goes_on,
            false => first == 0xfe && head.length <= 4 + 8,
        };
        if first == 0xff && self.phase != Phase::Raw {
            return match is_whole {
                true => Part::Last(End::Failed),
                false if is_small => Part::Unknown,
                false => Part::Wrong("an error of over 32 KiB"),
            };
        }
        let must_be_whole = match self.phase {
            Phase::Raw | Phase::Columns(_) | Phase::Definitions { .. } => false,
            Phase::Rows | Phase::Fields => is_end,
            _ => true,
        };
        if must_be_whole && !is_whole {
            return match is_small {
                true => Part::Unknown,
                false => Part::Wrong("an end of over 32 KiB"),
            };
        }
        let payload = shown.get(..(head.length - 4) as usize).unwrap_or(shown);
        match self.phase {
            Phase::Raw => match head.goes_on {
                true => Part::Middle,
                false => Part::Last(End::Told),
            },
            Phase::One => match first {
                0 => Self::done(payload, false).map_or(WRONG, Part::Last),
                0xfe => self.end(payload).map_or(WRONG, Part::Last),
                _ => Part::Wrong("neither OK nor an error"),
            },
            Phase::First => match first {
                0 => self.result(Self::done(payload, false)),
                0xfb => Part::Wrong("a request for a local file"),
                _ => match Reader(payload).number() {
                    Some(count @ 1..=0xffff) => {
                        self.phase = Phase::Columns(count);
                        Part::Middle
                    }
                    _ => Part::Wrong("no number of columns"),
                },
            },
            Phase::Columns(left) => {
                self.phase = match left {
                    2.. => Phase::Columns(left - 1),
                    _ if self.is_modern => Phase::Rows,
                    _ => Phase::EndOfColumns,
                };
                Part::Middle
            }
            Phase::EndOfColumns => match Self::eof(payload).filter(|_| is_end) {
                Some(End::Eof(warnings, status)) if status & CURSOR_EXISTS != 0 => {
                    self.result(Some(End::Eof(warnings, status)))
                }
                Some(_) => {
                    self.phase = Phase::Rows;
                    Part::Middle
                }
                None => WRONG,
            },
            Phase::Rows if !is_end => Part::Middle,
            Phase::Rows => {
                let end = self.end(payload);
                self.result(end)
            }
            Phase::Fields if !is_end => Part::Middle,
            Phase::Fields => self.end(payload).map_or(WRONG, Part::Last),
            Phase::Prepared => self.prepared(payload),
            Phase::Definitions { left, then } => {
                self.phase = match left {
                    2.. => Phase::Definitions {
                        left: left - 1,
                        then,
                    },
                    _ if self.is_modern && then > 0 => Phase::Definitions {
                        left: then,
                        then: 0,
                    },
                    _ if self.is_modern => return Part::Last(End::Told),
                    _ => Phase::EndOfDefinitions { then },
                };
                Part::Middle
            }
            Phase::EndOfDefinitions { then } => {
                if !is_end {
                    return WRONG;
                }
                match then {
                    0 => Part::Last(End::Told),
                    _ => {
                        self.phase = Phase::Definitions {
                            left: then,
                            then: 0,
                        };
                        Part::Middle
                    }
                }
            }
        }
    }

    /// What ends rows, or stands for that. Some servers end some answers the old way, whatever was asked.
    fn end<'a>(&self, payload: &'a [u8]) -> Option<End<'a>> {
        let done = Self::done(payload, true).filter(|_| self.is_modern);
        done.or_else(|| Self::eof(payload).filter(|_| payload.len() < 9))
    }

    fn done(payload: &[u8], rows: bool) -> Option<End<'_>> {
        Done::read(payload).map(|done| End::Done { done, rows })
    }

    fn eof(payload: &[u8]) -> Option<End<'_>> {
        end_of_rows(payload).map(|(warnings, status)| End::Eof(warnings, status))
    }

    /// A result has ended: the last one, or the next one begins.
    fn result<'a>(&mut self, end: Option<End<'a>>) -> Part<'a> {
        let Some(end) = end else {
            return WRONG;
        };
        let status = match end {
            End::Done { done, .. } => done.status,
            End::Eof(_, status) => status,
            End::Failed | End::Told | End::Prepared(..) => 0,
        };
        match status & MORE_RESULTS != 0 {
            true => {
                self.phase = Phase::First;
                Part::Result(end)
            }
            false => Part::Last(end),
        }
    }

    /// `COM_STMT_PREPARE_OK`: 0, the statement's number, how many columns and parameters it has, 0, warnings.
    fn prepared<'a>(&mut self, payload: &[u8]) -> Part<'a> {
        let mut rest = Reader(payload);
        let fields = (|| Some((rest.u8()?, rest.u32()?, rest.u16()?, rest.u16()?)))();
        let Some((0, id, columns, parameters)) = fields else {
            return WRONG;
        };
        let warnings = rest.u8().and_then(|_| rest.u16()).unwrap_or_default();
        let end = End::Prepared(id, warnings);
        let (left, then) = match (parameters, columns) {
            (0, 0) => return Part::Last(end),
            (0, columns) => (columns, 0),
            (parameters, columns) => (parameters, columns),
        };
        self.phase = Phase::Definitions {
            left: left.into(),
            then: then.into(),
        };
        Part::Result(end)
    }
}

const WRONG: Part<'static> = Part::Wrong("a packet that does not belong here");

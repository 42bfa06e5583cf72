//! Putting a ClientHello together out of records.
//!
//! A handshake message may be spread over any number of records, and a record over any number of
//! segments (RFC 8446, section 5.1). [`Assembler`] is shown what a client has sent so far, again
//! and with more, and goes on where it has stopped. It keeps no bytes meanwhile: those of many slow
//! clients would fill the memory that they share with all others.

use std::borrow::Cow;

use super::{Alert, CLIENT_HELLO, HANDSHAKE, Refusal};

/// Over how many records a ClientHello may be spread.
pub const MAX_RECORDS: u32 = 1024;

/// The longest fragment of a record in the clear (RFC 8446, section 5.1).
pub const MAX_FRAGMENT: usize = 1 << 14;

/// What stands in front of a fragment: type, version and length.
const RECORD_HEADER: usize = 5;

/// What stands in front of a handshake message: type and length.
const MESSAGE_HEADER: usize = 4;

/// How many bytes of what is no TLS are told to the operator: enough to know a protocol by, too
/// few for a password.
const EXCERPT: usize = 4;

/// A ClientHello that is being put together.
#[derive(Debug, Default)]
pub struct Assembler {
    /// How many of the client's bytes have been looked at.
    at: usize,
    /// How many bytes the fragment under way still has.
    left: usize,
    /// How many records have begun.
    records: u32,
    /// How many bytes of the message, its header among them, have been looked at.
    seen: usize,
    /// As much of its header as has been seen.
    header: [u8; MESSAGE_HEADER],
}

impl Assembler {
    /// Looks at everything that the client has sent, of which earlier calls have seen a part, and
    /// returns the message without its header: a copy, if it came in several records. None: there
    /// has to be more. `max` bounds the message.
    ///
    /// # Errors
    ///
    /// If this does not begin with a ClientHello that could be taken. As soon as that is certain.
    pub fn take<'a>(
        &mut self,
        sent: &'a [u8],
        max: usize,
    ) -> Result<Option<Cow<'a, [u8]>>, Refusal> {
        loop {
            let rest = sent.get(self.at..).unwrap_or_default();
            if self.left == 0 {
                let Some(length) = self.record(rest)? else {
                    return Ok(None);
                };
                self.at += RECORD_HEADER;
                self.left = length;
                continue;
            }
            let wanted = self.length().unwrap_or_default() + MESSAGE_HEADER - self.seen;
            let count = rest.len().min(self.left).min(wanted);
            if count == 0 {
                return Ok(None);
            }
            for (kept, byte) in self.header.iter_mut().skip(self.seen).zip(&rest[..count]) {
                *kept = *byte;
            }
            self.seen += count;
            self.at += count;
            self.left -= count;
            self.judge(max)?;
            if self.length().map(|length| length + MESSAGE_HEADER) == Some(self.seen) {
                let records = sent.get(..self.at).unwrap_or_default();
                return Ok(Some(self.body(records)));
            }
        }
    }

    /// How long the message is, without its header, if all of that has been seen.
    fn length(&self) -> Option<usize> {
        let [_, length @ ..] = self.header;
        let sum = |sum, byte: u8| sum << 8 | usize::from(byte);
        (self.seen >= MESSAGE_HEADER).then(|| length.into_iter().fold(0, sum))
    }

    /// Refuses a message that is no ClientHello, or too long.
    fn judge(&self, max: usize) -> Result<(), Refusal> {
        let [kind, ..] = self.header;
        if kind != CLIENT_HELLO {
            let why = format!("the first handshake message is of type {kind}, no ClientHello");
            return Err(Refusal::new(Alert::UnexpectedMessage, why));
        }
        if let Some(length) = self.length().filter(|length| *length > max) {
            let why = format!("a ClientHello of {length} bytes, at most {max} (`max-hello`)");
            return Err(Refusal::new(Alert::DecodeError, why));
        }
        Ok(())
    }

    /// The message in these records, of which the last ends with it.
    fn body<'a>(&self, mut records: &'a [u8]) -> Cow<'a, [u8]> {
        if self.records == 1 {
            let begin = RECORD_HEADER + MESSAGE_HEADER;
            return Cow::Borrowed(records.get(begin..).unwrap_or_default());
        }
        let mut message = Vec::with_capacity(self.seen);
        while let Some(([.., high, low], rest)) = records.split_first_chunk::<RECORD_HEADER>() {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let (fragment, rest) = rest.split_at(length.min(rest.len()));
            message.extend_from_slice(fragment);
            records = rest;
        }
        message.drain(..MESSAGE_HEADER.min(message.len()));
        Cow::Owned(message)
    }

    /// Reads the header of a record: how long its fragment is, if all of the header is there.
    fn record(&mut self, rest: &[u8]) -> Result<Option<usize>, Refusal> {
        match rest.first() {
            None => return Ok(None),
            Some(&HANDSHAKE) => {}
            Some(_) if self.records == 0 => return first_type(rest).map(|()| None),
            Some(other) => {
                let why = format!("a record of type {other} in the middle of a ClientHello");
                return Err(Refusal::new(Alert::UnexpectedMessage, why));
            }
        }
        // The minor version says nothing, and is not to be looked at.
        if let Some(major) = rest.get(1).filter(|major| **major != 3) {
            let why = format!("a record of version {major}, no TLS");
            return Err(Refusal::new(Alert::ProtocolVersion, why));
        }
        let Some(length) = rest.get(3..RECORD_HEADER) else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        if length == 0 {
            let why = "an empty record where a ClientHello should be";
            return Err(Refusal::new(Alert::UnexpectedMessage, why));
        }
        if length > MAX_FRAGMENT {
            let why = format!("a record of {length} bytes, at most {MAX_FRAGMENT}");
            return Err(Refusal::new(Alert::RecordOverflow, why));
        }
        self.records += 1;
        if self.records > MAX_RECORDS {
            let why = format!("a ClientHello in more than {MAX_RECORDS} records");
            return Err(Refusal::new(Alert::DecodeError, why));
        }
        Ok(Some(length))
    }
}

/// The first byte is not that of a handshake record: what is it then? Waits for the third byte
/// where that tells.
fn first_type(sent: &[u8]) -> Result<(), Refusal> {
    // SSLv2 has a length with its highest bit set there, and its CLIENT-HELLO has type 1 (RFC 6101,
    // appendix E).
    if sent[0] & 0x80 != 0 {
        match sent.get(2) {
            None => return Ok(()),
            Some(&CLIENT_HELLO) => {
                let why = "a ClientHello in the form of SSLv2 (RFC 6176 forbids it)";
                return Err(Refusal::new(Alert::ProtocolVersion, why));
            }
            Some(_) => {}
        }
    }
    let begin = sent[..sent.len().min(EXCERPT)].escape_ascii();
    let why = format!("the client does not speak TLS: it began with \"{begin}\"");
    Err(Refusal::new(Alert::UnexpectedMessage, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fragment: &[u8]) -> Vec<u8> {
        let length = u16::try_from(fragment.len()).unwrap().to_be_bytes();
        [&[22, 3, 1][..], &length, fragment].concat()
    }

    fn refused(sent: &[u8], max: usize) -> (Alert, String) {
        match Assembler::default().take(sent, max) {
            Err(refusal) => (refusal.alert, refusal.why.into_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_may_be_spread_over_records_its_header_too() {
        let message = b"\x01\x00\x00\x05hello";
        for pieces in 1..=message.len() {
            let sent: Vec<u8> = message.chunks(pieces).flat_map(record).collect();
            let mut assembler = Assembler::default();
            for end in 0..sent.len() {
                assert_eq!(assembler.take(&sent[..end], 5), Ok(None), "{end}");
            }
            let whole = assembler.take(&sent, 5).unwrap().unwrap();
            assert_eq!(&*whole, b"hello");
        }
    }

    #[test]
    fn what_stands_behind_a_message_is_not_part_of_it() {
        let mut sent = record(b"\x01\x00\x00\x02hi\x02more");
        for _ in 0..2 {
            let whole = Assembler::default().take(&sent, 10).unwrap().unwrap();
            assert_eq!(&*whole, b"hi");
            sent.extend(b"anything");
        }
        let none = record(b"\x01\x00\x00\x00");
        let whole = Assembler::default().take(&none, 10).unwrap().unwrap();
        assert_eq!(&*whole, b"");
    }

    #[test]
    fn what_is_no_hello_is_refused_at_its_first_sign() {
        for (sent, alert) in [
            (&b"G"[..], Alert::UnexpectedMessage),
            (b"\x00\x00\x00\x08", Alert::UnexpectedMessage),
            (b"\x15\x03\x03\x00\x02\x02\x28", Alert::UnexpectedMessage),
            (b"\x17", Alert::UnexpectedMessage),
            (b"\x80\x2e\x01", Alert::ProtocolVersion),
            (b"\x80\x2e\x02", Alert::UnexpectedMessage),
            (b"\x16\x02", Alert::ProtocolVersion),
            (b"\x16\x03\x01\x00\x00", Alert::UnexpectedMessage),
            (b"\x16\x03\x01\x40\x01", Alert::RecordOverflow),
            (b"\x16\x03\x01\x40\x00\x02", Alert::UnexpectedMessage),
            (b"\x16\x03\x01\x00\x04\x01\x00\x00\x09", Alert::DecodeError),
            (b"\x16\x03\x01\x00\x01\x01\x15", Alert::UnexpectedMessage),
        ] {
            assert_eq!(refused(sent, 8).0, alert, "{}", sent.escape_ascii());
            let before = &sent[..sent.len() - 1];
            if sent.len() < 5 && sent[0] & 0x80 != 0 || sent[0] == 22 {
                assert_eq!(Assembler::default().take(before, 8), Ok(None));
            }
        }
        let (_, why) = refused(b"AUTH hunter2", 8);
        assert!(
            why.contains("\"AUTH\"") && !why.contains("hunter2"),
            "{why}"
        );
    }

    #[test]
    fn records_without_end_are_refused() {
        let sent = record(b"\x01\x00\x10\x00");
        let sent = [sent, record(b"x").repeat(MAX_RECORDS as usize)].concat();
        assert_eq!(refused(&sent, 8192).0, Alert::DecodeError);
    }
}

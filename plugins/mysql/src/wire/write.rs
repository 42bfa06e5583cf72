//! Packets of our own, to either side.

use super::{HEAD, MAX_PAYLOAD, ok::Failure};

/// A packet of this number. None of ours is near 16 MiB: what is longer is cut.
#[must_use]
pub fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len().min(MAX_PAYLOAD - 1);
    let mut bytes = Vec::with_capacity(HEAD + length);
    bytes.extend_from_slice(&(length as u32).to_le_bytes()[..3]);
    bytes.push(number);
    bytes.extend_from_slice(&payload[..length]);
    bytes
}

/// A command, and what follows its code.
#[must_use]
pub fn command(code: u8, rest: &[u8]) -> Vec<u8> {
    packet(0, &[&[code], rest].concat())
}

/// Adds a number that says itself how long it is.
pub fn number(bytes: &mut Vec<u8>, number: u64) {
    let all = number.to_le_bytes();
    match number {
        0..=0xfa => bytes.push(all[0]),
        0xfb..=0xffff => {
            bytes.push(0xfc);
            bytes.extend_from_slice(&all[..2]);
        }
        0x1_0000..=0xff_ffff => {
            bytes.push(0xfd);
            bytes.extend_from_slice(&all[..3]);
        }
        _ => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&all);
        }
    }
}

/// Adds bytes behind their number.
pub fn counted(bytes: &mut Vec<u8>, text: &[u8]) {
    number(bytes, text.len() as u64);
    bytes.extend_from_slice(text);
}

/// An OK packet that tells nothing but the status.
#[must_use]
pub fn ok(number: u8, status: u16) -> Vec<u8> {
    let [a, b] = status.to_le_bytes();
    packet(number, &[0, 0, 0, a, b, 0, 0])
}

/// An ERR packet.
#[must_use]
pub fn error(number: u8, failure: &Failure<'_>) -> Vec<u8> {
    let mut payload = vec![0xff];
    payload.extend(failure.code.to_le_bytes());
    payload.push(b'#');
    payload.extend(failure.sqlstate.as_bytes());
    payload.extend(failure.text.as_bytes());
    packet(number, &payload)
}

/// Asks the client to prove who it is in another way.
#[must_use]
pub fn switch(number: u8, plugin: &str, challenge: &[u8]) -> Vec<u8> {
    packet(
        number,
        &[b"\xfe", plugin.as_bytes(), b"\0", challenge, b"\0"].concat(),
    )
}

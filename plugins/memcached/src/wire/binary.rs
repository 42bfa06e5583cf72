//! The binary protocol, which is not spoken here: how its clients are told so.

/// The first byte of a request.
pub const REQUEST: u8 = 0x80;

/// The length of a header, of requests and of replies.
pub const HEADER: usize = 24;

/// The first byte of a reply.
const REPLY: u8 = 0x81;

/// The status "Not supported".
const NOT_SUPPORTED: u16 = 0x0083;

/// What is said behind it.
const WHY: &[u8] = b"leaseway: only the text and meta protocols are relayed";

/// The reply to the request that begins with this header: "Not supported", in words.
#[must_use]
pub fn refusal(request: &[u8; HEADER]) -> Vec<u8> {
    let mut reply = vec![0; HEADER];
    reply[0] = REPLY;
    reply[1] = request[1];
    reply[6..8].copy_from_slice(&NOT_SUPPORTED.to_be_bytes());
    // It is short.
    reply[11] = WHY.len() as u8;
    // What the client knows its request by.
    reply[12..16].copy_from_slice(&request[12..16]);
    reply.extend(WHY);
    reply
}

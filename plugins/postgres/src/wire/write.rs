//! Messages of our own, to either side.

use std::collections::BTreeMap;

use super::HEAD;

/// A message of this type. None of ours is near 4 GiB.
#[must_use]
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + body.len());
    bytes.push(kind);
    bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// `StartupMessage`, of protocol 3.0.
#[must_use]
pub fn start(parameters: &BTreeMap<String, String>) -> Vec<u8> {
    let mut body = 0x0003_0000_u32.to_be_bytes().to_vec();
    for (name, value) in parameters {
        for text in [name, value] {
            body.extend(text.as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    let mut bytes = (body.len() as u32 + 4).to_be_bytes().to_vec();
    bytes.extend(body);
    bytes
}

/// `ErrorResponse`, for instance of severity `FATAL`, with an SQLSTATE.
#[must_use]
pub fn error(severity: &str, sqlstate: &str, text: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (field, value) in [
        (b'S', severity),
        (b'V', severity),
        (b'C', sqlstate),
        (b'M', text),
    ] {
        body.push(field);
        // A zero byte would end the text, and what follows it would be taken for fields.
        body.extend(value.bytes().filter(|byte| *byte != 0));
        body.push(0);
    }
    body.push(0);
    message(b'E', &body)
}

/// `AuthenticationXXX`: what is asked of a client, or that it is welcome.
#[must_use]
pub fn authentication(code: u32, data: &[u8]) -> Vec<u8> {
    let mut body = code.to_be_bytes().to_vec();
    body.extend_from_slice(data);
    message(b'R', &body)
}

/// `BackendKeyData`, of protocol 3.0.
#[must_use]
pub fn key_data(key: [u8; 8]) -> Vec<u8> {
    message(b'K', &key)
}

/// `ReadyForQuery` outside of a transaction.
#[must_use]
pub fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

/// `NegotiateProtocolVersion`: the newest version here is 3.0, and these options are unknown. Servers write
/// the whole version, where the documentation says the minor one.
#[must_use]
pub fn negotiate(options: &[&str]) -> Vec<u8> {
    let mut body = 0x0003_0000_u32.to_be_bytes().to_vec();
    body.extend((options.len() as u32).to_be_bytes());
    for option in options {
        body.extend(option.as_bytes());
        body.push(0);
    }
    message(b'v', &body)
}

/// `Query`.
#[must_use]
pub fn query(sql: &str) -> Vec<u8> {
    let mut body = sql.as_bytes().to_vec();
    body.push(0);
    message(b'Q', &body)
}

/// `Parse`: a statement's name, and the text and types that stand behind it.
#[must_use]
pub fn parse(name: &str, behind: &[u8]) -> Vec<u8> {
    message(b'P', &[name.as_bytes(), b"\0", behind].concat())
}

/// `Close` of a statement.
#[must_use]
pub fn close_statement(name: &str) -> Vec<u8> {
    message(b'C', &[b"S", name.as_bytes(), b"\0"].concat())
}

/// `Flush`.
#[must_use]
pub fn flush() -> Vec<u8> {
    message(b'H', b"")
}

/// `Terminate`.
#[must_use]
pub fn terminate() -> Vec<u8> {
    message(b'X', b"")
}

/// `ParameterStatus`.
#[must_use]
pub fn parameter_status(name: &[u8], value: &[u8]) -> Vec<u8> {
    message(b'S', &[name, b"\0", value, b"\0"].concat())
}

/// `CancelRequest`, by the key that the server knows.
#[must_use]
pub fn cancel(key: [u8; 8]) -> Vec<u8> {
    let mut bytes = 16_u32.to_be_bytes().to_vec();
    bytes.extend(80_877_102_u32.to_be_bytes());
    bytes.extend(key);
    bytes
}

/// `PasswordMessage`: a password in whatever form was asked for.
#[must_use]
pub fn password(text: &[u8]) -> Vec<u8> {
    let mut body = text.to_vec();
    body.push(0);
    message(b'p', &body)
}

/// `SASLInitialResponse`.
#[must_use]
pub fn sasl_initial(mechanism: &str, response: &str) -> Vec<u8> {
    let mut body = mechanism.as_bytes().to_vec();
    body.push(0);
    body.extend((response.len() as u32).to_be_bytes());
    body.extend(response.as_bytes());
    message(b'p', &body)
}

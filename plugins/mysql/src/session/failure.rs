//! No connection, or no longer one, in the words of the protocol.

use leaseway_sdk::{LeaseError, Side, Steps};

use crate::wire::ok::Failure;
use crate::wire::write;

/// Says why, in a packet of this number, and ends the session: what it had on the connection is gone, and
/// a client's library knows how to connect again.
pub(super) fn farewell(why: &LeaseError, number: u8) -> Steps {
    let said = why.to_string();
    let failure = match why {
        LeaseError::HandshakeFailed(text) => match of_server(text) {
            Some(failure) => failure,
            // ER_BAD_HOST_ERROR, for all that keeps a connection from coming about
            None => Failure::new(1042, "08S01", text),
        },
        // ER_CON_COUNT_ERROR
        LeaseError::WaitTimeout(_) => Failure::new(1040, "08004", &said),
        // ER_NET_READ_ERROR
        LeaseError::Lost(_) => Failure::new(1158, "08S01", &said),
        // ER_SERVER_SHUTDOWN
        LeaseError::Draining => Failure::new(1053, "08S01", &said),
        _ => Failure::new(1042, "08S01", &said),
    };
    Steps::new()
        .send(Side::Client, write::error(number, &failure))
        .close(said.clone())
}

/// The parts of an error that the server has told `connect`.
fn of_server(text: &str) -> Option<Failure<'_>> {
    let (code, rest) = text.split_once(' ')?;
    let (sqlstate, words) = rest.split_once(' ')?;
    let is_state = sqlstate.len() == 5 && sqlstate.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_state.then_some(Failure::new(code.parse().ok()?, sqlstate, words))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_server_keep_their_numbers() {
        let failure = of_server("1049 42000 Unknown database 'x'").unwrap();
        assert_eq!((failure.code, failure.sqlstate), (1049, "42000"));
        assert_eq!(failure.text, "Unknown database 'x'");
        for text in ["", "x", "no such thing here", "1049 x y", "99999 42000 x"] {
            assert_eq!(of_server(text), None, "{text}");
        }
    }
}

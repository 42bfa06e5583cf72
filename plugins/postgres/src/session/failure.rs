//! No connection, or no longer one, in the words of the protocol.

use leaseway_sdk::{LeaseError, Side, Steps};

use crate::wire::write;

/// Says why, and ends the session: what it had on the connection is gone, and a client's library
/// knows how to connect again.
pub(super) fn farewell(why: &LeaseError) -> Steps {
    let said = why.to_string();
    let (sqlstate, text) = match why {
        LeaseError::HandshakeFailed(text) => match of_server(text) {
            Some((sqlstate, text)) => (sqlstate, text),
            // sqlserver_rejected_establishment_of_sqlconnection
            None => ("08004", text.as_str()),
        },
        // too_many_connections
        LeaseError::WaitTimeout(_) => ("53300", said.as_str()),
        // connection_failure
        LeaseError::Lost(_) => ("08006", said.as_str()),
        // admin_shutdown
        LeaseError::Draining => ("57P01", said.as_str()),
        // sqlclient_unable_to_establish_sqlconnection
        _ => ("08001", said.as_str()),
    };
    Steps::new()
        .send(Side::Client, write::error("FATAL", sqlstate, text))
        .close(said.clone())
}

/// The parts of an error that the server has told `connect`: its SQLSTATE and its words.
fn of_server(text: &str) -> Option<(&str, &str)> {
    let (sqlstate, words) = text.split_once(' ')?;
    let is_code = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    (sqlstate.len() == 5 && sqlstate.bytes().all(is_code)).then_some((sqlstate, words))
}

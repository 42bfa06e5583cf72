//! What of TLS can be read before anything is encrypted, sans I/O: the records that carry a
//! ClientHello, the server name and the protocols in it, and the alerts that refuse it. Knows
//! nothing of routes, leases and sessions.

pub mod alert;
pub mod hello;
mod reader;
pub mod record;

pub use alert::{Alert, Refusal};
pub use hello::ClientHello;

/// The type of a record that carries alerts (RFC 8446, section 5.1).
pub(crate) const ALERT: u8 = 21;

/// The type of a record that carries handshake messages.
pub(crate) const HANDSHAKE: u8 = 22;

/// The type of the handshake message that a client begins with (RFC 8446, section 4).
pub(crate) const CLIENT_HELLO: u8 = 1;

/// TLS 1.0, as versions are written on the wire: what is older is refused (RFC 7568, RFC 6176).
pub(crate) const TLS_1_0: u16 = 0x0301;

/// TLS 1.2, which is what TLS 1.3 calls itself where anybody could take offence (RFC 8446,
/// section 5.1).
pub(crate) const TLS_1_2: u16 = 0x0303;

/// The `server_name` extension (RFC 6066, section 3).
pub(crate) const SERVER_NAME: u16 = 0;

/// The `application_layer_protocol_negotiation` extension (RFC 7301).
pub(crate) const ALPN: u16 = 16;

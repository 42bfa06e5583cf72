//! Heads as they are passed on: what is for one hop only is taken out, what each side must know of the
//! other hop is put in (RFC 9110, 7.6).

use std::net::{IpAddr, SocketAddr};

use crate::config::Forwarded;
use crate::wire::framing::Body;
use crate::wire::request::Request;
use crate::wire::response::{Response, Then};
use crate::wire::{Version, trim};

/// What every request of a session gets.
pub struct Stamp<'s> {
    /// How servers are told of the client.
    pub forwarded: Forwarded,
    /// What they are told, as [`client`] writes it.
    pub client: &'s str,
    /// The relay's own name in `Via`; empty: it has none.
    pub via: &'s str,
    /// The address that the client has connected to: the host of a request that names none.
    pub local: &'s str,
}

/// What servers are told of the client with this address and port; empty, if they are told nothing.
#[must_use]
pub fn client(address: &str, forwarded: Forwarded) -> String {
    let Ok(address) = address.parse::<SocketAddr>() else {
        return String::new();
    };
    match (forwarded, address.ip().to_canonical()) {
        (Forwarded::None, _) => String::new(),
        (Forwarded::XForwardedFor, client) => client.to_string(),
        (Forwarded::Forwarded, IpAddr::V4(client)) => format!("for={client}"),
        (Forwarded::Forwarded, IpAddr::V6(client)) => format!("for=\"[{client}]\""),
    }
}

/// A request's head, for the server.
#[must_use]
pub fn request(request: &Request<'_>, stamp: &Stamp<'_>) -> Vec<u8> {
    let mut head = Vec::with_capacity(request.len + 128);
    head.extend_from_slice(request.method);
    head.push(b' ');
    head.extend_from_slice(&request.target.for_server(request.method));
    head.extend_from_slice(b" HTTP/1.1\r\n");
    let host = request.authority.unwrap_or(match request.version {
        // No host was named because there is none (RFC 9112, 3.2).
        Version::Http11 => b"",
        Version::Http10 => stamp.local.as_bytes(),
    });
    field(&mut head, "Host", host);
    let (mut via, mut froms) = (Vec::new(), Vec::new());
    let from = match stamp.forwarded {
        Forwarded::XForwardedFor => "x-forwarded-for",
        Forwarded::Forwarded => "forwarded",
        Forwarded::None => "",
    };
    for (name, value) in request.fields.iter() {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("via") && !stamp.via.is_empty() {
            item(&mut via, value);
        } else if is(from) {
            item(&mut froms, value);
        } else if !(request.options.ends(name)
            || is("host")
            || is("content-length")
            || is("transfer-encoding")
            || (is("expect") && !request.expects)
            || (is("max-forwards") && request.max_forwards.is_some()))
        {
            line(&mut head, name, value);
        }
    }
    match request.body {
        Body::Chunked => field(&mut head, "Transfer-Encoding", b"chunked"),
        Body::Length(length) if request.says_length => number(&mut head, "Content-Length", length),
        Body::Length(_) | Body::UntilClose => {}
    }
    if let Some(left) = request.max_forwards {
        number(&mut head, "Max-Forwards", left.saturating_sub(1));
    }
    if request.upgrades {
        for (name, value) in request.fields.iter() {
            if name.eq_ignore_ascii_case(b"upgrade") {
                field(&mut head, "Upgrade", value);
            }
        }
    }
    if request.takes_trailers {
        field(&mut head, "TE", b"trailers");
    }
    match (request.upgrades, request.takes_trailers) {
        (true, true) => field(&mut head, "Connection", b"upgrade, TE"),
        (true, false) => field(&mut head, "Connection", b"upgrade"),
        (false, true) => field(&mut head, "Connection", b"TE"),
        (false, false) => {}
    }
    if !stamp.via.is_empty() {
        let version = match request.version {
            Version::Http10 => "1.0 ",
            Version::Http11 => "1.1 ",
        };
        item(&mut via, [version, stamp.via].concat().as_bytes());
        field(&mut head, "Via", &via);
    }
    if !stamp.client.is_empty() {
        item(&mut froms, stamp.client.as_bytes());
        match stamp.forwarded {
            Forwarded::None => {}
            Forwarded::XForwardedFor => field(&mut head, "X-Forwarded-For", &froms),
            Forwarded::Forwarded => field(&mut head, "Forwarded", &froms),
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// What a client is told of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It ends with this response.
    Close,
    /// It goes on, and need not be told.
    Known,
    /// It goes on, and has to be told: HTTP/1.0.
    Told,
}

/// A response's head, for the client. `chunks`: whether the client understands them.
#[must_use]
pub fn response(response: &Response<'_>, persistence: Persistence, chunks: bool) -> Vec<u8> {
    let mut head = Vec::with_capacity(response.len + 64);
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(response.status.to_string().as_bytes());
    head.push(b' ');
    head.extend_from_slice(response.reason);
    head.extend_from_slice(b"\r\n");
    // Another protocol is offered, or begins (RFC 9110, 7.8).
    let upgrades = response.options.upgrade && matches!(response.status, 101 | 426);
    for (name, value) in response.fields.iter() {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let ends = response.options.ends(name) && !(upgrades && is("upgrade"));
        if !(ends || is("content-length") || is("transfer-encoding") || (is("trailer") && !chunks))
        {
            line(&mut head, name, value);
        }
    }
    if let Some(length) = response.length {
        number(&mut head, "Content-Length", length);
    }
    if response.chunked && chunks {
        field(&mut head, "Transfer-Encoding", b"chunked");
    }
    match (response.then, persistence) {
        (Then::Another | Then::Tunnel, _) if upgrades => {
            field(&mut head, "Connection", b"upgrade");
        }
        (Then::Another | Then::Tunnel, _) => {}
        (_, Persistence::Close) if upgrades => field(&mut head, "Connection", b"upgrade, close"),
        (_, Persistence::Close) => field(&mut head, "Connection", b"close"),
        _ if upgrades => field(&mut head, "Connection", b"upgrade"),
        (_, Persistence::Told) => field(&mut head, "Connection", b"keep-alive"),
        (_, Persistence::Known) => {}
    }
    head.extend_from_slice(b"\r\n");
    head
}

fn line(head: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    head.extend_from_slice(name);
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

fn field(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    line(head, name.as_bytes(), value);
}

fn number(head: &mut Vec<u8>, name: &str, number: u64) {
    field(head, name, number.to_string().as_bytes());
}

/// Adds to a list.
fn item(list: &mut Vec<u8>, value: &[u8]) {
    let value = trim(value);
    if !list.is_empty() && !value.is_empty() {
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(value);
}

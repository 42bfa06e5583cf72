//! Requests, and what becomes of each by RFC 9112 (and RFC 9110 where that is said).
//!
//! Of the plugin's own tests, and of those with a real server.
#![allow(dead_code, unreachable_pub)]

/// What becomes of a request.
pub enum Outcome {
    /// It is refused with this status, nothing of it reaches a server, and the session ends.
    Refused(u16),
    /// It is passed on like this, and the session goes on.
    Passed(&'static str),
    /// A part of it was passed on; the rest is refused with this status, and both connections end.
    Broken(u16),
    /// It is answered with this status by the relay itself, and the session goes on.
    Answered(u16),
}
use Outcome::{Answered, Broken, Passed, Refused};

/// The section, what it is about, the request, and what becomes of it.
pub type Case = (&'static str, &'static str, &'static str, Outcome);

#[rustfmt::skip]
const LINES: &[Case] = &[
    ("2.2", "a bare LF ends the request line", "GET / HTTP/1.1\nHost: h\r\n\r\n", Refused(400)),
    ("2.2", "a bare LF ends a header", "GET / HTTP/1.1\r\nHost: h\n\r\n", Refused(400)),
    ("2.2", "a bare LF ends the head", "GET / HTTP/1.1\r\nHost: h\r\n\n", Refused(400)),
    ("2.2", "a bare CR in the request line", "GET /\r HTTP/1.1\r\nHost: h\r\n\r\n", Refused(400)),
    ("2.2", "a bare CR in a header", "GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n", Refused(400)),
    ("2.2", "CR CR LF", "GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", Refused(400)),
    ("2.2", "one empty line in front is ignored", "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Passed("GET / HTTP/1.1\r\nHost: h\r\n\r\n")),
    ("2.2", "but not two", "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Refused(400)),
    ("2.2", "nor a bare LF", "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Refused(400)),
    ("2.2", "a blank behind the request line", "GET / HTTP/1.1\r\n Host: h\r\n\r\n", Refused(400)),
    ("2.3", "no version", "GET /\r\nHost: h\r\n\r\n", Refused(400)),
    ("2.3", "a version in small letters", "GET / http/1.1\r\nHost: h\r\n\r\n", Refused(400)),
    ("2.3", "a version of one digit", "GET / HTTP/1\r\nHost: h\r\n\r\n", Refused(400)),
    ("2.3", "a version of too many digits", "GET / HTTP/1.10\r\nHost: h\r\n\r\n", Refused(400)),
    ("2.3", "another protocol's version", "GET / SPDY/1.1\r\nHost: h\r\n\r\n", Refused(400)),
    ("RFC 9110, 15.6.6", "HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refused(505)),
    ("RFC 9110, 15.6.6", "a version to come", "GET / HTTP/3.0\r\nHost: h\r\n\r\n", Refused(505)),
    ("RFC 9110, 2.5", "a later minor version", "GET / HTTP/1.2\r\nHost: h\r\n\r\n", Passed("GET / HTTP/1.1\r\nHost: h\r\n\r\n")),
    ("3", "two blanks", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", Refused(400)),
    ("3", "a tab for a blank", "GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", Refused(400)),
    ("3", "a blank at the end", "GET / HTTP/1.1 \r\nHost: h\r\n\r\n", Refused(400)),
    ("3", "a blank in front", " GET / HTTP/1.1\r\nHost: h\r\n\r\n", Refused(400)),
    ("3", "a blank in the target", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", Refused(400)),
    ("3", "another protocol's bytes", "\x16\x03\x01\x02\x00\x01", Refused(400)),
    ("3.1", "a method that is no token", "G(T / HTTP/1.1\r\nHost: h\r\n\r\n", Refused(400)),
    ("3", "a method longer than any", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMN / HTTP/1.1\r\nHost: h\r\n\r\n", Refused(501)),
    ("3.1", "a method that nobody knows", "brew /pot HTTP/1.1\r\nHost: h\r\n\r\n", Passed("brew /pot HTTP/1.1\r\nHost: h\r\n\r\n")),
];

#[rustfmt::skip]
const TARGETS: &[Case] = &[
    ("3.2", "a target that is none", "GET index.html HTTP/1.1\r\nHost: h\r\n\r\n", Refused(400)),
    ("3.2", "a fragment", "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", Refused(400)),
    ("3.2", "a backslash", "GET /a\\b HTTP/1.1\r\nHost: h\r\n\r\n", Refused(400)),
    ("3.2", "a control character", "GET /a\x01b HTTP/1.1\r\nHost: h\r\n\r\n", Refused(400)),
    ("3.2", "no Host", "GET / HTTP/1.1\r\n\r\n", Refused(400)),
    ("3.2", "two Hosts", "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", Refused(400)),
    ("3.2", "a Host that is none", "GET / HTTP/1.1\r\nHost: h/x\r\n\r\n", Refused(400)),
    ("3.2", "a Host with a user", "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", Refused(400)),
    ("3.2", "a Host of two", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Refused(400)),
    ("3.2", "an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", Passed("GET / HTTP/1.1\r\nHost: \r\n\r\n")),
    ("3.2.2", "a whole URI counts more than Host", "GET http://a:8080/b?c HTTP/1.1\r\nHost: h\r\n\r\n", Passed("GET /b?c HTTP/1.1\r\nHost: a:8080\r\n\r\n")),
    ("3.2.2", "a whole URI, and no Host", "GET http://a/ HTTP/1.1\r\n\r\n", Refused(400)),
    ("3.2.2", "a URI of another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("RFC 9110, 4.2.4", "a URI with a user", "GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("3.2.3", "CONNECT to a path", "CONNECT /a HTTP/1.1\r\nHost: h\r\n\r\n", Refused(400)),
    ("3.2.3", "CONNECT without a port", "CONNECT h HTTP/1.1\r\nHost: h\r\n\r\n", Refused(400)),
    ("3.2.3", "an authority without CONNECT", "GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n", Refused(400)),
    ("3.2.4", "an asterisk without OPTIONS", "GET * HTTP/1.1\r\nHost: h\r\n\r\n", Refused(400)),
    ("3.2.4", "a URI without a path, for OPTIONS", "OPTIONS http://a HTTP/1.1\r\nHost: h\r\n\r\n", Passed("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")),
];

#[rustfmt::skip]
const FIELDS: &[Case] = &[
    ("5.1", "a blank in front of the colon", "GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n", Refused(400)),
    ("5.1", "and where it would hide a length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 5\r\n\r\nhello", Refused(400)),
    ("5.1", "no colon", "GET / HTTP/1.1\r\nHost: h\r\nA\r\n\r\n", Refused(400)),
    ("5.1", "no name", "GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n", Refused(400)),
    ("5.1", "a name that is no token", "GET / HTTP/1.1\r\nHost: h\r\nA(b: c\r\n\r\n", Refused(400)),
    ("5.1", "a name in another encoding", "GET / HTTP/1.1\r\nHost: h\r\n\u{e4}: c\r\n\r\n", Refused(400)),
    ("5.1", "blanks around a value", "GET / HTTP/1.1\r\nHost:h\r\nA: \t b c \t\r\n\r\n", Passed("GET / HTTP/1.1\r\nHost: h\r\nA: b c\r\n\r\n")),
    ("5.2", "a folded line", "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", Refused(400)),
    ("5.2", "a folded line that would hide a coding", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\tchunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("RFC 9110, 5.5", "a NUL in a value", "GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n", Refused(400)),
    ("RFC 9110, 5.5", "another control character", "GET / HTTP/1.1\r\nHost: h\r\nA: b\x0bc\r\n\r\n", Refused(400)),
    ("RFC 9110, 5.5", "a value in another encoding", "GET / HTTP/1.1\r\nHost: h\r\nA: \u{e4}\r\n\r\n", Passed("GET / HTTP/1.1\r\nHost: h\r\nA: \u{e4}\r\n\r\n")),
    ("9.6", "the last request of a connection is not told to the server", "GET / HTTP/1.1\r\nHost: h\r\nKeep-Alive: 5\r\n\r\n", Passed("GET / HTTP/1.1\r\nHost: h\r\n\r\n")),
    ("RFC 9110, 7.6.1", "what Connection names ends here", "GET / HTTP/1.1\r\nHost: h\r\nConnection: x-a, ,X-B\r\nX-A: 1\r\nx-b: 2\r\nX-C: 3\r\n\r\n", Passed("GET / HTTP/1.1\r\nHost: h\r\nX-C: 3\r\n\r\n")),
    ("RFC 9110, 7.6.1", "what says a length may not be named", "POST / HTTP/1.1\r\nHost: h\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\nhello", Refused(400)),
    ("RFC 9110, 7.6.1", "nor a coding", "POST / HTTP/1.1\r\nHost: h\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("RFC 9110, 7.6.1", "nor what says whom it is for", "GET / HTTP/1.1\r\nHost: h\r\nConnection: host\r\n\r\n", Refused(400)),
    ("RFC 9110, 7.6.1", "nor whom it is from", "GET / HTTP/1.1\r\nHost: h\r\nConnection: X-Forwarded-For\r\n\r\n", Refused(400)),
    ("RFC 9110, 7.6.1", "whoever has put it there", "GET / HTTP/1.1\r\nHost: h\r\nConnection: close, x-real-ip\r\nX-Real-IP: 10.0.0.1\r\n\r\n", Refused(400)),
    ("RFC 7239, 4", "a quote without an end would swallow what is added", "GET / HTTP/1.1\r\nHost: h\r\nForwarded: for=10.0.0.1;by=\"\r\n\r\n", Refused(400)),
    ("RFC 7239, 4", "one that ends in the next line, too", "GET / HTTP/1.1\r\nHost: h\r\nForwarded: by=\"a\r\nForwarded: b\"\r\n\r\n", Refused(400)),
    ("RFC 7239, 4", "one that is no end", "GET / HTTP/1.1\r\nHost: h\r\nForwarded: for=\"\\\"\r\n\r\n", Refused(400)),
    ("RFC 7239, 4", "quotes that end", "GET / HTTP/1.1\r\nHost: h\r\nForwarded: for=\"[::1]\";by=\"\\\"\"\r\n\r\n", Passed("GET / HTTP/1.1\r\nHost: h\r\nForwarded: for=\"[::1]\";by=\"\\\"\"\r\n\r\n")),
    ("RFC 9110, 7.6.1", "an option that is no token", "GET / HTTP/1.1\r\nHost: h\r\nConnection: a b\r\n\r\n", Refused(400)),
    ("RFC 9110, 7.6.1", "what is for one hop ends here", "GET / HTTP/1.1\r\nHost: h\r\nProxy-Connection: keep-alive\r\nUpgrade: x\r\n\r\n", Passed("GET / HTTP/1.1\r\nHost: h\r\n\r\n")),
    ("RFC 9110, 10.1.4", "trailers are asked for anew", "GET / HTTP/1.1\r\nHost: h\r\nTE: gzip;q=0.5, trailers\r\nConnection: TE\r\n\r\n", Passed("GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE\r\n\r\n")),
    ("RFC 9110, 7.8", "HTTP/2 is no protocol to change to", "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n", Passed("GET / HTTP/1.1\r\nHost: h\r\n\r\n")),
    ("RFC 9110, 7.8", "by whatever name", "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2\r\nConnection: Upgrade\r\n\r\n", Passed("GET / HTTP/1.1\r\nHost: h\r\n\r\n")),
    ("RFC 9110, 10.1.1", "something else is expected", "POST / HTTP/1.1\r\nHost: h\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n", Refused(417)),
    ("RFC 9110, 7.6.2", "OPTIONS ends here", "OPTIONS * HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n", Answered(200)),
    ("RFC 9110, 7.6.2", "and goes one hop less far", "OPTIONS * HTTP/1.1\r\nHost: h\r\nMax-Forwards: 2\r\n\r\n", Passed("OPTIONS * HTTP/1.1\r\nHost: h\r\nMax-Forwards: 1\r\n\r\n")),
    ("RFC 9110, 7.6.2", "TRACE ends here", "TRACE / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n", Answered(501)),
];

#[rustfmt::skip]
const FRAMING: &[Case] = &[
    ("6.1", "both lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("6.1", "both, the other way round", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", Refused(400)),
    ("6.1", "a coding in HTTP/1.0", "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("6.1", "a coding that is not known", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Refused(501)),
    ("6.1", "a coding that looks like it", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", Refused(501)),
    ("6.1", "chunked with a parameter", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", Refused(501)),
    ("6.1", "chunked in quotes", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", Refused(501)),
    ("6.1", "chunked twice", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("6.1", "chunked twice, in two lines", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("6.3", "chunked is not the last", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", Refused(400)),
    ("6.1", "an empty coding", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n", Refused(400)),
    ("6.1", "chunked behind a vertical tab", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("6.3", "two lengths that differ", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", Refused(400)),
    ("6.3", "one length twice", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Refused(400)),
    ("6.3", "a list of lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\nhello", Refused(400)),
    ("RFC 9110, 8.6", "a length with a sign", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello", Refused(400)),
    ("RFC 9110, 8.6", "a negative length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", Refused(400)),
    ("RFC 9110, 8.6", "a hexadecimal length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\nhello", Refused(400)),
    ("RFC 9110, 8.6", "a length with a blank in it", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5 0\r\n\r\nhello", Refused(400)),
    ("RFC 9110, 8.6", "an empty length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", Refused(400)),
    ("RFC 9110, 8.6", "a length that overflows", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551621\r\n\r\nhello", Refused(413)),
    ("RFC 9110, 8.6", "zeros in front are digits", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 005\r\n\r\nhello", Passed("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")),
    ("6.3", "no length is no body", "POST / HTTP/1.1\r\nHost: h\r\n\r\n", Passed("POST / HTTP/1.1\r\nHost: h\r\n\r\n")),
    ("6.3", "a length of none is passed on", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", Passed("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")),
    ("6.3", "a GET may have a body", "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nGET", Passed("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nGET")),
    ("RFC 9110, 9.3.8", "a TRACE may not", "TRACE / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nGET", Refused(400)),
    ("RFC 9110, 9.3.6", "nor may CONNECT", "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\nContent-Length: 3\r\n\r\nGET", Refused(400)),
    ("RFC 9110, 9.3.6", "nor with chunks", "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
];

#[rustfmt::skip]
const CHUNKS: &[Case] = &[
    ("7.1", "chunks", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0A\r\n0123456789\r\n0\r\n\r\n", Passed("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0A\r\n0123456789\r\n0\r\n\r\n")),
    ("7.1.2", "trailers", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n", Passed("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n")),
    ("7.1.2", "and where Connection names none", "POST / HTTP/1.1\r\nHost: h\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n", Passed("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n")),
    ("RFC 9110, 7.6.1", "but not those that Connection may name", "POST / HTTP/1.1\r\nHost: h\r\nConnection: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\n\r\n", Passed("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")),
    ("7.1.1", "extensions end here", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0 ;c\r\n\r\n", Passed("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")),
    ("7.1", "a size with a prefix", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", Broken(400)),
    ("7.1", "a size that is none", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nG\r\n\r\n", Broken(400)),
    ("7.1", "no size", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", Broken(400)),
    ("7.1", "a size with a sign", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", Broken(400)),
    ("7.1", "a size with a blank in front", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n", Broken(400)),
    ("7.1", "a size with a blank behind", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n", Broken(400)),
    ("7.1", "a size that overflows", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n", Broken(400)),
    ("7.1", "a bare LF behind a size", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n", Broken(400)),
    ("7.1", "a bare CR behind a size", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\rhello\r\n", Broken(400)),
    ("7.1.1", "a bare LF in an extension", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n", Broken(400)),
    ("7.1.1", "a control character in an extension", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;\x01\r\nhello\r\n", Broken(400)),
    ("7.1", "a chunk longer than its size", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n", Broken(400)),
    ("7.1", "a chunk that ends with LF", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n", Broken(400)),
    ("7.1.2", "a trailer that is none", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA b\r\n\r\n", Broken(400)),
    ("7.1.2", "a bare LF ends the trailers", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\r\n", Broken(400)),
    ("RFC 9110, 6.5.1", "a length among the trailers", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n", Broken(400)),
    ("RFC 9110, 6.5.1", "a coding among the trailers", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", Broken(400)),
    ("RFC 9110, 6.5.1", "a sender among the trailers", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Real-IP: 10.0.0.1\r\n\r\n", Broken(400)),
    ("RFC 9110, 6.5.1", "a host among the trailers", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nhost: x\r\n\r\n", Broken(400)),
];

pub const ALL: [&[Case]; 5] = [LINES, TARGETS, FIELDS, FRAMING, CHUNKS];

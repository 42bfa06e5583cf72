//! A response: its head for the client, its body as it is, and what becomes of both connections behind
//! it.

use leaseway_sdk::{Disposition, Side, Steps};

use super::Session;
use super::exchange::{Passed, Reply, Upload};
use super::upload::MAX_PIECES;
use crate::answers::Answer;
use crate::rewrite::{self, Persistence};
use crate::wire::chunked::{Chunks, Piece};
use crate::wire::framing::Body;
use crate::wire::response::{Response, Then};
use crate::wire::{Read, Version};

/// How many heads of 1xx a response may have in front of its own.
const MAX_INTERIM: u32 = 64;

impl Session {
    /// Bytes of the server.
    pub(super) fn reply(&mut self, data: &[u8]) -> Steps {
        let Some(exchange) = &mut self.exchange else {
            return Steps::new().close("an unasked response");
        };
        match exchange.reply {
            Reply::Head => self.response(data),
            Reply::Last if data.is_empty() => Steps::new(),
            Reply::Last => self.end(Steps::new().forward(1), false),
            Reply::Chunked {
                chunks,
                keep,
                passed,
            } => self.chunked(data, chunks, keep, passed),
            Reply::UntilClose | Reply::Tunnel => Steps::new().forward_rest(),
            Reply::Done => Steps::new().close("bytes behind a response"),
        }
    }

    fn response(&mut self, data: &[u8]) -> Steps {
        let limits = self.shared.config.limits();
        let Some(exchange) = &mut self.exchange else {
            return Steps::new();
        };
        exchange.heard = true;
        let response = match Response::read(data, limits, exchange.asked) {
            Read::Complete(response) => response,
            Read::Incomplete => return Steps::new(),
            Read::Invalid(why) => return self.no_response(why),
        };
        let repeats = std::mem::take(&mut exchange.repeats);
        if repeats && response.status == 408 && response.options.close {
            // Said of the connection, which the server has closed before the request came: the request
            // may be repeated (RFC 9110, 15.5.9).
            let target = exchange.target.clone();
            return Steps::new().release(Disposition::Close).lease(target);
        }
        exchange.head = Vec::new();
        exchange.doubt |= response.misleads;
        if response.then == Then::Another {
            let steps = Steps::new().discard(response.len as u64);
            exchange.interim += 1;
            exchange.expects &= response.status != 100;
            if exchange.interim > MAX_INTERIM {
                return self.no_response("too many 1xx in front of a response");
            }
            // HTTP/1.0 knows none (RFC 9110, 15.2).
            if exchange.version == Version::Http10 {
                return steps;
            }
            let head = rewrite::response(&response, Persistence::Known, true);
            return steps.send(Side::Client, head);
        }
        let chunks = exchange.version == Version::Http11;
        let is_long = match response.then {
            Then::Body(Body::UntilClose) => true,
            Then::Body(Body::Chunked) => !chunks,
            _ => false,
        };
        if is_long {
            exchange.persistence = Persistence::Close;
        }
        let persistence = exchange.persistence();
        let head = rewrite::response(&response, persistence, chunks);
        // A server that has refused a body may take it, or not, for the next request.
        let keep = response.persists()
            && exchange.upload == Upload::Done
            && !exchange.expects
            && !exchange.doubt;
        exchange.persistence = persistence;
        let data = &data[response.len..];
        let then = response.then;
        let passed = match (chunks, response.options.name_fields()) {
            (false, _) => Passed::Data,
            (true, true) => Passed::Chunks,
            (true, false) => Passed::All,
        };
        let steps = match exchange.upload {
            Upload::Done => self.untimed(Steps::new()),
            // The rest of the body is still waited for.
            _ => Steps::new(),
        };
        let steps = steps.discard(response.len as u64);
        let steps = steps.send(Side::Client, head);
        match then {
            Then::Tunnel => self.becomes(Reply::Tunnel, steps.forward_rest()),
            Then::Body(Body::UntilClose) => self.becomes(Reply::UntilClose, steps.forward_rest()),
            Then::Body(Body::Chunked) => {
                let reply = Reply::Chunked {
                    chunks: Chunks::default(),
                    keep,
                    passed,
                };
                self.becomes(reply, steps)
            }
            Then::Body(Body::Length(length)) => self.length(steps, length, data.len(), keep),
            Then::Another => steps,
        }
    }

    /// A body of this length, of which so many bytes are there.
    fn length(&mut self, steps: Steps, length: u64, shown: usize, keep: bool) -> Steps {
        let sent = self
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.upload == Upload::Done);
        match length {
            0 => self.end(steps, keep),
            // What waits behind bytes that have not come keeps the client from being heard, and its
            // request from being sent to its end.
            _ if sent || shown as u64 >= length => self.end(steps.forward(length), keep),
            1 => self.becomes(Reply::Last, steps),
            _ => self.becomes(Reply::Last, steps.forward(length - 1)),
        }
    }

    fn chunked(
        &mut self,
        mut data: &[u8],
        mut chunks: Chunks,
        keep: bool,
        passed: Passed,
    ) -> Steps {
        let limits = self.shared.config.limits();
        let mut steps = Steps::new();
        for _ in 0..MAX_PIECES {
            let piece = match chunks.next(data, limits) {
                Read::Complete(piece) => piece,
                Read::Incomplete => break,
                // The client must not take it for whole.
                Read::Invalid(_) => {
                    return steps.close("a malformed chunk of the server");
                }
            };
            let len = match piece {
                Piece::Frame { len, .. } if passed == Passed::Data => {
                    steps = steps.discard(len as u64);
                    len
                }
                Piece::Frame { len, size, plain } => {
                    steps = match plain {
                        true => steps.forward(len as u64),
                        false => steps
                            .discard(len as u64)
                            .send(Side::Client, format!("{size:x}\r\n")),
                    };
                    len
                }
                Piece::Data(size) => {
                    steps = steps.forward(size);
                    usize::try_from(size).unwrap_or(usize::MAX)
                }
                Piece::End(len) => {
                    let steps = match passed {
                        Passed::All => steps.forward(len as u64),
                        Passed::Chunks => steps.discard(len as u64).send(Side::Client, "\r\n"),
                        Passed::Data => steps.discard(len as u64),
                    };
                    return self.end(steps, keep);
                }
            };
            data = data.get(len..).unwrap_or_default();
            if data.is_empty() && !matches!(chunks, Chunks::Data(_)) {
                break;
            }
        }
        self.becomes(
            Reply::Chunked {
                chunks,
                keep,
                passed,
            },
            steps,
        )
    }

    fn becomes(&mut self, reply: Reply, steps: Steps) -> Steps {
        if let Some(exchange) = &mut self.exchange {
            exchange.reply = reply;
        }
        steps
    }

    /// The response ends here.
    fn end(&mut self, steps: Steps, keep: bool) -> Steps {
        let Some(exchange) = &self.exchange else {
            return steps;
        };
        let ends = exchange.persistence == Persistence::Close;
        // What stands behind a `release` would wait for the rest of a request's body; what ends with
        // its session need not be given back.
        let steps = match (ends, keep) {
            (true, false) => steps,
            _ => steps.release(Disposition::keep_if(keep)),
        };
        if ends {
            return self.becomes(Reply::Done, steps.close("the last response"));
        }
        self.exchange = None;
        steps
    }

    /// What the server sends is no response.
    fn no_response(&mut self, why: &'static str) -> Steps {
        let Some(exchange) = &self.exchange else {
            return Steps::new();
        };
        let answer = Answer {
            status: 502,
            why: "the server sent what is no valid response",
        };
        let persistence = exchange.persistence();
        let words = answer.bytes(exchange.asked.head, persistence);
        let ends = persistence == Persistence::Close;
        let steps = self.untimed(Steps::new());
        if ends {
            let steps = steps.send(Side::Client, words).close(why);
            return self.becomes(Reply::Done, steps);
        }
        self.exchange = None;
        steps.release(Disposition::Close).send(Side::Client, words)
    }
}

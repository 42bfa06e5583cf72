//! A request's body: measured, checked where it is chunked, and passed on unseen.

use std::time::Duration;

use leaseway_sdk::{Side, Steps};

use super::begin::TOO_LARGE;
use super::exchange::{Reply, Upload};
use super::{Session, Timer};
use crate::answers::Answer;
use crate::rewrite::Persistence;
use crate::wire::Read;
use crate::wire::chunked::{Chunks, Piece};
use crate::wire::fields::Flaw;

/// How many pieces of a body one call covers; the rest is shown again.
pub(super) const MAX_PIECES: usize = 1000;

impl Session {
    /// Bytes of the client, while it has a connection.
    pub(super) fn upload(&mut self, data: &[u8]) -> Steps {
        let Some(exchange) = &mut self.exchange else {
            return Steps::new();
        };
        if exchange.reply == Reply::Tunnel {
            return Steps::new().forward_rest();
        }
        match exchange.upload {
            // The next request waits for its turn.
            Upload::Done | Upload::Length(..) => Steps::new(),
            Upload::Last if data.is_empty() => Steps::new(),
            Upload::Last => {
                exchange.upload = Upload::Done;
                self.await_response(Steps::new().forward(1))
            }
            Upload::Chunked(..) => self.chunks(data),
        }
    }

    fn chunks(&mut self, mut data: &[u8]) -> Steps {
        let config = &self.shared.config;
        let (limits, most) = (config.limits(), config.max_body.unwrap_or(u64::MAX));
        let mut steps = Steps::new();
        for _ in 0..MAX_PIECES {
            let Some(exchange) = &mut self.exchange else {
                return steps;
            };
            let Upload::Chunked(chunks, so_far) = &mut exchange.upload else {
                return steps;
            };
            let piece = match chunks.next(data, limits) {
                Read::Complete(piece) => piece,
                Read::Incomplete => break,
                Read::Invalid(Flaw::Syntax(why)) => return self.give_up(steps, 400, why),
                Read::Invalid(Flaw::TooLarge | Flaw::TooMany) => {
                    return self.give_up(steps, 431, "the trailers are too large");
                }
            };
            let len = match piece {
                Piece::Frame { len, size, plain } => {
                    *so_far = so_far.saturating_add(size);
                    if *so_far > most {
                        return self.give_up(steps, 413, TOO_LARGE);
                    }
                    steps = match plain {
                        true => steps.forward(len as u64),
                        // Extensions are for this hop only, and read differently by many.
                        false => steps
                            .discard(len as u64)
                            .send(Side::Upstream, format!("{size:x}\r\n")),
                    };
                    len
                }
                Piece::Data(size) => {
                    steps = steps.forward(size);
                    usize::try_from(size).unwrap_or(usize::MAX)
                }
                Piece::End(len) => {
                    exchange.upload = Upload::Done;
                    let steps = match exchange.trailers {
                        true => steps.forward(len as u64),
                        false => steps.discard(len as u64).send(Side::Upstream, "\r\n"),
                    };
                    return self.await_response(steps);
                }
            };
            // A chunk may reach past what is there: its end is not.
            data = data.get(len..).unwrap_or_default();
            if data.is_empty() && !matches!(*chunks, Chunks::Data(_)) {
                break;
            }
        }
        self.await_body(steps)
    }

    /// The request cannot be sent to its end, and the server has had a part of it.
    fn give_up(&mut self, steps: Steps, status: u16, why: &'static str) -> Steps {
        let steps = self.untimed(steps);
        let steps = match &self.exchange {
            Some(exchange) if exchange.reply == Reply::Head => {
                let answer = Answer { status, why };
                steps.send(
                    Side::Client,
                    answer.bytes(exchange.asked.head, Persistence::Close),
                )
            }
            _ => steps,
        };
        steps.close(why)
    }

    /// More of the body has to come behind what these steps cover, whether the server has begun to
    /// answer or not. While they wait for bytes the listener's `stall-timeout` counts; that any are
    /// missing behind them only the plugin knows.
    pub(super) fn await_body(&mut self, steps: Steps) -> Steps {
        let seconds = self.shared.config.body_timeout;
        if steps.is_empty() || seconds == 0 {
            return steps;
        }
        let mut all = self.untimed(Steps::new());
        all.extend(Vec::from(steps));
        self.timer = Timer::Body;
        // Without a word, since a response may have begun until then.
        all.deadline(Duration::from_secs(seconds.into()), Vec::new())
    }

    /// The client sends no more, and has a connection.
    pub(super) fn client_ended(&mut self) -> Steps {
        match &self.exchange {
            // The half-close passes.
            Some(exchange) if exchange.reply == Reply::Tunnel => Steps::new().forward_rest(),
            // It still gets its response.
            Some(exchange) if exchange.upload == Upload::Done => Steps::new(),
            Some(_) => self.give_up(
                Steps::new(),
                400,
                "the request ends in the middle of its body",
            ),
            None => Steps::new(),
        }
    }
}

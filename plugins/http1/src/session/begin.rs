//! A request's head: where it goes, and what is sent there.

use std::time::Duration;

use leaseway_sdk::{Choice, Side, Steps, Target};

use super::exchange::{Exchange, Reply, Upload};
use super::{Session, Timer};
use crate::answers::Answer;
use crate::rewrite::{self, Persistence, Stamp};
use crate::routes::Way;
use crate::wire::Version;
use crate::wire::chunked::Chunks;
use crate::wire::framing::Body;
use crate::wire::request::Request;
use crate::wire::response::Asked;

impl Session {
    /// A head is all there. `shown`: how many bytes there are, with those behind it.
    pub(super) fn begin(&mut self, request: &Request<'_>, shown: usize) -> Choice {
        self.blank = false;
        let persistence = match (request.persists(), request.version) {
            (false, _) => Persistence::Close,
            (true, Version::Http11) => Persistence::Known,
            (true, Version::Http10) => Persistence::Told,
        };
        let upload = match request.body {
            Body::Length(0) | Body::UntilClose => Upload::Done,
            Body::Length(length) => Upload::Length(length, shown - request.len),
            Body::Chunked => Upload::Chunked(Chunks::default(), 0),
        };
        let target = match self.way(request) {
            Ok(target) => target,
            Err(answer) => {
                // The body is not waited for.
                let persistence = match upload {
                    Upload::Done => persistence,
                    _ => Persistence::Close,
                };
                let words = answer.bytes(request.method == b"HEAD", persistence);
                let steps = self.untimed(Steps::new());
                let steps = steps.discard(request.len as u64).send(Side::Client, words);
                return Choice::answer(match persistence {
                    Persistence::Close => steps.close(answer.why),
                    Persistence::Known | Persistence::Told => steps,
                });
            }
        };
        let config = &self.shared.config;
        let head = rewrite::request(
            request,
            &Stamp {
                forwarded: config.forwarded,
                client: &self.client,
                via: &config.via,
                local: &self.local,
            },
        );
        self.exchange = Some(Box::new(Exchange {
            asked: Asked {
                head: request.method == b"HEAD",
                connect: request.method == b"CONNECT",
                upgrade: request.upgrades,
            },
            version: request.version,
            persistence,
            target: target.clone(),
            head,
            client_head: request.len,
            repeats: request.is_idempotent() && upload == Upload::Done,
            heard: false,
            expects: request.expects && upload != Upload::Done,
            doubt: upload != Upload::Done && request.body_means_nothing(),
            upload,
            trailers: !request.options.name_fields(),
            reply: Reply::Head,
            interim: 0,
        }));
        match self.timer {
            Timer::None => Choice::lease(target),
            Timer::Head | Timer::Body | Timer::Response => {
                let steps = self.untimed(Steps::new());
                Choice::answer(steps.lease(target))
            }
        }
    }

    /// Where a request goes, or what is said of it instead.
    fn way(&self, request: &Request<'_>) -> Result<Target, Answer> {
        let answer = |status, why| Err(Answer { status, why });
        // It ends here (RFC 9110, 7.6.2).
        if request.max_forwards == Some(0) {
            return match request.method {
                b"OPTIONS" => answer(200, ""),
                _ => answer(501, "TRACE is not answered here"),
            };
        }
        if let (Body::Length(length), Some(most)) = (request.body, self.shared.config.max_body)
            && length > most
        {
            return answer(413, TOO_LARGE);
        }
        let routes = &self.shared.routes;
        let path = match routes.has_paths() {
            true => request.target.path(),
            false => b"/".to_vec(),
        };
        match routes.way(request.host(), &path) {
            Way::First => Ok(Target::default()),
            Way::Group(group) => Ok(Target::default().group(group)),
            Way::Nowhere => answer(404, "no route is for this host and path"),
        }
    }

    /// The connection is there: sends what can be sent of the request.
    pub(super) fn send(&mut self, fresh: bool) -> Steps {
        let Some(exchange) = &mut self.exchange else {
            return Steps::new();
        };
        // Only what is lost on a connection that had served before is tried again: it may have been
        // closed before the request came.
        exchange.repeats &= !fresh;
        let head = match exchange.repeats {
            true => exchange.head.clone(),
            false => std::mem::take(&mut exchange.head),
        };
        let swallowed = std::mem::take(&mut exchange.client_head);
        let mut steps = Steps::new();
        if swallowed > 0 {
            steps = steps.discard(swallowed as u64);
        }
        steps = steps.send(Side::Upstream, head);
        if let Upload::Length(length, shown) = exchange.upload {
            (exchange.upload, steps) = if shown as u64 >= length {
                (Upload::Done, steps.forward(length))
            } else if length > 1 {
                (Upload::Last, steps.forward(length - 1))
            } else {
                (Upload::Last, steps)
            };
        }
        match exchange.upload {
            Upload::Done => self.await_response(steps),
            _ => self.await_body(steps),
        }
    }

    /// The request has been sent to its end.
    pub(super) fn await_response(&mut self, steps: Steps) -> Steps {
        let Some(exchange) = &self.exchange else {
            return steps;
        };
        let seconds = self.shared.config.response_timeout;
        let mut all = match exchange.reply {
            Reply::Head if self.timer == Timer::Response => return steps,
            Reply::Head if seconds == 0 => self.untimed(Steps::new()),
            Reply::Head => {
                self.timer = Timer::Response;
                let within = Duration::from_secs(seconds.into());
                let words = self.shared.late(exchange.asked.head);
                Steps::new().deadline(within, words)
            }
            _ => self.untimed(Steps::new()),
        };
        // In front of all that may have to wait: what is set after a connection was lost would be for
        // another request.
        all.extend(Vec::from(steps));
        all
    }
}

/// Said of a body with a length, and of chunks.
pub(super) const TOO_LARGE: &str = "the body is larger than may be";

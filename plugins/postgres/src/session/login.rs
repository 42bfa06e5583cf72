//! The start of a session: who the client is, and the greeting that it waits for.

use std::rc::Rc;
use std::time::Duration;

use leaseway_sdk::frame::Parsed;
use leaseway_sdk::{Choice, Side, Steps};

use super::{Account, Known, Named, Session};
use crate::auth::scram::{ITERATIONS, MECHANISM, Server, Stretching, Verifier};
use crate::auth::{Secret, scram};
use crate::cancel::Running;
use crate::config::{Auth, Pooling};
use crate::identity::Identity;
use crate::wire::startup::{self, Packet, Start};
use crate::wire::{self, write};

/// The longest message of a client that has not proved who it is.
const MAX_UNPROVED: usize = 4096;

/// Where a session stands before it can ask anything.
pub(super) enum Stage {
    /// Nothing has been said that counts.
    Start,
    /// It has been asked for its password, or with a salt for a hash of it.
    Password(Option<[u8; 4]>),
    /// It has been asked to begin SCRAM.
    Sasl,
    /// It has begun.
    SaslProof(Server),
    /// It is who it says, and a connection has been asked for whose parameters greet it.
    Greeting,
    /// It has been greeted.
    Ready,
    /// It is no session, but wants the query of one cancelled.
    Cancel(Running),
}

/// What ends a login.
struct Refusal {
    sqlstate: &'static str,
    text: String,
}

impl Refusal {
    /// protocol_violation
    fn violation(text: impl Into<String>) -> Self {
        Self {
            sqlstate: "08P01",
            text: text.into(),
        }
    }

    /// invalid_password, for whatever reason: whoever guesses learns nothing.
    fn password(user: &str) -> Self {
        Self {
            sqlstate: "28P01",
            text: format!("password authentication failed for user \"{user}\""),
        }
    }
}

impl Session {
    /// Takes the next step of the login.
    pub(super) fn log_in(&mut self, shown: &[u8]) -> Choice {
        let step = match self.stage {
            Stage::Start => self.starts(shown),
            Stage::Password(_) | Stage::Sasl | Stage::SaslProof(_) => self.proves(shown),
            // A connection is on its way.
            Stage::Greeting | Stage::Ready | Stage::Cancel(_) => return Choice::NeedMore,
        };
        step.unwrap_or_else(|Refusal { sqlstate, text }| {
            Choice::refuse(write::error("FATAL", sqlstate, &text), text)
        })
    }

    fn starts(&mut self, shown: &[u8]) -> Result<Choice, Refusal> {
        let (packet, length) = match startup::packet(shown) {
            Parsed::Complete { value, len } => (value, len as u64),
            Parsed::Incomplete { .. } => return Ok(Choice::NeedMore),
            Parsed::Invalid(why) => return Err(Refusal::violation(why)),
        };
        let steps = Steps::new().discard(length);
        match packet {
            // Once by TLS, and once by GSSAPI.
            Packet::Encrypt if self.encrypts >= 2 => {
                Err(Refusal::violation("asked for encryption again and again"))
            }
            Packet::Encrypt => {
                self.encrypts += 1;
                Ok(Choice::answer(steps.send(Side::Client, *b"N")))
            }
            Packet::Cancel { pid, key } => {
                let key = [&pid.to_be_bytes()[..], &key].concat();
                Ok(self.cancels(&key, steps))
            }
            Packet::Start(start) => self.introduces(start, steps),
        }
    }

    fn introduces(&mut self, start: Start, steps: Steps) -> Result<Choice, Refusal> {
        let Start {
            major,
            minor,
            mut parameters,
        } = start;
        if major != 3 {
            return Err(Refusal {
                // feature_not_supported
                sqlstate: "0A000",
                text: format!(
                    "unsupported frontend protocol {major}.{minor}: the relay speaks 3.0"
                ),
            });
        }
        let options: Vec<String> = parameters
            .keys()
            .filter(|name| name.starts_with("_pq_."))
            .cloned()
            .collect();
        parameters.retain(|name, _| !name.starts_with("_pq_."));
        let user = parameters.get("user").cloned().unwrap_or_default();
        if user.is_empty() {
            return Err(Refusal {
                // invalid_authorization_specification
                sqlstate: "28000",
                text: "no PostgreSQL user name specified in startup packet".to_owned(),
            });
        }
        let is_off = |value: &String| ["false", "off", "no", "0"].contains(&value.as_str());
        if !parameters.remove("replication").as_ref().is_none_or(is_off) {
            return Err(Refusal {
                sqlstate: "0A000",
                text: "replication connections are not relayed".to_owned(),
            });
        }
        // What can be changed later does not bind a client to connections of its own.
        parameters.retain(|name, value| {
            let tracked = &self.shared.tracked;
            let at = tracked.find(name.as_bytes());
            match at.and_then(|at| Some((at, tracked.wish(at, value)?))) {
                Some(wish) => {
                    // A name in two cases is one setting: what the server makes of one value must not be
                    // remembered for another.
                    self.wishes.retain(|(at, _)| *at != wish.0);
                    self.wishes.push(wish);
                    false
                }
                None => true,
            }
        });
        parameters
            .entry("database".to_owned())
            .or_insert_with(|| user.clone());
        self.claim = Some(Box::new(Identity {
            group: None,
            read_only_group: None,
            password: None,
            keys: None,
            parameters,
        }));
        let steps = match minor > 0 || !options.is_empty() {
            true => {
                let options: Vec<&str> = options.iter().map(String::as_str).collect();
                steps.send(Side::Client, write::negotiate(&options))
            }
            false => steps,
        };
        let auth = self.shared.accounts.get(&user).map(|account| account.auth);
        let request = match auth {
            Some(Auth::Trust) => return self.is_known(steps),
            Some(Auth::Password) => {
                self.stage = Stage::Password(None);
                write::authentication(3, &[])
            }
            Some(Auth::Md5) => {
                let salt = crate::random().map_err(internal)?;
                self.stage = Stage::Password(Some(salt));
                write::authentication(5, &salt)
            }
            // Nor does who does not exist hear of it before the end.
            Some(Auth::Scram) | None => {
                self.begins_verifier(&user);
                self.stage = Stage::Sasl;
                let mechanisms = [MECHANISM.as_bytes(), b"\0\0"].concat();
                write::authentication(10, &mechanisms)
            }
        };
        let steps = self.must_hurry(steps);
        Ok(Choice::answer(steps.send(Side::Client, request)))
    }

    fn proves(&mut self, shown: &[u8]) -> Result<Choice, Refusal> {
        let (body, length) = match wire::message(shown, MAX_UNPROVED) {
            Parsed::Complete {
                value: (b'p', body),
                len,
            } => (body, len as u64),
            Parsed::Complete {
                value: (kind, _), ..
            } => {
                let kind = char::from(kind).escape_default();
                let text = format!("expected password response, got message type {kind}");
                return Err(Refusal::violation(text));
            }
            Parsed::Incomplete { .. } if shown.first().is_none_or(|kind| *kind == b'p') => {
                return Ok(Choice::NeedMore);
            }
            Parsed::Incomplete { .. } => {
                return Err(Refusal::violation("expected password response"));
            }
            Parsed::Invalid(why) => return Err(Refusal::violation(why)),
        };
        let steps = Steps::new().discard(length);
        let user = self.user().to_owned();
        match std::mem::replace(&mut self.stage, Stage::Start) {
            Stage::Password(salt) => {
                let Some((answer, b"")) = wire::text(body) else {
                    return Err(Refusal::violation("invalid password packet size"));
                };
                let secret = self.account().and_then(|account| account.secret.as_ref());
                let is_right = secret.is_some_and(|secret| match salt {
                    None => secret.is_password(&user, answer),
                    Some(salt) => secret
                        .md5_answer(&user, salt)
                        .is_some_and(|right| same(right.as_bytes(), answer)),
                });
                match is_right {
                    true => self.is_known(steps.no_deadline()),
                    false => Err(Refusal::password(&user)),
                }
            }
            Stage::Sasl => {
                let first = initial(body).ok_or_else(|| {
                    Refusal::violation("malformed or unsupported SASL authentication request")
                })?;
                let nonce = scram::nonce(&crate::random::<18>().map_err(internal)?);
                let verifier = self.verifier(&user).map_err(internal)?;
                let (server, answer) =
                    Server::begin(verifier, first, &nonce).map_err(Refusal::violation)?;
                self.stage = Stage::SaslProof(server);
                let answer = write::authentication(11, answer.as_bytes());
                Ok(Choice::answer(steps.send(Side::Client, answer)))
            }
            Stage::SaslProof(server) => match server.finish(body) {
                Ok((answer, keys)) => {
                    // Of a password of the config more is known than that.
                    let secret = self.account().and_then(|account| account.secret.as_ref());
                    let is_verifier = matches!(secret, Some(Secret::Scram(_)));
                    if let Some(identity) = &mut self.claim {
                        identity.keys = is_verifier.then_some(keys);
                    }
                    let answer = write::authentication(12, answer.as_bytes());
                    self.is_known(steps.send(Side::Client, answer).no_deadline())
                }
                Err(None) => Err(Refusal::password(&user)),
                Err(Some(why)) => Err(Refusal::violation(why)),
            },
            Stage::Start | Stage::Greeting | Stage::Ready | Stage::Cancel(_) => {
                Ok(Choice::NeedMore)
            }
        }
    }

    /// The client is who it says. A connection as it wants it tells how it is to be greeted.
    fn is_known(&mut self, steps: Steps) -> Result<Choice, Refusal> {
        let password = self
            .account()
            .and_then(|known| known.server_password.clone());
        let pooling = self.account().and_then(|known| known.pooling);
        let Some(mut identity) = self.claim.take() else {
            return Err(Refusal::violation("no startup packet"));
        };
        identity.password = password;
        let databases = &self.shared.config.databases;
        if let Some(name) = identity.parameters.get_mut("database")
            && !databases.is_empty()
        {
            let Some(known) = databases.get(name) else {
                return Err(Refusal {
                    // invalid_catalog_name
                    sqlstate: "3D000",
                    text: format!("database \"{name}\" does not exist"),
                });
            };
            identity.group.clone_from(&known.group);
            identity.read_only_group.clone_from(&known.read_only_group);
            if let Some(pooling) = known.pooling {
                self.pooling = pooling;
            }
            if let Some(real) = &known.dbname {
                name.clone_from(real);
            }
        }
        if let Some(pooling) = pooling {
            self.pooling = pooling;
        }
        let profile = self.shared.profiles.get(&self.listener, *identity);
        self.profile = Some(Rc::clone(&profile));
        if self.pooling != Pooling::Session
            && let Some(greeted) = self.knows_greeting(&profile)
        {
            return Ok(Choice::answer(self.greets_at_once(&greeted, steps)));
        }
        let target = profile.target.clone();
        self.stage = Stage::Greeting;
        self.named = Named::Usual;
        Ok(Choice::answer(steps.lease(target)))
    }

    /// A client that does not say who it is within its time is told so, and must go.
    fn must_hurry(&self, steps: Steps) -> Steps {
        match self.shared.config.client_login_timeout {
            0 => steps,
            seconds => {
                let why = "the client did not log in within client-login-timeout";
                let words = write::error("FATAL", "08P01", why);
                steps.deadline(Duration::from_secs(seconds.into()), words)
            }
        }
    }

    fn user(&self) -> &str {
        self.claim.as_ref().map_or("", |claim| claim.user())
    }

    fn account(&self) -> Option<&Account> {
        self.shared.accounts.get(self.user())
    }

    /// What a client's proof is checked by. Of a user that does not exist it is one that nothing
    /// fits.
    fn verifier(&self, user: &str) -> Result<Verifier, String> {
        let secret = self.account().and_then(|account| account.secret.as_ref());
        match secret {
            Some(Secret::Scram(verifier)) => Ok(verifier.clone()),
            Some(Secret::Plain(password)) => {
                let mut verifiers = self.shared.verifiers.borrow_mut();
                let verifier = match verifiers.remove(user) {
                    Some(Known::Whole(verifier)) => verifier,
                    Some(Known::InPart(stretching)) => stretching.finish(),
                    None => self.stretching(user, password).finish(),
                };
                verifiers.insert(user.to_owned(), Known::Whole(verifier.clone()));
                Ok(verifier)
            }
            Some(Secret::Md5(_)) | None => {
                let salt = self.shared.salter.salt_of(user);
                Ok(Verifier::of_nobody(&salt, crate::random()?))
            }
        }
    }

    fn stretching(&self, user: &str, password: &str) -> Stretching {
        let salt = self.shared.salter.salt_of(user);
        Stretching::new(password.as_bytes(), &salt, ITERATIONS)
    }

    /// The first half of the work for [`verifier`](Self::verifier), while the client is asked to begin.
    fn begins_verifier(&self, user: &str) {
        let secret = self.account().and_then(|account| account.secret.as_ref());
        let mut verifiers = self.shared.verifiers.borrow_mut();
        if let Some(Secret::Plain(password)) = secret
            && !verifiers.contains_key(user)
        {
            let mut stretching = self.stretching(user, password);
            stretching.work(ITERATIONS / 2);
            verifiers.insert(user.to_owned(), Known::InPart(stretching));
        }
    }
}

/// The client's first message of SCRAM, out of a `SASLInitialResponse` of that mechanism.
fn initial(body: &[u8]) -> Option<&[u8]> {
    let (mechanism, rest) = wire::text(body)?;
    let (length, response) = rest.split_first_chunk::<4>()?;
    let is_whole = u32::from_be_bytes(*length) as usize == response.len();
    (mechanism == MECHANISM.as_bytes() && is_whole).then_some(response)
}

fn same(right: &[u8], answer: &[u8]) -> bool {
    bool::from(subtle::ConstantTimeEq::ct_eq(right, answer))
}

/// internal_error
fn internal(text: String) -> Refusal {
    Refusal {
        sqlstate: "XX000",
        text,
    }
}

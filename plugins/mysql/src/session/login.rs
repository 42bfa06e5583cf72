//! The start of a session: the relay greets, the client says who it is, and is let in or not.

use std::time::Duration;

use leaseway_sdk::frame::Parsed;
use leaseway_sdk::{Choice, Disposition, Leased, Side, Steps, store};

use super::Session;
use super::lease::Lease;
use crate::auth::Method;
use crate::backend::Backend;
use crate::config::Pooling;
use crate::settings::Values;
use crate::sql::Quotes;
use crate::wire::capability::{AUTOCOMMIT, DIALECT, OFFERED};
use crate::wire::greeting::{CHALLENGE, Greeting};
use crate::wire::login::{Login, Unfit};
use crate::wire::ok::Failure;
use crate::wire::{self, write};

/// The longest packet of a client that has not proved who it is: names, a proof, and what it says of itself.
const MAX_UNPROVED: usize = 16 << 10;

/// The longest name of a user or a database: 64 characters of four bytes, and more.
const MAX_NAME: usize = 512;

/// What clients are told that the server is, as long as no server has said.
const VERSION: &str = "8.0.36-leaseway";

/// Numbers of connections from here on are no server's: what a client kills by it is nobody's.
const CONNECTIONS: u32 = 1 << 31;

/// Where a session stands before it can ask anything.
pub(super) enum Stage {
    /// Nothing has been said.
    Start,
    /// It has been greeted.
    Greeted,
    /// It has been asked to prove who it is in this way.
    Switched(Box<Login>, Method),
    /// It is who it says, and a connection has been asked for. The number of the packet that tells it.
    Welcome(u8),
    /// It has been let in.
    Ready,
}

/// What ends a login.
struct Refusal {
    number: u8,
    code: u16,
    sqlstate: &'static str,
    text: String,
}

impl Refusal {
    /// ER_HANDSHAKE_ERROR
    fn handshake(number: u8, text: impl Into<String>) -> Self {
        Self {
            number,
            code: 1043,
            sqlstate: "08S01",
            text: text.into(),
        }
    }
}

impl Session {
    /// Takes the next step of the login.
    pub(super) fn log_in(&mut self, shown: &[u8]) -> Choice {
        let step = match self.stage {
            Stage::Start => self.greets(),
            Stage::Greeted => self.introduces(shown),
            Stage::Switched(..) => self.proves(shown),
            // A connection is on its way.
            Stage::Welcome(_) | Stage::Ready => return Choice::NeedMore,
        };
        step.unwrap_or_else(|refusal| {
            let failure = Failure::new(refusal.code, refusal.sqlstate, &refusal.text);
            Choice::refuse(write::error(refusal.number, &failure), refusal.text.clone())
        })
    }

    fn greets(&mut self) -> Result<Choice, Refusal> {
        let number = self.new_challenge(0)?;
        let version = match &self.shared.config.server_version {
            Some(version) => version.clone().into_bytes(),
            None => store::get(crate::VERSION).unwrap_or_else(|| VERSION.into()),
        };
        let greeting = Greeting {
            version,
            connection: CONNECTIONS | number,
            challenge: self.challenge,
            capabilities: OFFERED,
            status: AUTOCOMMIT,
            plugin: self.shared.config.auth_plugin.name().into(),
        };
        self.stage = Stage::Greeted;
        let steps = self.must_hurry(Steps::new());
        Ok(Choice::answer(steps.send(Side::Client, greeting.packet())))
    }

    /// A challenge that nobody has seen; of what it is made of, the packet of this number may end the login. Returns
    /// a number of chance, too.
    fn new_challenge(&mut self, number: u8) -> Result<u32, Refusal> {
        let random: [u8; CHALLENGE + 4] = crate::random().map_err(|text| Refusal {
            number,
            // ER_UNKNOWN_ERROR
            code: 1105,
            sqlstate: "HY000",
            text,
        })?;
        let (challenge, rest) = random.split_at(CHALLENGE);
        for (to, byte) in self.challenge.iter_mut().zip(challenge) {
            // Printable, as servers make them; no `$`, which some clients take for something else.
            *to = match b'!' + byte % 94 {
                b'$' => b'%',
                byte => byte,
            };
        }
        let mut number = [0; 4];
        number.copy_from_slice(rest);
        Ok(u32::from_le_bytes(number) >> 1)
    }

    fn introduces(&mut self, shown: &[u8]) -> Result<Choice, Refusal> {
        let (number, payload, length) = match wire::packet(shown, MAX_UNPROVED) {
            Parsed::Complete {
                value: (number, payload),
                len,
            } => (number.wrapping_add(1), payload, len as u64),
            Parsed::Incomplete { .. } => return Ok(Choice::NeedMore),
            Parsed::Invalid(why) => {
                return Err(Refusal::handshake(2, format!("Bad handshake: {why}")));
            }
        };
        let login = Login::read(payload).map_err(|unfit| match unfit {
            Unfit::Old => Refusal {
                number,
                // ER_NOT_SUPPORTED_AUTH_MODE
                code: 1251,
                sqlstate: "08004",
                text: "Client does not support the protocol of MySQL 4.1".to_owned(),
            },
            Unfit::Tls => Refusal::handshake(number, "Bad handshake: TLS was not offered"),
            Unfit::Malformed => Refusal::handshake(number, "Bad handshake"),
        })?;
        self.claims(login, number, Steps::new().discard(length))
    }

    /// The client says who it is. The next packet to it has this number.
    fn claims(&mut self, login: Login, number: u8, steps: Steps) -> Result<Choice, Refusal> {
        if login.user.len() > MAX_NAME || login.database.len() > MAX_NAME {
            return Err(Refusal::handshake(
                number,
                "Bad handshake: a name is too long",
            ));
        }
        let challenge = self.challenge;
        let password = self.password(&login.user);
        if let Some(method) = Method::named(&login.plugin) {
            let is_right = password
                .as_ref()
                .is_some_and(|password| method.is_proof(password, &challenge, &login.proof));
            if is_right {
                return self.is_known(login, method, number, steps);
            }
        }
        // Perhaps it has taken another challenge, or a way that nobody here knows.
        let method = Method::named(&login.plugin).unwrap_or(self.shared.config.auth_plugin);
        self.new_challenge(number)?;
        let request = write::switch(number, method.name(), &self.challenge);
        self.stage = Stage::Switched(Box::new(login), method);
        Ok(Choice::answer(steps.send(Side::Client, request)))
    }

    fn proves(&mut self, shown: &[u8]) -> Result<Choice, Refusal> {
        let (number, proof, length) = match wire::packet(shown, MAX_UNPROVED) {
            Parsed::Complete {
                value: (number, payload),
                len,
            } => (number.wrapping_add(1), payload, len as u64),
            Parsed::Incomplete { .. } => return Ok(Choice::NeedMore),
            Parsed::Invalid(why) => {
                return Err(Refusal::handshake(4, format!("Bad handshake: {why}")));
            }
        };
        let Stage::Switched(login, method) = std::mem::replace(&mut self.stage, Stage::Greeted)
        else {
            return Ok(Choice::NeedMore);
        };
        let password = self.password(&login.user);
        // Some end an empty one with a zero.
        let proof = if proof == b"\0" { b"" } else { proof };
        let is_right =
            password.is_some_and(|password| method.is_proof(&password, &self.challenge, proof));
        if is_right {
            return self.is_known(*login, method, number, Steps::new().discard(length));
        }
        let using = if proof.is_empty() { "NO" } else { "YES" };
        Err(Refusal {
            number,
            // ER_ACCESS_DENIED_ERROR, for whatever reason: whoever guesses learns nothing.
            code: 1045,
            sqlstate: "28000",
            text: format!(
                "Access denied for user '{}'@'{}' (using password: {using})",
                String::from_utf8_lossy(&login.user),
                self.peer
            ),
        })
    }

    /// The password of a user that there is.
    fn password(&self, user: &[u8]) -> Option<Vec<u8>> {
        let account = self.shared.accounts.get(user)?;
        Some(account.password.clone().into_bytes())
    }

    /// The client is who it says. If servers have let such a client in before, it is let in at once, else as
    /// soon as one does.
    fn is_known(
        &mut self,
        login: Login,
        method: Method,
        number: u8,
        mut steps: Steps,
    ) -> Result<Choice, Refusal> {
        let Some(account) = self.shared.accounts.get(&login.user) else {
            return Err(Refusal::handshake(number, "Bad handshake"));
        };
        let mut number = number;
        if method == Method::Sha2 && !account.password.is_empty() {
            // Fast authentication has succeeded.
            steps = steps.send(Side::Client, write::packet(number, &[1, 3]));
            number = number.wrapping_add(1);
        }
        self.capabilities = login.capabilities & OFFERED;
        self.pooling = account.pooling;
        let dialect = self.capabilities & DIALECT;
        let identity = account.identity(login.database.clone(), login.collation, dialect);
        let target = identity.target();
        let is_known = store::get(crate::known(&target)).is_some();
        self.database = login.database;
        self.settings = Values::default();
        self.insert_id = 0;
        self.quotes = Quotes::default();
        self.identity = Some(Box::new(identity));
        steps = steps.no_deadline();
        if self.pooling == Pooling::Transaction && is_known {
            self.target = Some(target);
            self.stage = Stage::Ready;
            return Ok(Choice::answer(
                steps.send(Side::Client, write::ok(number, AUTOCOMMIT)),
            ));
        }
        self.target = None;
        self.stage = Stage::Welcome(number);
        Ok(Choice::answer(steps.lease(target)))
    }

    /// A connection as the client wants it is there. It keeps that only if the whole session is to have it.
    pub(super) fn welcomes(&mut self, leased: &Leased) -> Steps {
        let Stage::Welcome(number) = self.stage else {
            return Steps::new().close("a lease that nobody has asked for");
        };
        let Some(backend) = Backend::read(&leased.tag) else {
            return Steps::new().close("the connection's tag was not made by this plugin");
        };
        self.stage = Stage::Ready;
        let welcome = Steps::new().send(Side::Client, write::ok(number, AUTOCOMMIT));
        if !self.keeps_connection() {
            return welcome.release(Disposition::Keep);
        }
        self.lease = Lease {
            is_leased: true,
            before: backend.clone(),
            backend,
            ..Lease::default()
        };
        welcome
    }

    /// The client wants to be somebody else, in a command that so many bytes are. The connection that it
    /// had has been given back.
    pub(super) fn changes(&mut self, payload: &[u8], steps: Steps) -> Choice {
        let Some(mut login) = Login::change(payload, self.capabilities) else {
            let failure = Failure::new(1043, "08S01", "Bad handshake");
            let steps = steps.send(Side::Client, write::error(1, &failure));
            return Choice::answer(steps.close("a malformed COM_CHANGE_USER"));
        };
        // Its proof is made with the challenge of its greeting, or with none. It gets another one.
        login.proof = Vec::new();
        let method = Method::named(&login.plugin).unwrap_or(self.shared.config.auth_plugin);
        if let Err(refusal) = self.new_challenge(1) {
            return Choice::answer(steps.close(refusal.text));
        }
        let request = write::switch(1, method.name(), &self.challenge);
        self.stage = Stage::Switched(Box::new(login), method);
        let steps = self.must_hurry(steps);
        Choice::answer(steps.send(Side::Client, request))
    }

    /// A client that does not say who it is within its time is told so, and must go.
    fn must_hurry(&self, steps: Steps) -> Steps {
        match self.shared.config.client_login_timeout {
            0 => steps,
            seconds => {
                let why = "the client did not log in within client-login-timeout";
                // ER_NET_READ_INTERRUPTED
                let failure = Failure::new(1159, "08S01", why);
                steps.deadline(
                    Duration::from_secs(seconds.into()),
                    write::error(1, &failure),
                )
            }
        }
    }
}

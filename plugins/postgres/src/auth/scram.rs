//! SCRAM-SHA-256 without channel binding, as server and as client (RFC 5802, RFC 7677).
//!
//! Sans-I/O: each step takes the other's message and gives the answer. Passwords are taken as they
//! are: SASLprep (RFC 4013) changes nothing of ASCII, and is not done to the rest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The mechanism's name.
pub const MECHANISM: &str = "SCRAM-SHA-256";

/// Iterations for passwords of the config, as servers use them by default.
pub const ITERATIONS: u32 = 4096;

/// The most that a server may ask for: 25 times as many as usual.
const MAX_ITERATIONS: u32 = 100_000;

type Key = [u8; 32];

/// What a server keeps of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    salt: Vec<u8>,
    iterations: u32,
    stored_key: Key,
    server_key: Key,
}

impl Verifier {
    /// Of a password. Costs `iterations` times two hashes.
    #[must_use]
    pub fn new(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        Stretching::new(password, salt, iterations).finish()
    }

    fn of(salted: &Key, salt: &[u8], iterations: u32) -> Self {
        Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: Sha256::digest(hmac(salted, b"Client Key")).into(),
            server_key: hmac(salted, b"Server Key"),
        }
    }

    /// One that no proof fits.
    #[must_use]
    pub fn of_nobody(salt: &[u8], random: Key) -> Self {
        Self {
            salt: salt.to_vec(),
            iterations: ITERATIONS,
            // Whose hash this is nobody knows.
            stored_key: random,
            server_key: random,
        }
    }

    /// As servers and `userlist.txt` write it:
    /// `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("SCRAM-SHA-256$")?;
        let (head, keys) = rest.split_once('$')?;
        let (iterations, salt) = head.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        let key = |text: &str| Key::try_from(BASE64.decode(text).ok()?).ok();
        Some(Self {
            salt: BASE64.decode(salt).ok()?,
            iterations: iterations.parse().ok().filter(|count| *count > 0)?,
            stored_key: key(stored)?,
            server_key: key(server)?,
        })
    }
}

/// A verifier that is worked out in parts, since a call of a plugin has only so much time: PBKDF2 (RFC 8018, section
/// 5.2), of one block.
#[derive(Clone)]
pub struct Stretching {
    password: Hmac<Sha256>,
    salt: Vec<u8>,
    iterations: u32,
    last: Key,
    sum: Key,
    done: u32,
}

impl Stretching {
    /// Of a password.
    #[must_use]
    pub fn new(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let password = keyed(password);
        let first = mac(&password, &[salt, &1_u32.to_be_bytes()].concat());
        Self {
            password,
            salt: salt.to_vec(),
            iterations,
            last: first,
            sum: first,
            done: 1,
        }
    }

    /// Works on it until so many iterations are done.
    pub fn work(&mut self, until: u32) {
        for _ in self.done..until.min(self.iterations) {
            self.last = mac(&self.password, &self.last);
            xor(&mut self.sum, &self.last);
            self.done += 1;
        }
    }

    /// The verifier.
    #[must_use]
    pub fn finish(mut self) -> Verifier {
        self.work(self.iterations);
        Verifier::of(&self.sum, &self.salt, self.iterations)
    }
}

/// Keys stay out of logs.
impl std::fmt::Debug for Stretching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stretching").finish_non_exhaustive()
    }
}

/// Keys stay out of logs.
impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

/// What proves a client to a server that keeps its verifier, as good as the password. A client that has
/// proved itself has given away its own, so they can be passed on.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Keys {
    client: Key,
    server: Key,
}

impl Keys {
    /// As text, which [`parse`](Self::parse) reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!(
            "{}:{}",
            BASE64.encode(self.client),
            BASE64.encode(self.server)
        )
    }

    /// Out of such a text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (client, server) = text.split_once(':')?;
        let key = |text: &str| Key::try_from(BASE64.decode(text).ok()?).ok();
        Some(Self {
            client: key(client)?,
            server: key(server)?,
        })
    }
}

/// Keys stay out of logs.
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// What a client proves itself by.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    /// The password, whatever salt the server has.
    Password(&'a [u8]),
    /// Keys of the very verifier that the server has.
    Keys(&'a Keys),
}

/// An exchange in which we are the server, behind the client's first message.
#[derive(Debug, Clone)]
pub struct Server {
    verifier: Verifier,
    /// `c=` of the last message has to be this.
    gs2: String,
    nonce: String,
    /// Both first messages, as they are signed.
    signed: String,
}

impl Server {
    /// Answers a client's first message; `nonce` is ours, printable and without commas. Returns the
    /// exchange and the answer.
    ///
    /// # Errors
    /// What is wrong with the message.
    pub fn begin(
        verifier: Verifier,
        first: &[u8],
        nonce: &str,
    ) -> Result<(Self, String), &'static str> {
        const MALFORMED: &str = "malformed SCRAM message";
        let first = std::str::from_utf8(first).map_err(|_| MALFORMED)?;
        let (gs2, bare) = match first.split_once(',') {
            Some(("n" | "y", rest)) => {
                let (identity, bare) = rest.split_once(',').ok_or(MALFORMED)?;
                if !identity.is_empty() {
                    return Err("client uses authorization identity, but it is not supported");
                }
                (&first[..first.len() - bare.len()], bare)
            }
            Some((binding, _)) if binding.starts_with("p=") => {
                return Err("the client selected SCRAM-SHA-256 with channel binding");
            }
            _ => return Err(MALFORMED),
        };
        let (name, rest) = bare.split_once(',').ok_or(MALFORMED)?;
        if !name.starts_with("n=") {
            return Err(MALFORMED);
        }
        let theirs = rest.split(',').next().unwrap_or_default();
        let theirs = theirs.strip_prefix("r=").ok_or(MALFORMED)?;
        let printable = theirs.bytes().all(|byte| byte.is_ascii_graphic());
        if theirs.is_empty() || !printable {
            return Err(MALFORMED);
        }
        let nonce = format!("{theirs}{nonce}");
        let answer = format!(
            "r={nonce},s={},i={}",
            BASE64.encode(&verifier.salt),
            verifier.iterations
        );
        let exchange = Self {
            verifier,
            gs2: BASE64.encode(gs2),
            nonce,
            signed: format!("{bare},{answer}"),
        };
        Ok((exchange, answer))
    }

    /// Answers its last message. Returns the answer, and what the client has proved itself by.
    ///
    /// # Errors
    /// None if the proof is wrong, and otherwise what is wrong with the message.
    pub fn finish(self, last: &[u8]) -> Result<(String, Keys), Option<&'static str>> {
        const MALFORMED: Option<&str> = Some("malformed SCRAM message");
        let last = std::str::from_utf8(last).map_err(|_| MALFORMED)?;
        let (unproved, proof) = last.rsplit_once(",p=").ok_or(MALFORMED)?;
        let mut parts = unproved.split(',');
        if parts.next().and_then(|part| part.strip_prefix("c=")) != Some(&self.gs2) {
            return Err(Some("SCRAM channel binding check failed"));
        }
        if parts.next().and_then(|part| part.strip_prefix("r=")) != Some(&self.nonce) {
            return Err(Some("SCRAM nonce does not match"));
        }
        let proof = BASE64
            .decode(proof)
            .ok()
            .and_then(|p| Key::try_from(p).ok());
        let mut key = proof.ok_or(MALFORMED)?;
        let signed = format!("{},{unproved}", self.signed);
        let signature = hmac(&self.verifier.stored_key, signed.as_bytes());
        xor(&mut key, &signature);
        let stored: Key = Sha256::digest(key).into();
        if !bool::from(stored.ct_eq(&self.verifier.stored_key)) {
            return Err(None);
        }
        let signature = hmac(&self.verifier.server_key, signed.as_bytes());
        let keys = Keys {
            client: key,
            server: self.verifier.server_key,
        };
        Ok((format!("v={}", BASE64.encode(signature)), keys))
    }
}

/// An exchange in which we are the client.
#[derive(Debug, Clone)]
pub struct Client {
    bare: String,
    nonce: String,
}

/// What the server has to say at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected(String);

impl Client {
    /// Begins with a nonce, which is printable and without commas. Returns the first message too.
    #[must_use]
    pub fn begin(nonce: &str) -> (Self, String) {
        // The server knows the user from the start-up.
        let bare = format!("n=,r={nonce}");
        let first = format!("n,,{bare}");
        let nonce = nonce.to_owned();
        (Self { bare, nonce }, first)
    }

    /// Answers the server's first message.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn prove(self, by: By<'_>, first: &[u8]) -> Result<(String, Expected), &'static str> {
        const MALFORMED: &str = "the server sent a malformed SCRAM message";
        let first = std::str::from_utf8(first).map_err(|_| MALFORMED)?;
        let mut parts = first.split(',');
        let mut part = |name: &str| {
            let part = parts.next().and_then(|part| part.strip_prefix(name));
            part.ok_or(MALFORMED)
        };
        let (nonce, salt, iterations) = (part("r=")?, part("s=")?, part("i=")?);
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the server's SCRAM nonce does not continue ours");
        }
        let salt = BASE64.decode(salt).map_err(|_| MALFORMED)?;
        let iterations = iterations.parse().map_err(|_| MALFORMED)?;
        if !(1..=MAX_ITERATIONS).contains(&iterations) {
            return Err("the server asks for too many SCRAM iterations");
        }
        let Keys {
            client: mut proof,
            server,
        } = match by {
            By::Keys(keys) => keys.clone(),
            By::Password(password) => {
                let salted = salted(password, &salt, iterations);
                Keys {
                    client: hmac(&salted, b"Client Key"),
                    server: hmac(&salted, b"Server Key"),
                }
            }
        };
        let stored: Key = Sha256::digest(proof).into();
        let unproved = format!("c={},r={nonce}", BASE64.encode("n,,"));
        let signed = format!("{},{first},{unproved}", self.bare);
        xor(&mut proof, &hmac(&stored, signed.as_bytes()));
        let server = hmac(&server, signed.as_bytes());
        let expected = Expected(format!("v={}", BASE64.encode(server)));
        Ok((format!("{unproved},p={}", BASE64.encode(proof)), expected))
    }
}

impl Expected {
    /// Whether the server's last message proves that it knows the password as well.
    #[must_use]
    pub fn is(&self, last: &[u8]) -> bool {
        bool::from(self.0.as_bytes().ct_eq(last))
    }
}

/// A nonce of random bytes, as messages can carry it.
#[must_use]
pub fn nonce(random: &[u8]) -> String {
    BASE64.encode(random)
}

fn salted(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations)
}

fn hmac(key: &[u8], message: &[u8]) -> Key {
    mac(&keyed(key), message)
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // Keys of any length will do.
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("HMAC takes keys of any length");
    };
    mac
}

fn mac(keyed: &Hmac<Sha256>, message: &[u8]) -> Key {
    let mut mac = keyed.clone();
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn xor(key: &mut Key, with: &Key) {
    for (byte, with) in key.iter_mut().zip(with) {
        *byte ^= with;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// RFC 7677, section 3: user "user", password "pencil".
    const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";

    #[test]
    fn a_verifier_is_the_same_in_whatever_parts_it_is_worked_out() {
        let whole = salted(b"pencil", b"salt", ITERATIONS);
        let whole = Verifier::of(&whole, b"salt", ITERATIONS);
        for parts in [&[][..], &[1, 2, 2048], &[4095, 4096, 9999]] {
            let mut stretching = Stretching::new(b"pencil", b"salt", ITERATIONS);
            for until in parts {
                stretching.work(*until);
            }
            assert_eq!(stretching.finish(), whole);
        }
    }

    #[test]
    fn the_client_does_as_the_rfc_says() {
        let client = Client {
            bare: "n=user,r=rOprNGfwEbeRWgbNEkqO".to_owned(),
            nonce: "rOprNGfwEbeRWgbNEkqO".to_owned(),
        };
        let first = format!("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s={SALT},i=4096");
        let (last, expected) = client
            .prove(By::Password(b"pencil"), first.as_bytes())
            .unwrap();
        assert_eq!(
            last,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(expected.is(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!expected.is(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="));
    }

    #[test]
    fn the_server_does_as_the_rfc_says() {
        let salt = BASE64.decode(SALT).unwrap();
        let verifier = Verifier::new(b"pencil", &salt, 4096);
        let first = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
        let (server, answer) =
            Server::begin(verifier, first, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0").unwrap();
        assert_eq!(
            answer,
            format!("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s={SALT},i=4096")
        );
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let (said, _) = server.clone().finish(last).unwrap();
        assert_eq!(said, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let mut wrong = last.to_vec();
        let at = wrong.len() - 3;
        wrong[at] ^= 1;
        assert_eq!(server.finish(&wrong), Err(None));
    }

    #[test]
    fn client_and_server_agree_only_on_the_same_password() {
        for (theirs, is_right) in [(&b"secret"[..], true), (b"Secret", false), (b"", false)] {
            let verifier = Verifier::new(b"secret", b"salt of 16 bytes", 10);
            let (client, first) = Client::begin("abc");
            let (server, answer) = Server::begin(verifier, first.as_bytes(), "xyz").unwrap();
            let (last, expected) = client
                .prove(By::Password(theirs), answer.as_bytes())
                .unwrap();
            match server.finish(last.as_bytes()) {
                Ok((said, _)) => assert!(is_right && expected.is(said.as_bytes())),
                Err(why) => assert!(!is_right && why.is_none()),
            }
        }
    }

    #[test]
    fn what_a_client_proves_itself_by_proves_us_to_the_server() {
        let verifier = Verifier::new(b"secret", b"salt of 16 bytes", 10);
        let prove = |by: By<'_>| {
            let (client, first) = Client::begin("abc");
            let (server, answer) =
                Server::begin(verifier.clone(), first.as_bytes(), "xyz").unwrap();
            let (last, expected) = client.prove(by, answer.as_bytes()).unwrap();
            let (said, keys) = server.finish(last.as_bytes()).unwrap();
            assert!(expected.is(said.as_bytes()));
            keys
        };
        let keys = prove(By::Password(b"secret"));
        let read = Keys::parse(&keys.to_text()).unwrap();
        assert_eq!(prove(By::Keys(&read)), keys);
        assert_eq!(Keys::parse("AAAA:AAAA"), None);
    }

    #[test]
    fn a_verifier_is_read_as_servers_write_it() {
        let verifier = Verifier::new(b"secret", b"salt", 4096);
        let text = format!(
            "SCRAM-SHA-256$4096:{}${}:{}",
            BASE64.encode(b"salt"),
            BASE64.encode(verifier.stored_key),
            BASE64.encode(verifier.server_key)
        );
        assert_eq!(Verifier::parse(&text), Some(verifier));
        for wrong in [
            "",
            "md5abc",
            "SCRAM-SHA-256$0:$:",
            "SCRAM-SHA-256$4096:c2FsdA==$a:b",
        ] {
            assert_eq!(Verifier::parse(wrong), None);
        }
    }

    #[test]
    fn what_is_no_scram_message_is_refused() {
        let verifier = Verifier::new(b"", b"salt", 1);
        for first in [
            &b""[..],
            b"n,,",
            b"n,,n=u",
            b"n,,r=abc",
            b"n,,n=u,r=",
            b"n,a=x,n=u,r=abc",
            b"p=tls-server-end-point,,n=u,r=abc",
            b"x,,n=u,r=abc",
            b"\xff",
        ] {
            assert!(Server::begin(verifier.clone(), first, "s").is_err());
        }
        let (server, _) = Server::begin(verifier, b"y,,n=u,r=abc", "s").unwrap();
        for last in [
            &b""[..],
            b"c=biws,r=abcs,p=AAAA",
            b"c=eSws,r=abc,p=AAAA",
            b"c=eSws,r=abcs,p=AAAA",
            b"c=eSws,r=abcs",
        ] {
            assert!(matches!(server.clone().finish(last), Err(Some(_))));
        }
    }
}

//! The slow part of `caching_sha2_password` without TLS: the password itself, so that only the server can read
//! it.
//!
//! A server that does not have the hash of a password at hand (since it was started, or a user altered) wants the
//! password, hidden by its RSA public key. It gives that key to whoever asks; so does anybody who poses as it.
//! Which keys are taken for a server's is the operator's to say.

use getrandom::SysRng;
use rsa::PublicKey;
use rsa::pkcs8::DecodePublicKey as _;
use sha1::Sha1;

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// Which keys passwords are sent by.
#[derive(Clone, Debug)]
pub enum ServerKeys {
    /// Whatever key the server says.
    Any,
    /// One of these, which the server has to say.
    These(Vec<Key>),
}

/// The public key of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(PublicKey);

impl ServerKeys {
    /// `file`: the text of the file of keys, if there is one. `takes_any`: whether any key is taken. None: a server that
    /// wants the password does not get it.
    ///
    /// # Errors
    /// The file has no key, or one that cannot be read; or any key is taken beside those of a file.
    pub fn new(file: Option<&str>, takes_any: bool) -> Result<Option<Self>, String> {
        let Some(file) = file else {
            return Ok(takes_any.then_some(Self::Any));
        };
        if takes_any {
            return Err(
                "`get-server-public-key`: takes any key, and `server-public-key-path` only some: leave one out"
                    .to_owned(),
            );
        }
        let mut keys = Vec::new();
        for (at, part) in file.split(BEGIN).skip(1).enumerate() {
            let key = part
                .split_once(END)
                .and_then(|(key, _)| Key::read(&format!("{BEGIN}{key}{END}\n")))
                .ok_or_else(|| {
                    format!(
                        "`server-public-key-path`: key {} of the file is no RSA public key of 1,024 to 8,192 bits",
                        at + 1
                    )
                })?;
            keys.push(key);
        }
        match keys.is_empty() {
            true => Err(format!(
                "`server-public-key-path`: the file has no `{BEGIN}`: servers have theirs as public_key.pem among \
                 their data, or say it by SHOW STATUS LIKE 'Caching_sha2_password_rsa_public_key'"
            )),
            false => Ok(Some(Self::These(keys))),
        }
    }

    /// The key that a server has said, if it is taken for a server's.
    ///
    /// # Errors
    /// It is not, or it is no key.
    pub(crate) fn check(&self, said: &[u8]) -> Result<Key, String> {
        let key = std::str::from_utf8(said).ok().and_then(Key::read);
        let key = key.ok_or_else(|| {
            "what the server says its public key is, is no RSA public key of 1,024 to 8,192 bits".to_owned()
        })?;
        match self {
            Self::Any => Ok(key),
            Self::These(keys) if keys.contains(&key) => Ok(key),
            Self::These(_) => Err(
                "the server's public key is none of those in `server-public-key-path`".to_owned(),
            ),
        }
    }
}

impl Key {
    /// Reads a key as `SubjectPublicKeyInfo` in PEM (RFC 7468, section 13).
    fn read(pem: &str) -> Option<Self> {
        // Servers end theirs as it was in a file.
        PublicKey::from_public_key_pem(pem.trim()).ok().map(Self)
    }

    /// Hides a password for whoever has the other half: by RSAES-OAEP with SHA-1 (RFC 8017, section 7.1), mixed with
    /// the server's challenge so that it cannot be said once more.
    ///
    /// # Errors
    /// It is too long for the key, or there are no random numbers.
    pub(crate) fn hide(&self, password: &[u8], challenge: &[u8]) -> Result<Vec<u8>, String> {
        let ended = password.iter().chain([&0]);
        let mixed: Vec<u8> = ended
            .zip(challenge.iter().cycle())
            .map(|(a, b)| a ^ b)
            .collect();
        if mixed.len() != password.len() + 1 {
            return Err("the server sends no challenge".to_owned());
        }
        self.0
            .oaep_encrypt_with_rng::<Sha1, _>(&mut SysRng, &mixed)
            .map_err(|why| {
                format!("the password cannot be hidden by the server's public key: {why}")
            })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rsa::PrivateKey;
    use rsa::pkcs8::EncodePublicKey as _;

    fn pem(key: &PrivateKey) -> String {
        key.to_public_key()
            .to_public_key_pem(rsa::pkcs8::LineEnding::LF)
            .unwrap()
    }

    fn key() -> PrivateKey {
        PrivateKey::new(&mut SysRng, 1024).unwrap()
    }

    #[test]
    fn only_the_server_can_read_a_password() {
        let key = key();
        let keys = ServerKeys::new(None, true).unwrap().unwrap();
        let hide = |challenge: &[u8]| {
            let public = keys.check(pem(&key).as_bytes()).unwrap();
            public.hide(b"correct horse battery staple", challenge)
        };
        let challenge = b"abcdefghijklmnopqrst";
        let hidden = hide(challenge).unwrap();
        let read = key.oaep_decrypt::<Sha1>(&hidden).unwrap();
        let read: Vec<u8> = read
            .iter()
            .zip(challenge.iter().cycle())
            .map(|(a, b)| a ^ b)
            .collect();
        assert_eq!(read, b"correct horse battery staple\0");
        assert_ne!(hide(challenge), Ok(hidden), "it is the same each time");
        assert!(hide(b"").is_err());
        let public = keys.check(pem(&key).as_bytes()).unwrap();
        assert!(public.hide(&[b'x'; 200], challenge).is_err());
    }

    #[test]
    fn only_keys_that_the_operator_knows_are_taken() {
        let (one, other, stranger) = (pem(&key()), pem(&key()), pem(&key()));
        let file = format!("# of db1\n{one}\n# of db2\n{}", other.replace('\n', "\r\n"));
        let keys = ServerKeys::new(Some(&file), false).unwrap().unwrap();
        for known in [&one, &other] {
            assert!(keys.check(known.as_bytes()).is_ok());
        }
        assert!(keys.check(stranger.as_bytes()).is_err());
        let any = ServerKeys::new(None, true).unwrap().unwrap();
        assert!(any.check(stranger.as_bytes()).is_ok());
        assert!(any.check(b"").is_err());
        assert!(any.check(&one.as_bytes()[..200]).is_err());
        assert!(ServerKeys::new(None, false).unwrap().is_none());
    }

    #[test]
    fn a_file_without_keys_is_refused() {
        let broken = pem(&key()).replace("MI", "MA");
        for file in ["", "ssh-rsa AAAA", BEGIN, &broken] {
            let why = ServerKeys::new(Some(file), false).unwrap_err();
            assert!(why.contains("server-public-key-path"), "{why}");
        }
        assert!(ServerKeys::new(Some(&pem(&key())), true).is_err());
    }
}

//! How a client proves that it knows a password, without saying it.
//!
//! Both ways are a challenge of 20 bytes, mixed with hashes of the password: `mysql_native_password` with
//! SHA-1, and `caching_sha2_password` with SHA-256, of which this is the fast part. (Its slow part, which clients
//! never need here, since passwords are in the config, is in [`server_key`](crate::server_key).)

use leaseway_sdk::serde::Deserialize;
use sha1::{Digest as _, Sha1};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// A way to prove it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(crate = "leaseway_sdk::serde")]
pub enum Method {
    /// By SHA-1: what everything knows but clients of MySQL 9.
    #[default]
    #[serde(rename = "mysql_native_password")]
    Native,
    /// By SHA-256.
    #[serde(rename = "caching_sha2_password")]
    Sha2,
}

impl Method {
    /// Its name in the protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "mysql_native_password",
            Self::Sha2 => "caching_sha2_password",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        [Self::Native, Self::Sha2]
            .into_iter()
            .find(|method| method.name().as_bytes() == name)
    }

    /// What proves that one knows this password. Of an empty one it is empty.
    #[must_use]
    pub fn prove(self, password: &[u8], challenge: &[u8]) -> Vec<u8> {
        if password.is_empty() {
            return Vec::new();
        }
        match self {
            // SHA1(password) XOR SHA1(challenge + SHA1(SHA1(password)))
            Self::Native => {
                let once = Sha1::digest(password);
                let mask = Sha1::new()
                    .chain_update(challenge)
                    .chain_update(Sha1::digest(once))
                    .finalize();
                mix(&once, &mask)
            }
            // SHA256(password) XOR SHA256(SHA256(SHA256(password)) + challenge)
            Self::Sha2 => {
                let once = Sha256::digest(password);
                let mask = Sha256::new()
                    .chain_update(Sha256::digest(once))
                    .chain_update(challenge)
                    .finalize();
                mix(&once, &mask)
            }
        }
    }

    /// Whether this proves it.
    #[must_use]
    pub fn is_proof(self, password: &[u8], challenge: &[u8], proof: &[u8]) -> bool {
        bool::from(self.prove(password, challenge).ct_eq(proof))
    }
}

fn mix(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other).map(|(a, b)| a ^ b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn proofs_are_those_of_other_implementations() {
        let challenge = b"abcdefghijklmnopqrst";
        let native = Method::Native.prove(b"secret", challenge);
        assert_eq!(hex(&native), "8817c50fa779daef010ee7577825b0847df9842e");
        let sha2 = Method::Sha2.prove(b"secret", challenge);
        assert_eq!(
            hex(&sha2),
            "c76e2898612a4cf042c77fa8c4702c4c64c0c2c557c53c4d75595aaa6abae809"
        );
    }

    #[test]
    fn only_the_right_one_proves_it() {
        for method in [Method::Native, Method::Sha2] {
            let proof = method.prove(b"secret", &[1; 20]);
            assert!(method.is_proof(b"secret", &[1; 20], &proof));
            assert!(!method.is_proof(b"secret", &[2; 20], &proof));
            assert!(!method.is_proof(b"Secret", &[1; 20], &proof));
            assert!(!method.is_proof(b"secret", &[1; 20], b""));
            assert!(method.is_proof(b"", &[1; 20], b""));
            assert!(!method.is_proof(b"", &[1; 20], &proof));
            assert_eq!(Method::named(method.name().as_bytes()), Some(method));
        }
    }
}

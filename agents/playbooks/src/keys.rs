//! Ed25519 keys: those of approvers and of the executor.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use trailwarden_core::response::approval::{Order, SignedOrder, Verify};
use trailwarden_core::response::audit::{self, Head, Seal};
use trailwarden_core::response::hex;

/// What a file with a private key begins with.
const MARK: &str = "trailwarden-ed25519-private ";

/// Checks signatures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ed25519;

impl Verify for Ed25519 {
    fn verify(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature).is_ok()
    }
}

/// A private key.
#[derive(Debug)]
pub struct SigningKey(Ed25519KeyPair);

/// A key that cannot be made or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(&'static str);

impl SigningKey {
    /// A new key: what its file holds, and the key.
    ///
    /// # Errors
    /// [`KeyError`] when the machine gives no random numbers.
    pub fn generate() -> Result<(String, Self), KeyError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| KeyError("this machine gives no random numbers"))?;
        let text = format!("{MARK}{}\n", STANDARD.encode(document.as_ref()));
        let key = Self::read(&text)?;
        Ok((text, key))
    }

    /// Reads what [`Self::generate`] wrote.
    ///
    /// # Errors
    /// [`KeyError`] for anything else.
    pub fn read(text: &str) -> Result<Self, KeyError> {
        let encoded = text.trim().strip_prefix(MARK).ok_or(KeyError("this is no file of `approver keygen`"))?;
        let document = STANDARD.decode(encoded.trim()).map_err(|_| KeyError("the key's file is damaged"))?;
        let pair = Ed25519KeyPair::from_pkcs8(&document).map_err(|_| KeyError("the key's file is damaged"))?;
        Ok(Self(pair))
    }

    /// 64 hexadecimal digits.
    pub fn public(&self) -> String {
        hex(self.0.public_key().as_ref())
    }

    pub fn sign(&self, order: &Order) -> SignedOrder {
        let (text, bytes) = order.to_sign();
        SignedOrder { order: text, signature: hex(self.0.sign(&bytes).as_ref()) }
    }

    /// The seal of a checkpoint.
    pub fn seal(&self, head: &Head) -> Seal {
        Seal { public_key: self.public(), signature: hex(self.0.sign(&audit::to_seal(head)).as_ref()) }
    }
}

/// So many random bytes as hexadecimal digits: nonces, and passwords that nobody is to know.
///
/// # Errors
/// [`KeyError`] when the machine gives none.
pub fn random_hex(bytes: usize) -> Result<String, KeyError> {
    let mut random = vec![0; bytes];
    SystemRandom::new().fill(&mut random).map_err(|_| KeyError("this machine gives no random numbers"))?;
    Ok(hex(&random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_signs_and_its_file_is_read_again() {
        let (file, key) = SigningKey::generate().expect("a key");
        assert_eq!(SigningKey::read(&file).expect("the same").public(), key.public());
        let head = Head::default();
        let seal = key.seal(&head);
        let bytes = |text: &str| trailwarden_core::response::unhex(text).expect("digits");
        let verify = |message: &[u8]| Ed25519.verify(&bytes(&seal.public_key), message, &bytes(&seal.signature));
        assert!(verify(&audit::to_seal(&head)));
        assert!(!verify(b"other"));
        assert!(!Ed25519.verify(&[], b"", &[]));
        for text in ["", "x", MARK, "trailwarden-ed25519-private AAAA"] {
            assert!(SigningKey::read(text).is_err(), "{text}");
        }
        assert_ne!(random_hex(16), random_hex(16));
    }
}

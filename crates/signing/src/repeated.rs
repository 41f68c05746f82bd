//! Signatures over texts that were signed a moment ago.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::digest::Digest;

use crate::error::SigningError;

/// Number of signatures that a key keeps; between two refusals, other responses are signed.
const KEPT: usize = 4;

/// The last few signatures of a key.
///
/// Response-Time counts seconds, so all refusals of one client within a second are the same text,
/// and RSASSA-PKCS1-v1_5 makes the same signature of it every time. Under a flood that signature is
/// a third of what a refusal costs.
#[derive(Default)]
pub(super) struct Repeated(Mutex<VecDeque<(Digest, Vec<u8>)>>);

impl Repeated {
    /// The signature over the text with this digest, made by `sign` if it is not among the last
    /// ones.
    ///
    /// # Errors
    /// Those of `sign`.
    pub(super) fn or_sign(
        &self,
        digest: &Digest,
        sign: impl FnOnce() -> Result<Vec<u8>, SigningError>,
    ) -> Result<Vec<u8>, SigningError> {
        if let Some(signature) = self.find(digest) {
            return Ok(signature);
        }
        let signature = sign()?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.truncate(KEPT - 1);
        kept.push_front((*digest, signature.clone()));
        Ok(signature)
    }

    fn find(&self, digest: &Digest) -> Option<Vec<u8>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(known, _)| known.as_ref() == digest.as_ref())?;
        // What is asked for again stays; what was signed once makes room.
        kept.swap(0, at);
        kept.front().map(|(_, signature)| signature.clone())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA256, digest};

    use super::*;

    #[test]
    fn what_is_asked_for_again_and_again_is_signed_once_whatever_comes_between() {
        let (kept, mut signed) = (Repeated::default(), 0);
        let mut ask = |text: &str| {
            let sign = || {
                signed += 1;
                Ok(text.as_bytes().to_vec())
            };
            assert_eq!(
                kept.or_sign(&digest(&SHA256, text.as_bytes()), sign).unwrap(),
                text.as_bytes()
            );
        };
        for n in 0..10 {
            ask("refused");
            ask("refused");
            ask(&format!("accepted {n}"));
        }
        assert_eq!(signed, 11);
        assert_eq!(kept.0.lock().unwrap().len(), KEPT);
    }

    #[test]
    fn what_cannot_be_signed_is_not_kept() {
        let (kept, text) = (Repeated::default(), digest(&SHA256, b"text"));
        assert!(kept.or_sign(&text, || Err(SigningError::Failed)).is_err());
        assert_eq!(kept.or_sign(&text, || Ok(vec![7])).unwrap(), [7]);
    }
}

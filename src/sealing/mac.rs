//! MACs over plain columns that decide something: HMAC-SHA-256 under a key derived from the master
//! key.

use aws_lc_rs::{digest, hkdf, hmac};

use super::{KEY_LEN, MasterKey, SealError};

/// Sealing derives its keys with random salts of another length.
const SALT: &[u8] = b"visavis mac";

/// The input of a MAC: fields with their lengths, so that no two lists of fields have the same
/// bytes.
#[derive(Debug, Default)]
pub struct MacInput(Vec<u8>);

impl MacInput {
    /// Adds a field.
    #[must_use]
    pub(crate) fn field(mut self, field: &[u8]) -> Self {
        self.0.extend_from_slice(&(field.len() as u64).to_be_bytes());
        self.0.extend_from_slice(field);
        self
    }

    /// Adds a field that may be null.
    #[must_use]
    pub(crate) fn nullable<F: AsRef<[u8]>>(self, field: Option<F>) -> Self {
        match field {
            Some(field) => self.field(&[1]).field(field.as_ref()),
            None => self.field(&[0]),
        }
    }

    /// Its digest, without a key.
    #[must_use]
    pub(crate) fn sha256(&self) -> Vec<u8> {
        digest::digest(&digest::SHA256, &self.0).as_ref().to_vec()
    }
}

impl MasterKey {
    /// The MAC over `input` as a `label`, under the key that seals.
    ///
    /// # Errors
    /// [`SealError::Failed`] when the key cannot be derived.
    pub(crate) fn mac(&self, label: &str, input: &MacInput) -> Result<Vec<u8>, SealError> {
        let keys = self.keys();
        let key = mac_key(keys.first().ok_or(SealError::Failed)?, label)?;
        Ok(hmac::sign(&key, &input.0).as_ref().to_vec())
    }

    /// Whether `mac` was made by [`mac`](Self::mac) with the same label and input, under any key
    /// that opens.
    #[must_use]
    pub(crate) fn has_made(&self, label: &str, input: &MacInput, mac: &[u8]) -> bool {
        self.keys().iter().any(|key| {
            mac_key(key, label).is_ok_and(|key| hmac::verify(&key, &input.0, mac).is_ok())
        })
    }
}

fn mac_key(key: &[u8; KEY_LEN], label: &str) -> Result<hmac::Key, SealError> {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(key);
    let info = [label.as_bytes()];
    let derived = extracted.expand(&info, hmac::HMAC_SHA256).map_err(|_| SealError::Failed)?;
    Ok(hmac::Key::from(derived))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(fields: &[&str]) -> MacInput {
        fields.iter().fold(MacInput::default(), |input, field| input.field(field.as_bytes()))
    }

    #[test]
    fn a_mac_holds_for_its_label_fields_and_key_and_no_others() {
        let key = MasterKey::random().unwrap();
        let mac = key.mac("a", &input(&["one", "two"])).unwrap();
        assert!(key.has_made("a", &input(&["one", "two"]), &mac));
        assert!(!key.has_made("b", &input(&["one", "two"]), &mac));
        assert!(!MasterKey::random().unwrap().has_made("a", &input(&["one", "two"]), &mac));
        for other in [&["onetwo"][..], &["one", "twp"], &["onet", "wo"], &["one", "two", ""], &[]] {
            assert!(!key.has_made("a", &input(other), &mac), "{other:?}");
        }
        assert!(!key.has_made("a", &input(&["one", "two"]), &mac[..16]));
    }

    #[test]
    fn null_is_not_the_empty_field() {
        let key = MasterKey::random().unwrap();
        let mac = key.mac("a", &MacInput::default().nullable(Some(""))).unwrap();
        assert!(!key.has_made("a", &MacInput::default().nullable::<&str>(None), &mac));
    }

    #[test]
    fn macs_under_the_old_key_hold_until_it_is_retired() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let load = || MasterKey::load_or_create(&path).unwrap();
        let old = load().mac("a", &input(&["one"])).unwrap();
        crate::sealing::prepare(&path).unwrap();
        crate::sealing::promote(&path).unwrap();
        assert!(load().has_made("a", &input(&["one"]), &old));
        assert!(!load().current().has_made("a", &input(&["one"]), &old));
        crate::sealing::retire(&path).unwrap();
        assert!(!load().has_made("a", &input(&["one"]), &old));
    }
}

//! One-time codes as a second factor: TOTP (RFC 6238) with SHA-1, six digits and 30 seconds, which
//! every authenticator app supports.

use std::fmt::{self, Write as _};

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac, rand};
use qrcode::{Color, QrCode};
use zeroize::Zeroizing;

use super::error::AccountError;
use crate::clock::UnixMillis;

const KEY_BYTES: usize = 20;
const STEP_MS: i64 = 30_000;
/// How many steps the clock of a phone may be off.
const SKEW_STEPS: i64 = 1;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The secret that server and authenticator app share.
#[derive(Clone)]
pub struct CodeKey(Zeroizing<Vec<u8>>);

/// A new secret, as the authenticator app takes it.
pub(crate) struct CodeOffer {
    /// In base32, to be typed.
    pub(crate) text: Zeroizing<String>,
    /// `otpauth://…`, to be opened.
    pub(crate) uri: Zeroizing<String>,
    /// The same as a QR code, to be scanned: its rows, `1` for a dark module.
    pub(crate) qr: Vec<Zeroizing<String>>,
}

impl fmt::Debug for CodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeKey")
    }
}

impl CodeKey {
    /// A random secret.
    ///
    /// # Errors
    /// [`AccountError::Random`].
    pub fn random() -> Result<Self, AccountError> {
        let mut bytes = Zeroizing::new(vec![0; KEY_BYTES]);
        rand::fill(&mut bytes).map_err(|_| AccountError::Random)?;
        Ok(Self(bytes))
    }

    pub(crate) fn from_bytes(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The secret for the authenticator app of a user.
    pub(crate) fn offer(&self, name: &str) -> CodeOffer {
        let text = base32(&self.0);
        let name = percent_encoded(name);
        let uri = format!("otpauth://totp/Visavis:{name}?secret={}&issuer=Visavis", *text);
        let qr = qr(&uri);
        CodeOffer { text, uri: Zeroizing::new(uri), qr }
    }

    /// The time step of a code that is valid now; `None` for another code.
    pub(crate) fn step_of(&self, code: &str, now: UnixMillis) -> Option<i64> {
        let current = now.div_euclid(STEP_MS);
        let mut steps = current - SKEW_STEPS..=current + SKEW_STEPS;
        steps.find(|step| {
            verify_slices_are_equal(self.code(*step).as_bytes(), code.trim().as_bytes()).is_ok()
        })
    }

    fn code(&self, step: i64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        // RFC 4226, 5.3: the last four bits are the place of the number in the digest.
        let at = tag.last().map_or(0, |last| usize::from(last & 0xf));
        let mut number = [0; 4];
        number.copy_from_slice(&tag[at..at + 4]);
        format!("{:06}", (u32::from_be_bytes(number) & 0x7fff_ffff) % 1_000_000)
    }
}

/// The rows of a QR code (ISO/IEC 18004) without its quiet zone; none for a text that is too long.
fn qr(text: &str) -> Vec<Zeroizing<String>> {
    let Ok(code) = QrCode::new(text) else { return Vec::new() };
    let digit = |color: &Color| if *color == Color::Dark { '1' } else { '0' };
    let modules = code.to_colors();
    let rows = modules.chunks(code.width().max(1));
    rows.map(|row| Zeroizing::new(row.iter().map(digit).collect())).collect()
}

/// RFC 4648 without padding; 20 bytes need none.
fn base32(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 8 / 5));
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(BASE32[((held >> bits) & 31) as usize]));
        }
    }
    text
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            byte => {
                // Into a string nothing fails.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rfc_key() -> CodeKey {
        CodeKey(Zeroizing::new(b"12345678901234567890".to_vec()))
    }

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B, the last six of eight digits.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let step = rfc_key().step_of(code, seconds * 1_000);
            assert_eq!(step, Some(seconds / 30), "{code}");
        }
    }

    #[test]
    fn a_code_of_the_step_before_or_after_is_valid_and_no_other() {
        let now = 59_000;
        assert_eq!(rfc_key().step_of("287082", now + 30_000), Some(1));
        assert_eq!(rfc_key().step_of("287082", now - 30_000), Some(1));
        assert_eq!(rfc_key().step_of("287082", now + 60_000), None);
        for wrong in ["", "287083", "28708", "2870820", "287082287082"] {
            assert_eq!(rfc_key().step_of(wrong, now), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_offered_as_authenticator_apps_take_it() {
        let offer = rfc_key().offer("Ann Lee");
        assert_eq!(*offer.text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let uri = "otpauth://totp/Visavis:Ann%20Lee?\
                   secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Visavis";
        assert_eq!(*offer.uri, uri);
        assert_eq!(format!("{:?}", rfc_key()), "CodeKey");
    }
}

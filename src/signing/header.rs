//! The Signature header, read leniently and written strictly.
//!
//! Real clients send the pairs in any order, with or without spaces, with empty or unknown pairs, the
//! value percent-encoded in either case, raw, URL-safe or without padding. Only one form is written:
//! `algorithm=RSA256, signature=<percent-encoded>`, the value last, because that is the only one that
//! every client can read.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};

use super::error::SigningError;

/// Longest header value that is looked at.
const LONGEST: usize = 4096;

/// Padding is optional, and stray bits in the last character are forgiven.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes base64 of the standard alphabet, with or without padding; `None` if it is none.
pub fn lenient_base64(text: &[u8]) -> Option<Vec<u8>> {
    LENIENT.decode(text).ok()
}

/// The standard alphabet's character for one of the URL-safe alphabet; others stay.
pub fn standard_alphabet(character: u8) -> u8 {
    match character {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    }
}

/// A parsed Signature header of key-pair mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureHeader {
    /// The raw signature.
    pub signature: Vec<u8>,
}

impl SignatureHeader {
    /// Reads `algorithm=RSA256, signature=…` in any of the forms that clients send.
    ///
    /// # Errors
    /// [`SigningError::Header`] or [`SigningError::Algorithm`].
    pub fn parse(text: &str) -> Result<Self, SigningError> {
        if text.len() > LONGEST {
            return Err(SigningError::Header);
        }
        if pair(text, "algorithm")?.is_some_and(|name| !name.eq_ignore_ascii_case("RSA256")) {
            return Err(SigningError::Algorithm);
        }
        let value =
            pair(text, "signature")?.filter(|v| !v.is_empty()).ok_or(SigningError::Header)?;
        Ok(Self { signature: decode_value(value)? })
    }
}

/// The value of a `key=value` pair, split at the first `=`; `None` if the key is not there.
///
/// # Errors
/// [`SigningError::Header`] when the key is there twice.
fn pair<'a>(text: &'a str, key: &str) -> Result<Option<&'a str>, SigningError> {
    let mut values = text.split(',').filter_map(|part| {
        let (name, value) = part.trim().split_once('=')?;
        name.trim().eq_ignore_ascii_case(key).then(|| value.trim())
    });
    let found = values.next();
    if values.next().is_some() { Err(SigningError::Header) } else { Ok(found) }
}

/// Percent-decoding, both base64 alphabets, and a space for the `+` that a form decoder swallowed.
fn decode_value(value: &str) -> Result<Vec<u8>, SigningError> {
    let mut plain = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let digit =
                    |b: Option<u8>| char::from(b?).to_digit(16).and_then(|d| u8::try_from(d).ok());
                let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
                    return Err(SigningError::Header);
                };
                high * 16 + low
            }
            b' ' => b'+',
            other => standard_alphabet(other),
        });
    }
    lenient_base64(&plain).ok_or(SigningError::Header)
}

/// The one form that is written.
pub fn signature_header(signature: &[u8]) -> String {
    let mut header = String::from("algorithm=RSA256, signature=");
    for character in STANDARD.encode(signature).chars() {
        match character {
            '+' => header.push_str("%2B"),
            '/' => header.push_str("%2F"),
            '=' => header.push_str("%3D"),
            other => header.push(other),
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<Vec<u8>, SigningError> {
        SignatureHeader::parse(text).map(|h| h.signature)
    }

    #[test]
    fn every_spelling_of_real_clients_is_read() {
        let bytes = vec![0xFB, 0xEF, 0xFF, 0x01];
        for text in [
            "algorithm=RSA256, signature=%2B%2B%2F%2FAQ%3D%3D",
            "algorithm=RSA256, signature=%2b%2b%2f%2fAQ%3d%3d",
            "algorithm=RSA256,signature=++//AQ==",
            "signature=--__AQ, algorithm=rsa256",
            "algorithm=RSA256, keyVersion=v1, signature=++//AQ",
            "algorithm=RSA256, signature=++//AQ==, keyVersion=",
            "ALGORITHM=RSA256,\t SIGNATURE=  //AQ==".replace("  ", "++").as_str(),
            "Signature=++//AQ==",
        ] {
            assert_eq!(parsed(text).as_ref(), Ok(&bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_signature_header_is_refused() {
        for text in [
            "",
            "RSA256",
            "algorithm=RSA256",
            "signature=",
            "signature=%2",
            "signature=%zz",
            "signature=a!b",
            "signature=AQ==, signature=AQ==",
        ] {
            assert_eq!(parsed(text), Err(SigningError::Header), "{text}");
        }
        assert_eq!(parsed("algorithm=MD5, signature=AQ=="), Err(SigningError::Algorithm));
        assert_eq!(
            parsed(&format!("signature={}", "A".repeat(LONGEST))),
            Err(SigningError::Header)
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes in prop::collection::vec(any::<u8>(), 1..600)) {
            let header = signature_header(&bytes);
            prop_assert!(header.starts_with("algorithm=RSA256, signature="));
            prop_assert!(!header["algorithm=RSA256, signature=".len()..].contains(['+', '/', '=', ' ', ',']));
            prop_assert_eq!(parsed(&header), Ok(bytes));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,200}") {
            let _ = parsed(&text);
        }
    }
}

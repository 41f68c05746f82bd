//! The Signature and Encrypt headers, read leniently and written strictly.
//!
//! Real clients send the pairs in any order, with or without spaces, with empty or unknown pairs,
//! the value percent-encoded in either case, raw, URL-safe or without padding. Only one form is
//! written: `algorithm=RSA256, signature=<percent-encoded>`, the value last, because that is the
//! only one that every client can read. Reading allocates nothing.

use std::ops::Deref;

use base64::{
    Engine as _, alphabet,
    engine::{
        DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig,
        general_purpose::{STANDARD, URL_SAFE_NO_PAD},
    },
};

use crate::error::SigningError;

/// Longest header value that is looked at.
const LONGEST: usize = 4096;
/// Longest value in bytes: the output of an 8192-bit RSA key.
const LONGEST_VALUE: usize = 1024;
/// The same in base64.
const LONGEST_BASE64: usize = LONGEST_VALUE.div_ceil(3) * 4;

/// Padding is optional, and stray bits in the last character are forgiven.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes base64 as careless callers send it: either alphabet, with or without padding, with line
/// breaks and tabs, with spaces in place of `+`, which form decoders write. `None` if it is none.
pub fn lenient_base64(text: &[u8]) -> Option<Vec<u8>> {
    if let Ok(bytes) = LENIENT.decode(text) {
        return Some(bytes);
    }
    let mut cleaned = Vec::with_capacity(text.len());
    let mut is_indented = true;
    for byte in text {
        // Spaces that begin a line indent it.
        is_indented = matches!(byte, b'\r' | b'\n') || is_indented && byte.is_ascii_whitespace();
        if !is_indented && (*byte == b' ' || !byte.is_ascii_whitespace()) {
            cleaned.push(*byte);
        }
    }
    // One space at the end may be the last character; others are none.
    let content = cleaned.trim_ascii_end().len();
    if cleaned.len() != content + 1 || cleaned.len() % 4 != 0 {
        cleaned.truncate(content);
    }
    for character in &mut cleaned {
        *character = if *character == b' ' { b'+' } else { standard_alphabet(*character) };
    }
    LENIENT.decode(cleaned).ok()
}

/// The standard alphabet's character for one of the URL-safe alphabet; others stay.
fn standard_alphabet(character: u8) -> u8 {
    match character {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    }
}

/// The bytes that a header carries: a signature or a wrapped key, at most 1,024, on the stack.
#[derive(Clone, Copy)]
pub struct HeaderBytes {
    bytes: [u8; LONGEST_VALUE],
    length: usize,
}

impl Deref for HeaderBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl std::fmt::Debug for HeaderBytes {
    /// A signature is what a thief of sessions would look for in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HeaderBytes({})", self.length)
    }
}

/// A parsed Signature header of key-pair mode.
#[derive(Debug, Clone, Copy)]
pub struct SignatureHeader<'a> {
    /// The raw signature.
    pub signature: HeaderBytes,
    /// Which of its keys the client says it signed with.
    pub key_version: Option<&'a str>,
}

impl<'a> SignatureHeader<'a> {
    /// Reads `algorithm=RSA256, signature=…` in any of the forms that clients send.
    ///
    /// # Errors
    /// [`SigningError::Header`] or [`SigningError::Algorithm`].
    pub fn parse(text: &'a str) -> Result<Self, SigningError> {
        let (signature, key_version) = parse(text, "RSA256", "signature")?;
        Ok(Self { signature, key_version })
    }
}

/// A parsed Encrypt header.
#[derive(Debug, Clone, Copy)]
pub struct EncryptHeader {
    /// The AES key, wrapped for this server.
    pub wrapped_key: HeaderBytes,
}

impl EncryptHeader {
    /// Reads `algorithm=RSA_AES, symmetricKey=…` in any of the forms that clients send.
    ///
    /// # Errors
    /// [`SigningError::Header`] or [`SigningError::Algorithm`].
    pub fn parse(text: &str) -> Result<Self, SigningError> {
        let (wrapped_key, _key_version) = parse(text, "RSA_AES", "symmetricKey")?;
        Ok(Self { wrapped_key })
    }
}

/// Reads the Signature header of AK/SK mode: the bare value, or for those who follow the documents
/// to the letter `signature=…`.
///
/// # Errors
/// [`SigningError::Header`].
pub fn parse_mac(text: &str) -> Result<HeaderBytes, SigningError> {
    if text.len() > LONGEST {
        return Err(SigningError::Header);
    }
    decode_value(pair(text, "signature")?.unwrap_or(text).trim())
}

fn parse<'a>(
    text: &'a str,
    algorithm: &str,
    value: &str,
) -> Result<(HeaderBytes, Option<&'a str>), SigningError> {
    if text.len() > LONGEST {
        return Err(SigningError::Header);
    }
    if pair(text, "algorithm")?.is_some_and(|name| !name.eq_ignore_ascii_case(algorithm)) {
        return Err(SigningError::Algorithm);
    }
    let key_version = pair(text, "keyVersion")?.filter(|v| !v.is_empty());
    let value = pair(text, value)?.ok_or(SigningError::Header)?;
    Ok((decode_value(value)?, key_version))
}

/// The value of a `key=value` pair, split at the first `=`; `None` if the key is not there.
///
/// # Errors
/// [`SigningError::Header`] when the key occurs twice.
fn pair<'a>(text: &'a str, key: &str) -> Result<Option<&'a str>, SigningError> {
    let mut values = text.split(',').filter_map(|part| {
        let (name, value) = part.trim().split_once('=')?;
        name.trim().eq_ignore_ascii_case(key).then(|| value.trim())
    });
    let found = values.next();
    if values.next().is_some() { Err(SigningError::Header) } else { Ok(found) }
}

/// Percent-decoding, both base64 alphabets, and a space for the `+` that a form decoder swallowed.
fn decode_value(value: &str) -> Result<HeaderBytes, SigningError> {
    let mut plain = [0; LONGEST_BASE64];
    let mut written = 0;
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        *plain.get_mut(written).ok_or(SigningError::Header)? = match byte {
            b'%' => {
                let digit =
                    |b: Option<u8>| char::from(b?).to_digit(16).and_then(|d| u8::try_from(d).ok());
                let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
                    return Err(SigningError::Header);
                };
                standard_alphabet(high * 16 + low)
            }
            b' ' => b'+',
            other => standard_alphabet(other),
        };
        written += 1;
    }
    let mut decoded = HeaderBytes { bytes: [0; LONGEST_VALUE], length: 0 };
    let length = LENIENT.decode_slice(&plain[..written], &mut decoded.bytes);
    decoded.length = length.map_err(|_| SigningError::Header)?;
    if decoded.length == 0 { Err(SigningError::Header) } else { Ok(decoded) }
}

/// The one form of a Signature header that is written.
pub fn signature_header(signature: &[u8]) -> String {
    percent_encoded("algorithm=RSA256, signature=", signature)
}

/// The one form of an Encrypt header that is written.
pub fn encrypt_header(wrapped_key: &[u8]) -> String {
    percent_encoded("algorithm=RSA_AES, symmetricKey=", wrapped_key)
}

/// `N` bytes in place of a signature that cannot be verified.
///
/// # Errors
/// [`SigningError::Failed`] without random numbers.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], SigningError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| SigningError::Failed)?;
    Ok(bytes)
}

/// The one form of a Signature header in AK/SK mode that is written: clients compare the text.
pub fn mac_header(mac: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(mac)
}

fn percent_encoded(start: &str, value: &[u8]) -> String {
    let mut header = String::from(start);
    for character in STANDARD.encode(value).chars() {
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
    use crate::parse_time;

    fn parsed(text: &str) -> Result<Vec<u8>, SigningError> {
        SignatureHeader::parse(text).map(|h| h.signature.to_vec())
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
    fn a_key_version_is_read_wherever_it_stands_and_an_empty_one_is_none() {
        let version = |text| SignatureHeader::parse(text).unwrap().key_version;
        assert_eq!(version("algorithm=RSA256, keyVersion=v1, signature=AQ=="), Some("v1"));
        assert_eq!(version("algorithm=RSA256, signature=AQ%3D%3D, keyVersion=2"), Some("2"));
        assert_eq!(version("algorithm=RSA256, signature=AQ%3D%3D, keyVersion="), None);
        assert_eq!(version("algorithm=RSA256, signature=AQ%3D%3D"), None);
    }

    #[test]
    fn an_encrypt_header_is_read_by_the_same_grammar() {
        let parsed = |text| EncryptHeader::parse(text).map(|h| h.wrapped_key.to_vec());
        let bytes = Ok(vec![0xFB, 0xEF, 0xFF, 0x01]);
        assert_eq!(parsed("algorithm=RSA_AES, symmetricKey=%2b%2B%2f%2FAQ%3d%3D"), bytes);
        assert_eq!(parsed("algorithm=RSA_AES,keyVersion=v1,symmetricKey=++//AQ=="), bytes);
        assert_eq!(parsed("symmetrickey=--__AQ"), bytes);
        assert_eq!(parsed("algorithm=RSA256, symmetricKey=AQ=="), Err(SigningError::Algorithm));
        for text in ["", "algorithm=RSA_AES", "algorithm=RSA_AES, symmetricKey=", "AQ=="] {
            assert_eq!(parsed(text), Err(SigningError::Header), "{text}");
        }
    }

    #[test]
    fn a_bare_value_is_a_signature_of_ak_sk_mode() {
        let parsed = |text| parse_mac(text).map(|m| m.to_vec());
        let bytes = Ok(vec![0xFB, 0xEF, 0xFF, 0x01]);
        for text in ["--__AQ", "++//AQ==", "%2B%2B//AQ%3D%3D", "signature=--__AQ", " --__AQ "] {
            assert_eq!(parsed(text), bytes, "{text}");
        }
        assert_eq!(mac_header(&[0xFB, 0xEF, 0xFF, 0x01]), "--__AQ");
        for text in ["", "a!b", "algorithm=RSA256", "signature="] {
            assert_eq!(parsed(text), Err(SigningError::Header), "{text}");
        }
    }

    #[test]
    fn a_space_is_a_plus_that_a_form_decoder_swallowed_and_other_white_space_is_nothing() {
        let decoded = |text: &str| lenient_base64(text.as_bytes());
        let plain = Some(vec![0xFB, 0xEF, 0xBE, 0xFB, 0xEF, 0xBE]);
        for text in
            ["+ + + + ", "+++ ++++", "++\r\n  + ++++\n", "++\t+ ++++", "----  --", "+++++++ "]
        {
            assert_eq!(decoded(text), plain, "{text:?}");
        }
        for text in ["  AAAA", "AAAA ", "AAAA  ", "AA\nAA\n", "AAAA\r\n "] {
            assert_eq!(decoded(text), Some(vec![0, 0, 0]), "{text:?}");
        }
        assert_eq!(decoded("A?AA"), None);
    }

    #[test]
    fn a_value_of_the_longest_key_fits_and_one_byte_more_does_not() {
        let longest = vec![0xA5; LONGEST_VALUE];
        assert_eq!(parsed(&signature_header(&longest)), Ok(longest));
        let longer = signature_header(&[0xA5; LONGEST_VALUE + 1]);
        assert_eq!(parsed(&longer), Err(SigningError::Header));
    }

    #[test]
    fn reading_a_header_allocates_nothing() {
        let signature = signature_header(&[0xFB; 256]);
        let encrypt = encrypt_header(&[0xFB; 256]);
        let allocations = allocation_counter::measure(|| {
            assert_eq!(SignatureHeader::parse(&signature).unwrap().signature.len(), 256);
            assert_eq!(EncryptHeader::parse(&encrypt).unwrap().wrapped_key.len(), 256);
            assert!(SignatureHeader::parse("algorithm=RSA256, signature=%zz").is_err());
            assert_eq!(parse_mac("jfRcudNcoHLXKe4wfeKcSMr_dBNTLEiB9b47TlDP3os").unwrap().len(), 32);
            assert!(parse_time("2026-01-31T12:00:00.5+05:30").is_some());
            assert!(parse_time("2026-01-31T12:00:00+05:3O").is_none());
        });
        assert_eq!(allocations.count_total, 0);
    }

    #[test]
    fn base64_of_a_body_is_read_in_either_alphabet_and_with_line_breaks() {
        let bytes = Some(vec![0xFB, 0xEF, 0xFF, 0x01]);
        for text in ["++//AQ==", "++//AQ", "--__AQ", "++//\r\nAQ==\n"] {
            assert_eq!(lenient_base64(text.as_bytes()), bytes, "{text}");
        }
        for text in ["a!b", "=", "A", "++//A Q=%"] {
            assert_eq!(lenient_base64(text.as_bytes()), None, "{text}");
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
            prop_assert!(!header["algorithm=RSA256, \
                                  signature=".len()..].contains(['+', '/', '=', ' ', ',']));
            prop_assert_eq!(parsed(&header), Ok(bytes));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,200}") {
            let _ = parsed(&text);
            let _ = EncryptHeader::parse(&text);
            let _ = parse_mac(&text);
        }

        #[test]
        fn pairs_are_found_in_any_order_and_with_unknown_ones_between(
            bytes in prop::collection::vec(any::<u8>(), 1..64),
            mut order in Just(vec![0, 1, 2, 3]).prop_shuffle(),
            gap in "[ \t]{0,3}",
            unknown in "[a-z]{1,8}=[a-z0-9]{0,8}",
        ) {
            let value = signature_header(&bytes);
            let value = value.strip_prefix("algorithm=RSA256, ").unwrap().to_owned();
            let pairs = ["algorithm=rsa256".to_owned(), value, unknown, "keyVersion=7".to_owned()];
            let separator = format!("{gap},{gap}");
            order.truncate(4);
            let text = order.iter().map(|i| pairs[*i].as_str()).collect::<Vec<_>>().join(&separator);
            let header = SignatureHeader::parse(&text).unwrap();
            prop_assert_eq!(&header.signature[..], &bytes[..]);
            prop_assert_eq!(header.key_version, Some("7"));
        }
    }
}

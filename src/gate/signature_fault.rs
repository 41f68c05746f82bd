//! What is wrong with a signature that does not hold, as far as it can be known.
//!
//! Everything here is worked out from what the sender sent and from public keys. Where a secret key
//! is tried, a match shows that the sender has it. Nothing is accepted because of it.

use std::sync::Arc;

use aws_lc_rs::digest::{Digest, SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use serde::Serialize as _;
use serde_json::{Serializer, Value, ser::Formatter};
use visavis_signing::{ClientKey, Content, SecretKey};

use crate::clients::KeySet;

/// Longest body with which other texts are tried, bytes. Requests to verify keys are smaller.
const MAX_TRIED_BYTES: usize = 16 << 10;

/// Why a signature does not hold, and the facts with which its sender can find out more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignatureFault {
    mistake: Mistake,
    path: String,
    text: [u8; 32],
    text_bytes: usize,
    body: [u8; 32],
    body_bytes: usize,
    /// The digest of the text that was signed, if the key is right.
    signed: Option<[u8; 32]>,
}

/// What the sender did. The order is that in which it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistake {
    /// The body has the form of a response, which the same secret signs.
    LooksLikeResponse,
    /// Hexadecimal digits instead of base64.
    Hexadecimal,
    /// So many bytes instead of so many.
    Length(usize, usize),
    /// The text of the secret key was used instead of its bytes.
    UndecodedSecret,
    /// Made with a key of this client that is no longer valid.
    ReplacedKey,
    /// No key of this client made it.
    OtherKey,
    /// Head and all is missing.
    BodyAlone,
    /// The body is missing.
    NoBody,
    /// Scheme and host are in the text.
    Url,
    /// POST is missing.
    NoMethod,
    /// Something else stands for the line feed.
    LineFeed,
    /// The same JSON, written differently.
    OtherForm,
    /// The key is right and the text is not.
    OtherText,
    /// With a secret key: either of the two.
    KeyOrText,
}

/// With what a sender wants to show who it is.
pub(super) enum Claim<'a> {
    /// A signature with one of the private keys that belong to these, whether valid or not.
    KeyPair { signature: &'a [u8], keys: &'a [Arc<KeySet>], is_valid: &'a dyn Fn(&KeySet) -> bool },
    /// A MAC under this secret.
    Secret { mac: &'a [u8], key: &'a SecretKey },
}

impl SignatureFault {
    /// Looks for the mistake. `content` is what should have been signed.
    pub(super) fn find(claim: &Claim<'_>, content: &Content<'_>, host: Option<&str>) -> Self {
        let opened = claim.opened();
        let mistake = claim.mistake(&opened, content, host);
        let is_right_key = !matches!(mistake, Mistake::ReplacedKey);
        Self::new(mistake, content, opened.first().filter(|_| is_right_key).map(|one| one.digest))
    }

    pub(super) fn new(mistake: Mistake, content: &Content<'_>, signed: Option<[u8; 32]>) -> Self {
        Self {
            mistake,
            path: content.uri.to_owned(),
            text: bytes(&content.digest()),
            text_bytes: content.pieces().iter().map(|piece| piece.len()).sum(),
            body: sha256(content.body),
            body_bytes: content.body.len(),
            signed,
        }
    }

    /// For the log.
    pub(super) fn name(&self) -> &'static str {
        self.mistake.name()
    }

    /// What is wrong, what to do, and what the server verified the signature over.
    pub(crate) fn message(&self) -> String {
        let Self { path, text_bytes, body_bytes, .. } = self;
        let (text, body) = (hex::encode(self.text), hex::encode(self.body));
        let signed = self.signed.map_or_else(String::new, |signed| {
            format!("; the text that was signed has the SHA-256 {}", hex::encode(signed))
        });
        format!(
            "the signature does not match: {}. The text to sign is POST {path}, a line feed, \
             Client-Id, a dot, Request-Time, a dot and the body: {text_bytes} bytes with the \
             SHA-256 {text}, of which the body as received has {body_bytes} bytes with the \
             SHA-256 {body}{signed}. Compare with the output of visavis sign",
            self.mistake.explained()
        )
    }
}

impl Mistake {
    fn name(self) -> &'static str {
        match self {
            Self::LooksLikeResponse => "looks_like_response",
            Self::Hexadecimal => "hexadecimal",
            Self::Length(..) => "length",
            Self::UndecodedSecret => "undecoded_secret",
            Self::ReplacedKey => "replaced_key",
            Self::OtherKey => "other_key",
            Self::BodyAlone => "body_alone",
            Self::NoBody => "no_body",
            Self::Url => "url",
            Self::NoMethod => "no_method",
            Self::LineFeed => "line_feed",
            Self::OtherForm => "other_form",
            Self::OtherText => "other_text",
            Self::KeyOrText => "key_or_text",
        }
    }

    fn explained(self) -> String {
        let text = match self {
            Self::LooksLikeResponse => {
                "in mode AKSK a body may not have a result with a resultCode; rename the member"
            }
            Self::Hexadecimal => "it is hexadecimal; send it as base64",
            Self::Length(found, expected) => {
                return format!(
                    "it has {found} bytes instead of {expected}; check key and algorithm"
                );
            }
            Self::UndecodedSecret => {
                "it was made with the text of the secret key; decode that from base64url first"
            }
            Self::ReplacedKey => {
                "it was made with a key that was replaced; use the current key of this client"
            }
            Self::OtherKey => {
                "no key of this client made it; check that private key and Client-Id belong \
                 together, and that the algorithm is RSASSA-PKCS1-v1_5 with SHA-256"
            }
            Self::BodyAlone => "it was made over the body alone; sign the whole text",
            Self::NoBody => "it was made over a text without the body; sign the whole text",
            Self::Url => "it was made over a URL; sign the path without scheme and host",
            Self::NoMethod => "it was made over a text without POST; sign the whole text",
            Self::LineFeed => {
                "it was made over a text with something other than one line feed after the path"
            }
            Self::OtherForm => {
                "it was made over the same JSON in another form; send the bytes that were signed"
            }
            Self::OtherText => {
                "the key is right, but the signed text is another one; check path, literal time, \
                 and that the body is sent as signed"
            }
            Self::KeyOrText => {
                "check secret key, path, literal time, and that the body is sent as signed"
            }
        };
        text.to_owned()
    }
}

/// A signature that a key of the client made.
struct Opened {
    digest: [u8; 32],
    is_valid: bool,
}

impl Claim<'_> {
    /// The signature as its makers see it, valid keys first.
    fn opened(&self) -> Vec<Opened> {
        let Self::KeyPair { signature, keys, is_valid } = self else { return Vec::new() };
        let open = |set: &Arc<KeySet>| {
            let digest = set.merchant_key.signed_digest(signature)?;
            Some(Opened { digest, is_valid: is_valid(set) })
        };
        let mut opened: Vec<_> = keys.iter().filter_map(open).collect();
        opened.sort_by_key(|one| !one.is_valid);
        opened
    }

    fn mistake(&self, opened: &[Opened], content: &Content<'_>, host: Option<&str>) -> Mistake {
        let (given, expected) = match self {
            Self::KeyPair { signature, keys, .. } => {
                let length = |set: &Arc<KeySet>| ClientKey::signature_bytes(&set.merchant_key);
                (*signature, keys.iter().map(length).collect())
            }
            Self::Secret { mac, .. } => (*mac, vec![SHA256.output_len()]),
        };
        if let Some(length) = expected.first().filter(|_| !expected.contains(&given.len())) {
            let is_hex = expected.iter().any(|length| is_hexadecimal(given, *length));
            return if is_hex {
                Mistake::Hexadecimal
            } else {
                Mistake::Length(given.len(), *length)
            };
        }
        match self {
            Self::KeyPair { .. } => match opened.first() {
                None => Mistake::OtherKey,
                Some(Opened { is_valid: false, .. }) => Mistake::ReplacedKey,
                Some(_) => {
                    let digests: Vec<_> = opened.iter().map(|one| one.digest).collect();
                    let is_signed = |text: &[&[u8]]| digests.contains(&sha256(&text.concat()));
                    text_mistake(content, host, is_signed).unwrap_or(Mistake::OtherText)
                }
            },
            Self::Secret { mac, key } if key.undecoded().has_signed(&content.pieces(), mac) => {
                Mistake::UndecodedSecret
            }
            Self::Secret { mac, key } => {
                let is_signed = |text: &[&[u8]]| key.has_signed(text, mac);
                text_mistake(content, host, is_signed).unwrap_or(Mistake::KeyOrText)
            }
        }
    }
}

/// Whether a value is the hexadecimal form of a signature of so many bytes: read as base64, or
/// encoded with base64 once more.
fn is_hexadecimal(value: &[u8], length: usize) -> bool {
    let is_hex = |text: &[u8]| text.len() == 2 * length && text.iter().all(u8::is_ascii_hexdigit);
    is_hex(value) || is_hex(STANDARD_NO_PAD.encode(value).as_bytes())
}

/// Tries the texts that clients sign by mistake.
fn text_mistake(
    content: &Content<'_>,
    host: Option<&str>,
    is_signed: impl Fn(&[&[u8]]) -> bool,
) -> Option<Mistake> {
    let Content { uri, client_id, time, body } = *content;
    if body.len() > MAX_TRIED_BYTES {
        return None;
    }
    let head = |start: &str| format!("{start}{client_id}.{time}.");
    let usual = head(&format!("POST {uri}\n"));
    let mut texts = vec![
        (Mistake::BodyAlone, String::new(), body.to_vec()),
        (Mistake::NoBody, usual.clone(), Vec::new()),
        (Mistake::NoMethod, head(&format!("{uri}\n")), body.to_vec()),
    ];
    for host in host.into_iter().chain([""]) {
        for scheme in ["https://", "http://", ""] {
            let url = head(&format!("POST {scheme}{host}{uri}\n"));
            texts.push((Mistake::Url, url, body.to_vec()));
        }
    }
    for line_feed in ["\\n", "\r\n", "\n\n", " ", ""] {
        let text = head(&format!("POST {uri}{line_feed}"));
        texts.push((Mistake::LineFeed, text, body.to_vec()));
    }
    for body in other_forms(body) {
        texts.push((Mistake::OtherForm, usual.clone(), body));
    }
    let is_signed = |head: &str, body: &[u8]| is_signed(&[head.as_bytes(), body]);
    let signed = texts.into_iter().find(|(_, head, body)| is_signed(head, body));
    signed.map(|(mistake, ..)| mistake)
}

/// A body as other JSON libraries would have written it.
fn other_forms(body: &[u8]) -> Vec<Vec<u8>> {
    let trimmed = body.trim_ascii();
    let mut forms = vec![trimmed.to_vec(), [trimmed, b"\n"].concat(), [trimmed, b"\r\n"].concat()];
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        forms.extend(serde_json::to_vec(&value));
        forms.extend(serde_json::to_vec_pretty(&value));
        let mut spaced = Vec::new();
        let mut serializer = Serializer::with_formatter(&mut spaced, Spaced);
        if value.serialize(&mut serializer).is_ok() {
            forms.push(spaced);
        }
    }
    forms
}

/// JSON with a space after each comma and colon, as Python writes it.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

fn sha256(text: &[u8]) -> [u8; 32] {
    bytes(&digest(&SHA256, text))
}

fn bytes(digest: &Digest) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

#[cfg(test)]
impl SignatureFault {
    /// One of each kind.
    pub(crate) fn all() -> Vec<Self> {
        let content = Content { uri: "/api/v1/x", client_id: "1", time: "now", body: b"{}" };
        let mistakes = [
            Mistake::LooksLikeResponse,
            Mistake::Hexadecimal,
            Mistake::Length(3, 256),
            Mistake::UndecodedSecret,
            Mistake::ReplacedKey,
            Mistake::OtherKey,
            Mistake::BodyAlone,
            Mistake::NoBody,
            Mistake::Url,
            Mistake::NoMethod,
            Mistake::LineFeed,
            Mistake::OtherForm,
            Mistake::OtherText,
            Mistake::KeyOrText,
        ];
        mistakes.map(|mistake| Self::new(mistake, &content, Some([7; 32]))).to_vec()
    }
}

//! A client of the API: signs and encrypts requests, verifies and decrypts responses, in every mode
//! that the SDKs have.
//!
//! It shares the cryptography with the server and none of its decisions: what is sent and what is
//! accepted follows the documents, so a server that drifts from them fails here.

use std::{
    fmt,
    io::{self, Read},
    sync::Arc,
};

use anyhow::{Context as _, Result, anyhow, bail};
use time::OffsetDateTime;
use ureq::{SendBody, http::HeaderMap};
use visavis_signing::{
    ClientKey, Content, Credentials, SecretKey, ServerKey, SignatureHeader, SymmetricKey,
    encrypt_header, format_time, mac_header, parse_mac, signature_header,
};

/// Requests that may be in flight, and so connections that are kept open.
pub const MAX_CONNECTIONS: usize = 256;

/// How a request is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Signed with the key pair, in clear.
    KeyPair,
    /// The same, and the body encrypted under a fresh AES key of so many bytes.
    Encrypted(usize),
    /// Signed with the secret key.
    SecretKey,
}

/// A signed exchange with a server.
pub struct ApiClient {
    url: String,
    signer: Signer,
    agent: ureq::Agent,
}

/// The keys of a client, which sign and encrypt requests and verify responses.
pub struct Signer {
    client_id: String,
    keys: Keys,
}

impl fmt::Debug for ApiClient {
    /// Without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiClient({}, {})", self.url, self.signer.client_id)
    }
}

impl fmt::Debug for Signer {
    /// Without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.client_id)
    }
}

/// The keys of a mode.
enum Keys {
    Pair { own: Box<ServerKey>, server: Box<ClientKey>, aes_bytes: Option<usize> },
    Secret { access_key: String, secret: Box<SecretKey> },
}

/// A request as it is sent.
#[derive(Debug)]
pub struct SignedRequest {
    /// Names and values of the headers, in the order in which they are sent.
    pub head: Vec<(&'static str, String)>,
    /// The body, as it is sent: encrypted if it is to be.
    pub body: Body,
    key: Option<SymmetricKey>,
}

/// The body of a request, in pieces that are sent one after the other, so that many requests about
/// one photo hold it once.
#[derive(Debug)]
pub struct Body(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Own(String),
    Shared(Arc<str>),
}

impl Piece {
    fn text(&self) -> &str {
        match self {
            Self::Own(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl From<String> for Body {
    fn from(whole: String) -> Self {
        Self(vec![Piece::Own(whole)])
    }
}

impl Body {
    /// The same, and this after it.
    pub(crate) fn and(mut self, text: impl Into<String>) -> Self {
        self.0.push(Piece::Own(text.into()));
        self
    }

    /// The same, and this after it, held by others too.
    pub(crate) fn and_shared(mut self, text: &Arc<str>) -> Self {
        self.0.push(Piece::Shared(Arc::clone(text)));
        self
    }

    /// Everything in one piece.
    pub fn whole(&self) -> String {
        self.0.iter().map(Piece::text).collect()
    }

    /// Bytes in all.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|piece| piece.text().len()).sum()
    }

    /// Bytes that are not shared.
    pub(crate) fn own_len(&self) -> usize {
        let own = self.0.iter().filter(|piece| matches!(piece, Piece::Own(_)));
        own.map(|piece| piece.text().len()).sum()
    }

    fn reader(&self) -> impl Read {
        BodyReader { piece: &[], later: &self.0 }
    }
}

struct BodyReader<'a> {
    piece: &'a [u8],
    later: &'a [Piece],
}

impl Read for BodyReader<'_> {
    /// Fills the buffer as far as there is something: each is a write to the network.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        loop {
            filled += self.piece.read(&mut buffer[filled..])?;
            match self.later.split_first() {
                Some((next, later)) if filled < buffer.len() => {
                    (self.piece, self.later) = (next.text().as_bytes(), later);
                }
                _ => return Ok(filled),
            }
        }
    }
}

/// A response whose signature is valid.
#[derive(Debug)]
pub struct VerifiedResponse {
    /// The status line, and the headers that the API defines.
    pub head: String,
    /// The JSON, decrypted if it came encrypted.
    pub body: String,
    /// The body as it came, if it came encrypted.
    pub encrypted: Option<String>,
    time: String,
}

impl ApiClient {
    /// `url` is scheme, host and port. The agent must not treat an HTTP status as an error.
    ///
    /// # Errors
    /// A key that the protection needs is missing or cannot be read.
    pub fn new(
        agent: ureq::Agent,
        url: &str,
        credentials: &Credentials,
        protection: Protection,
    ) -> Result<Self> {
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { url, signer: Signer::new(credentials, protection)?, agent })
    }

    /// Encrypts and signs a request to `path`, as of now.
    pub fn sign(&self, path: &str, json: Body) -> Result<SignedRequest> {
        self.signer.sign_now(path, json)
    }

    /// Sends a request, verifies the response, and decrypts it.
    pub fn send(&self, path: &str, signed: &SignedRequest) -> Result<VerifiedResponse> {
        let url = format!("{}{path}", self.url);
        let mut request = self.agent.post(&url);
        for (name, value) in &signed.head {
            request = request.header(*name, value);
        }
        request = request.header("Content-Length", signed.body.len());
        let mut body = signed.body.reader();
        let sent = request.send(SendBody::from_reader(&mut body));
        let mut response = sent.with_context(|| format!("no response from {}", self.url))?;
        let status = response.status();
        let text = response.body_mut().read_to_string().context("the response is not text")?;
        if status != 200 {
            bail!(
                "{url} returned HTTP {status}, which the API never does: check for a proxy in \
                   between"
            );
        }
        let headers = response.headers();
        let time = self.signer.verify(path, headers, &text)?.to_owned();
        let is_encrypted = headers.contains_key("Encrypt");
        let (body, encrypted) = match &signed.key {
            // With the key that was sent: the server must use that one.
            Some(key) if is_encrypted => {
                let plain =
                    key.decrypt(text.as_bytes()).context("the response cannot be decrypted")?;
                let plain =
                    String::from_utf8(plain).context("the decrypted response is not text")?;
                (plain, Some(text))
            }
            None if is_encrypted => bail!("the response is encrypted, but the request was not"),
            _ => (text, None),
        };
        let shown = ["Content-Type", "Response-Time", "Encrypt", "Signature"];
        let lines: Vec<String> = shown
            .iter()
            .filter_map(|name| Some(format!("{name}: {}", headers.get(*name)?.to_str().ok()?)))
            .collect();
        let head = format!("HTTP/1.1 200 OK\n{}", lines.join("\n"));
        Ok(VerifiedResponse { head, body, encrypted, time })
    }

    /// The text over which a response to a request for `path` was signed.
    pub fn signed_text(&self, path: &str, response: &VerifiedResponse) -> String {
        let VerifiedResponse { body, encrypted, time, .. } = response;
        let body = encrypted.as_ref().unwrap_or(body).as_bytes();
        text_of(&Content { uri: path, client_id: &self.signer.client_id, time, body })
    }
}

impl SignedRequest {
    /// The text that was signed.
    pub fn text(&self, path: &str) -> String {
        let header = |wanted: &str| {
            let header = self.head.iter().find(|(name, _)| *name == wanted);
            header.map_or("", |(_, value)| value.as_str())
        };
        let (client_id, time) = (header("Client-Id"), header("Request-Time"));
        let body = self.body.whole();
        text_of(&Content { uri: path, client_id, time, body: body.as_bytes() })
    }
}

/// The signed text: all parts of it are text.
fn text_of(content: &Content<'_>) -> String {
    String::from_utf8_lossy(&content.pieces().concat()).into_owned()
}

impl Signer {
    /// # Errors
    /// A key that the protection needs is missing or cannot be read.
    pub fn new(credentials: &Credentials, protection: Protection) -> Result<Self> {
        let client_id = credentials.client_id.clone();
        Ok(Self { client_id, keys: Keys::new(credentials, protection)? })
    }

    /// Encrypts and signs a request to `path` with the Request-Time of now.
    pub fn sign_now(&self, path: &str, json: Body) -> Result<SignedRequest> {
        self.sign(path, json, &format_time(now()))
    }

    /// The same with another Request-Time.
    pub fn sign(&self, path: &str, json: Body, time: &str) -> Result<SignedRequest> {
        let text = json.whole();
        let content = |body| Content { uri: path, client_id: &self.client_id, time, body };
        let client_id = ("Client-Id", self.client_id.clone());
        let request_time = ("Request-Time", time.to_owned());
        let content_type = |kind: &str| ("Content-Type", format!("{kind}; charset=UTF-8"));
        match &self.keys {
            Keys::Secret { access_key, secret } => {
                let mac = mac_header(&secret.sign(&content(text.as_bytes())));
                let auth = ("Auth-Type", "AKSK".to_owned());
                let access = ("Access-Key", access_key.clone());
                let json_type = content_type("application/json");
                let head =
                    vec![client_id, request_time, json_type, auth, access, ("Signature", mac)];
                Ok(SignedRequest { head, body: json, key: None })
            }
            Keys::Pair { own, server, aes_bytes } => {
                let key = aes_bytes.map(SymmetricKey::random).transpose()?;
                let encrypted = key.as_ref().map(|key| key.encrypt(text.as_bytes())).transpose()?;
                let signed = encrypted.as_ref().unwrap_or(&text);
                let signature = signature_header(&own.sign(&content(signed.as_bytes()))?);
                let kind = if key.is_some() { "text/plain" } else { "application/json" };
                let mut head = vec![client_id, request_time, content_type(kind)];
                if let Some(key) = &key {
                    head.push(("Encrypt", encrypt_header(&server.wrap_key(key)?)));
                }
                head.push(("Signature", signature));
                Ok(SignedRequest { head, body: encrypted.map_or(json, Body::from), key })
            }
        }
    }

    /// Returns Response-Time.
    fn verify<'a>(&self, path: &str, headers: &'a HeaderMap, text: &str) -> Result<&'a str> {
        let header = |name: &str| -> Result<&'a str> {
            let value =
                headers.get(name).ok_or_else(|| anyhow!("the response has no {name} header"))?;
            Ok(value.to_str()?)
        };
        let (time, signature) = (header("Response-Time")?, header("Signature")?);
        let content =
            Content { uri: path, client_id: &self.client_id, time, body: text.as_bytes() };
        let (verified, with) = match &self.keys {
            Keys::Pair { server, .. } => {
                let signature = SignatureHeader::parse(signature)?.signature;
                (server.verify(&content, &signature), "serverPublicKey")
            }
            Keys::Secret { secret, .. } => {
                (secret.verify(&content, &parse_mac(signature)?), "secretKey")
            }
        };
        verified
            .map_err(|_| anyhow!("the response's signature is not valid with {with}:\n{text}"))?;
        Ok(time)
    }
}

impl Keys {
    fn new(credentials: &Credentials, protection: Protection) -> Result<Self> {
        let aes_bytes = match protection {
            Protection::SecretKey => {
                let secret = SecretKey::from_text(&credentials.secret_key).context("secretKey")?;
                return Ok(Self::Secret {
                    access_key: credentials.access_key.clone(),
                    secret: Box::new(secret),
                });
            }
            Protection::Encrypted(bytes) => Some(bytes),
            Protection::KeyPair => None,
        };
        let own = credentials.merchant_private_key.as_deref();
        let own = own.context("the client file has no merchantPrivateKey to sign with")?;
        Ok(Self::Pair {
            own: Box::new(ServerKey::from_text(own).context("merchantPrivateKey")?),
            server: Box::new(
                ClientKey::from_text(&credentials.server_public_key).context("serverPublicKey")?,
            ),
            aes_bytes,
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "servers accept only requests of now")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpListener, thread, time::Duration};

    use super::*;
    use crate::testing;

    #[test]
    fn a_body_in_pieces_is_sent_as_one() {
        let photo = Arc::from("photo");
        let body =
            Body::from("{".to_owned()).and_shared(&photo).and("").and("}").and_shared(&photo);
        assert_eq!((body.whole().as_str(), body.len(), body.own_len()), ("{photo}photo", 12, 2));
        for at_once in [1, 3, 100] {
            let (mut sent, mut reader) = (Vec::new(), body.reader());
            let mut buffer = vec![0; at_once];
            loop {
                match reader.read(&mut buffer).unwrap() {
                    0 => break,
                    n => sent.extend_from_slice(&buffer[..n]),
                }
            }
            assert_eq!(sent, body.whole().as_bytes());
        }
    }

    #[test]
    fn a_body_in_pieces_goes_out_whole_and_with_its_length() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let (mut seen, mut buffer) = (Vec::new(), [0; 1_000]);
            while !seen.ends_with(b"the end") {
                let read = connection.read(&mut buffer).unwrap();
                assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
                seen.extend_from_slice(&buffer[..read]);
            }
            connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
            String::from_utf8(seen).unwrap()
        });
        let client = testing::client(&url, Duration::from_secs(20));
        let photo = Arc::from("x".repeat(300_000));
        let body = Body::from("{".to_owned()).and_shared(&photo).and("the end");
        let whole = body.whole();
        let request = client.sign("/path", body).unwrap();
        assert!(client.send("/path", &request).is_err(), "the response is not signed");
        let seen = server.join().unwrap();
        let (head, sent) = seen.split_once("\r\n\r\n").unwrap();
        let head = head.to_lowercase();
        assert_eq!(head.matches("content-length: 300008").count(), 1, "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
        assert!(sent == whole);
    }
}

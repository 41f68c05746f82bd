//! Compares two photos: a signed and, if wanted, encrypted call to Visavis in Rust.
//!
//! ```text
//! cargo run --example call -- A.jpg B.jpg [--encrypt]
//! ```
//!
//! The keys come from the environment, see README.md. The response's JSON goes to stdout. Exit
//! code: 0 when resultStatus is S, 1 when it is F or U, 2 if no valid response arrived.
//!
//! It uses nothing of the server's crate, so that it can be copied into another project.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to its terminal")]

use std::{env, fs, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use aws_lc_rs::{
    cipher::{
        AES_256, DecryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
        UnboundCipherKey,
    },
    encoding::{AsDer as _, PublicKeyX509Der},
    rand::{self, SystemRandom},
    rsa::{Pkcs1PublicEncryptingKey, PublicEncryptingKey},
    signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use time::{OffsetDateTime, macros::format_description};
use ureq::http::Response;

const URI: &str = "/api/v1/zoloz/facecompare/compare";
/// What of base64 cannot stand in a header as it is: some parser on the way reads a bare + as a
/// space and loses a bare =.
const ESCAPES: [(&str, &str); 3] = [("+", "%2B"), ("/", "%2F"), ("=", "%3D")];

fn main() -> ExitCode {
    let (flags, photos): (Vec<_>, Vec<_>) = env::args().skip(1).partition(|a| a == "--encrypt");
    match call(&photos, !flags.is_empty()).and_then(|text| Ok((status(&text)?, text))) {
        Ok((status, text)) => {
            println!("{text}");
            if status == "S" { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("call: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn call(photos: &[String], encrypted: bool) -> Result<String> {
    let [photo1, photo2] = photos else { bail!("usage: call A.jpg B.jpg [--encrypt]") };
    let url = setting("VISAVIS_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned());
    let url = format!("{}{URI}", url.trim_end_matches('/'));
    let client_id = setting("VISAVIS_CLIENT_ID")?;
    let merchant_key = RsaKeyPair::from_pkcs8(&key_der("VISAVIS_MERCHANT_PRIVATE_KEY")?)
        .context("VISAVIS_MERCHANT_PRIVATE_KEY is no key: copy it whole from the client file")?;
    let server_key = PublicEncryptingKey::from_der(&key_der("VISAVIS_SERVER_PUBLIC_KEY")?)
        .context("VISAVIS_SERVER_PUBLIC_KEY is no key: copy it whole from the client file")?;

    // bizId is at most 32 bytes by the documents: a UUID without hyphens.
    let biz_id = uuid::Uuid::new_v4().simple().to_string();
    let mut body =
        json!({"bizId": biz_id, "face1": face(photo1)?, "face2": face(photo2)?}).to_string();
    let time = request_time()?;
    let kind = if encrypted { "text/plain" } else { "application/json" };
    let mut request = agent()
        .post(&url)
        .header("Client-Id", &client_id)
        .header("Request-Time", &time)
        .header("Content-Type", format!("{kind}; charset=UTF-8"));
    let mut aes_key = [0; 32];
    rand::fill(&mut aes_key)?;
    if encrypted {
        // Before it is signed: the signature covers what is sent.
        body = encrypt(&aes_key, body.into_bytes())?;
        request = request.header("Encrypt", wrap(&server_key, &aes_key)?);
    }
    let content = content_to_be_signed(&client_id, &time, body.as_bytes());
    let mut response = request
        .header("Signature", sign(&merchant_key, &content)?)
        .send(&body)
        .with_context(|| format!("{url} gives no response: check VISAVIS_URL and the server"))?;
    ensure!(response.status() == 200, "HTTP {}: is a proxy in between?", response.status());
    let body = response.body_mut().read_to_vec().context("the response ends early: try again")?;

    let content = content_to_be_signed(&client_id, header(&response, "Response-Time"), &body);
    verify(&server_key, header(&response, "Signature"), &content).context(
        "the response's signature does not verify: take VISAVIS_CLIENT_ID and \
         VISAVIS_SERVER_PUBLIC_KEY from the same client file",
    )?;
    // A refusal can be in clear even if the request was not. What is encrypted is so under the key
    // that was sent: Visavis always reuses it, and the own copy of the response need not be
    // unwrapped.
    let plain = if response.headers().contains_key("Encrypt") {
        decrypt(&aes_key, &body).context("the response does not decrypt: compare the versions")?
    } else {
        body
    };
    Ok(String::from_utf8(plain)?)
}

fn status(response: &str) -> Result<String> {
    let json: Value = serde_json::from_str(response).context("the response is not JSON")?;
    let status = json["result"]["resultStatus"].as_str();
    status.map(str::to_owned).context("the response has no result: compare the server's version")
}

fn setting(name: &str) -> Result<String> {
    let value = env::var(name).ok().filter(|value| !value.is_empty());
    value.with_context(|| {
        format!("{name} is not set: export it from the client file, see README.md")
    })
}

fn key_der(name: &str) -> Result<Vec<u8>> {
    let der = STANDARD.decode(setting(name)?);
    der.with_context(|| format!("{name} is no base64: copy it whole from the client file"))
}

fn face(photo: &str) -> Result<Value> {
    let bytes = fs::read(photo).with_context(|| format!("{photo} cannot be read: check it"))?;
    Ok(json!({"content": STANDARD.encode(bytes)}))
}

#[expect(clippy::disallowed_methods, reason = "the clock of a client is not moved in tests")]
fn request_time() -> Result<String> {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+0000");
    Ok(OffsetDateTime::now_utc().format(form)?)
}

fn agent() -> ureq::Agent {
    // For https; it fails only when there is a provider already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30)));
    config.http_status_as_error(false).build().new_agent()
}

fn header<'a, T>(response: &'a Response<T>, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The body as bytes, exactly as on the wire: parsed and printed again it would be another text.
fn content_to_be_signed(client_id: &str, time: &str, body: &[u8]) -> Vec<u8> {
    [format!("POST {URI}\n{client_id}.{time}.").as_bytes(), body].concat()
}

fn sign(key: &RsaKeyPair, content: &[u8]) -> Result<String> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), content, &mut signature)?;
    Ok(format!("algorithm=RSA256, signature={}", percent_encoded(&signature)))
}

fn verify(key: &PublicEncryptingKey, header: &str, content: &[u8]) -> Result<()> {
    let (_, value) = header.split_once("signature=").context("there is none")?;
    let value = value.split(',').next().unwrap_or_default().to_owned();
    let base64 = ESCAPES.iter().fold(value, |text, (plain, escape)| text.replace(escape, plain));
    let key: PublicKeyX509Der<'_> = key.as_der()?;
    let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.as_ref())?;
    key.verify_sig(content, &STANDARD.decode(base64)?).map_err(|_| anyhow!("another key signed it"))
}

/// The AES key for the server alone: RSAES-PKCS1-v1_5.
fn wrap(key: &PublicEncryptingKey, aes_key: &[u8]) -> Result<String> {
    let key = Pkcs1PublicEncryptingKey::new(key.clone())?;
    let mut wrapped = vec![0; key.ciphertext_size()];
    let wrapped = key.encrypt(aes_key, &mut wrapped)?;
    Ok(format!("algorithm=RSA_AES, symmetricKey={}", percent_encoded(wrapped)))
}

fn percent_encoded(bytes: &[u8]) -> String {
    let base64 = STANDARD.encode(bytes);
    ESCAPES.iter().fold(base64, |text, (plain, escape)| text.replace(plain, escape))
}

fn encrypt(aes_key: &[u8], mut body: Vec<u8>) -> Result<String> {
    let key = PaddedBlockEncryptingKey::ecb_pkcs7(UnboundCipherKey::new(&AES_256, aes_key)?)?;
    key.encrypt(&mut body)?;
    Ok(STANDARD.encode(body))
}

fn decrypt(aes_key: &[u8], body: &[u8]) -> Result<Vec<u8>> {
    let key = PaddedBlockDecryptingKey::ecb_pkcs7(UnboundCipherKey::new(&AES_256, aes_key)?)?;
    let mut body = STANDARD.decode(body)?;
    Ok(key.decrypt(&mut body, DecryptionContext::None)?.to_vec())
}

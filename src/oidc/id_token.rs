//! Verification of an ID token (`OpenID` Connect Core 1.0, section 3.1.3.7).

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    errors::ErrorKind,
    jwk::{AlgorithmParameters, Jwk, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

use super::{claims::Claims, error::OidcError};

/// Clocks of the provider and of this machine may differ by so much.
const SKEW_S: u64 = 60;

/// Signatures with public keys only: an attacker who knows a public key must not be able to use it
/// as a secret.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// What a token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
}

/// A key set. Each key is read by itself, so that one of an unknown kind does no harm.
#[derive(Deserialize)]
pub(super) struct KeySet {
    keys: Vec<Value>,
}

impl KeySet {
    /// Whether it has no key for signatures.
    pub(super) fn is_empty(&self) -> bool {
        self.candidates(None).next().is_none()
    }

    /// The keys that may have made a signature: the one with this id, or all of them without one.
    fn candidates(&self, id: Option<&str>) -> impl Iterator<Item = Jwk> {
        let keys = self.keys.iter().filter_map(|key| Jwk::deserialize(key).ok());
        keys.filter(move |key| {
            let signs = !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
            let is_public = matches!(
                key.algorithm,
                AlgorithmParameters::RSA(_)
                    | AlgorithmParameters::EllipticCurve(_)
                    | AlgorithmParameters::OctetKeyPair(_)
            );
            signs && is_public && (id.is_none() || key.common.key_id.as_deref() == id)
        })
    }
}

/// Verifies signature, issuer, audience, times and nonce; returns the claims.
///
/// # Errors
/// [`OidcError::Unusable`] with the first thing that is wrong.
pub(super) fn verify(
    token: &str,
    keys: &KeySet,
    expected: &Expected<'_>,
) -> Result<Claims, OidcError> {
    let wrong = |reason: &str| Err(OidcError::unusable("the ID token", reason));
    let header = match decode_header(token) {
        Ok(header) if ALGORITHMS.contains(&header.alg) => header,
        _ => return wrong("it is not signed with RS, PS, ES256, ES384 or EdDSA"),
    };
    let mut validation = Validation::new(header.alg);
    validation.leeway = SKEW_S;
    validation.validate_nbf = true;
    validation.set_issuer(&[expected.issuer]);
    validation.set_audience(&[expected.client_id]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let mut reason = "no key of the provider has its key ID".to_owned();
    for key in keys.candidates(header.kid.as_deref()) {
        let claims = DecodingKey::from_jwk(&key)
            .and_then(|key| decode::<Claims>(token, &key, &validation))
            .map(|token| token.claims);
        match claims {
            Ok(claims) if claims.get("nonce").and_then(Value::as_str) != Some(expected.nonce) => {
                return wrong("it is for another login (nonce)");
            }
            Ok(claims) if !is_for(&claims, expected.client_id) => {
                return wrong("it is for another client (azp)");
            }
            Ok(claims) => return Ok(claims),
            Err(error) => match error.kind() {
                // Of another key of the provider, perhaps.
                ErrorKind::InvalidSignature => {
                    "no key of the provider has signed it".clone_into(&mut reason);
                }
                ErrorKind::InvalidAlgorithm => {
                    "no key of the provider is for its algorithm".clone_into(&mut reason);
                }
                kind => return wrong(&in_words(kind)),
            },
        }
    }
    wrong(&reason)
}

/// What is wrong with a token that is signed by the provider.
fn in_words(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::ExpiredSignature | ErrorKind::ImmatureSignature => {
            "it has expired or is not valid yet: check the clocks of both machines".to_owned()
        }
        ErrorKind::InvalidIssuer => "it is of another issuer: check oidc.issuer".to_owned(),
        ErrorKind::InvalidAudience => "it is for another client: check oidc.client_id".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) => format!("it has no claim {claim}"),
        kind => format!("{kind:?}"),
    }
}

/// Whether the party that the token was issued to, if it names one, is this client.
fn is_for(claims: &Claims, client_id: &str) -> bool {
    let is_sole = claims.get("aud").is_some_and(|aud| match aud {
        Value::Array(list) => list.len() == 1,
        _ => true,
    });
    match claims.get("azp") {
        Some(party) => party.as_str() == Some(client_id),
        None => is_sole,
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    use super::*;
    use crate::clock::Clock;

    const ISSUER: &str = "https://login.example";

    struct Signer {
        key: EncodingKey,
        keys: KeySet,
    }

    fn signer() -> Signer {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref());
        let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        public.common.key_id = Some("k".to_owned());
        let odd = json!({ "kty": "new", "kid": "k", "alg": "NEW512" });
        let keys = KeySet { keys: vec![odd, serde_json::to_value(public).unwrap()] };
        Signer { key, keys }
    }

    fn header(key_id: Option<&str>) -> Header {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = key_id.map(str::to_owned);
        header
    }

    fn claims() -> Value {
        let now = Clock::System.now() / 1_000;
        json!({ "iss": ISSUER, "aud": "console", "sub": "7", "nonce": "n", "exp": now + 300 })
    }

    fn check(token: &str, keys: &KeySet) -> Result<Claims, String> {
        let expected = Expected { issuer: ISSUER, client_id: "console", nonce: "n" };
        verify(token, keys, &expected).map_err(|error| error.to_string())
    }

    #[test]
    fn a_token_is_verified_with_the_key_of_its_id_or_with_any() {
        let Signer { key, keys } = signer();
        for id in [Some("k"), None] {
            let token = encode(&header(id), &claims(), &key).unwrap();
            assert_eq!(check(&token, &keys).unwrap()["sub"], "7");
        }
        let token = encode(&header(Some("other")), &claims(), &key).unwrap();
        assert!(check(&token, &keys).unwrap_err().contains("no key of the provider"));
    }

    #[test]
    fn a_token_with_anything_wrong_is_refused() {
        let Signer { key, keys } = signer();
        let with = |field: &str, value: Value| {
            let mut changed = claims();
            changed[field] = value;
            check(&encode(&header(Some("k")), &changed, &key).unwrap(), &keys).unwrap_err()
        };
        let wrong = [
            ("iss", json!("https://evil.example"), "another issuer"),
            ("aud", json!("other"), "check oidc.client_id"),
            ("aud", json!(["console", "other"]), "(azp)"),
            ("azp", json!("other"), "(azp)"),
            ("exp", json!(1), "check the clocks"),
            ("nbf", json!(1_u64 << 40), "check the clocks"),
            ("nonce", json!("other"), "(nonce)"),
            ("nonce", json!(null), "(nonce)"),
        ];
        for (field, value, reason) in wrong {
            let error = with(field, value);
            assert!(error.contains(reason), "{field}: {error}");
        }
        let mut changed = claims();
        changed.as_object_mut().unwrap().remove("sub");
        let token = encode(&header(Some("k")), &changed, &key).unwrap();
        assert!(check(&token, &keys).unwrap_err().contains("sub"));
        let other = signer();
        let token = encode(&header(Some("k")), &claims(), &other.key).unwrap();
        assert!(check(&token, &keys).unwrap_err().contains("no key of the provider has signed it"));
    }

    #[test]
    fn a_public_key_is_no_secret_and_no_signature_is_none() {
        let Signer { keys, .. } = signer();
        let public = keys.keys[1]["x"].as_str().unwrap();
        let secret = EncodingKey::from_secret(public.as_bytes()).unwrap();
        let symmetric = encode(&Header::new(Algorithm::HS256), &claims(), &secret).unwrap();
        let (_, rest) = symmetric.split_once('.').unwrap();
        let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", rest.split('.').next().unwrap());
        for token in [symmetric.as_str(), &unsigned, "", "a.b.c"] {
            assert!(check(token, &keys).unwrap_err().contains("is not signed with"), "{token}");
        }
    }
}

//! A client for tests of this crate.

use std::time::Duration;

use visavis_signing::Credentials;

use crate::client::{ApiClient, Protection};

/// Signs with a secret key.
pub(crate) fn client(url: &str, timeout: Duration) -> ApiClient {
    let credentials = Credentials {
        client_id: "1".to_owned(),
        key_version: 1,
        merchant_private_key: None,
        merchant_public_key: String::new(),
        server_public_key: String::new(),
        access_key: "AK1".to_owned(),
        secret_key: "c2VjcmV0".to_owned(),
    };
    let agent = ureq::Agent::config_builder().timeout_global(Some(timeout)).build().new_agent();
    ApiClient::new(agent, url, &credentials, Protection::SecretKey).unwrap()
}

//! What a client may do, where it differs from the settings of the installation.

use std::{fmt, num::NonZeroU32};

use serde::{Deserialize, Serialize};

/// How a client may prove who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Modes {
    /// In both ways.
    #[default]
    All,
    /// By a signature with its private key alone.
    KeyPair,
    /// By its access key and secret key alone (`Auth-Type: AKSK`).
    AccessKey,
}

/// Whether a client encrypts its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// As it likes; answers are as the request was.
    #[default]
    Optional,
    /// What comes in clear is refused. It then has to sign with its key pair.
    Required,
    /// What comes encrypted is refused.
    Off,
}

/// The terms of one client, as they are stored.
// Fails closed: a process of an earlier version must not serve a client whose limits it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ClientTerms {
    /// Requests a second on average, for each process; `None`: `http.client_rate_per_s`.
    pub rate_per_s: Option<NonZeroU32>,
    /// Requests at once after a pause; `None`: `http.client_burst`.
    pub burst: Option<NonZeroU32>,
    /// Comparisons on one day, in all processes together; days end at midnight UTC. `None`: any number.
    pub daily_quota: Option<NonZeroU32>,
    /// How it may sign.
    pub modes: Modes,
    /// Whether it encrypts.
    pub encryption: Encryption,
}

/// What is to change about the terms; the rest stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TermsChange {
    /// `Some(None)`: back to the settings of the installation.
    pub rate_per_s: Option<Option<NonZeroU32>>,
    /// As above.
    pub burst: Option<Option<NonZeroU32>>,
    /// `Some(None)`: any number.
    pub daily_quota: Option<Option<NonZeroU32>>,
    /// How it may sign.
    pub modes: Option<Modes>,
    /// Whether it encrypts.
    pub encryption: Option<Encryption>,
}

impl TermsChange {
    /// Whether nothing is to change.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The terms after the change.
    pub fn applied_to(self, terms: ClientTerms) -> ClientTerms {
        ClientTerms {
            rate_per_s: self.rate_per_s.unwrap_or(terms.rate_per_s),
            burst: self.burst.unwrap_or(terms.burst),
            daily_quota: self.daily_quota.unwrap_or(terms.daily_quota),
            modes: self.modes.unwrap_or(terms.modes),
            encryption: self.encryption.unwrap_or(terms.encryption),
        }
    }
}

impl ClientTerms {
    /// Whether no request could fulfil them: the access key has no encryption.
    pub fn are_contradictory(&self) -> bool {
        self.modes == Modes::AccessKey && self.encryption == Encryption::Required
    }
}

impl fmt::Display for ClientTerms {
    /// For people, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.modes {
            Modes::All => "sign as it likes",
            Modes::KeyPair => "sign with its key pair alone",
            Modes::AccessKey => "sign with its access key alone",
        })?;
        f.write_str(match self.encryption {
            Encryption::Optional => ", encrypt or not",
            Encryption::Required => ", and has to encrypt",
            Encryption::Off => ", not encrypt",
        })?;
        match self.rate_per_s {
            Some(rate) => write!(f, "; {rate} requests a second")?,
            None => f.write_str("; as many requests a second as configured")?,
        }
        if let Some(burst) = self.burst {
            write!(f, ", {burst} at once")?;
        }
        match self.daily_quota {
            Some(quota) => write!(f, "; {quota} comparisons a day"),
            None => f.write_str("; any number of comparisons a day"),
        }
    }
}

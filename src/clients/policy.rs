//! The policy of a client: its signing modes, encryption, rate, quota and what it does
//! with several faces, where they differ from the settings.

use std::{fmt, num::NonZeroU32};

use serde::{Deserialize, Serialize};

use crate::compare::SeveralFaces;

/// The signing modes that a client may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Modes {
    /// Both modes.
    #[default]
    All,
    /// Signatures with its private key only.
    KeyPair,
    /// Its access key and secret key only (`Auth-Type: AKSK`).
    AccessKey,
}

/// Whether a client encrypts its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// Both; a response is encrypted if its request was.
    #[default]
    Optional,
    /// Requests in clear are refused. The client must then sign with its key pair.
    Required,
    /// Encrypted requests are refused.
    Off,
}

/// The policy of one client, as it is stored.
// Fails closed: a process of an earlier version must not serve a client whose limits it does not
// know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ClientPolicy {
    /// Requests per second on average, for each process; `None`: `http.client_rate_per_s`.
    pub rate_per_s: Option<NonZeroU32>,
    /// Requests at once after a pause; `None`: `http.client_burst`.
    pub burst: Option<NonZeroU32>,
    /// Comparisons per day, in all processes together; days end at midnight UTC. `None`: unlimited.
    pub daily_quota: Option<NonZeroU32>,
    /// The allowed signing modes.
    pub modes: Modes,
    /// Whether requests are encrypted.
    pub encryption: Encryption,
    /// What to do with a photo that shows several people; `None`: `compare.several_faces`. Left out
    /// then, so that processes of earlier versions serve the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub several_faces: Option<SeveralFaces>,
}

/// What is to change about the policy; the rest stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PolicyChange {
    /// `Some(None)`: the setting of the installation.
    pub rate_per_s: Option<Option<NonZeroU32>>,
    /// As above.
    pub burst: Option<Option<NonZeroU32>>,
    /// `Some(None)`: unlimited.
    pub daily_quota: Option<Option<NonZeroU32>>,
    /// The allowed signing modes.
    pub modes: Option<Modes>,
    /// Whether requests are encrypted.
    pub encryption: Option<Encryption>,
    /// `Some(None)`: the setting of the installation.
    pub several_faces: Option<Option<SeveralFaces>>,
}

impl PolicyChange {
    /// Whether it changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The policy after the change.
    pub(crate) fn applied_to(self, policy: ClientPolicy) -> ClientPolicy {
        ClientPolicy {
            rate_per_s: self.rate_per_s.unwrap_or(policy.rate_per_s),
            burst: self.burst.unwrap_or(policy.burst),
            daily_quota: self.daily_quota.unwrap_or(policy.daily_quota),
            modes: self.modes.unwrap_or(policy.modes),
            encryption: self.encryption.unwrap_or(policy.encryption),
            several_faces: self.several_faces.unwrap_or(policy.several_faces),
        }
    }
}

impl ClientPolicy {
    /// Whether no request could fulfil it: the access key has no encryption.
    pub(crate) fn is_contradictory(&self) -> bool {
        self.modes == Modes::AccessKey && self.encryption == Encryption::Required
    }
}

impl fmt::Display for ClientPolicy {
    /// For people, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.modes {
            Modes::All => "Signing: key pair or access key. ",
            Modes::KeyPair => "Signing: key pair only. ",
            Modes::AccessKey => "Signing: access key only. ",
        })?;
        f.write_str(match self.encryption {
            Encryption::Optional => "Encryption: optional. ",
            Encryption::Required => "Encryption: required. ",
            Encryption::Off => "Encryption: off. ",
        })?;
        match self.rate_per_s {
            Some(rate) => write!(f, "Rate: {rate} requests/s")?,
            None => f.write_str("Rate: http.client_rate_per_s")?,
        }
        match self.burst {
            Some(burst) => write!(f, ", burst {burst}. ")?,
            None => f.write_str(", burst http.client_burst. ")?,
        }
        match self.daily_quota {
            Some(quota) => write!(f, "Daily quota: {quota} comparisons. ")?,
            None => f.write_str("Daily quota: unlimited. ")?,
        }
        f.write_str(match self.several_faces {
            Some(SeveralFaces::Largest) => "Several faces: largest.",
            Some(SeveralFaces::Refuse) => "Several faces: refuse.",
            None => "Several faces: compare.several_faces.",
        })
    }
}

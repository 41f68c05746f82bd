//! What requests do, as far as rights are concerned.

use serde::Serialize;

/// What a request does, as far as rights are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Step {
    /// Something with the own login or account.
    Own,
    /// Reads what the console shows.
    View,
    /// Compares, or analyses a photo.
    Compare,
    /// Changes clients and their keys.
    ChangeClients,
    /// Changes users, and ends their sessions.
    ManageUsers,
    /// Makes an administrator with the token.
    Recover,
}

impl Step {
    pub(super) const ALL: [Self; 6] = [
        Self::Own,
        Self::View,
        Self::Compare,
        Self::ChangeClients,
        Self::ManageUsers,
        Self::Recover,
    ];
}

//! How the response to a request is to be signed and encrypted; known a little more at each state.

use std::sync::{Arc, OnceLock};

use visavis_signing::SymmetricKey;

use crate::clients::KeySet;

/// How the response is to be signed and encrypted.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    presumed: OnceLock<Arc<KeySet>>,
    proven: OnceLock<(String, Arc<KeySet>)>,
    cipher: OnceLock<SymmetricKey>,
}

impl Reply {
    /// The keys of the client that the request claims to be from; nothing is proven.
    pub(crate) fn presumed(&self) -> Option<&Arc<KeySet>> {
        self.presumed.get()
    }

    /// The URI that the client signed, and the keys it signed with.
    pub(crate) fn proven(&self) -> Option<&(String, Arc<KeySet>)> {
        self.proven.get()
    }

    /// The key that the client sent. Clients decrypt with that one, whatever the Encrypt header of
    /// the response says.
    pub(crate) fn cipher(&self) -> Option<&SymmetricKey> {
        self.cipher.get()
    }

    // Each is set once per request; a second value could only be the same.

    pub(super) fn presume(&self, keys: Arc<KeySet>) {
        let _ = self.presumed.set(keys);
    }

    pub(super) fn prove(&self, uri: String, keys: Arc<KeySet>) {
        let _ = self.proven.set((uri, keys));
    }

    pub(super) fn encrypt(&self, key: SymmetricKey) {
        let _ = self.cipher.set(key);
    }
}

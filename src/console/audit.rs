//! Who may log in may change who may call, so whatever is done in the console is written down in the log, in one
//! place. What is done to clients is kept in the database besides, with `console` as its actor.

/// Something that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act<'a> {
    /// Somebody showed the token.
    LoggedIn,
    /// Somebody showed something else.
    LoginRefused,
    /// The same, after too many others.
    LoginHeldBack,
    /// Somebody left.
    LoggedOut,
    /// Two pictures were compared.
    Compared {
        /// What it is recorded as; empty for what was refused before.
        transaction: &'a str,
    },
    /// A transaction was looked at.
    TransactionRead {
        /// Which one.
        transaction: &'a str,
    },
    /// A client was registered.
    ClientAdded {
        /// Its Client-Id.
        client: &'a str,
    },
    /// A client got new keys.
    KeysRotated {
        /// Its Client-Id.
        client: &'a str,
    },
    /// It was changed what a client gets.
    ClientChanged {
        /// Its Client-Id.
        client: &'a str,
    },
    /// A client's right to call was taken away.
    ClientDisabled {
        /// Its Client-Id.
        client: &'a str,
    },
    /// It was given back.
    ClientEnabled {
        /// Its Client-Id.
        client: &'a str,
    },
}

impl Act<'_> {
    /// Its name for programs, and what it was done to: a client or a transaction.
    fn parts(&self) -> (&'static str, &str, &str) {
        match self {
            Self::LoggedIn => ("logged_in", "", ""),
            Self::LoginRefused => ("login_refused", "", ""),
            Self::LoginHeldBack => ("login_held_back", "", ""),
            Self::LoggedOut => ("logged_out", "", ""),
            Self::Compared { transaction } => ("compared", "", transaction),
            Self::TransactionRead { transaction } => ("transaction_read", "", transaction),
            Self::ClientAdded { client } => ("client_added", client, ""),
            Self::KeysRotated { client } => ("keys_rotated", client, ""),
            Self::ClientChanged { client } => ("client_changed", client, ""),
            Self::ClientDisabled { client } => ("client_disabled", client, ""),
            Self::ClientEnabled { client } => ("client_enabled", client, ""),
        }
    }
}

/// Writes an act down. Nothing of it is secret or personal.
pub(super) fn audit(act: &Act<'_>) {
    let (act, client, transaction) = act.parts();
    tracing::info!(act, client, transaction, "console");
}

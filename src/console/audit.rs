//! The audit events of the console, in the log. An operator can change which clients are enabled,
//! so every action is logged, in one place. Changes of clients are also audited in the database,
//! with `console` as the actor.

/// What an operator did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AuditEvent<'a> {
    /// Login with the right token.
    LoggedIn,
    /// Login with a wrong token.
    LoginRefused,
    /// Login with a wrong token, after too many others.
    LoginHeldBack,
    /// Logout.
    LoggedOut,
    /// Two pictures were compared.
    Compared {
        /// Its transaction id; empty if the request was refused before it got one.
        transaction: &'a str,
    },
    /// A transaction was shown.
    TransactionRead {
        /// Which one.
        transaction: &'a str,
    },
    /// Transactions were listed.
    TransactionsListed,
    /// Transactions were exported.
    TransactionsExported,
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
    /// The settings of a client were changed.
    ClientChanged {
        /// Its Client-Id.
        client: &'a str,
    },
    /// A client was disabled.
    ClientDisabled {
        /// Its Client-Id.
        client: &'a str,
    },
    /// A client was enabled.
    ClientEnabled {
        /// Its Client-Id.
        client: &'a str,
    },
}

impl AuditEvent<'_> {
    /// The name of the event, and its client or transaction.
    fn parts(&self) -> (&'static str, &str, &str) {
        match self {
            Self::LoggedIn => ("logged_in", "", ""),
            Self::LoginRefused => ("login_refused", "", ""),
            Self::LoginHeldBack => ("login_held_back", "", ""),
            Self::LoggedOut => ("logged_out", "", ""),
            Self::Compared { transaction } => ("compared", "", transaction),
            Self::TransactionRead { transaction } => ("transaction_read", "", transaction),
            Self::TransactionsListed => ("transactions_listed", "", ""),
            Self::TransactionsExported => ("transactions_exported", "", ""),
            Self::ClientAdded { client } => ("client_added", client, ""),
            Self::KeysRotated { client } => ("keys_rotated", client, ""),
            Self::ClientChanged { client } => ("client_changed", client, ""),
            Self::ClientDisabled { client } => ("client_disabled", client, ""),
            Self::ClientEnabled { client } => ("client_enabled", client, ""),
        }
    }
}

/// Logs an event. It has no secret or personal data.
pub(super) fn audit(event: &AuditEvent<'_>) {
    let (act, client, transaction) = event.parts();
    tracing::info!(act, client, transaction, "console");
}

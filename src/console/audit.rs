//! The audit events of the console, in the log. An operator can change which clients are enabled,
//! so every action is logged, in one place. Changes of clients and users, logins, and what is
//! refused are also audited in the database.

/// What an operator did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AuditEvent<'a> {
    /// Login with the right password or token.
    LoggedIn,
    /// Login with a wrong password, code or token.
    LoginRefused,
    /// Login after too many wrong ones.
    LoginHeldBack,
    /// A request beyond the rights of the login.
    StepRefused,
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
    /// A client was deleted.
    ClientDeleted {
        /// Its Client-Id.
        client: &'a str,
    },
    /// A client was enabled.
    ClientEnabled {
        /// Its Client-Id.
        client: &'a str,
    },
    /// A user was added.
    UserAdded {
        /// Their name.
        user: &'a str,
    },
    /// A user was changed.
    UserChanged {
        /// Their name.
        user: &'a str,
    },
    /// A user was deleted.
    UserDeleted {
        /// Their name.
        user: &'a str,
    },
    /// A session was ended by someone.
    SessionEnded {
        /// The name of its user.
        user: &'a str,
    },
}

/// What an event is about.
enum Subject<'a> {
    Nothing,
    Client(&'a str),
    Transaction(&'a str),
    User(&'a str),
}

impl AuditEvent<'_> {
    /// The name of the event, and what it is about.
    fn parts(&self) -> (&'static str, Subject<'_>) {
        use Subject::{Client, Nothing, Transaction, User};
        match self {
            Self::LoggedIn => ("logged_in", Nothing),
            Self::LoginRefused => ("login_refused", Nothing),
            Self::LoginHeldBack => ("login_held_back", Nothing),
            Self::StepRefused => ("step_refused", Nothing),
            Self::LoggedOut => ("logged_out", Nothing),
            Self::Compared { transaction } => ("compared", Transaction(transaction)),
            Self::TransactionRead { transaction } => ("transaction_read", Transaction(transaction)),
            Self::TransactionsListed => ("transactions_listed", Nothing),
            Self::TransactionsExported => ("transactions_exported", Nothing),
            Self::ClientAdded { client } => ("client_added", Client(client)),
            Self::KeysRotated { client } => ("keys_rotated", Client(client)),
            Self::ClientChanged { client } => ("client_changed", Client(client)),
            Self::ClientDisabled { client } => ("client_disabled", Client(client)),
            Self::ClientDeleted { client } => ("client_deleted", Client(client)),
            Self::ClientEnabled { client } => ("client_enabled", Client(client)),
            Self::UserAdded { user } => ("user_added", User(user)),
            Self::UserChanged { user } => ("user_changed", User(user)),
            Self::UserDeleted { user } => ("user_deleted", User(user)),
            Self::SessionEnded { user } => ("session_ended", User(user)),
        }
    }
}

/// Logs what someone did; the name is empty if it is not proven. It has no secret.
pub(super) fn audit(name: &str, event: &AuditEvent<'_>) {
    let (act, subject) = event.parts();
    let (client, transaction, user) = match subject {
        Subject::Nothing => ("", "", ""),
        Subject::Client(client) => (client, "", ""),
        Subject::Transaction(transaction) => ("", transaction, ""),
        Subject::User(user) => ("", "", user),
    };
    tracing::info!(act, by = name, client, transaction, user, "console");
}

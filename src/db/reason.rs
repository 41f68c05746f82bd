//! Why Postgres cannot be used: one sentence with the remedy.

use std::{io::ErrorKind, str::FromStr as _};

use sqlx::{Error, postgres::PgConnectOptions};

/// An address for messages: without the password.
pub(super) fn name(options: &PgConnectOptions) -> String {
    let (user, host) = (options.get_username(), options.get_host());
    format!("{user}@{host}:{}/{}", options.get_port(), database(options))
}

/// The same of an address as it is configured; `None` if it cannot be read.
pub fn address_name(url: &str) -> Option<String> {
    PgConnectOptions::from_str(url).ok().as_ref().map(name)
}

/// Postgres takes the name of the user for a database that has none.
fn database(options: &PgConnectOptions) -> &str {
    options.get_database().unwrap_or_else(|| options.get_username())
}

/// Whether the server may be there in a moment.
pub(super) fn is_away(error: &Error) -> bool {
    match error {
        Error::Io(_) => true,
        // It is starting or stopping.
        Error::Database(error) => error.code().as_deref() == Some("57P03"),
        _ => false,
    }
}

/// What is wrong: what to do.
pub(super) fn reason(error: &Error, options: &PgConnectOptions) -> String {
    let (user, database) = (options.get_username(), database(options));
    match error {
        Error::Database(error) => {
            let message = error.message();
            let cure = match error.code().as_deref() {
                Some("3D000") => format!("create it with: createdb -O {user} {database}"),
                Some("28000") if message.contains("does not exist") => {
                    format!("create it with: createuser --pwprompt {user}")
                }
                Some("28P01" | "28000") => {
                    "check user and password in database.url, and pg_hba.conf of the server"
                        .to_owned()
                }
                Some("42501") => format!(
                    "make {user} the owner of the database, with: \
                     ALTER DATABASE {database} OWNER TO {user}"
                ),
                Some("53300") => {
                    "raise max_connections of the server, or lower database.connections".to_owned()
                }
                Some("57P03") => "the server is starting or stopping: retry in a moment".to_owned(),
                _ => return message.to_owned(),
            };
            format!("{message}: {cure}")
        }
        Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused => {
                "connection refused: start Postgres, or correct host and port in database.url"
                    .to_owned()
            }
            ErrorKind::TimedOut => {
                "no response: check the server, host and port in database.url, and firewalls"
                    .to_owned()
            }
            ErrorKind::NotFound => format!("{error}: check the path of the socket in database.url"),
            _ if error.to_string().contains("lookup") => {
                format!("{error}: check the host in database.url")
            }
            _ => error.to_string(),
        },
        Error::Tls(error) => {
            format!("TLS failed: {error}: check sslmode and sslrootcert in database.url")
        }
        Error::Configuration(error) => {
            format!("{error}: database.url is postgres://USER:PASSWORD@HOST:5432/DATABASE")
        }
        other => other.to_string(),
    }
}

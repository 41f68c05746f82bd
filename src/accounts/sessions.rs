//! Who is logged in. A session ends when it is idle, when its day is over, with every change of its
//! user, and when it is ended by someone.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use sqlx::Error;
use zeroize::Zeroizing;

use super::{
    changes::TOKEN_NAME, error::AccountError, person::Person, store::AccountStore, user::User,
};
use crate::{
    bearer::{bearer_digest, random_bearer},
    clients::Proof,
    clock::UnixMillis,
    db::Row,
    sealing::{MacInput, MasterKey},
};

const LABEL: &str = "console-session";
/// A session without activity expires after this time,
const IDLE_MS: i64 = 30 * 60_000;
/// and every session after this time.
pub const MAX_SESSION_MS: i64 = 8 * 60 * 60_000;
/// Clocks of processes may differ by so much.
const SKEW_MS: i64 = 60_000;
/// Activity is recorded once per this time.
const SEEN_EVERY_MS: i64 = 60_000;
/// Sessions of one owner, and with tokens, at once; above that the one that was idle longest ends.
const MAX_SESSIONS: i64 = 16;

/// The columns of a session, and of its user.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT digest, user_id, console_session.revision AS session_revision, token, person,
                 begun_at, seen_at, address, proof, console_session.mac AS session_mac,
                 id, name, role, password, code_key, console_user.revision AS revision, created_at,
                 disabled_at, locked_until, last_login_at, last_login_from, console_user.mac AS mac
             FROM console_session LEFT JOIN console_user ON id = user_id ",
            $rest
        )
    };
}

/// Whose session it is.
#[derive(Debug, Clone)]
pub enum Owner {
    /// A user.
    User(Box<User>),
    /// A person with the token that has this digest.
    Token(Vec<u8>),
    /// A person at a provider.
    Person(Box<Person>),
}

impl Owner {
    /// The name of the user, or `token`.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::User(user) => &user.name,
            Self::Token(_) => TOKEN_NAME,
            Self::Person(person) => &person.name,
        }
    }

    /// What the columns that identify it have.
    fn columns(&self) -> Columns<'_> {
        let none = Columns { user_id: None, revision: 0, token: None, person: None };
        match self {
            Self::User(user) => {
                Columns { user_id: Some(&user.id), revision: user.revision, ..none }
            }
            Self::Token(digest) => Columns { token: Some(digest), ..none },
            Self::Person(person) => Columns { person: Some(person), ..none },
        }
    }
}

/// The columns of an owner.
struct Columns<'a> {
    user_id: Option<&'a str>,
    revision: i64,
    token: Option<&'a [u8]>,
    person: Option<&'a Person>,
}

/// A session that is valid, except that its token may have been replaced.
#[derive(Debug, Clone)]
pub struct Session {
    digest: Vec<u8>,
    /// Whose it is.
    pub owner: Owner,
    /// The address of the login.
    pub(crate) address: Option<String>,
    /// How the login was proven.
    pub(crate) proof: Proof,
    /// The revision of the user at the login.
    revision: i64,
    begun_at: UnixMillis,
    seen_at: UnixMillis,
    mac: Vec<u8>,
}

/// A session, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionInfo {
    /// Identifies it; no one can log in with it.
    pub id: String,
    /// The user.
    pub name: String,
    /// When it began.
    pub(crate) begun_at: UnixMillis,
    /// When it was last used, to a minute.
    pub(crate) seen_at: UnixMillis,
    /// The address of the login.
    pub(crate) address: Option<String>,
    /// How the login was proven.
    pub(crate) proof: &'static str,
}

impl Session {
    fn read(row: &Row) -> Result<Self, Error> {
        let user_id: Option<String> = row.get("user_id")?;
        let token: Option<Vec<u8>> = row.get("token")?;
        let person = Person::read(row)?;
        let owner = match (user_id, token, person) {
            (Some(_), _, _) => Owner::User(Box::new(User::read(row)?)),
            (None, Some(token), _) => Owner::Token(token),
            (None, None, Some(person)) => Owner::Person(Box::new(person)),
            (None, None, None) => return Err(Error::Decode("a session without an owner".into())),
        };
        let proof: String = row.get("proof")?;
        Ok(Self {
            digest: row.get("digest")?,
            owner,
            address: row.get("address")?,
            proof: Proof::parse(&proof)
                .ok_or_else(|| Error::Decode(format!("unknown proof {proof:?}").into()))?,
            revision: row.get("session_revision")?,
            begun_at: row.get("begun_at")?,
            seen_at: row.get("seen_at")?,
            mac: row.get("session_mac")?,
        })
    }

    fn input(&self) -> MacInput {
        let Columns { user_id, token, person, .. } = self.owner.columns();
        let input = MacInput::default()
            .field(&self.digest)
            .nullable(user_id)
            .field(&self.revision.to_be_bytes())
            .nullable(token)
            .field(&self.begun_at.to_be_bytes())
            .nullable(self.address.as_deref())
            .field(self.proof.as_str().as_bytes());
        // Sessions of earlier versions have no person, and stay valid.
        match person {
            Some(person) => person.add_to(input),
            None => input,
        }
    }

    fn is_valid(&self, key: &MasterKey, now: UnixMillis) -> bool {
        let is_owner_valid = match &self.owner {
            Owner::User(user) => {
                user.revision == self.revision && user.is_enabled() && user.is_intact(key)
            }
            Owner::Token(_) | Owner::Person(_) => true,
        };
        is_owner_valid
            && (-SKEW_MS..IDLE_MS).contains(&(now - self.seen_at))
            && (-SKEW_MS..MAX_SESSION_MS).contains(&(now - self.begun_at))
            && key.has_made(LABEL, &self.input(), &self.mac)
    }

    /// The name of the user, or `token`.
    pub(crate) fn name(&self) -> &str {
        self.owner.name()
    }

    /// Identifies it; no one can log in with it.
    pub(crate) fn id(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.digest)
    }

    fn info(&self) -> SessionInfo {
        SessionInfo {
            id: self.id(),
            name: self.name().to_owned(),
            begun_at: self.begun_at,
            seen_at: self.seen_at,
            address: self.address.clone(),
            proof: self.proof.as_str(),
        }
    }
}

impl AccountStore {
    /// Opens a session; returns its cookie.
    ///
    /// # Errors
    /// [`AccountError::Random`], or a failure of the database.
    pub async fn open_session(
        &self,
        owner: Owner,
        address: Option<String>,
        proof: Proof,
        now: UnixMillis,
    ) -> Result<Zeroizing<String>, AccountError> {
        let cookie = random_bearer()?;
        let revision = owner.columns().revision;
        let (digest, mac) = (bearer_digest(&cookie).to_vec(), Vec::new());
        let (begun_at, seen_at) = (now, now);
        let mut session =
            Session { digest, owner, address, proof, revision, begun_at, seen_at, mac };
        session.mac = self.0.key.mac(LABEL, &session.input())?;
        self.make_room(&session.owner, now).await?;
        let Columns { user_id, token, person, .. } = session.owner.columns();
        let (subject, person) = (
            person.map(|person| person.subject.as_str()),
            person.map(Person::to_json).transpose()?,
        );
        let open = self.0.db.write_once(
            "console_session_open",
            "INSERT INTO console_session (digest, user_id, revision, token, begun_at, seen_at,
                 address, proof, mac, person, subject)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        );
        let open = open
            .bind(session.digest.as_slice())
            .bind(user_id)
            .bind(session.revision)
            .bind(token)
            .bind(session.begun_at)
            .bind(session.seen_at)
            .bind(session.address.as_deref())
            .bind(session.proof.as_str())
            .bind(session.mac.as_slice())
            .bind(person.as_deref())
            .bind(subject);
        open.run().await?;
        Ok(cookie)
    }

    /// Deletes sessions that have expired, and the stalest ones of an owner who has too many.
    async fn make_room(&self, owner: &Owner, now: UnixMillis) -> Result<(), Error> {
        let expire = self.0.db.write(
            "console_session_expire",
            "DELETE FROM console_session WHERE seen_at <= $1 OR begun_at <= $2",
        );
        expire.bind(now - IDLE_MS).bind(now - MAX_SESSION_MS).run().await?;
        let end = self.0.db.write(
            "console_session_stalest",
            "DELETE FROM console_session WHERE digest IN
                 (SELECT digest FROM console_session
                  WHERE coalesce(user_id, '') = coalesce($1, '')
                    AND coalesce(subject, '') = coalesce($2, '')
                  ORDER BY seen_at DESC LIMIT 10000 OFFSET $3)",
        );
        let Columns { user_id, person, .. } = owner.columns();
        end.bind(user_id)
            .bind(person.map(|person| person.subject.as_str()))
            .bind(MAX_SESSIONS - 1)
            .run()
            .await
            .map(drop)
    }

    /// The session of a cookie. Activity extends it, polling does not.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn session(
        &self,
        cookie: &str,
        is_polling: bool,
        now: UnixMillis,
    ) -> Result<Option<Session>, AccountError> {
        let digest = bearer_digest(cookie);
        let session = self.0.db.read("console_session", select!("WHERE digest = $1"));
        let session = session.bind(digest.as_slice()).optional(Session::read).await?;
        let Some(session) = session.filter(|session| session.is_valid(&self.0.key, now)) else {
            return Ok(None);
        };
        if !is_polling && (now - session.seen_at).abs() >= SEEN_EVERY_MS {
            let seen = self.0.db.write(
                "console_session_seen",
                "UPDATE console_session SET seen_at = $2 WHERE digest = $1",
            );
            seen.bind(digest.as_slice()).bind(now).run().await?;
        }
        Ok(Some(session))
    }

    /// All valid sessions, or those of one account, the latest first.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn sessions(
        &self,
        name: Option<&str>,
        now: UnixMillis,
    ) -> Result<Vec<SessionInfo>, AccountError> {
        let sessions =
            self.0.db.read("console_sessions", select!("ORDER BY begun_at DESC LIMIT 1000"));
        // One that cannot be read must not hide the others.
        let sessions = sessions.all(|row| Ok(Session::read(row).ok())).await?;
        let valid = sessions.iter().flatten().filter(|session| {
            let is_of = |name| matches!(&session.owner, Owner::User(user) if user.name == name);
            session.is_valid(&self.0.key, now) && name.is_none_or(is_of)
        });
        Ok(valid.map(Session::info).collect())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn end_session(&self, id: &str) -> Result<(), AccountError> {
        let Ok(digest) = URL_SAFE_NO_PAD.decode(id) else { return Ok(()) };
        let end =
            self.0.db.write("console_session_end", "DELETE FROM console_session WHERE digest = $1");
        end.bind(digest.as_slice()).run().await?;
        Ok(())
    }
}

//! The people who use the console: their accounts, their roles, and who is logged in. All of it is
//! in the first database. A MAC covers what decides who can log in and what they may do, so that an
//! attacker who writes the database without the master key cannot become an administrator.

mod attempts;
mod changes;
mod code;
mod error;
mod password;
mod person;
mod reseal;
mod role;
mod sessions;
mod store;
mod user;

pub(crate) use changes::TOKEN_NAME;
pub use changes::{NewUser, UserChange};
pub use code::CodeKey;
pub(crate) use code::CodeOffer;
pub use error::AccountError;
pub use password::PasswordHash;
pub(crate) use password::{HASH_BYTES, check_password};
pub use person::Person;
pub use role::{Role, RoleGroups};
pub use sessions::{MAX_SESSION_MS, Owner, Session, SessionInfo};
pub use store::AccountStore;
pub use user::{User, UserInfo};

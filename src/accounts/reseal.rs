//! Rotating the master key: secrets are sealed and MACs computed again under the current key.
//! Sessions keep the MAC of their login and end when the old key is deleted.

use sqlx::Error;

use super::{
    error::AccountError,
    store::AccountStore,
    user::{User, code_label},
};
use crate::sealing::SealError;

impl AccountStore {
    /// Re-encrypts all secrets under the current master key and computes all MACs again; returns
    /// how many accounts there were. With `dry` it only checks that all of them open with that key
    /// alone. An account that was changed outside of Visavis is left unchanged.
    ///
    /// # Errors
    /// [`AccountError::Seal`] when a secret does not open, [`AccountError::Changed`], or a failure
    /// of the database.
    pub async fn reseal(&self, dry: bool) -> Result<u64, AccountError> {
        let key = &self.0.key;
        let current = key.current();
        let users = self.users().await?;
        let count = users.len() as u64;
        for user in users.into_iter().filter(|user| user.is_intact(key)) {
            if dry {
                let label = code_label(&user.id);
                user.code_key.as_deref().map(|sealed| current.open(&label, sealed)).transpose()?;
                if !user.is_intact(&current) {
                    return Err(SealError::DoesNotOpen.into());
                }
            } else {
                self.reseal_user(user).await?;
            }
        }
        Ok(count)
    }

    async fn reseal_user(&self, mut user: User) -> Result<(), AccountError> {
        if let Some(sealed) = &user.code_key {
            let secret = self.open_code(&user, sealed)?;
            user.code_key = Some(self.seal_code(&user, &secret)?);
        }
        user.stamp(&self.0.key)?;
        let reseal = self.0.db.write(
            "console_user_reseal",
            "UPDATE console_user SET code_key = $3, mac = $4 WHERE id = $1 AND revision = $2",
        );
        let reseal = reseal
            .bind(user.id.as_str())
            .bind(user.revision)
            .bind(user.code_key.as_deref())
            .bind(user.mac.as_slice());
        let resealed: Result<u64, Error> = reseal.run().await;
        if resealed? == 0 { Err(AccountError::Changed(user.name)) } else { Ok(()) }
    }
}

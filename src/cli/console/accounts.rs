//! The accounts, opened for a command.

use anyhow::{Context as _, Result};

use crate::{
    accounts::AccountStore,
    app,
    cli::{audit::operator, block_on},
    config::Config,
    db::Access,
};

/// Runs `work` on the accounts, which are in the first database, as the user of this process.
pub(super) fn with_accounts<T>(
    config: &Config,
    access: Access,
    work: impl AsyncFnOnce(&AccountStore) -> Result<T>,
) -> Result<T> {
    block_on(async {
        let data = app::open_data_for(config, access).await?;
        let first = data.clients.table(0).context(
            "the accounts are in database 0, which database.shards leaves out: add 0 to it",
        )?;
        data.clients.check_master_key_for(access).await?;
        let accounts = AccountStore::new(first.store.clone()).with_actor(operator());
        let done = work(&accounts).await;
        data.close().await;
        done
    })
}

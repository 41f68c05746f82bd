//! The steps of the two schemas, compiled into the program.
//!
//! A list and not `sqlx::migrate!`: the macros of sqlx compile both drivers, `SQLite` and the TLS
//! library a second time for the compiler's own use, which was a fifth of a cold build. A released
//! step is never edited.

use std::borrow::Cow;

use sqlx::{
    SqlStr,
    migrate::{Migration, MigrationType, Migrator},
};

use super::error::{DbError, SchemaMismatch};

/// What opening a database may do to it, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Only reads: creates no file and no table.
    Read,
    /// Changes rows of a database with the current schema.
    Change,
    /// Also creates a database or a schema that is missing.
    Create,
    /// Also brings the schema of an earlier version up to date.
    Migrate,
}

macro_rules! steps {
    ($folder:literal: $($version:literal $file:literal $description:literal,)*) => {
        &[$(Step {
            version: $version,
            description: $description,
            sql: include_str!(concat!("../../migrations/", $folder, "/", $file)),
        },)*]
    };
}

/// One file of a folder below `migrations/`.
pub(super) struct Step {
    pub(super) version: i64,
    description: &'static str,
    sql: &'static str,
}

/// The schema of the embedded store.
pub(super) const SQLITE: &[Step] = steps!("sqlite":
    1 "0001_jobs.sql" "jobs",
    2 "0002_clients.sql" "clients",
    3 "0003_client_keys.sql" "client keys",
    4 "0004_turns.sql" "turns",
    5 "0005_client_fmr.sql" "client fmr",
    6 "0006_terms_and_audit.sql" "terms and audit",
    7 "0007_client_mac.sql" "client mac",
    8 "0008_audit_chain.sql" "audit chain",
    9 "0009_due_from.sql" "due from",
    10 "0010_audit_outcome.sql" "audit outcome",
    11 "0011_console_users.sql" "console users",
    12 "0012_biz_id.sql" "biz id",
    13 "0013_client_use.sql" "client use",
    14 "0014_console_person.sql" "console person",
    15 "0015_unfinished.sql" "unfinished",
);

/// The schema of a Postgres database.
pub(super) const POSTGRES: &[Step] = steps!("postgres":
    1 "0001_queue.sql" "queue",
    2 "0002_client.sql" "client",
    3 "0003_turns.sql" "turns",
    4 "0004_client_fmr.sql" "client fmr",
    5 "0005_terms_and_audit.sql" "terms and audit",
    6 "0006_client_mac.sql" "client mac",
    7 "0007_audit_chain.sql" "audit chain",
    8 "0008_due_from.sql" "due from",
    9 "0009_audit_outcome.sql" "audit outcome",
    10 "0010_console_users.sql" "console users",
    11 "0011_biz_id.sql" "biz id",
    12 "0012_client_use.sql" "client use",
    13 "0013_console_person.sql" "console person",
    14 "0014_unfinished.sql" "unfinished",
);

/// What brings a database up to the last step.
pub(super) fn migrator(steps: &[Step]) -> Migrator {
    let migration = |step: &Step| {
        let (description, sql) = (Cow::Borrowed(step.description), SqlStr::from_static(step.sql));
        Migration::new(step.version, description, MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(steps.iter().map(migration).collect())
}

/// Whether the schema has to be created or migrated before use, and may be. `taken` are the
/// versions of the steps that were taken.
///
/// # Errors
/// [`DbError::NoSchema`] or [`DbError::Schema`].
pub(super) fn needs_migration(
    path: &str,
    taken: &[i64],
    known: &[Step],
    access: Access,
) -> Result<bool, DbError> {
    let path = path.to_owned();
    let Some(found) = taken.last().copied() else {
        return if access < Access::Create { Err(DbError::NoSchema { path }) } else { Ok(true) };
    };
    if taken.iter().copied().eq(known.iter().map(|step| step.version)) {
        return Ok(false);
    }
    let mismatch = SchemaMismatch { found, needed: known.last().map_or(0, |step| step.version) };
    if access < Access::Migrate || !mismatch.is_older() {
        return Err(DbError::Schema { path, mismatch });
    }
    Ok(true)
}

/// The versions of the steps that were taken, if the table of them exists.
pub(super) const TAKEN: &str =
    "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_hold_every_file_of_their_folder_with_its_version() {
        for (folder, steps) in [("sqlite", SQLITE), ("postgres", POSTGRES)] {
            let folder = format!("{}/migrations/{folder}", env!("CARGO_MANIFEST_DIR"));
            let files = std::fs::read_dir(folder).unwrap().map(|file| {
                let file = file.unwrap();
                (
                    file.file_name().into_string().unwrap(),
                    std::fs::read_to_string(file.path()).unwrap(),
                )
            });
            let files: std::collections::BTreeMap<_, _> = files.collect();
            let listed = steps.iter().map(|step| {
                let file =
                    format!("{:04}_{}.sql", step.version, step.description.replace(' ', "_"));
                (file, step.sql.to_owned())
            });
            assert_eq!(listed.collect::<std::collections::BTreeMap<_, _>>(), files);
            assert!(steps.is_sorted_by_key(|step| step.version));
        }
    }
}

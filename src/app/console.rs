//! The console of a process, as configured.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use zeroize::Zeroizing;

use super::{Data, Roles};
use crate::{
    compare::Viewer,
    config::Config,
    console::{Limits, Parts, TokenFile, console},
    http::{About, AppState},
};

/// The console's routes; none if the configuration leaves it out.
pub(super) fn open_console(
    config: &Config,
    app: &AppState,
    data: &Data,
    roles: Roles,
    viewer: Option<Arc<dyn Viewer>>,
    about: &About,
) -> Router {
    if !config.admin.console {
        return Router::new();
    }
    console(Parts {
        app: app.clone(),
        clients: data.clients.clone(),
        about: about.clone(),
        front_end: roles.front_end,
        viewer,
        limits: Limits { selfie: config.quality.selfie, document: config.quality.document },
        token: token_file(config),
    })
}

/// A token for the console if it has none yet. Made only once the console can be reached, because it is shown
/// this once.
pub(super) fn first_token(config: &Config) -> Result<Option<Zeroizing<String>>> {
    if !config.admin.console {
        return Ok(None);
    }
    let file = token_file(config);
    let made = file.make_if_absent();
    made.with_context(|| format!("the console's token {} cannot be made", file.path().display()))
}

/// Where the digest of the console's token is.
pub fn token_file(config: &Config) -> TokenFile {
    TokenFile::in_folder(&config.data.dir)
}

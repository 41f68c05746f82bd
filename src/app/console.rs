//! The console of a process, as configured.

use std::sync::Arc;

use axum::Router;

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

/// Where the digest of the console's token is.
pub fn token_file(config: &Config) -> TokenFile {
    TokenFile::in_folder(&config.data.dir)
}

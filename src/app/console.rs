//! Builds the console from the configuration.

use axum::Router;

use super::Data;
use crate::{
    config::Config,
    console::{Limits, Parts, TokenFile, console},
    http::{About, AppState},
    worker::LocalComparer,
};

/// The console's routes; none if it is disabled.
pub(super) fn open_console(
    config: &Config,
    app: &AppState,
    data: &Data,
    front_end: bool,
    comparer: Option<LocalComparer>,
    about: &About,
) -> Router {
    if !config.admin.console {
        return Router::new();
    }
    console(Parts {
        app: app.clone(),
        clients: data.clients.clone(),
        about: about.clone(),
        front_end,
        comparer,
        limits: Limits { selfie: config.quality.selfie, document: config.quality.document },
        token: token_file(config),
    })
}

/// The file with the digest of the console's token.
pub fn token_file(config: &Config) -> TokenFile {
    TokenFile::in_folder(&config.data.dir)
}

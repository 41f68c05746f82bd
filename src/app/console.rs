//! Builds the console from the configuration.

use std::sync::Arc;

use anyhow::Result;
use axum::Router;

use super::Data;
use crate::{
    accounts::RoleGroups,
    config::Config,
    console::{Limits, Parts, ProxyLogin, TokenFile, console},
    http::{About, AppState},
    oidc::Provider,
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
) -> Result<Router> {
    if !config.admin.console {
        return Ok(Router::new());
    }
    let provider = config.oidc.provider().map(Provider::new).transpose()?;
    let admin = &config.admin;
    Ok(console(Parts {
        app: app.clone(),
        clients: data.clients.clone(),
        about: about.clone(),
        front_end,
        comparer,
        limits: Limits { selfie: config.quality.selfie, document: config.quality.document },
        token: token_file(config),
        proxy: proxy_login(config),
        provider: provider.map(Arc::new),
        has_external_administrators: config.has_external_administrators(),
        groups: RoleGroups {
            viewer: admin.viewer_groups.clone(),
            operator: admin.operator_groups.clone(),
            administrator: admin.administrator_groups.clone(),
        },
    }))
}

/// How an authenticating proxy names users, if one is configured.
fn proxy_login(config: &Config) -> Option<ProxyLogin> {
    let admin = &config.admin;
    Some(ProxyLogin {
        user_header: admin.user_header.parse().ok()?,
        groups_header: admin.groups_header.parse().ok()?,
        proxies: admin.login_proxies.clone(),
    })
}

/// The file with the digest of the console's token.
pub fn token_file(config: &Config) -> TokenFile {
    TokenFile::in_folder(&config.data.dir)
}

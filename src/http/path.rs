//! The path of a request, before it is routed.

use axum::{extract::Request, http::Uri};

/// The path and query as they came, before cleaning.
#[derive(Debug, Clone)]
pub(super) struct RawUri(pub(super) Uri);

/// A client whose configured host ends in a slash asks for `//api/…` and signs `/api/…`. Routing
/// happens before any layer of a router, so this wraps the router that has the routes.
pub(super) fn clean_path(mut request: Request) -> Request {
    let original = request.uri().clone();
    if let Some(clean) = cleaned(&original) {
        *request.uri_mut() = clean;
    }
    request.extensions_mut().insert(RawUri(original));
    request
}

/// The URI with every run of slashes made one; `None` if there is nothing to do.
fn cleaned(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if !path.contains("//") {
        return None;
    }
    let mut clean = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !clean.ends_with('/') {
            clean.push(character);
        }
    }
    if let Some(query) = uri.query() {
        clean.push('?');
        clean.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(clean.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubled_slashes_become_one_and_the_query_stays() {
        let clean = |text: &'static str| cleaned(&Uri::from_static(text)).map(|u| u.to_string());
        assert_eq!(clean("//api/v1//x?a=//b").as_deref(), Some("/api/v1/x?a=//b"));
        assert_eq!(clean("/api/v1/x"), None);
    }
}

//! The page's files, compiled into the program. A browser revalidates its copy with the `ETag`.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// One file.
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! asset {
    ($name:literal, $kind:expr) => {
        Asset { name: $name, kind: $kind, bytes: include_bytes!(concat!("assets/", $name)) }
    };
}

/// All of them; the page itself first.
static ASSETS: &[Asset] = &[
    asset!("index.html", "text/html; charset=utf-8"),
    asset!("console.css", "text/css; charset=utf-8"),
    asset!("icon.svg", "image/svg+xml"),
    asset!("theme.js", SCRIPT),
    asset!("main.js", SCRIPT),
    asset!("texts.js", SCRIPT),
    asset!("texts.en.js", SCRIPT),
    asset!("texts.zh.js", SCRIPT),
    asset!("texts.id.js", SCRIPT),
    asset!("preferences.js", SCRIPT),
    asset!("api.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("charts.js", SCRIPT),
    asset!("camera.js", SCRIPT),
    asset!("face.js", SCRIPT),
    asset!("outcome.js", SCRIPT),
    asset!("compare.js", SCRIPT),
    asset!("live.js", SCRIPT),
    asset!("clients.js", SCRIPT),
    asset!("transactions.js", SCRIPT),
    asset!("audit.js", SCRIPT),
    asset!("users.js", SCRIPT),
    asset!("account.js", SCRIPT),
    asset!("sessions.js", SCRIPT),
];

/// The `ETag` of each.
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let tag = |asset: &Asset| URL_SAFE_NO_PAD.encode(&digest(&SHA256, asset.bytes).as_ref()[..12]);
    ASSETS.iter().map(|asset| format!("\"{}\"", tag(asset))).collect()
});

/// The page.
pub(super) async fn page(headers: HeaderMap) -> Response {
    serve(0, &headers)
}

/// A file by its name.
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.iter().position(|asset| asset.name == name) {
        Some(place) => serve(place, &headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn serve(place: usize, headers: &HeaderMap) -> Response {
    let (asset, tag) = (&ASSETS[place], TAGS[place].as_str());
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let known = known.is_some_and(|tags| tags.split(',').any(|one| one.trim() == tag));
    let head = [
        (header::CONTENT_TYPE, asset.kind),
        (header::ETAG, tag),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, asset.bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served_and_none_refers_to_another_host() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console/assets");
        let mut existing: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut served: Vec<_> = ASSETS.iter().map(|asset| asset.name.to_owned()).collect();
        existing.sort();
        served.sort();
        assert_eq!(existing, served);
        for asset in ASSETS {
            let text = std::str::from_utf8(asset.bytes).unwrap();
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for elsewhere in ["http://", "https://", "//cdn", "@import", "innerHTML", "eval("] {
                assert!(!text.contains(elsewhere), "{elsewhere} in {}", asset.name);
            }
        }
    }

    #[test]
    fn the_page_has_nothing_inline() {
        let page = std::str::from_utf8(ASSETS[0].bytes).unwrap();
        assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" on"));
        let scripts: Vec<_> = page.match_indices("<script").collect();
        assert_eq!(scripts.len(), 2);
        assert!(page.contains(r#"<script src="assets/theme.js"></script>"#));
        assert!(page.contains(r#"<script type="module" src="assets/main.js"></script>"#));
    }
}

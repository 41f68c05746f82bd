//! The pictures that are sent, and which are compared with which.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::client::Body;

/// Endings of picture files, lower case.
const ENDINGS: [&str; 5] = ["jpg", "jpeg", "png", "bmp", "webp"];
/// Folders within folders that are looked into; links may go round in circles.
const DEEPEST: usize = 16;
/// Of a larger folder, photos are taken at even distances.
const MOST_BYTES: u64 = 128 << 20;

/// A photo, as a file and as it goes into a request.
#[derive(Debug)]
struct LoadPhoto {
    name: String,
    bytes: Vec<u8>,
    base64: Arc<str>,
}

/// Photos in the order of their names, each compared with the next one and the last with the first.
#[derive(Debug, Default)]
pub struct Photos(Vec<LoadPhoto>);

impl Photos {
    /// Those of a folder, or the samples where the program finds them.
    pub fn read(given: Option<&Path>) -> Result<Self> {
        let Some(folder) = given else {
            let Some(samples) = samples() else {
                bail!(
                    "there is no folder `samples` with photos here or beside the program; say \
                     which photos to send: --photos DIR"
                );
            };
            return Self::from_folder(&samples);
        };
        Self::from_folder(folder)
    }

    fn from_folder(folder: &Path) -> Result<Self> {
        let mut found = Vec::new();
        find(folder, DEEPEST, &mut found)?;
        if found.is_empty() {
            bail!(
                "{} holds no photos: files that end in {} are looked for, in its folders too",
                folder.display(),
                ENDINGS.join(", ")
            );
        }
        found.sort();
        let total = found.iter().map(|(_, bytes)| bytes).sum();
        let photos = evenly(found.len(), total).map(|n| LoadPhoto::read(folder, &found[n].0));
        Ok(Self(photos.collect::<Result<_>>()?))
    }

    /// How many photos there are, and so pairs.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    fn pair(&self, n: usize) -> [&LoadPhoto; 2] {
        [n, n + 1].map(|n| &self.0[n % self.0.len()])
    }

    /// The files of pair `n`; after the last one the first comes again.
    pub(super) fn files(&self, n: usize) -> [&[u8]; 2] {
        self.pair(n).map(|photo| photo.bytes.as_slice())
    }

    /// What to call pair `n`.
    pub(super) fn name(&self, n: usize) -> String {
        self.pair(n).map(|photo| photo.name.as_str()).join(" and ")
    }

    /// The body of a request about pair `n`.
    pub(super) fn body(&self, n: usize, biz_id: &str) -> Body {
        // Base64 and ids of our own need no escapes, and a body may have tens of megabytes.
        let [probe, reference] = self.pair(n).map(|photo| &photo.base64);
        Body::from(format!(r#"{{"bizId":"{biz_id}","face1":{{"content":""#))
            .and_shared(probe)
            .and(r#""},"face2":{"content":""#)
            .and_shared(reference)
            .and(r#""}}"#)
    }
}

impl LoadPhoto {
    fn read(folder: &Path, path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let name = path.strip_prefix(folder).unwrap_or(path).display().to_string();
        Ok(Self { name, base64: STANDARD.encode(&bytes).into(), bytes })
    }
}

/// Every picture below `folder`, with its size.
fn find(folder: &Path, depth: usize, found: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    let cannot = || format!("{} cannot be read; name a folder of photos", folder.display());
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        // A link that leads nowhere is no photo.
        let Ok(what) = fs::metadata(&path) else { continue };
        if what.is_dir() && depth > 0 {
            find(&path, depth - 1, found)?;
        } else if what.is_file() && is_picture(&path) {
            found.push((path, what.len()));
        }
    }
    Ok(())
}

fn is_picture(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

/// Which of `count` photos with `bytes` bytes in all are taken.
fn evenly(count: usize, bytes: u64) -> impl Iterator<Item = usize> {
    let step = usize::try_from(bytes.div_ceil(MOST_BYTES)).unwrap_or(count).clamp(1, count);
    (0..count).step_by(step)
}

/// `samples` in the working folder, or in one of the folders that a build puts the program below.
fn samples() -> Option<PathBuf> {
    let program = env::current_exe().ok();
    let above = program.iter().flat_map(|program| program.ancestors().skip(1).take(3));
    let folders = [Path::new("")].into_iter().chain(above);
    folders.map(|folder| folder.join("samples")).find(|samples| {
        let mut found = Vec::new();
        find(samples, 0, &mut found).is_ok() && !found.is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photos_are_found_in_any_folder_and_each_is_compared_with_the_next() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("b/c")).unwrap();
        for name in ["b/c/2.PNG", "a.jpg", "b/1.webp", "b/notes.txt"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let photos = Photos::from_folder(folder.path()).unwrap();
        let names: Vec<_> = (0..4).map(|n| photos.name(n)).collect();
        assert_eq!(
            names,
            [
                "a.jpg and b/1.webp",
                "b/1.webp and b/c/2.PNG",
                "b/c/2.PNG and a.jpg",
                "a.jpg and b/1.webp"
            ]
        );
        let body: serde_json::Value = serde_json::from_str(&photos.body(2, "x-1").whole()).unwrap();
        assert_eq!(
            (&body["bizId"], &body["face1"]["content"]),
            (&"x-1".into(), &STANDARD.encode("b/c/2.PNG").into())
        );
    }

    #[test]
    fn of_a_large_folder_photos_are_taken_at_even_distances() {
        assert_eq!(evenly(5, 100).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(evenly(5, 2 * MOST_BYTES).collect::<Vec<_>>(), [0, 2, 4]);
        assert_eq!(evenly(3, 900 * MOST_BYTES).collect::<Vec<_>>(), [0]);
    }
}

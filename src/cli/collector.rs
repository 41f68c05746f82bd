//! The telemetry collector of ONNX Runtime (Microsoft's 1DS, in libraries for Linux from 1.29 on).
//! It is on unless the environment disables it before the library is loaded; no function of the
//! library does that.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use memchr::memmem::Finder;

/// Where the collector sends to. Exactly the libraries with a collector contain it (checked for
/// 1.27 to 1.32).
const ADDRESS: &[u8] = b"events.data.microsoft.com";

/// Bytes of a library in memory at a time; libraries for a GPU have 280 MB.
const CHUNK_BYTES: usize = 1 << 20;

/// The files with a collector among a library and its providers, which it loads from its own
/// folder.
pub(super) fn find(library: &Path) -> Result<Vec<PathBuf>> {
    let folder = library.parent().unwrap_or(Path::new("/"));
    let entries = fs::read_dir(folder)
        .and_then(Iterator::collect::<io::Result<Vec<_>>>)
        .with_context(|| format!("cannot read {}", folder.display()))?;
    let providers = entries.iter().map(fs::DirEntry::path).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libonnxruntime_providers_")
    });
    let mut found = Vec::new();
    for file in [library.to_path_buf()].into_iter().chain(providers) {
        if has_collector(&file).with_context(|| format!("cannot read {}", file.display()))? {
            found.push(file);
        }
    }
    Ok(found)
}

fn has_collector(file: &Path) -> io::Result<bool> {
    let finder = Finder::new(ADDRESS);
    let mut file = File::open(file)?;
    let mut window = Vec::with_capacity(CHUNK_BYTES + ADDRESS.len());
    loop {
        if file.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut window)? == 0 {
            return Ok(false);
        }
        if finder.find(&window).is_some() {
            return Ok(true);
        }
        // The address may begin in this chunk and continue in the next one.
        window.drain(..window.len().saturating_sub(ADDRESS.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_found_wherever_it_is_in_the_library_or_in_a_provider() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libonnxruntime.so.1.99.0");
        let provider = folder.path().join("libonnxruntime_providers_cuda.so");
        let holding = |at: usize| {
            let mut bytes = vec![b'e'; 2 * CHUNK_BYTES];
            bytes[at..at + ADDRESS.len()].copy_from_slice(ADDRESS);
            bytes
        };
        let without = vec![b'e'; 2 * CHUNK_BYTES];
        fs::write(&provider, &without).unwrap();
        fs::write(&library, &without).unwrap();
        assert_eq!(find(&library).unwrap(), [] as [PathBuf; 0]);
        let across = CHUNK_BYTES - ADDRESS.len() / 2;
        for at in [0, across, CHUNK_BYTES, 2 * CHUNK_BYTES - ADDRESS.len()] {
            fs::write(&library, holding(at)).unwrap();
            assert_eq!(find(&library).unwrap(), std::slice::from_ref(&library), "{at}");
        }
        fs::write(&provider, holding(7)).unwrap();
        assert_eq!(find(&library).unwrap(), [library, provider]);
    }
}

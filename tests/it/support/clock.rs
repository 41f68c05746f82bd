//! A clock that a test sets, for programs that load libfaketime.

use std::{
    fs,
    path::{Path, PathBuf},
};

pub struct Hands {
    library: PathBuf,
    file: PathBuf,
}

impl Hands {
    /// The hands lie in `folder`. `None` where libfaketime is not installed.
    pub fn new(folder: &Path) -> Option<Self> {
        let found = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
        let mut found = found.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
        let library = found.find(|path| path.exists())?;
        let hands = Self { library, file: folder.join("clock") };
        hands.set(0);
        Some(hands)
    }

    /// So many seconds ahead of the machine's clock.
    pub fn set(&self, seconds: i64) {
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{seconds:+}s\n")).unwrap();
        fs::rename(&next, &self.file).unwrap();
    }

    /// For programs that are to have this clock.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}

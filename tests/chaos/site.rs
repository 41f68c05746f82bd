//! What the cases of one run share.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::dice::Dice;

/// The long form of a run.
#[derive(Debug, Clone, Copy)]
pub struct Long {
    pub minutes: u64,
    pub kills: u64,
    /// Kills of the single process on `SQLite`.
    pub lone_kills: u64,
}

/// A folder, a runtime for what this process does itself, and chance.
pub struct Site {
    pub runtime: Runtime,
    pub folder: TempDir,
    /// `None` in the short form.
    pub long: Option<Long>,
    dice: Mutex<Dice>,
}

impl Site {
    pub fn new(seed: u64, long: Option<Long>) -> Self {
        Self {
            runtime: Runtime::new().unwrap(),
            folder: tempfile::tempdir().unwrap(),
            long,
            dice: Mutex::new(Dice::new(seed)),
        }
    }

    /// The file of the master key that all processes share.
    pub fn key(&self) -> String {
        self.folder.path().join("master.key").display().to_string()
    }

    pub fn dice(&self) -> Dice {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).other()
    }

    /// A progress bar; hidden without a terminal.
    #[expect(clippy::unused_self, reason = "reads like its neighbours")]
    pub fn progress(&self, title: &str, length: u64) -> ProgressBar {
        let bar = ProgressBar::new(length).with_prefix(title.to_owned());
        let style = "{prefix} {bar:30} {pos}/{len} {elapsed} {msg}";
        bar.set_style(ProgressStyle::with_template(style).unwrap());
        bar.enable_steady_tick(Duration::from_millis(500));
        bar
    }
}

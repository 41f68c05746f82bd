//! The floor: what the machine compares when nothing is done but comparing.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{photos::Photos, stop::Stop};
use crate::{
    app,
    config::Config,
    face::{Engine as _, OnnxEngine, Picture, PictureKind},
};

/// As many engines as the service has workers, without protocol and store.
pub(super) struct Floor {
    engines: Vec<OnnxEngine>,
    next: AtomicUsize,
}

impl Floor {
    /// Loads them.
    pub(super) fn open(config: &Config, threads: usize) -> Result<Self> {
        let pack = app::open_pack(config)?;
        let engines = (0..threads).map(|_| pack.engine()).collect::<Result<_, _>>();
        Ok(Self { engines: engines.context("the floor")?, next: AtomicUsize::new(0) })
    }

    /// Compares for so long: how many pairs, and until the last one was finished.
    pub(super) fn measure(
        &mut self,
        photos: &Photos,
        length: Duration,
        stop: &Stop,
    ) -> Result<(usize, Duration)> {
        let begun = Instant::now();
        let next = &self.next;
        let work = |engine: &mut OnnxEngine| -> Result<usize> {
            let mut pairs = 0;
            while begun.elapsed() < length && !stop.is_requested() {
                let files = photos.files(next.fetch_add(1, Ordering::Relaxed));
                let [probe, reference] =
                    files.map(|bytes| Picture { bytes, hint: None, kind: PictureKind::Selfie });
                engine.compare(&probe, &reference)?;
                pairs += 1;
            }
            Ok(pairs)
        };
        let pairs = thread::scope(|scope| {
            let threads: Vec<_> =
                self.engines.iter_mut().map(|engine| scope.spawn(|| work(engine))).collect();
            let done = threads.into_iter().map(|thread| match thread.join() {
                Ok(pairs) => pairs,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            done.sum::<Result<usize>>()
        })?;
        Ok((pairs, begun.elapsed()))
    }
}

//! How long each stage of the pipeline took. A stage that failed is not included.

use std::time::{Duration, Instant};

/// The stages of the pipeline, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// From bytes to pixels.
    Decode,
    /// Finding faces, with all rotations that were tried.
    Detect,
    /// Refining the landmarks of the chosen face.
    Landmarks,
    /// Warping it onto the positions that the embedder knows.
    Align,
    /// Pose, eyes and the measures on pixels.
    Quality,
    /// From the aligned face to the embedding.
    Embed,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Self; 6] =
        [Self::Decode, Self::Detect, Self::Landmarks, Self::Align, Self::Quality, Self::Embed];

    /// Its name in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Detect => "detect",
            Self::Landmarks => "landmarks",
            Self::Align => "align",
            Self::Quality => "quality",
            Self::Embed => "embed",
        }
    }
}

/// The times of one photo, by stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageTimes([Duration; Stage::ALL.len()]);

impl StageTimes {
    /// The time of one stage.
    pub fn get(&self, stage: Stage) -> Duration {
        self.0[stage as usize]
    }
}

/// Attributes the time since the last call to a stage. Reading the clock costs tens of nanoseconds,
/// so it always runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch {
    last: Instant,
    times: StageTimes,
}

impl Stopwatch {
    /// Starts with the first stage.
    pub(crate) fn start() -> Self {
        Self { last: Instant::now(), times: StageTimes::default() }
    }

    /// Ends a stage and starts the next one. A stage may end more than once: its times add up.
    pub(crate) fn finish(&mut self, stage: Stage) {
        let now = Instant::now();
        self.times.0[stage as usize] += now - self.last;
        self.last = now;
    }

    /// The measured times.
    pub(crate) fn times(&self) -> StageTimes {
        self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_to_the_stage_that_ended_and_adds_up() {
        let begun = Instant::now();
        let mut watch = Stopwatch::start();
        std::thread::sleep(Duration::from_millis(2));
        watch.finish(Stage::Decode);
        std::thread::sleep(Duration::from_millis(1));
        watch.finish(Stage::Detect);
        watch.finish(Stage::Decode);
        let (times, whole) = (watch.times(), begun.elapsed());
        assert!(times.get(Stage::Decode) >= Duration::from_millis(2));
        assert!(times.get(Stage::Detect) >= Duration::from_millis(1));
        assert_eq!(times.get(Stage::Embed), Duration::ZERO);
        assert!(Stage::ALL.iter().map(|stage| times.get(*stage)).sum::<Duration>() <= whole);
    }
}

//! How long each stage of the pipeline took, for whoever measures. A stage that failed is not told.

use std::time::{Duration, Instant};

/// The stages, in the order in which a picture goes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// From bytes to pixels.
    Decode,
    /// Finding faces, with all turns that were tried.
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

    /// As tables and JSON have it.
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

/// The time of one picture, by stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageTimes([Duration; Stage::ALL.len()]);

impl StageTimes {
    /// That of one stage.
    pub fn of(&self, stage: Stage) -> Duration {
        self.0[stage as usize]
    }
}

/// Attributes the time since it was last asked to a stage. Reading the clock costs tens of nanoseconds, so it
/// always runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch {
    last: Instant,
    times: StageTimes,
}

impl Stopwatch {
    /// Begins with the first stage.
    pub(crate) fn start() -> Self {
        Self { last: Instant::now(), times: StageTimes::default() }
    }

    /// The stage has ended, and the next one begins. A stage may end more than once: its times add up.
    pub(crate) fn finish(&mut self, stage: Stage) {
        let now = Instant::now();
        self.times.0[stage as usize] += now - self.last;
        self.last = now;
    }

    /// What was measured.
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
        assert!(times.of(Stage::Decode) >= Duration::from_millis(2));
        assert!(times.of(Stage::Detect) >= Duration::from_millis(1));
        assert_eq!(times.of(Stage::Embed), Duration::ZERO);
        assert!(Stage::ALL.iter().map(|stage| times.of(*stage)).sum::<Duration>() <= whole);
    }
}

//! The floor: what the machine compares when nothing is done but comparing.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{photos::Photos, stop::Stop};

/// Compares a pair of image files without protocol and store, on a thread of its own.
pub type ComparePair = Box<dyn FnMut([&[u8]; 2]) -> Result<()> + Send>;

/// Compares on one thread per function for `length`. Returns the number of pairs, and the time
/// until the last one was finished.
pub(crate) fn measure(
    floor: &mut [ComparePair],
    photos: &Photos,
    length: Duration,
    stop: &Stop,
) -> Result<(usize, Duration)> {
    let begun = Instant::now();
    let next = AtomicUsize::new(0);
    let work = |compare: &mut ComparePair| -> Result<usize> {
        let mut pairs = 0;
        while begun.elapsed() < length && !stop.is_requested() {
            compare(photos.files(next.fetch_add(1, Ordering::Relaxed)))?;
            pairs += 1;
        }
        Ok(pairs)
    };
    let pairs = thread::scope(|scope| {
        let threads: Vec<_> =
            floor.iter_mut().map(|compare| scope.spawn(|| work(compare))).collect();
        let done = threads.into_iter().map(|thread| match thread.join() {
            Ok(pairs) => pairs,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        done.sum::<Result<usize>>()
    })?;
    Ok((pairs, begun.elapsed()))
}

//! Beyond the data: a generalised Pareto distribution over the most similar non-mated pairs.
//!
//! Rates below the resolution of the data are extrapolated from the last pairs. Fitted by
//! probability-weighted moments (Hosking and Wallis 1987), which are steady where maximum
//! likelihood is not.

/// The fitted tail: how often a similarity above its threshold is exceeded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ParetoTail {
    /// Where the tail begins.
    threshold: f64,
    /// Share of all pairs in it.
    share: f64,
    scale: f64,
    /// Positive: heavy; negative: it ends somewhere.
    shape: f64,
}

impl ParetoTail {
    /// Fits the tail to the most similar pairs, most similar first, of `total`. `None` for fewer
    /// than 20 of them, or when they are all alike.
    pub(crate) fn fit(most_similar: &[f32], total: u64) -> Option<Self> {
        let (threshold, count) = (f64::from(*most_similar.last()?), most_similar.len() - 1);
        if count < 20 {
            return None;
        }
        // From the smallest excess on.
        let excess = most_similar[..count].iter().rev().map(|s| f64::from(*s) - threshold);
        let (mut mean, mut weighted) = (0.0, 0.0);
        for (n, excess) in excess.enumerate() {
            let position = (n as f64 + 1.0 - 0.35) / count as f64;
            mean += excess / count as f64;
            weighted += (1.0 - position) * excess / count as f64;
        }
        let spread = mean - 2.0 * weighted;
        if spread <= 0.0 || mean <= 0.0 {
            return None;
        }
        Some(Self {
            threshold,
            share: count as f64 / total as f64,
            scale: 2.0 * mean * weighted / spread,
            shape: 2.0 - mean / spread,
        })
    }

    /// The similarity that a share `rate` of all pairs exceeds; `rate` is at most the tail's share.
    pub(crate) fn similarity(&self, rate: f64) -> f64 {
        let fewer = self.share / rate;
        let excess = if self.shape.abs() < 1e-9 {
            self.scale * fewer.ln()
        } else {
            self.scale / self.shape * (fewer.powf(self.shape) - 1.0)
        };
        self.threshold + excess
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "made up in double, kept in single precision")]
mod tests {
    use super::*;

    /// The `count` most similar of `total` values whose share above `x` is `survival`.
    fn top(count: u32, total: u32, quantile: impl Fn(f64) -> f64) -> Vec<f32> {
        (1..=count).map(|n| quantile((f64::from(n) - 0.5) / f64::from(total)) as f32).collect()
    }

    #[test]
    fn an_exponential_tail_is_continued_two_decades_beyond_its_data() {
        let quantile = |rate: f64| -0.05 * rate.ln();
        let tail = ParetoTail::fit(&top(1_000, 1_000_000, quantile), 1_000_000).unwrap();
        for rate in [1e-4, 1e-6, 1e-8] {
            let (is, ought) = (tail.similarity(rate), quantile(rate));
            assert!((is - ought).abs() < 0.02 * ought, "{rate}: {is} for {ought}");
        }
    }

    #[test]
    fn a_tail_that_ends_is_not_continued_beyond_its_end() {
        let quantile = |rate: f64| 0.8 - rate.powf(0.25);
        let tail = ParetoTail::fit(&top(2_000, 1_000_000, quantile), 1_000_000).unwrap();
        assert!((tail.similarity(1e-6) - quantile(1e-6)).abs() < 0.01);
        assert!(tail.similarity(1e-12) < 0.82);
    }

    #[test]
    fn too_few_or_equal_pairs_have_no_tail() {
        assert_eq!(ParetoTail::fit(&[], 10), None);
        assert_eq!(ParetoTail::fit(&[0.5; 10], 1_000), None);
        assert_eq!(ParetoTail::fit(&[0.5; 100], 100_000), None);
    }
}

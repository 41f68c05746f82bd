//! What an evaluation found: for machines as JSON, for people as one HTML page without anything from
//! elsewhere.

use std::fmt::Write as _;

use serde::Serialize;

use super::{
    bootstrap::Interval,
    groups::GroupRates,
    pairs::PairRates,
    rates::{AtThreshold, OperatingPoint},
    scores::Scores,
};

/// Everything that was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// The pack.
    pub pack: String,
    /// Its calibration table.
    pub calibration: String,
    /// Photos that were looked at.
    pub photos: usize,
    /// People with a face on a photo.
    pub persons: usize,
    /// Share of the photos without a usable face.
    pub failure_rate: f64,
    /// Those photos, and why.
    pub refused: Vec<(String, String)>,
    /// Milliseconds from file to embedding, median.
    pub median_ms: f64,
    /// What all pairs of a labelled set say.
    pub all_pairs: Option<AllPairs>,
    /// What a list of pairs says.
    pub pairs: Option<PairRates>,
    /// The worst groups first, at the operator's threshold.
    pub groups: Vec<GroupRates>,
    /// All pairs within groups of the first column together, at the same threshold.
    pub in_groups: Option<AtThreshold>,
}

/// What every pair of a set came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AllPairs {
    /// Mated pairs.
    pub mated: usize,
    /// Non-mated pairs.
    pub non_mated: u64,
    /// Where both errors are equal.
    pub equal_error_rate: Option<f64>,
    /// FNMR at FMR 1e-2 to 1e-6, as far as the pairs go.
    pub operating_points: Vec<OperatingPoint>,
    /// What the pack's table promises against what was measured.
    pub promises: Vec<Promise>,
    /// The curve of (FMR, FNMR).
    pub trade_off: Vec<(f64, f64)>,
    /// Pairs by similarity from −1 to 1, in equal steps.
    pub mated_histogram: Vec<u64>,
    /// The same of non-mated pairs.
    pub non_mated_histogram: Vec<u64>,
}

/// A row of the pack's table, measured again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Promise {
    /// What the table says.
    pub promised_fmr: f64,
    /// What these photos say.
    pub measured: AtThreshold,
}

/// Bars of a histogram.
pub const BARS: usize = 128;

/// Mated pairs in the bars of a histogram.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the bars")]
pub fn mated_histogram(scores: &Scores) -> Vec<u64> {
    let mut bars = vec![0; BARS];
    for pair in &scores.mated {
        let bar = (f32::midpoint(pair.similarity, 1.0) * BARS as f32) as usize;
        bars[bar.min(BARS - 1)] += 1;
    }
    bars
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#1b1f24;background:#fff}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}\
table{border-collapse:collapse;margin:.5rem 0}th,td{padding:.25rem .75rem;text-align:right;\
border-bottom:1px solid #8884}th:first-child,td:first-child{text-align:left}svg{max-width:100%;height:auto}\
.off{color:#b3261e;font-weight:600}svg text{font:12px system-ui,sans-serif;fill:currentColor}\
@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#14171a}.off{color:#ff8a80}}";

impl Evaluation {
    /// The page.
    pub fn html(&self) -> String {
        let mut page = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Visavis: evaluation of {pack}</title>\
             <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style><h1>Evaluation of {pack}</h1>\
             <p>{} photos, {} people; calibration table {}. No face on {} ({}). {:.1} ms a photo and thread, median.",
            self.photos,
            self.persons,
            escaped(&self.calibration),
            count(self.refused.len(), "photo"),
            percent(self.failure_rate),
            self.median_ms,
            pack = escaped(&self.pack),
        );
        if let Some(all) = &self.all_pairs {
            all.write(&mut page);
        }
        if let Some(pairs) = &self.pairs {
            let _ = write!(
                page,
                "<h2>Labelled pairs</h2><p>{} mated and {} non-mated pairs; {} left out. Ten-fold accuracy {}; {} at the \
                 configured threshold.",
                pairs.mated,
                pairs.non_mated,
                pairs.left_out,
                percent(pairs.ten_fold_accuracy),
                percent(pairs.accuracy)
            );
        }
        self.write_groups(&mut page);
        if !self.refused.is_empty() {
            page.push_str("<h2>Photos without a usable face</h2><table><tr><th>photo<th>why");
            for (name, why) in &self.refused {
                let _ = write!(page, "<tr><td>{}<td>{}", escaped(name), escaped(why));
            }
            page.push_str("</table>");
        }
        page.push_str("</html>\n");
        page
    }

    fn write_groups(&self, page: &mut String) {
        if self.groups.is_empty() {
            return;
        }
        page.push_str(
            "<h2>Within groups, at the configured threshold</h2><p>Strangers of one group look more alike than strangers \
             picked from all; the worst group comes first."
        );
        if let Some(rates) = &self.in_groups {
            let _ = write!(page, " All of them together: false match rate {}.", rate(rates.fmr));
        }
        page.push_str("<table><tr><th>group<th>people<th>pairs<th>FMR<th>95 %<th>FNMR");
        for group in &self.groups {
            let fnmr = if group.has_mated { percent(group.rates.fnmr) } else { "–".to_owned() };
            let _ = write!(
                page,
                "<tr><td>{}: {}<td>{}<td>{}<td>{}<td>{}<td>{fnmr}",
                escaped(&group.column),
                escaped(&group.group),
                group.persons,
                group.pairs,
                rate(group.rates.fmr),
                between(group.rates.fmr_interval, rate),
            );
        }
        page.push_str("</table>");
    }
}

impl AllPairs {
    fn write(&self, page: &mut String) {
        let _ = write!(
            page,
            "<h2>All pairs</h2><p>{} mated, {} non-mated; equal error rate {}.\
             <table><tr><th>FMR<th>similarity<th>FNMR<th>95 %",
            self.mated,
            self.non_mated,
            self.equal_error_rate.map_or("–".to_owned(), percent)
        );
        for point in &self.operating_points {
            let _ = write!(
                page,
                "<tr><td>{}<td>{:.4}<td>{}<td>{}",
                rate(point.fmr),
                point.similarity,
                percent(point.fnmr),
                between(point.fnmr_interval, percent),
            );
        }
        page.push_str(
            "</table><h2>What the table promises</h2><table><tr><th>promised FMR<th>similarity<th>measured FMR<th>95 %<th>\
             times",
        );
        for promise in &self.promises {
            let times = promise.measured.fmr / promise.promised_fmr;
            let class = if (0.5..=2.0).contains(&times) { "" } else { " class=\"off\"" };
            let _ = write!(
                page,
                "<tr><td>{}<td>{:.4}<td>{}<td>{}<td{class}>{times:.2}",
                rate(promise.promised_fmr),
                promise.measured.similarity,
                rate(promise.measured.fmr),
                between(promise.measured.fmr_interval, rate),
            );
        }
        page.push_str("</table><h2>FNMR over FMR</h2>");
        page.push_str(&trade_off_svg(&self.trade_off));
        page.push_str("<h2>Similarities</h2>");
        page.push_str(&histogram_svg(&self.mated_histogram, &self.non_mated_histogram));
    }
}

/// Both axes logarithmic: FMR from 1 to 1e-7 to the right, FNMR from 1e-4 to 1 upwards.
pub fn trade_off_svg(points: &[(f64, f64)]) -> String {
    const WIDTH: f64 = 640.0;
    const HEIGHT: f64 = 360.0;
    const LEFT: f64 = 60.0;
    const BOTTOM: f64 = 40.0;
    let x = |fmr: f64| LEFT + -fmr.max(1e-7).log10() / 7.0 * (WIDTH - LEFT - 10.0);
    let y = |fnmr: f64| 10.0 + -fnmr.max(1e-4).log10() / 4.0 * (HEIGHT - BOTTOM - 10.0);
    let mut svg =
        format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"FNMR over FMR\">");
    for (decade, anchor) in (0..=7).zip(["start"].into_iter().chain(["middle"; 6]).chain(["end"])) {
        let at = x(10_f64.powi(-decade));
        let _ = write!(
            svg,
            "<path d=\"M{at:.1} 10V{:.1}\" stroke=\"#8884\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">1e-{decade}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 18.0
        );
    }
    for decade in 0..=4 {
        let at = y(10_f64.powi(-decade));
        let _ = write!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#8884\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">1e-{decade}</text>",
            WIDTH - 10.0,
            LEFT - 6.0,
            at + 4.0
        );
    }
    let line: Vec<_> =
        points.iter().map(|(fmr, fnmr)| format!("{:.1},{:.1}", x(*fmr), y(*fnmr))).collect();
    let _ = write!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#1769aa\" stroke-width=\"2\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">false match rate</text>\
         <text x=\"14\" y=\"{:.1}\" transform=\"rotate(-90 14 {:.1})\" text-anchor=\"middle\">false non-match rate</text></svg>",
        line.join(" "),
        f64::midpoint(LEFT, WIDTH),
        HEIGHT - 4.0,
        HEIGHT / 2.0,
        HEIGHT / 2.0
    );
    svg
}

/// Each kind with its own height, on a logarithmic scale: tails are what matters.
fn histogram_svg(mated: &[u64], non_mated: &[u64]) -> String {
    const WIDTH: f64 = 640.0;
    const HEIGHT: f64 = 220.0;
    const BOTTOM: f64 = 24.0;
    let bar = WIDTH / BARS as f64;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"pairs by similarity\">"
    );
    for (bars, colour) in [(non_mated, "#b3541e"), (mated, "#1769aa")] {
        let top = (bars.iter().max().copied().unwrap_or(0) as f64 + 1.0).ln();
        for (n, pairs) in bars.iter().enumerate().filter(|(_, pairs)| **pairs > 0) {
            let height = (*pairs as f64 + 1.0).ln() / top * (HEIGHT - BOTTOM - 6.0);
            let _ = write!(
                svg,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{colour}\" fill-opacity=\".55\"/>",
                n as f64 * bar,
                HEIGHT - BOTTOM - height,
                bar * 0.9
            );
        }
    }
    for tick in [-1.0, -0.5, 0.0, 0.5, 1.0] {
        let at = f64::midpoint(tick, 1.0) * WIDTH;
        let anchor = if tick < -0.9 {
            "start"
        } else if tick > 0.9 {
            "end"
        } else {
            "middle"
        };
        let _ = write!(
            svg,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{tick}</text>",
            HEIGHT - 6.0
        );
    }
    svg.push_str("</svg><p>Blue: one person. Brown: two people. Heights are logarithmic, each kind by itself.");
    svg
}

/// Both ends of an interval, or a dash.
fn between(interval: Option<Interval>, show: fn(f64) -> String) -> String {
    interval.map_or("–".to_owned(), |i| format!("{} – {}", show(i.low), show(i.high)))
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// `0.74 %`
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 10.0 { format!("{percent:.1} %") } else { format!("{percent:.2} %") }
}

/// `1.2e-5`
pub fn rate(rate: f64) -> String {
    if rate <= 0.0 { "0".to_owned() } else { format!("{rate:.1e}") }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_and_people_cannot_become_part_of_the_page() {
        let evaluation = Evaluation {
            pack: "<b>pack</b>".to_owned(),
            calibration: "a&b".to_owned(),
            photos: 1,
            persons: 0,
            failure_rate: 1.0,
            refused: vec![("<script>.jpg".to_owned(), "no \"face\"".to_owned())],
            median_ms: 1.0,
            all_pairs: None,
            pairs: None,
            groups: Vec::new(),
            in_groups: None,
        };
        let page = evaluation.html();
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
        assert!(page.contains("&lt;script&gt;.jpg") && page.contains("1 photo ("), "{page}");
    }

    #[test]
    fn numbers_are_as_short_as_they_may_be() {
        assert_eq!((percent(0.0074), percent(0.995)), ("0.74 %".to_owned(), "99.5 %".to_owned()));
        assert_eq!((rate(1e-5), rate(0.0)), ("1.0e-5".to_owned(), "0".to_owned()));
    }
}

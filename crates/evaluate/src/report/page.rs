//! The evaluation as one HTML page for people, without anything from elsewhere.

use std::fmt::Write as _;

use visavis_face::stages::Stage;

use super::{
    Evaluation, PairMeasures,
    charts::{histogram_svg, trade_off_svg},
    numbers::{percent, rate},
};
use crate::bootstrap::Interval;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem \
                     auto;padding:0 \
                     1rem;color:#1b1f24;background:#fff}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse;margin:.5rem \
                     0}th,td{padding:.25rem .75rem;text-align:right;border-bottom:1px solid \
                     #8884}th:first-child,td:first-child{text-align:left}svg{max-width:100%;height:auto}.off{color:#b3261e;font-weight:600}svg \
                     text{font:12px \
                     system-ui,sans-serif;fill:currentColor}@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#14171a}.off{color:#ff8a80}}";

impl Evaluation {
    /// The page.
    pub fn html(&self) -> String {
        let people = self.people.map_or_else(String::new, |people| format!(", {people} people"));
        let mut page = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Visavis: evaluation \
             of {pack}</title><meta name=\"viewport\" \
             content=\"width=device-width\"><style>{STYLE}</style><h1>Evaluation of \
             {pack}</h1><p>{} photos{people}, {} pairs; calibration table {}. No usable face on {} \
             ({}). {:.1} ms a photo and thread, median.",
            self.photos,
            self.pair_type.name(),
            escaped(self.calibration.as_deref().unwrap_or("none")),
            count(self.refused.len(), "photo"),
            percent(self.failure_to_detect),
            self.median_ms,
            pack = escaped(&self.pack),
        );
        self.pairs.write(&mut page);
        self.write_accuracy(&mut page);
        self.write_groups(&mut page);
        if let Some(quality) = &self.quality {
            quality.write(&mut page);
        }
        self.write_stages(&mut page);
        if !self.refused.is_empty() {
            page.push_str("<h2>Photos without a usable face</h2><table><tr><th>photo<th>why");
            for refused in &self.refused {
                let _ = write!(
                    page,
                    "<tr><td>{}<td>{}",
                    escaped(&refused.photo),
                    escaped(&refused.why)
                );
            }
            page.push_str("</table>");
        }
        page.push_str("</html>\n");
        page
    }

    fn write_accuracy(&self, page: &mut String) {
        let Some(ten_fold) = self.ten_fold_accuracy else { return };
        let _ = write!(
            page,
            "<h2>Decisions on the listed pairs</h2><p>Ten-fold accuracy {}{}; {} left out without \
             a usable face.",
            percent(ten_fold),
            self.accuracy.map_or_else(String::new, |accuracy| format!(
                "; {} at the configured threshold",
                percent(accuracy)
            )),
            count(self.left_out.unwrap_or(0), "pair"),
        );
    }

    fn write_groups(&self, page: &mut String) {
        if self.groups.is_empty() {
            return;
        }
        page.push_str(
            "<h2>Within groups, at the configured threshold</h2><p>Different people of one group \
             look more alike than people picked from all; the worst group comes first.",
        );
        if let Some(rates) = &self.within_groups {
            let _ = write!(page, " All of them together: false match rate {}.", rate(rates.fmr));
        }
        page.push_str("<table><tr><th>group<th>people<th>pairs<th>FMR<th>95 %<th>FNMR");
        for group in &self.groups {
            let _ = write!(
                page,
                "<tr><td>{}: {}<td>{}<td>{}<td>{}<td>{}<td>{}",
                escaped(&group.column),
                escaped(&group.group),
                group.people,
                group.non_mated,
                rate(group.rates.fmr),
                between(group.rates.fmr_interval, rate),
                or_dash(group.rates.fnmr),
            );
        }
        page.push_str("</table>");
    }

    fn write_stages(&self, page: &mut String) {
        page.push_str("<h2>Time by stage</h2><table><tr><th>stage<th>ms a photo, median<th>share");
        for stage in Stage::ALL {
            let (median, share) = (self.stage_ms.get(stage), self.stage_share.get(stage));
            let _ =
                write!(page, "<tr><td>{}<td>{median:.2}<td>{:.0} %", stage.name(), share * 100.0);
        }
        page.push_str("</table>");
    }
}

impl PairMeasures {
    fn write(&self, page: &mut String) {
        let _ = write!(
            page,
            "<h2>Pairs</h2><p>{} mated, {} non-mated; equal error rate {}.\
             <table><tr><th>FMR<th>similarity<th>FNMR<th>95 %",
            self.mated,
            self.non_mated,
            or_dash(self.eer)
        );
        for (fmr, point) in &self.at {
            let _ = write!(
                page,
                "<tr><td>{fmr}<td>{:.4}<td>{}<td>{}",
                point.similarity,
                or_dash(point.fnmr),
                between(point.interval, percent),
            );
        }
        page.push_str("</table>");
        self.write_claims(page);
        page.push_str("<h2>FNMR over FMR</h2>");
        page.push_str(&trade_off_svg(&self.trade_off));
        page.push_str("<h2>Similarities</h2>");
        page.push_str(&histogram_svg(&self.histograms.mated, &self.histograms.non_mated));
    }

    fn write_claims(&self, page: &mut String) {
        if self.claimed.is_empty() {
            return;
        }
        page.push_str(
            "<h2>What the table claims</h2><table><tr><th>claimed \
             FMR<th>score<th>similarity<th>measured FMR<th>95 %<th>times<th>within groups, by the \
             table<th>FNMR<th>95 %",
        );
        for (fmr, claim) in &self.claimed {
            let (measured, times) = (&claim.measured, claim.times());
            let class = if (0.5..=2.0).contains(&times) { "" } else { " class=\"off\"" };
            let _ = write!(
                page,
                "<tr><td>{fmr}<td>{}<td>{:.4}<td>{}<td>{}<td{class}>{times:.2}<td>{}<td>{}<td>{}",
                claim.score,
                measured.similarity,
                rate(measured.fmr),
                between(measured.fmr_interval, rate),
                claim.table_within_group.map_or("–".to_owned(), rate),
                or_dash(measured.fnmr),
                between(measured.fnmr_interval, percent),
            );
        }
        page.push_str("</table>");
    }
}

/// Both ends of an interval, or a dash.
fn between(interval: Option<Interval>, show: fn(f64) -> String) -> String {
    interval.map_or("–".to_owned(), |i| format!("{} – {}", show(i.low), show(i.high)))
}

fn or_dash(share: Option<f64>) -> String {
    share.map_or("–".to_owned(), percent)
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pairing::Pairing, report::RefusedPhoto, scores::Scores, vectors::Vectors};

    #[test]
    fn names_of_files_and_people_cannot_become_part_of_the_page() {
        let embeddings = ndarray::Array2::from_shape_vec((2, 2), vec![1.0, 0.0, 0.0, 1.0]).unwrap();
        let scores = Scores::compare(&Vectors::plain(embeddings), &Pairing::all([0, 1])).unwrap();
        let evaluation = Evaluation {
            pack: "<b>pack</b>".to_owned(),
            calibration: Some("a&b".to_owned()),
            photos: 3,
            failure_to_detect: 1.0 / 3.0,
            refused: vec![RefusedPhoto {
                photo: "<script>.jpg".to_owned(),
                why: "no \"face\"".to_owned(),
            }],
            pairs: PairMeasures::new(&scores, None, None),
            ..Evaluation::default()
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

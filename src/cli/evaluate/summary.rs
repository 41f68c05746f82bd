//! The evaluation as text for a terminal.

use visavis_evaluate::{
    bootstrap::Interval,
    discard::QualityMeasures,
    report::{Evaluation, PairMeasures, percent, rate},
};
use visavis_face::stages::Stage;

/// Prints it.
pub(super) fn print(evaluation: &Evaluation) {
    out!(
        "{}: {} photos, {} without a usable face ({}), {:.1} ms each",
        evaluation.pack,
        evaluation.photos,
        evaluation.refused.len(),
        percent(evaluation.failure_to_detect),
        evaluation.median_ms
    );
    let people = evaluation.people.map_or_else(String::new, |people| format!("{people} people, "));
    out!(
        "{people}{} mated and {} non-mated pairs ({})",
        evaluation.pairs.mated,
        evaluation.pairs.non_mated,
        evaluation.pair_type.name()
    );
    print_pairs(&evaluation.pairs);
    if let Some(ten_fold) = evaluation.ten_fold_accuracy {
        let at_threshold = evaluation.accuracy.map(percent);
        out!(
            "\nten-fold accuracy {}, at the configured threshold {}; {} pairs left out because a \
             photo shows no usable face",
            percent(ten_fold),
            at_threshold.unwrap_or("-".to_owned()),
            evaluation.left_out.unwrap_or(0),
        );
    }
    print_groups(evaluation);
    if let Some(quality) = &evaluation.quality {
        print_quality(quality);
    }
    out!("\n{:<10} {:>10} {:>7}", "STAGE", "MS, MEDIAN", "SHARE");
    for stage in Stage::ALL {
        let (median, share) = (evaluation.stage_ms.get(stage), evaluation.stage_share.get(stage));
        out!("{:<10} {median:>10.2} {:>5.0} %", stage.name(), share * 100.0);
    }
}

fn print_pairs(pairs: &PairMeasures) {
    if let Some(rate) = pairs.eer {
        out!("equal error rate {}", percent(rate));
    }
    if !pairs.at.is_empty() {
        out!("\n{:<8} {:>10} {:>9} {:>20}", "FMR", "SIMILARITY", "FNMR", "95 %");
    }
    for (fmr, point) in &pairs.at {
        out!(
            "{fmr:<8} {:>10.4} {:>9} {:>20}",
            point.similarity,
            or_dash(point.fnmr),
            between(point.interval, percent)
        );
    }
    if !pairs.claimed.is_empty() {
        out!(
            "\n{:<8} {:>5} {:>10} {:>9} {:>20} {:>9} {:>20}",
            "CLAIMED",
            "SCORE",
            "SIMILARITY",
            "MEASURED",
            "95 %",
            "FNMR",
            "95 %"
        );
    }
    for (fmr, claim) in &pairs.claimed {
        let measured = &claim.measured;
        out!(
            "{fmr:<8} {:>5} {:>10.4} {:>9} {:>20} {:>9} {:>20}",
            claim.score,
            measured.similarity,
            rate(measured.fmr),
            between(measured.fmr_interval, rate),
            or_dash(measured.fnmr),
            between(measured.fnmr_interval, percent)
        );
    }
}

fn print_groups(evaluation: &Evaluation) {
    if let Some(rates) = &evaluation.within_groups {
        out!("\nwithin groups together: false match rate {}", rate(rates.fmr));
    }
    if evaluation.groups.is_empty() {
        return;
    }
    out!("\n{:<28} {:>7} {:>9} {:>9} {:>9}", "GROUP", "PEOPLE", "PAIRS", "FMR", "FNMR");
    for group in &evaluation.groups {
        let name = format!("{}: {}", group.column, group.group);
        out!(
            "{name:<28} {:>7} {:>9} {:>9} {:>9}",
            group.people,
            group.non_mated,
            rate(group.rates.fmr),
            or_dash(group.rates.fnmr)
        );
    }
}

fn print_quality(quality: &QualityMeasures) {
    out!(
        "\n{} of the photos fail the configured limits; FNMR at FMR {} without the worst photos by \
         each measure:",
        percent(quality.failed),
        rate(quality.fmr)
    );
    out_part!("{:<24}", "MEASURE");
    for (share, _) in quality.measures.first().map_or(&[][..], |first| &first.curve) {
        out_part!(" {:>7}", format!("{:.0} %", share * 100.0));
    }
    out!("");
    for measure in &quality.measures {
        out_part!("{:<24}", measure.measure);
        measure.curve.iter().for_each(|(_, fnmr)| out_part!(" {:>7}", percent(*fnmr)));
        out!("");
    }
    out!("\n{:<24} {:>7}", "REASON", "PHOTOS");
    for (reason, share) in &quality.reasons {
        out!("{:<24} {:>7}", format!("{reason:?}"), percent(*share));
    }
}

fn between(interval: Option<Interval>, show: fn(f64) -> String) -> String {
    interval.map_or_else(String::new, |i| format!("{} - {}", show(i.low), show(i.high)))
}

fn or_dash(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), percent)
}

//! Curves and histograms as SVG, drawn without anything from elsewhere.

use std::fmt::Write as _;

use super::{BARS, numbers::percent};
use crate::discard::Discard;

/// In units of the SVG: the width of a chart, and what is left of and below the axes of curves.
const WIDTH: f64 = 640.0;
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 40.0;

/// A horizontal line through the curves at a height, with its label on the left.
fn write_grid_line(svg: &mut String, at: f64, label: &str) {
    let _ = write!(
        svg,
        "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#8884\"/><text x=\"{:.1}\" y=\"{:.1}\" \
         text-anchor=\"end\">{label}</text>",
        WIDTH - 10.0,
        LEFT - 6.0,
        at + 4.0
    );
}

/// Both axes logarithmic: FMR from 1 to 1e-7 to the right, FNMR from 1e-4 to 1 upwards.
pub(super) fn trade_off_svg(points: &[(f64, f64)]) -> String {
    const HEIGHT: f64 = 360.0;
    let x = |fmr: f64| LEFT + -fmr.max(1e-7).log10() / 7.0 * (WIDTH - LEFT - 10.0);
    let y = |fnmr: f64| 10.0 + -fnmr.max(1e-4).log10() / 4.0 * (HEIGHT - BOTTOM - 10.0);
    let mut svg =
        format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"FNMR over FMR\">");
    for (decade, anchor) in (0..=7).zip(["start"].into_iter().chain(["middle"; 6]).chain(["end"])) {
        let at = x(10_f64.powi(-decade));
        let _ = write!(
            svg,
            "<path d=\"M{at:.1} 10V{:.1}\" stroke=\"#8884\"/><text x=\"{at:.1}\" y=\"{:.1}\" \
             text-anchor=\"{anchor}\">1e-{decade}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 18.0
        );
    }
    for decade in 0..=4 {
        write_grid_line(&mut svg, y(10_f64.powi(-decade)), &format!("1e-{decade}"));
    }
    let line: Vec<_> =
        points.iter().map(|(fmr, fnmr)| format!("{:.1},{:.1}", x(*fmr), y(*fnmr))).collect();
    let _ = write!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#1769aa\" stroke-width=\"2\"/><text \
         x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">false match rate</text><text x=\"14\" \
         y=\"{:.1}\" transform=\"rotate(-90 14 {:.1})\" text-anchor=\"middle\">false non-match \
         rate</text></svg>",
        line.join(" "),
        f64::midpoint(LEFT, WIDTH),
        HEIGHT - 4.0,
        HEIGHT / 2.0,
        HEIGHT / 2.0
    );
    svg
}

/// FNMR over the share of photos left out, a line for each measure: the best one stands out.
pub(super) fn discard_svg(measures: &[Discard]) -> String {
    const HEIGHT: f64 = 280.0;
    let points = || measures.iter().flat_map(|measure| &measure.curve);
    let (most_out, most) =
        points().fold((0.01, 1e-6), |(x, y): (f64, f64), point| (x.max(point.0), y.max(point.1)));
    let x = |share: f64| LEFT + share / most_out * (WIDTH - LEFT - 10.0);
    let y = |fnmr: f64| 10.0 + (1.0 - fnmr / most) * (HEIGHT - BOTTOM - 10.0);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"FNMR over share left \
         out\">"
    );
    for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
        write_grid_line(&mut svg, y(part * most), &percent(part * most));
    }
    for (share, _) in measures.first().map_or(&[][..], |first| &first.curve) {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.0}</text>",
            x(*share),
            HEIGHT - BOTTOM + 18.0,
            share * 100.0
        );
    }
    for (n, measure) in measures.iter().enumerate().rev() {
        let line: Vec<_> = measure
            .curve
            .iter()
            .map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)))
            .collect();
        let (colour, width) = if n == 0 { ("#1769aa", 3) } else { ("#8889", 1) };
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" \
             stroke-width=\"{width}\"><title>{}</title></polyline>",
            line.join(" "),
            measure.measure
        );
    }
    let best = measures.first().map_or("", |first| &first.measure);
    let _ = write!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">per cent of the photos left \
         out</text></svg><p>Blue: {best}. Grey: the others.",
        f64::midpoint(LEFT, WIDTH),
        HEIGHT - 4.0
    );
    svg
}

/// Each kind with its own height, on a logarithmic scale: tails are what matters.
pub(super) fn histogram_svg(mated: &[u64], non_mated: &[u64]) -> String {
    const HEIGHT: f64 = 220.0;
    const LABELS_HEIGHT: f64 = 24.0;
    let bar = WIDTH / BARS as f64;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"pairs by similarity\">"
    );
    for (bars, colour) in [(non_mated, "#b3541e"), (mated, "#1769aa")] {
        let top = (bars.iter().max().copied().unwrap_or(0) as f64 + 1.0).ln();
        for (n, pairs) in bars.iter().enumerate().filter(|(_, pairs)| **pairs > 0) {
            let height = (*pairs as f64 + 1.0).ln() / top * (HEIGHT - LABELS_HEIGHT - 6.0);
            let _ = write!(
                svg,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" \
                 fill=\"{colour}\" fill-opacity=\".55\"/>",
                n as f64 * bar,
                HEIGHT - LABELS_HEIGHT - height,
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
    svg.push_str(
        "</svg><p>Blue: one person. Brown: two people. Heights are logarithmic, each kind \
                  by itself.",
    );
    svg
}

//! The page's part on quality: which measures predict errors, and which photos fail.

use std::fmt::Write as _;

use super::{charts::discard_svg, numbers::percent, rate};
use crate::discard::QualityMeasures;

impl QualityMeasures {
    pub(super) fn write(&self, page: &mut String) {
        let _ = write!(
            page,
            "<h2>Quality: error versus discard</h2><p>False non-matches at false match rate {} \
             (similarity {:.4}) when the worst photos by one measure are left out. {} of the \
             photos fail the configured limits.",
            rate(self.fmr),
            self.similarity,
            percent(self.failed)
        );
        page.push_str(&discard_svg(&self.measures));
        page.push_str("<table><tr><th>measure");
        for (share, _) in self.measures.first().map_or(&[][..], |first| &first.curve) {
            let _ = write!(page, "<th>{:.0} %", share * 100.0);
        }
        for measure in &self.measures {
            let _ = write!(page, "<tr><td>{}", measure.measure);
            for (_, fnmr) in &measure.curve {
                let _ = write!(page, "<td>{}", percent(*fnmr));
            }
        }
        page.push_str("</table>");
        if !self.reasons.is_empty() {
            page.push_str("<table><tr><th>reason, warnings included<th>photos");
            for (reason, share) in &self.reasons {
                let _ = write!(page, "<tr><td>{reason:?}<td>{}", percent(*share));
            }
            page.push_str("</table>");
        }
    }
}

//! Converts `[compare]` into false match rates.

use super::{CompareSection, ConfigError};
use crate::compare::{Fmr, FmrSettings};

impl CompareSection {
    /// The target false match rates.
    ///
    /// # Errors
    /// [`ConfigError`], naming the key that is no such rate, or the code that no document can have.
    pub(crate) fn fmr_settings(&self) -> Result<FmrSettings, ConfigError> {
        let rate = |key: &str, rate: f64, or: &str| {
            Fmr::new(rate).map_err(|why| ConfigError::new(key, format!("{rate:e} {why}{or}")))
        };
        let document_fmr = if self.document_fmr == 0.0 {
            None
        } else {
            let or = "; 0 is the rate of compare.fmr";
            Some(rate("compare.document_fmr", self.document_fmr, or)?)
        };
        let mut settings = FmrSettings::new(rate("compare.fmr", self.fmr, "")?, document_fmr);
        for (code, fmr) in &self.fmr_by_source {
            let key = format!("compare.fmr_by_source.{code}");
            let fmr = rate(&key, *fmr, "; without the entry compare.document_fmr applies")?;
            let added = settings.add_source(code, fmr);
            added.map_err(|why| ConfigError::new(&key, why.to_string()))?;
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{ClientFmr, SeveralFaces};
    use visavis_face::calibration::Population;

    fn section(fmr: f64, document_fmr: f64, by_source: &[(&str, f64)]) -> CompareSection {
        let fmr_by_source =
            by_source.iter().map(|(code, fmr)| ((*code).to_owned(), *fmr)).collect();
        let (population, several_faces) = (Population::Mixed, SeveralFaces::default());
        CompareSection { fmr, document_fmr, fmr_by_source, population, several_faces }
    }

    #[test]
    fn without_a_rate_of_their_own_documents_have_that_of_all() {
        let settings = section(1e-5, 0.0, &[("X", 1e-3)]).fmr_settings().unwrap();
        let of = |document| settings.in_force(ClientFmr::default(), document).value();
        assert_eq!(settings.document_fmr(), None);
        assert!([None, Some("Y")].map(of).iter().all(|fmr| *fmr <= 1e-5), "as for selfies");
        assert!(of(Some("x")) > 9e-4);
    }

    #[test]
    fn what_is_no_rate_and_what_is_no_code_is_named_with_its_key() {
        for (wrong, key, cure) in [
            (section(80.0, 0.0, &[]), "compare.fmr: 8e1 must", "1e-5 is score 80"),
            (section(0.0, 0.0, &[]), "compare.fmr: 0e0 must", "between 1e-6 and 1e-1"),
            (section(1e-5, 0.5, &[]), "compare.document_fmr: 5e-1 must", "0 is the rate of"),
            (section(1e-5, 0.0, &[("A", 0.0)]), "compare.fmr_by_source.A: ", "without the entry"),
            (section(1e-5, 0.0, &[("A B", 1e-4)]), "compare.fmr_by_source.A B: ", "no spaces"),
            (section(1e-5, 0.0, &[("selfie", 1e-4)]), "fmr_by_source.selfie: ", "compare.fmr"),
            (section(1e-5, 0.0, &[("A", 1e-4), ("a", 1e-3)]), "fmr_by_source.a: ", "twice"),
        ] {
            let error = wrong.fmr_settings().unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(cure), "{error}");
        }
    }
}

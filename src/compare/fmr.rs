//! The false match rate at which a decision turns: the installation's, and a client's own.
//!
//! It is fixed when a request is accepted and stored with it, so that a change applies to later
//! requests and never for one that waits.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use visavis_face::calibration::score_at_decades;

use super::score::Score;

/// A false match rate at which a decision may turn.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Fmr(f64);

/// Inside [`Fmr::LEAST`] … [`Fmr::MOST`] there is no NaN.
impl Eq for Fmr {}

/// What is no rate that a decision may turn at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must lie between 1e-6 and 1e-1, where the scale is straight: 1e-5 is score 80, 1e-4 is 70"
)]
pub struct NoFmr;

impl Fmr {
    /// The rarest.
    pub const LEAST: Self = Self(1e-6);
    /// The most frequent.
    pub const MOST: Self = Self(1e-1);

    /// A rate such as 1e-5.
    ///
    /// # Errors
    /// [`NoFmr`] outside 1e-6 … 1e-1.
    pub fn new(rate: f64) -> Result<Self, NoFmr> {
        if (Self::LEAST.0..=Self::MOST.0).contains(&rate) { Ok(Self(rate)) } else { Err(NoFmr) }
    }

    /// The rate itself.
    pub(crate) fn value(self) -> f64 {
        self.0
    }

    /// −log₁₀ of it.
    pub(crate) fn decades(self) -> f64 {
        -self.0.log10()
    }

    /// The score at which the decision turns.
    pub fn threshold(self) -> f64 {
        score_at_decades(self.decades())
    }

    /// The same as it is printed.
    pub(crate) fn least_match(self) -> Score {
        Score::least_match(self.threshold())
    }
}

impl TryFrom<f64> for Fmr {
    type Error = NoFmr;

    fn try_from(rate: f64) -> Result<Self, NoFmr> {
        Self::new(rate)
    }
}

impl From<Fmr> for f64 {
    fn from(fmr: Fmr) -> Self {
        fmr.0
    }
}

impl FromStr for Fmr {
    type Err = NoFmr;

    fn from_str(text: &str) -> Result<Self, NoFmr> {
        text.trim().parse().map_err(|_| NoFmr).and_then(Self::new)
    }
}

/// As it is written in settings: `1e-5`.
impl fmt::Display for Fmr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:e}", self.0)
    }
}

/// What one client has of its own; where it has nothing, the installation's settings count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientFmr {
    /// For all its requests.
    pub fmr: Option<Fmr>,
    /// For those whose reference is a portrait on a document.
    pub document_fmr: Option<Fmr>,
}

/// The default of the installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FmrSettings {
    fmr: Fmr,
    document_fmr: Option<Fmr>,
    by_source: BTreeMap<String, Fmr>,
}

/// What is wrong with a code of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongCode {
    /// No request can name it.
    #[error("a code of a document has 1 to 32 letters, digits and signs, and no spaces")]
    Unfit,
    /// It is the source that is no document.
    #[error("SELFIE is no document; its rate is compare.fmr")]
    Selfie,
    /// It is present already.
    #[error("it is present twice; upper and lower case are the same")]
    Repeated,
}

impl FmrSettings {
    /// Longest code, bytes; as long as `sourceOfFace2` may be.
    pub(crate) const LONGEST_CODE: usize = 32;

    /// `fmr` counts for everything, unless there is another one for documents.
    pub fn new(fmr: Fmr, document_fmr: Option<Fmr>) -> Self {
        Self { fmr, document_fmr, by_source: BTreeMap::new() }
    }

    /// Adds the rate for documents of one code.
    ///
    /// # Errors
    /// [`WrongCode`].
    pub fn add_source(&mut self, code: &str, fmr: Fmr) -> Result<(), WrongCode> {
        let fits = (1..=Self::LONGEST_CODE).contains(&code.len())
            && code.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits {
            return Err(WrongCode::Unfit);
        }
        if is_selfie(code) {
            return Err(WrongCode::Selfie);
        }
        match self.by_source.insert(code.to_ascii_uppercase(), fmr) {
            None => Ok(()),
            Some(_) => Err(WrongCode::Repeated),
        }
    }

    /// For everything that nothing else is said about.
    pub(crate) fn fmr(&self) -> Fmr {
        self.fmr
    }

    /// For documents, where that is another one.
    pub(crate) fn document_fmr(&self) -> Option<Fmr> {
        self.document_fmr
    }

    /// For documents without a rate of their code or of their client.
    pub(crate) fn for_documents(&self) -> Fmr {
        self.document_fmr.unwrap_or(self.fmr)
    }

    /// For documents of one code.
    pub(crate) fn by_source(&self) -> impl Iterator<Item = (&str, Fmr)> {
        self.by_source.iter().map(|(code, fmr)| (code.as_str(), *fmr))
    }

    /// The rate for a request: what the client has for such pictures, else what it has for all,
    /// else what the installation has for such pictures, else for all. `document` is the code of a
    /// document; none for a selfie.
    pub(crate) fn in_force(&self, own: ClientFmr, document: Option<&str>) -> Fmr {
        let Some(code) = document else { return own.fmr.unwrap_or(self.fmr) };
        let of_code = || self.by_source.get(&code.to_ascii_uppercase()).copied();
        let own = own.document_fmr.or(own.fmr);
        own.or_else(of_code).unwrap_or_else(|| self.for_documents())
    }
}

/// Whether a `sourceOfFace2` says that the picture is one of the living person.
pub fn is_selfie(source: &str) -> bool {
    source.eq_ignore_ascii_case("SELFIE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fmr(rate: f64) -> Fmr {
        Fmr::new(rate).unwrap()
    }

    #[test]
    fn a_rate_has_a_score_and_none_lies_outside_the_straight_scale() {
        for (rate, score) in [(1e-1, 40.0), (1e-4, 70.0), (1e-5, 80.0), (1e-6, 90.0)] {
            assert!((fmr(rate).threshold() - score).abs() < 1e-9, "{rate}");
        }
        for rate in [0.0, 9.9e-7, 0.11, 1.0, -1e-5, f64::NAN, f64::INFINITY] {
            assert_eq!(Fmr::new(rate), Err(NoFmr), "{rate}");
        }
        assert_eq!(" 1e-4 ".parse(), Ok(fmr(1e-4)));
        assert_eq!("80".parse::<Fmr>(), Err(NoFmr), "a score is no rate");
        assert_eq!("".parse::<Fmr>(), Err(NoFmr));
        assert_eq!(fmr(3.5e-5).to_string(), "3.5e-5");
    }

    #[test]
    fn a_rate_survives_json_to_the_ends_of_its_range_and_none_comes_in_from_outside() {
        for rate in [1e-6, 3.162_3e-5, 1e-5, 1e-1] {
            let text = serde_json::to_string(&fmr(rate)).unwrap();
            assert_eq!(serde_json::from_str::<Fmr>(&text).unwrap(), fmr(rate), "{text}");
        }
        let wrong = serde_json::from_str::<Fmr>("0.5").unwrap_err().to_string();
        assert!(wrong.contains("between 1e-6 and 1e-1"), "{wrong}");
    }

    #[test]
    fn a_clients_own_rate_goes_before_the_installations_and_the_one_for_the_picture_before_the_one_for_all()
     {
        let mut settings = FmrSettings::new(fmr(1e-5), Some(fmr(1e-4)));
        settings.add_source("Id_Card", fmr(1e-3)).unwrap();
        let (all, documents) = (Some(fmr(1e-6)), Some(fmr(1e-2)));
        let nothing = ClientFmr::default();
        let only_all = ClientFmr { fmr: all, document_fmr: None };
        let only_documents = ClientFmr { fmr: None, document_fmr: documents };
        let both = ClientFmr { fmr: all, document_fmr: documents };
        for (own, selfie, known, other) in [
            (nothing, 1e-5, 1e-3, 1e-4),
            (only_all, 1e-6, 1e-6, 1e-6),
            (only_documents, 1e-5, 1e-2, 1e-2),
            (both, 1e-6, 1e-2, 1e-2),
        ] {
            assert_eq!(settings.in_force(own, None), fmr(selfie), "{own:?}");
            assert_eq!(settings.in_force(own, Some("ID_card")), fmr(known), "{own:?}");
            assert_eq!(settings.in_force(own, Some("00000001007")), fmr(other), "{own:?}");
        }
        let plain = FmrSettings::new(fmr(1e-5), None);
        assert_eq!(plain.in_force(nothing, Some("ID_CARD")), fmr(1e-5));
    }

    #[test]
    fn a_code_that_no_request_can_name_is_refused() {
        let mut settings = FmrSettings::new(fmr(1e-5), None);
        for code in ["", "ID CARD", " X", "é", "\n", &"1".repeat(33)] {
            assert_eq!(settings.add_source(code, fmr(1e-4)), Err(WrongCode::Unfit), "{code:?}");
        }
        assert_eq!(settings.add_source("Selfie", fmr(1e-4)), Err(WrongCode::Selfie));
        assert_eq!(settings.add_source(&"1".repeat(32), fmr(1e-4)), Ok(()));
        assert_eq!(settings.add_source("id", fmr(1e-4)), Ok(()));
        assert_eq!(settings.add_source("ID", fmr(1e-3)), Err(WrongCode::Repeated));
    }
}

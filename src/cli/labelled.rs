//! Labelled photos as arguments, and their way through the pipeline.

use std::{
    io::{IsTerminal as _, stderr},
    path::PathBuf,
};

use anyhow::{Result, bail};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use visavis_evaluate::{
    gallery::{Gallery, PhotoFile},
    known_errors::KnownErrors,
    pair_type::PairType,
    pairing::Pairing,
    photos::{Photo, PhotoSet},
    scores::Scores,
};
use visavis_face::Pipeline;

use crate::app::OpenedPack;

/// The group of arguments of which exactly one says which photos.
pub(super) const SOURCE: &str = "source";

/// Photos whose people are known, and how they are compared.
#[derive(Debug, clap::Args)]
pub(super) struct LabelledArgs {
    /// A folder with a folder of photos for each person
    #[arg(long, value_name = "DIR", group = SOURCE)]
    folder: Option<PathBuf>,
    /// A table of photos: CSV with the heading photo,person and a column for each kind of group; a column `kind`
    /// says selfie or document. Paths start at the table's folder
    #[arg(long, value_name = "FILE", group = SOURCE)]
    photos: Option<PathBuf>,
    /// Labels that are wrong, left out: CSV with a photo on a line, or two photos whose pair is labelled wrongly (of
    /// two people: all pairs between them). Paths are those of the folder, table or list
    #[arg(long, value_name = "FILE")]
    known_errors: Option<PathBuf>,
    /// What is compared with what; documents are those of the column `kind`
    #[arg(long, value_name = "TYPE", default_value = "selfie-selfie", value_parser = pair_types())]
    pub(super) pair_type: PairType,
}

fn pair_types() -> impl TypedValueParser<Value = PairType> {
    let names = [
        PossibleValue::new(PairType::SelfieSelfie.name()).help("Selfies with each other"),
        PossibleValue::new(PairType::SelfieDocument.name())
            .help("Selfies with documents, and neither among themselves"),
    ];
    PossibleValuesParser::new(names).map(|name| match name.as_str() {
        "selfie-document" => PairType::SelfieDocument,
        _ => PairType::SelfieSelfie,
    })
}

/// How the photos are taken through the pipeline.
#[derive(Debug, clap::Args)]
pub(super) struct PipelineArgs {
    /// Threads, each with its own copy of the nets [default: one per core, two with a GPU]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

impl LabelledArgs {
    /// The photos, without what is known to be wrong and what the pairs are not made of.
    pub(super) fn set(&self) -> Result<PhotoSet> {
        let mut set = match (&self.folder, &self.photos) {
            (Some(folder), _) => PhotoSet::from_folder(folder)?,
            (None, Some(table)) => PhotoSet::from_table(table)?,
            (None, None) => bail!("which photos? Give --folder DIR or --photos FILE"),
        };
        if let Some(errors) = self.known_errors()? {
            set.correct(&errors)?;
        }
        Ok(set.for_pairs(self.pair_type)?)
    }

    pub(super) fn known_errors(&self) -> Result<Option<KnownErrors>> {
        Ok(self.known_errors.as_deref().map(KnownErrors::read).transpose()?)
    }
}

impl PipelineArgs {
    pub(super) fn gallery_of(&self, pack: &OpenedPack, set: &PhotoSet) -> Result<Gallery> {
        let file = |photo: &Photo| PhotoFile { path: photo.path.clone(), kind: photo.kind };
        self.gallery(pack, &set.photos.iter().map(file).collect::<Vec<_>>())
    }

    /// Takes the files through the pipeline. How far it is, is shown on standard error where that is a terminal:
    /// standard output belongs to what was found.
    pub(super) fn gallery(&self, pack: &OpenedPack, files: &[PhotoFile]) -> Result<Gallery> {
        let threads = match self.threads {
            Some(threads) => threads.max(1),
            None => pack.threads,
        };
        let mut engines =
            (0..threads).map(|_| pack.engine()).collect::<Result<Vec<Pipeline>, _>>()?;
        let target = if stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(files.len() as u64), target)
            .with_style(ProgressStyle::with_template("{bar:40} {pos}/{len} photos, {eta} left")?);
        let gallery = Gallery::of(files, &mut engines, &|done| bar.set_position(done as u64))?;
        bar.finish_and_clear();
        Ok(gallery)
    }
}

/// The pairs of a set.
pub(super) fn scores(set: &PhotoSet, gallery: &Gallery) -> Result<Scores> {
    Ok(Scores::of(&gallery.vectors, &Pairing::of_set(set, &gallery.photos))?)
}

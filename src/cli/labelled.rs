//! Arguments for labelled photos, and their run through the pipeline.

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

/// The group of arguments that select photos; exactly one is required.
pub(super) const SOURCE: &str = "source";

/// Labelled photos, and how they are compared.
#[derive(Debug, clap::Args)]
pub(super) struct LabelledArgs {
    /// Folder with one folder of photos per person
    #[arg(long, value_name = "DIR", group = SOURCE)]
    folder: Option<PathBuf>,
    /// Table of photos: CSV with the heading photo,person and optional columns of groups; a column
    /// `kind` contains selfie or document. Paths are relative to the table's folder
    #[arg(long, value_name = "FILE", group = SOURCE)]
    photos: Option<PathBuf>,
    /// Wrong labels to leave out: CSV with one photo per line, or two photos whose pair is labelled
    /// wrongly (of two people: all pairs between them). Paths as in the folder, table or list
    #[arg(long, value_name = "FILE")]
    known_errors: Option<PathBuf>,
    /// Which photos are compared; the column `kind` marks documents
    #[arg(long, value_name = "TYPE", default_value = "selfie-selfie", value_parser = pair_types())]
    pub(super) pair_type: PairType,
}

fn pair_types() -> impl TypedValueParser<Value = PairType> {
    let names = [
        PossibleValue::new(PairType::SelfieSelfie.name()).help("Selfies with each other"),
        PossibleValue::new(PairType::SelfieDocument.name())
            .help("Selfies with documents, and neither with each other"),
    ];
    PossibleValuesParser::new(names).map(|name| match name.as_str() {
        "selfie-document" => PairType::SelfieDocument,
        _ => PairType::SelfieSelfie,
    })
}

/// How the photos are analysed.
#[derive(Debug, clap::Args)]
pub(super) struct PipelineArgs {
    /// Threads, each with its own copy of the nets [default: one per core, two with a GPU]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

impl LabelledArgs {
    /// The photos, without wrong labels and without those that are in no pair.
    pub(super) fn set(&self) -> Result<PhotoSet> {
        let mut set = match (&self.folder, &self.photos) {
            (Some(folder), _) => PhotoSet::from_folder(folder)?,
            (None, Some(table)) => PhotoSet::from_table(table)?,
            (None, None) => bail!("no photos are selected: pass --folder DIR or --photos FILE"),
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

    /// Analyses the files. Shows the progress on standard error, if that is a terminal; standard
    /// output is for the result.
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
        let gallery = Gallery::analyse(files, &mut engines, &|done| bar.set_position(done as u64))?;
        bar.finish_and_clear();
        Ok(gallery)
    }
}

/// The pairs of a set.
pub(super) fn scores(set: &PhotoSet, gallery: &Gallery) -> Result<Scores> {
    Ok(Scores::compare(&gallery.vectors, &Pairing::from_set(set, &gallery.photos))?)
}

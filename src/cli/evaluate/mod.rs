//! `visavis evaluate`: measures the accuracy of a pack on labelled photos.

mod summary;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::ArgGroup;
use visavis_evaluate::{
    discard::QualityMeasures,
    gallery::PhotoFile,
    groups::{by_group, within},
    pair_type::PairType,
    pairs::PairList,
    rates::at_threshold,
    report::{Evaluation, PairMeasures},
    scores::Scores,
};
use visavis_face::{
    PictureKind,
    calibration::{Calibration, Population},
};

use super::labelled::{LabelledArgs, PipelineArgs, SOURCE, scores};
use crate::{
    app::{self, OpenedPack},
    compare::ClientFmr,
    config::Config,
};

/// Arguments of `evaluate`.
#[derive(Debug, clap::Args)]
#[command(
    group(ArgGroup::new(SOURCE).required(true)),
    after_help = "Every photo of a folder or table is compared with every other one. Embeddings \
                  are not stored. docs/EVALUATION.md describes the members of the JSON object."
)]
pub(super) struct EvaluateArgs {
    #[command(flatten)]
    labelled: LabelledArgs,
    /// A list of pairs: CSV with photo,photo,same, where same is 1 or 0
    #[arg(long, value_name = "FILE", group = SOURCE, conflicts_with = "pair_type")]
    pairs: Option<PathBuf>,
    /// Folder of the paths in the list of pairs [default: the folder of the list]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["folder", "photos"])]
    root: Option<PathBuf>,
    /// Also report how well each quality measure predicts errors: false non-matches without the
    /// worst photos
    #[arg(long, conflicts_with = "pairs")]
    quality: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Write a report with error curve and histograms to this HTML file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    pipeline: PipelineArgs,
}

/// The pack's table, with the configured population and rate.
struct ConfiguredTable {
    calibration: Calibration,
    /// Its part on different people of one group.
    within_group: Option<Calibration>,
    /// The threshold.
    similarity: f32,
}

impl ConfiguredTable {
    fn from_pack(config: &Config, pack: &OpenedPack, pair_type: PairType) -> Result<Option<Self>> {
        let Some(table) = &pack.pack.calibration else { return Ok(None) };
        let calibration =
            Calibration::new(table, config.compare.population).map_err(anyhow::Error::msg)?;
        // A document without a type code.
        let document = (pair_type == PairType::SelfieDocument).then_some("");
        let fmr = config.compare.fmr_settings()?.in_force(ClientFmr::default(), document);
        let similarity = calibration.similarity_at(fmr.decades());
        #[expect(clippy::cast_possible_truncation, reason = "similarities are single precision")]
        let similarity = similarity as f32;
        let within_group = Calibration::new(table, Population::WithinGroup).ok();
        Ok(Some(Self { calibration, within_group, similarity }))
    }
}

/// Prints or writes the evaluation.
pub(super) fn run(mut config: Config, args: &EvaluateArgs) -> Result<ExitCode> {
    config.runtime.prefer_single_precision();
    let config = &config;
    let pack = app::open_pack(config)?;
    let table = ConfiguredTable::from_pack(config, &pack, args.labelled.pair_type)?;
    let found = match &args.pairs {
        Some(file) => evaluate_pairs(args, &pack, table.as_ref(), file)?,
        None => evaluate_set(args, &pack, table.as_ref())?,
    };
    let calibration = table.map(|table| table.calibration.id().to_owned());
    let evaluation = Evaluation { calibration, pair_type: args.labelled.pair_type, ..found };
    if let Some(path) = &args.report {
        fs::write(path, evaluation.html())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.json {
        out!("{}", serde_json::to_string_pretty(&evaluation)?);
    } else {
        summary::print(&evaluation);
    }
    Ok(ExitCode::SUCCESS)
}

fn evaluate_pairs(
    args: &EvaluateArgs,
    pack: &OpenedPack,
    table: Option<&ConfiguredTable>,
    file: &Path,
) -> Result<Evaluation> {
    let mut list = PairList::read(file)?;
    if let Some(errors) = args.labelled.known_errors()? {
        list.correct(&errors)?;
    }
    let root = args.root.as_deref().or(file.parent()).unwrap_or(Path::new("."));
    let file = |name: &String| PhotoFile { path: root.join(name), kind: PictureKind::Selfie };
    let gallery = args.pipeline.gallery(pack, &list.names.iter().map(file).collect::<Vec<_>>())?;
    let pairs = list.compared(&gallery)?;
    Ok(Evaluation {
        pairs: measures(&pairs.scores, table),
        ten_fold_accuracy: Some(pairs.ten_fold_accuracy()),
        accuracy: table.map(|table| pairs.accuracy(table.similarity)),
        left_out: Some(pairs.left_out),
        ..Evaluation::from_gallery(&pack.pack.name, &gallery, |photo| list.names[photo].clone())
    })
}

fn evaluate_set(
    args: &EvaluateArgs,
    pack: &OpenedPack,
    table: Option<&ConfiguredTable>,
) -> Result<Evaluation> {
    let set = args.labelled.set()?;
    let gallery = args.pipeline.gallery_of(pack, &set)?;
    let scores = scores(&set, &gallery)?;
    let (mut groups, mut within_groups) = (Vec::new(), None);
    if let Some(table) = table.filter(|_| !set.columns.is_empty()) {
        groups = by_group(&set, &gallery, table.similarity)?;
        within_groups = Some(at_threshold(&within(&set, &gallery)?, table.similarity));
    }
    let name = |photo: usize| set.photos[photo].name.clone();
    Ok(Evaluation {
        people: Some(scores.persons()),
        pairs: measures(&scores, table),
        quality: args.quality.then(|| QualityMeasures::new(&scores, &gallery)).flatten(),
        groups,
        within_groups,
        ..Evaluation::from_gallery(&pack.pack.name, &gallery, name)
    })
}

fn measures(scores: &Scores, table: Option<&ConfiguredTable>) -> PairMeasures {
    let within_group = table.and_then(|table| table.within_group.as_ref());
    PairMeasures::new(scores, table.map(|table| &table.calibration), within_group)
}

//! `visavis calibrate`: measures a pack's calibration table on labelled photos.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::ArgGroup;
use visavis_evaluate::{
    EvaluateError,
    curve::{Knot, knots},
    groups::within,
    pair_type::PairType,
    photos::PhotoSet,
    scores::Scores,
    unified,
};
use visavis_face::quality::UnifiedQuality;

use super::labelled::{LabelledArgs, PipelineArgs, SOURCE, scores};
use crate::{
    app::{self, OpenedPack},
    config::Config,
};

/// Arguments of `calibrate`.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new(SOURCE).required(true)))]
pub(super) struct CalibrateArgs {
    #[command(flatten)]
    labelled: LabelledArgs,
    /// Photos of people in groups, within which different people look more alike (CSV with the
    /// heading photo,person,group): adds the table's part on pairs within a group. --known-errors
    /// does not apply to them
    #[arg(long, value_name = "FILE")]
    groups: Option<PathBuf>,
    /// Description of the groups
    #[arg(long, value_name = "WORDS", default_value = "sex and region of origin")]
    groups_are: String,
    /// Id of the table in responses and logs
    #[arg(long, value_name = "NAME")]
    id: String,
    /// Write the table to this file, for the pack's pack.toml, instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    pipeline: PipelineArgs,
}

/// Prints or writes a table.
pub(super) fn run(mut config: Config, args: &CalibrateArgs) -> Result<ExitCode> {
    config.runtime.prefer_single_precision();
    let config = &config;
    let pack = app::open_pack(config)?;
    let set = args.labelled.set()?;
    let gallery = args.pipeline.gallery_of(&pack, &set)?;
    let scores = scores(&set, &gallery)?;
    let mut text = table(args, &pack, &scores, &knots(&scores)?);
    let unified = match args.labelled.pair_type {
        PairType::SelfieSelfie => unified::fit(&scores, &gallery.reports),
        PairType::SelfieDocument => Err(EvaluateError::TooFew(
            "it is fitted to photos of one kind: use the table of selfies".to_owned(),
        )),
    };
    match unified {
        Ok(unified) => text.push_str(&quality_table(&unified)),
        Err(error) => err!("the table has no [quality]: {error}"),
    }
    if let Some(file) = &args.groups {
        let set = PhotoSet::from_table(file)?.for_pairs(args.labelled.pair_type)?;
        let scores = within(&set, &args.pipeline.gallery_of(&pack, &set)?)?;
        text.push_str(&group_table(&args.groups_are, &scores, &knots(&scores)?));
    }
    match &args.out {
        Some(path) => {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => out_part!("{text}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The table in the format of a manifest.
fn table(args: &CalibrateArgs, pack: &OpenedPack, scores: &Scores, knots: &[Knot]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("[calibration]\n");
    let id = toml::Value::String(args.id.clone());
    let _ = writeln!(text, "id = {id}");
    let _ = writeln!(text, "model = \"{}\"", pack.pack.digest());
    let _ = writeln!(
        text,
        "pair_type = \"{}\"\npairs = {}\npersons = {}",
        args.labelled.pair_type.name(),
        scores.non_mated(),
        scores.persons()
    );
    text.push_str(&knot_rows(knots));
    text
}

fn group_table(groups: &str, scores: &Scores, knots: &[Knot]) -> String {
    let groups = toml::Value::String(groups.to_owned());
    format!(
        "\n[calibration.within_group]\ngroups = {groups}\npairs = {}\npersons = {}\n{}",
        scores.non_mated(),
        scores.persons(),
        knot_rows(knots)
    )
}

fn quality_table(unified: &UnifiedQuality) -> String {
    format!(
        "\n[quality]\nconstant = {:.3}\nlength = {:.4}\nconfidence = {:.3}\nyaw = {:.3}\npitch = \
         {:.3}\n",
        unified.constant, unified.length, unified.confidence, unified.yaw, unified.pitch
    )
}

fn knot_rows(knots: &[Knot]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from(
        "# Similarity, false match rate; then the interval of the rate for other people. Without \
         one,\n# it is extrapolated beyond the data.\nknots = [\n",
    );
    for knot in knots {
        let remark = match knot.interval {
            Some((low, high)) => format!("{low:.2e} to {high:.2e}"),
            None => "extrapolated".to_owned(),
        };
        let _ = writeln!(text, "    [{:.5}, {:.4e}], # {remark}", knot.similarity, knot.fmr);
    }
    text.push_str("]\n");
    text
}

//! `visavis models`: the packs of this machine.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use visavis_convert::{Options, to_onnx};
use visavis_face::{
    calibration::{Calibration, CalibrationTable, Population},
    manifest::{Manifest, Pack, Weights},
    sha256_hex,
};

use crate::{
    app,
    config::Config,
    models::{Fetcher, FileState, Mirror, pull, state},
};

/// Subcommands of `models`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ModelsCommand {
    /// List packs with licence, size, digest and accuracy
    List {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Fetch a pack from its pinned sources, or from `VISAVIS_MODEL_MIRROR`
    Pull {
        /// The pack [default: model.pack of the configuration]
        pack: Option<String>,
    },
    /// Check the digests of a pack's files
    Verify {
        /// The pack [default: model.pack of the configuration]
        pack: Option<String>,
    },
    /// Convert a published model to ONNX, as `pull` does for the built-in packs
    #[command(
        override_usage = "visavis models convert NET.xml NET.bin OUT.onnx [--ranges FILE]\n       \
                          visavis models convert NET.tflite OUT.onnx [--output NAME]...\n       \
                          visavis models convert libfacedetection.so OUT.onnx\n       visavis \
                          models convert mobilefacenet.json mobilefacenet.bin OUT.onnx"
    )]
    Convert {
        /// The published file, or files, and the file to write
        #[arg(num_args = 2..=3, required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Table of ranges for an `OpenVINO` IR, to quantise it to eight bits
        #[arg(long, value_name = "FILE")]
        ranges: Option<PathBuf>,
        /// Output tensor of a TensorFlow Lite model with several outputs; may be repeated
        #[arg(long, value_name = "NAME")]
        output: Vec<String>,
    },
}

#[derive(Serialize)]
struct FileRow<'a> {
    role: &'a str,
    #[serde(flatten)]
    weights: &'a Weights,
    state: &'static str,
}

pub(super) fn run(
    config: impl FnOnce() -> Result<Config>,
    command: &ModelsCommand,
) -> Result<ExitCode> {
    let manifest = |config: &Config| Manifest::load(&app::model_dir(config));
    let chosen = |pack: &Option<String>, config: &Config| {
        pack.clone().unwrap_or_else(|| config.model.pack.clone())
    };
    match command {
        ModelsCommand::List { json } => list(&manifest(&config()?)?, *json),
        ModelsCommand::Pull { pack } => {
            let config = config()?;
            pull_pack(&config, &manifest(&config)?, &chosen(pack, &config))
        }
        ModelsCommand::Verify { pack } => {
            let config = config()?;
            verify(&manifest(&config)?, &chosen(pack, &config))
        }
        ModelsCommand::Convert { files, ranges, output } => {
            convert_files(files, ranges.as_deref(), output)
        }
    }
}

fn shown(state: FileState) -> &'static str {
    match state {
        FileState::Verified => "verified",
        FileState::Missing => "missing",
        FileState::Wrong => "WRONG DIGEST",
    }
}

fn rows<'a>(manifest: &Manifest, name: &str, pack: &'a Pack) -> Result<Vec<FileRow<'a>>> {
    let folder = manifest.folder.join(name);
    pack.own_weights()
        .into_iter()
        .map(|(role, weights)| {
            Ok(FileRow { role, weights, state: shown(state(&folder, weights)?) })
        })
        .collect()
}

fn list(manifest: &Manifest, json: bool) -> Result<ExitCode> {
    if json {
        let mut packs = serde_json::Map::new();
        for (name, pack) in &manifest.packs {
            let row = serde_json::json!({
                "about": pack.about,
                "accuracy": pack.accuracy,
                "files": rows(manifest, name, pack)?,
            });
            packs.insert(name.clone(), row);
        }
        out!("{}", serde_json::to_string_pretty(&packs)?);
        return Ok(ExitCode::SUCCESS);
    }
    for (name, pack) in &manifest.packs {
        out!("{name}: {}", pack.about);
        out!("  accuracy: {}", pack.accuracy);
        let table = pack.calibration.as_ref().map_or_else(|| UNCALIBRATED.to_owned(), card);
        out!("  calibration: {table}");
        for row in rows(manifest, name, pack)? {
            let bytes: u64 = row.weights.sources.iter().map(|s| s.bytes).sum();
            out!(
                "  {:<10} {:<42} {:>6.1} MB  {:<11} sha256 {}…  {}",
                row.role,
                row.weights.file,
                bytes as f64 / 1e6,
                row.weights.licence,
                row.weights.sha256.get(..12).unwrap_or_default(),
                row.state
            );
        }
        out!("");
    }
    Ok(ExitCode::SUCCESS)
}

/// In place of the data of a table.
const UNCALIBRATED: &str = "none, so it does not start: measure one with `visavis calibrate`";

/// The data of a table, and the rates of the default threshold.
fn card(table: &CalibrationTable) -> String {
    let rates = rates_at_threshold(table, Population::Mixed, DEFAULT_FMR).unwrap_or_default();
    format!("{}, {} pairs of {} people{rates}", table.id, table.pairs, table.persons)
}

/// The default of `compare.fmr`.
const DEFAULT_FMR: f64 = 1e-5;

/// The rates of a threshold that is chosen for one population: among all people, and within one
/// group.
pub(super) fn rates_at_threshold(
    table: &CalibrationTable,
    chosen_for: Population,
    fmr: f64,
) -> Result<String> {
    let calibration = |population| Calibration::new(table, population).map_err(anyhow::Error::msg);
    let similarity = calibration(chosen_for)?.similarity_at(-fmr.log10());
    let rate = |population| Ok::<_, anyhow::Error>(calibration(population)?.fmr_at(similarity));
    let mut text = format!("; false match rate {:.1e} among all", rate(Population::Mixed)?);
    if let Some(within) = &table.within_group {
        let within_group = rate(Population::WithinGroup)?;
        let _ = write!(text, ", {within_group:.1e} among people of one {}", within.groups);
    }
    Ok(text)
}

/// The pack's own files and those of the packs that it borrows from.
fn with_borrowed<'a>(manifest: &'a Manifest, name: &str) -> Result<Vec<(String, &'a Weights)>> {
    let resolved = manifest.resolve(name)?;
    let packs: BTreeSet<_> = resolved.files().into_iter().map(|(pack, _)| pack).collect();
    let mut files = Vec::new();
    for pack in packs {
        let own = manifest.packs.get(pack).context("a resolved pack exists")?.own_weights();
        files.extend(own.into_iter().map(|(_, weights)| (pack.to_owned(), weights)));
    }
    Ok(files)
}

fn pull_pack(config: &Config, manifest: &Manifest, name: &str) -> Result<ExitCode> {
    let mirror = Some(config.model.mirror.as_str()).filter(|m| !m.is_empty()).map(Mirror::parse);
    let fetcher = Fetcher::new(mirror);
    let style = ProgressStyle::with_template(
        "{msg:<42} {bar:24} {bytes:>10} of {total_bytes:<10} {bytes_per_sec}",
    )?;
    for (pack, weights) in with_borrowed(manifest, name)? {
        let folder = manifest.folder.join(&pack);
        if state(&folder, weights)? == FileState::Verified {
            out!("{:<42} present, digest verified", weights.file);
            continue;
        }
        if weights.sources.is_empty() {
            bail!(
                "{} has no source to pull from: put the file into {} yourself",
                weights.file,
                folder.display()
            );
        }
        let before: Vec<u64> = weights
            .sources
            .iter()
            .scan(0, |sum, s| {
                let start = *sum;
                *sum += s.bytes;
                Some(start)
            })
            .collect();
        let bar = ProgressBar::new(weights.sources.iter().map(|s| s.bytes).sum())
            .with_style(style.clone());
        bar.set_message(weights.file.clone());
        pull(&fetcher, &folder, weights, &|source, bytes| {
            bar.set_position(before[source] + bytes);
        })?;
        bar.finish_and_clear();
        out!("{:<42} fetched, digest verified", weights.file);
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(manifest: &Manifest, name: &str) -> Result<ExitCode> {
    let mut good = true;
    for (pack, weights) in with_borrowed(manifest, name)? {
        let state = state(&manifest.folder.join(&pack), weights)?;
        good &= state == FileState::Verified;
        out!("{:<42} {}", weights.file, shown(state));
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn convert_files(files: &[PathBuf], ranges: Option<&Path>, outputs: &[String]) -> Result<ExitCode> {
    let named = |path: &Path| path.display().to_string();
    let Some((out, published)) = files.split_last() else {
        bail!("expected the published file and the file to write")
    };
    let contents = published.iter().map(|path| fs::read(path).with_context(|| named(path)));
    let contents = contents.collect::<Result<Vec<_>>>()?;
    let ranges = ranges.map(|path| fs::read_to_string(path).with_context(|| named(path)));
    let ranges = ranges.transpose()?;
    let name = named(&published[0]);
    let options = Options { ranges: ranges.as_deref(), outputs };
    let onnx = to_onnx(&name, &contents, options).with_context(|| name.clone())?;
    fs::write(out, &onnx).with_context(|| named(out))?;
    out!("{} has SHA-256 {}", out.display(), sha256_hex(&onnx));
    Ok(ExitCode::SUCCESS)
}

//! `visavis evaluate` and `visavis calibrate`: what a pack is worth, on labelled photos.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    app::{self, OpenedPack},
    config::Config,
    evaluate::{
        curve::{Knot, knots},
        gallery::Gallery,
        groups::{by_group, within},
        pairs::PairList,
        photos::PhotoSet,
        rates::{at_threshold, equal_error_rate, operating_point, trade_off},
        report::{AllPairs, BARS, Evaluation, Promise, mated_histogram, percent, rate},
        scores::Scores,
    },
    face::{OnnxEngine, calibration::Calibration},
};

/// Which photos, and on how many threads.
#[derive(Debug, clap::Args)]
struct PhotoArgs {
    /// A folder with a folder of photos for each person
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// A table instead: CSV with the heading photo,person and a column for each kind of group
    #[arg(long, value_name = "FILE", conflicts_with = "folder")]
    photos: Option<PathBuf>,
    /// Photos to leave out, one a line, and people who are the same, two photos with a comma between
    #[arg(long, value_name = "FILE")]
    known_errors: Option<PathBuf>,
    /// Threads, each with its own copy of the nets [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// Arguments of `evaluate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Every photo is compared with every other one. Embeddings stay in memory.")]
pub(super) struct EvaluateArgs {
    #[command(flatten)]
    photos: PhotoArgs,
    /// Labelled pairs instead: CSV with photo,photo,same; photos are looked for beside the file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["folder", "photos", "known_errors"])]
    pairs: Option<PathBuf>,
    /// Write a report with curve and histograms to this HTML file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Arguments of `calibrate`.
#[derive(Debug, clap::Args)]
pub(super) struct CalibrateArgs {
    #[command(flatten)]
    photos: PhotoArgs,
    /// Photos of people in groups, whose strangers look more alike (CSV with the heading photo,person,group):
    /// adds the part of the table that speaks of them
    #[arg(long, value_name = "FILE")]
    groups: Option<PathBuf>,
    /// What the groups are, in words
    #[arg(long, value_name = "WORDS", default_value = "sex and region of origin")]
    groups_are: String,
    /// What to call the table in answers and logs
    #[arg(long, value_name = "NAME")]
    id: String,
    /// Write the table to this file, to be put into the pack's pack.toml, instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Rates that are reported as far as the pairs go.
const RATES: [f64; 5] = [1e-2, 1e-3, 1e-4, 1e-5, 1e-6];

impl PhotoArgs {
    fn set(&self) -> Result<PhotoSet> {
        let mut set = match (&self.folder, &self.photos) {
            (Some(folder), _) => PhotoSet::from_folder(folder)?,
            (None, Some(table)) => PhotoSet::from_table(table)?,
            (None, None) => {
                bail!("which photos? Give a folder with a folder for each person, or --photos FILE")
            }
        };
        if let Some(errors) = &self.known_errors {
            set.correct(errors)?;
        }
        Ok(set)
    }

    fn gallery_of(&self, pack: &OpenedPack, set: &PhotoSet) -> Result<Gallery> {
        let paths: Vec<_> = set.photos.iter().map(|photo| photo.path.clone()).collect();
        self.gallery(pack, &paths)
    }

    fn gallery(&self, pack: &OpenedPack, paths: &[PathBuf]) -> Result<Gallery> {
        let threads = match self.threads {
            Some(threads) => threads.max(1),
            None => std::thread::available_parallelism()?.get(),
        };
        let mut engines =
            (0..threads).map(|_| pack.engine()).collect::<Result<Vec<OnnxEngine>, _>>()?;
        let bar = ProgressBar::new(paths.len() as u64)
            .with_style(ProgressStyle::with_template("{bar:40} {pos}/{len} photos, {eta} left")?);
        let gallery = Gallery::of(paths, &mut engines, &|done| bar.set_position(done as u64))?;
        bar.finish_and_clear();
        Ok(gallery)
    }
}

/// Prints or writes what was found.
pub(super) fn run(config: &Config, args: &EvaluateArgs) -> Result<ExitCode> {
    let pack = app::open_pack(config)?;
    let evaluation = match &args.pairs {
        Some(file) => evaluate_pairs(config, args, &pack, file)?,
        None => evaluate_set(config, args, &pack)?,
    };
    if let Some(path) = &args.html {
        fs::write(path, evaluation.html())
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&evaluation)?);
    } else {
        print_summary(&evaluation);
    }
    Ok(ExitCode::SUCCESS)
}

fn threshold(config: &Config, pack: &OpenedPack) -> Result<Option<(Calibration, f32)>> {
    let Some(table) = &pack.pack.calibration else { return Ok(None) };
    let calibration =
        Calibration::of(table, config.compare.population).map_err(anyhow::Error::msg)?;
    let similarity = calibration.similarity_at(-config.compare.fmr.log10());
    #[expect(clippy::cast_possible_truncation, reason = "similarities are single precision")]
    let similarity = similarity as f32;
    Ok(Some((calibration, similarity)))
}

fn evaluate_pairs(
    config: &Config,
    args: &EvaluateArgs,
    pack: &OpenedPack,
    file: &Path,
) -> Result<Evaluation> {
    let list = PairList::read(file, file.parent().unwrap_or(Path::new(".")))?;
    let gallery = args.photos.gallery(pack, &list.paths)?;
    let table = threshold(config, pack)?;
    let pairs = list.rates(&gallery, table.map_or(1.0, |(_, similarity)| similarity));
    let name = |photo: usize| list.paths[photo].display().to_string();
    Ok(Evaluation { pairs: Some(pairs), ..empty(pack, &gallery, 0, name) })
}

fn evaluate_set(config: &Config, args: &EvaluateArgs, pack: &OpenedPack) -> Result<Evaluation> {
    let set = args.photos.set()?;
    let gallery = args.photos.gallery_of(pack, &set)?;
    let scores = scores(&set, &gallery)?;
    let table = threshold(config, pack)?;
    let promises = table.as_ref().map(|(calibration, _)| promises(&scores, calibration));
    let all_pairs = AllPairs {
        mated: scores.mated.len(),
        non_mated: scores.non_mated(),
        equal_error_rate: equal_error_rate(&scores),
        operating_points: RATES.iter().filter_map(|fmr| operating_point(&scores, *fmr)).collect(),
        promises: promises.unwrap_or_default(),
        trade_off: trade_off(&scores),
        mated_histogram: mated_histogram(&scores),
        non_mated_histogram: scores.histogram.coarse(BARS),
    };
    let (mut groups, mut in_groups) = (Vec::new(), None);
    if let Some((_, similarity)) = table.as_ref().filter(|_| !set.columns.is_empty()) {
        groups = by_group(&set, &gallery, *similarity)?;
        in_groups = Some(at_threshold(&within(&set, &gallery)?, *similarity));
    }
    let name = |photo: usize| set.photos[photo].name.clone();
    let found = empty(pack, &gallery, scores.persons(), name);
    Ok(Evaluation { all_pairs: Some(all_pairs), groups, in_groups, ..found })
}

fn scores(set: &PhotoSet, gallery: &Gallery) -> Result<Scores> {
    let persons: Vec<_> = gallery.photos.iter().map(|photo| set.photos[*photo].person).collect();
    Ok(Scores::of(&gallery.embeddings, &persons)?)
}

/// The rows of the table that the photos can say something about.
fn promises(scores: &Scores, calibration: &Calibration) -> Vec<Promise> {
    let enough = |fmr: &&f64| **fmr * scores.non_mated() as f64 >= 3.0;
    let promise = |fmr: &f64| {
        #[expect(clippy::cast_possible_truncation, reason = "similarities are single precision")]
        let similarity = calibration.similarity_at(-fmr.log10()) as f32;
        Promise { promised_fmr: *fmr, measured: at_threshold(scores, similarity) }
    };
    RATES.iter().filter(enough).map(promise).collect()
}

fn empty(
    pack: &OpenedPack,
    gallery: &Gallery,
    persons: usize,
    name: impl Fn(usize) -> String,
) -> Evaluation {
    let refused = gallery.refused.iter();
    Evaluation {
        pack: pack.pack.name.clone(),
        calibration: pack.pack.calibration.as_ref().map_or("none".to_owned(), |t| t.id.clone()),
        photos: gallery.len(),
        persons,
        failure_rate: gallery.failure_rate(),
        refused: refused.map(|(photo, why)| (name(*photo), why.name().to_owned())).collect(),
        median_ms: gallery.median.as_secs_f64() * 1e3,
        all_pairs: None,
        pairs: None,
        groups: Vec::new(),
        in_groups: None,
    }
}

fn print_summary(evaluation: &Evaluation) {
    println!(
        "{}: {} photos, {} without a face ({}), {:.1} ms each",
        evaluation.pack,
        evaluation.photos,
        evaluation.refused.len(),
        percent(evaluation.failure_rate),
        evaluation.median_ms
    );
    if let Some(all) = &evaluation.all_pairs {
        println!(
            "{} people, {} mated and {} non-mated pairs",
            evaluation.persons, all.mated, all.non_mated
        );
        if let Some(rate) = all.equal_error_rate {
            println!("equal error rate {}", percent(rate));
        }
        if !all.operating_points.is_empty() {
            println!("\n{:<8} {:>10} {:>9} {:>20}", "FMR", "SIMILARITY", "FNMR", "95 %");
        }
        for point in &all.operating_points {
            let interval =
                point.fnmr_interval.map(|i| format!("{} - {}", percent(i.low), percent(i.high)));
            println!(
                "{:<8} {:>10.4} {:>9} {:>20}",
                rate(point.fmr),
                point.similarity,
                percent(point.fnmr),
                interval.unwrap_or_default()
            );
        }
        println!("\n{:<8} {:>10} {:>9} {:>20}", "PROMISED", "SIMILARITY", "MEASURED", "95 %");
        for promise in &all.promises {
            let interval = promise.measured.fmr_interval;
            let interval = interval.map(|i| format!("{} - {}", rate(i.low), rate(i.high)));
            println!(
                "{:<8} {:>10.4} {:>9} {:>20}",
                rate(promise.promised_fmr),
                promise.measured.similarity,
                rate(promise.measured.fmr),
                interval.unwrap_or_default()
            );
        }
    }
    if let Some(pairs) = &evaluation.pairs {
        println!(
            "{} mated and {} non-mated pairs, {} left out; ten-fold accuracy {}, at the threshold {}",
            pairs.mated,
            pairs.non_mated,
            pairs.left_out,
            percent(pairs.ten_fold_accuracy),
            percent(pairs.accuracy)
        );
    }
    if let Some(rates) = &evaluation.in_groups {
        println!("\nwithin groups together: false match rate {}", rate(rates.fmr));
    }
    if !evaluation.groups.is_empty() {
        println!("\n{:<28} {:>7} {:>9} {:>9} {:>9}", "GROUP", "PEOPLE", "PAIRS", "FMR", "FNMR");
        for group in &evaluation.groups {
            let fnmr = if group.has_mated { percent(group.rates.fnmr) } else { "-".to_owned() };
            let name = format!("{}: {}", group.column, group.group);
            println!(
                "{name:<28} {:>7} {:>9} {:>9} {fnmr:>9}",
                group.persons,
                group.pairs,
                rate(group.rates.fmr)
            );
        }
    }
}

/// Prints or writes a table.
pub(super) fn calibrate(config: &Config, args: &CalibrateArgs) -> Result<ExitCode> {
    let pack = app::open_pack(config)?;
    let set = args.photos.set()?;
    let gallery = args.photos.gallery_of(&pack, &set)?;
    let scores = scores(&set, &gallery)?;
    let mut text = table(&args.id, &pack, &scores, &knots(&scores)?);
    if let Some(file) = &args.groups {
        let set = PhotoSet::from_table(file)?;
        let scores = within(&set, &args.photos.gallery_of(&pack, &set)?)?;
        text.push_str(&group_table(&args.groups_are, &scores, &knots(&scores)?));
    }
    match &args.out {
        Some(path) => fs::write(path, text)
            .with_context(|| format!("{} cannot be written", path.display()))?,
        None => print!("{text}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// As it stands in a manifest.
fn table(id: &str, pack: &OpenedPack, scores: &Scores, knots: &[Knot]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("[calibration]\n");
    let id = toml::Value::String(id.to_owned());
    let _ = writeln!(text, "id = {id}");
    let _ = writeln!(text, "model = \"{}\"", pack.pack.digest());
    let _ = writeln!(
        text,
        "pair_type = \"selfie-selfie\"\npairs = {}\npersons = {}",
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

fn knot_rows(knots: &[Knot]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from(
        "# Similarity, false match rate; then the interval of the rate if the people had been others. Without one it\n\
         # is continued beyond the data.\nknots = [\n",
    );
    for knot in knots {
        let remark = match knot.interval {
            Some((low, high)) => format!("{low:.2e} to {high:.2e}"),
            None => "continued".to_owned(),
        };
        let _ = writeln!(text, "    [{:.5}, {:.4e}], # {remark}", knot.similarity, knot.fmr);
    }
    text.push_str("]\n");
    text
}

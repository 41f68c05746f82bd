//! `visavis evaluate` and `visavis calibrate` on real photos, and tables that belong to other nets.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use image::imageops::{FilterType, resize};
use serde_json::Value;
use visavis_face::{DecodeLimits, decode::decode, manifest::Manifest, stages::Stage};

use crate::support::{
    Ran, Run as _, create_data, in_repository,
    models::{pack, shared},
    pack_folder, runtime_library, with_models,
};

fn run(arguments: &[&str]) -> Ran {
    with_models().args(arguments).ran()
}

/// A folder with the photos of `count` people of the calibration set who have at least two.
fn some_people(calibration: &Path, count: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut people: Vec<_> =
        fs::read_dir(calibration).unwrap().map(|e| e.unwrap().path()).collect();
    people.sort();
    let has_two = |person: &&std::path::PathBuf| fs::read_dir(person).unwrap().count() == 2;
    for person in people.iter().filter(has_two).take(count) {
        symlink(person, folder.path().join(person.file_name().unwrap())).unwrap();
    }
    folder
}

/// The names of the two photos of each of these people.
fn photos_of(people: &Path) -> Vec<[String; 2]> {
    let mut folders: Vec<_> =
        fs::read_dir(people).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    folders.sort();
    let of_person = |folder: &PathBuf| {
        let person = folder.file_name().unwrap().to_str().unwrap();
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|file| format!("{person}/{}", file.unwrap().file_name().to_str().unwrap()))
            .collect();
        files.sort();
        files.try_into().unwrap()
    };
    folders.iter().map(of_person).collect()
}

fn evaluated(arguments: &[&str]) -> Value {
    let ran = run(&[&["evaluate", "--json"], arguments].concat());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "nothing but the object is printed");
    ran.json()
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_list_of_pairs_has_the_rates_of_its_pairs_and_accuracies() {
    let Some(folder) = shared("faces/pairs") else { return };
    let pairs = folder.join("pairs.csv").display().to_string();
    let found = evaluated(&["--pairs", &pairs]);
    assert_eq!((&found["photos"], &found["people"]), (&Value::from(25), &Value::Null));
    assert_eq!(found["mated"].as_u64().unwrap() + found["nonMated"].as_u64().unwrap(), 300);
    assert_eq!((&found["leftOut"], &found["failureToDetect"]), (&0.into(), &0.0.into()));
    assert!(found["eer"].as_f64().unwrap() < 0.1, "{found}");
    assert_eq!(keys(&found["claimed"]), ["1e-3", "1e-4", "1e-5"]);
    assert_eq!(keys(&found["at"]), ["1e-2"], "so few pairs show no rarer rate");
    assert!(found["tenFoldAccuracy"].as_f64().unwrap() > 0.98, "{found}");
    assert!(found["accuracy"].as_f64().unwrap() > 0.99, "{found}");
}

#[test]
fn the_paths_of_a_list_start_where_one_says_or_beside_it() {
    let Some(folder) = shared("faces/pairs") else { return };
    let own = tempfile::tempdir().unwrap();
    let list = own.path().join("list.csv");
    fs::write(&list, "img20.jpg,img21.jpg,1\nimg20.jpg,img16.jpg,0\nimg3.jpg,img16.jpg,0\n")
        .unwrap();
    let list = list.display().to_string();
    let root = folder.display().to_string();
    let found = evaluated(&["--pairs", &list, "--root", &root]);
    assert_eq!((&found["mated"], &found["nonMated"]), (&1.into(), &2.into()));
    let errors = own.path().join("errors.csv");
    fs::write(&errors, "img16.jpg,img3.jpg\n").unwrap();
    let errors = errors.display().to_string();
    let found = evaluated(&["--pairs", &list, "--root", &root, "--known-errors", &errors]);
    assert_eq!((&found["photos"], &found["nonMated"]), (&3.into(), &1.into()));
    let beside = run(&["evaluate", "--pairs", &list]);
    assert_eq!(beside.code, 2);
    assert!(beside.err.contains(own.path().to_str().unwrap()), "{}", beside.err);
}

#[test]
fn every_pair_of_a_folder_is_compared_and_the_report_is_one_page() {
    let Some(calibration) = shared("faces/calibration") else { return };
    let people = some_people(&calibration, 40);
    let page = people.path().join("report.html");
    let folder = people.path().display().to_string();
    let found = evaluated(&["--folder", &folder, "--report", page.to_str().unwrap()]);
    assert_eq!((&found["photos"], &found["people"]), (&Value::from(80), &Value::from(40)));
    assert_eq!(
        (&found["mated"], &found["nonMated"]),
        (&Value::from(40), &Value::from(80 * 78 / 2))
    );
    let at = &found["at"];
    assert_eq!(keys(at), ["1e-2", "1e-3"], "3120 pairs do not show one in ten thousand");
    assert!(at["1e-3"]["fnmr"].as_f64().unwrap() < 0.1, "{at}");
    let claimed = &found["claimed"];
    for (rate, score) in [("1e-3", 60), ("1e-4", 70), ("1e-5", 80)] {
        let claim = &claimed[rate];
        assert_eq!(claim["score"], score);
        assert!(claim["fmr"].as_f64().unwrap() < 0.01, "{claim}");
        assert!(claim["fnmr"].as_f64().unwrap() < 0.5, "{claim}");
    }
    assert!(claimed["1e-3"]["similarity"].as_f64() < claimed["1e-5"]["similarity"].as_f64());
    let claim = &claimed["1e-5"];
    assert_eq!((&claim["fmr"], &claim["fmrInterval"]), (&0.0.into(), &Value::Null), "{claim}");
    let interval = &claim["fnmrInterval"];
    assert!(interval["low"].as_f64() <= claim["fnmr"].as_f64(), "{claim}");
    assert!(claim["fnmr"].as_f64() < interval["high"].as_f64(), "{claim}");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("<svg") && !page.contains("http://") && !page.contains("https://"));
    assert!(!page.contains("src="), "nothing from elsewhere");
    assert!(page.contains("Time by stage") && page.contains("What the table claims"), "{page}");
}

/// Puts a folder of its own in the place of a link to one, with the same photos and one that has
/// lost its detail.
fn spoil(person: &Path) {
    let linked = fs::read_link(person).unwrap();
    fs::remove_file(person).unwrap();
    fs::create_dir(person).unwrap();
    for (n, entry) in fs::read_dir(linked).unwrap().enumerate() {
        let photo = entry.unwrap().path();
        fs::copy(&photo, person.join(photo.file_name().unwrap())).unwrap();
        if n == 0 {
            let bytes = fs::read(&photo).unwrap();
            let picture = decode(&bytes, &DecodeLimits::default()).unwrap();
            let (width, height) = picture.dimensions();
            let small = resize(&picture, 36, 36 * height / width, FilterType::Triangle);
            let spoiled = resize(&small, width, height, FilterType::Triangle);
            spoiled.save(person.join("spoiled.png")).unwrap();
        }
    }
}

#[test]
fn leaving_out_the_worst_photos_is_told_for_every_measure_and_pays_for_the_unified_one() {
    let Some(calibration) = shared("faces/calibration") else { return };
    let people = some_people(&calibration, 40);
    let page = people.path().join("report.html");
    for [photo, _] in photos_of(people.path()).into_iter().take(12) {
        let (person, _) = photo.split_once('/').unwrap();
        spoil(&people.path().join(person));
    }
    let folder = people.path().display().to_string();
    let found = evaluated(&["--folder", &folder, "--quality", "--report", page.to_str().unwrap()]);
    let quality = &found["quality"];
    assert_eq!(quality["fmr"], 1e-3, "so few pairs do not show one in ten thousand");
    assert!(quality["failed"].as_f64().unwrap() < 0.15, "{quality}");
    let measures = quality["measures"].as_array().unwrap();
    let curve = |name: &str| -> Vec<f64> {
        let measure = measures.iter().find(|m| m["measure"] == name).expect(name);
        let points = measure["curve"].as_array().unwrap().iter();
        points.map(|point| point[1].as_f64().unwrap()).collect()
    };
    assert_eq!(measures.len(), 27, "as many as the configuration has limits for");
    let unified = curve("unified");
    assert_eq!(unified[0].to_bits(), curve("roll_deg")[0].to_bits(), "nothing is left out yet");
    assert!(unified[0] > 0.02, "spoiled photos are not recognised: {unified:?}");
    assert!(*unified.last().unwrap() < unified[0] / 2.0, "without them all are: {unified:?}");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("error versus discard") && page.contains("<td>unified"), "{page}");
    let table = run(&["evaluate", "--folder", &folder, "--quality"]);
    assert!(table.out.contains("MEASURE") && table.out.contains("unified"), "{}", table.out);
}

#[test]
fn the_time_of_each_stage_is_told() {
    let Some(calibration) = shared("faces/calibration") else { return };
    let people = some_people(&calibration, 5);
    let folder = people.path().display().to_string();
    let found = evaluated(&["--folder", &folder, "--threads", "1"]);
    let names: Vec<_> = Stage::ALL.into_iter().map(Stage::name).collect();
    assert_eq!((keys(&found["stageMs"]), keys(&found["stageShare"])), (names.clone(), names));
    let sum = |what: &str| -> f64 {
        found[what].as_object().unwrap().values().map(|number| number.as_f64().unwrap()).sum()
    };
    assert!((sum("stageShare") - 1.0).abs() < 1e-6, "{found}");
    let whole = found["medianMs"].as_f64().unwrap();
    assert!((0.5..1.5).contains(&(sum("stageMs") / whole)), "stages make up the whole: {found}");
    let table = run(&["evaluate", "--folder", &folder]);
    assert!(table.out.contains("STAGE") && table.out.contains("landmarks"), "{}", table.out);
}

#[test]
fn pairs_whose_labels_are_wrong_are_neither_mated_nor_non_mated() {
    let Some(calibration) = shared("faces/calibration") else { return };
    let people = some_people(&calibration, 6);
    let folder = people.path().display().to_string();
    let all = evaluated(&["--folder", &folder]);
    assert_eq!((&all["mated"], &all["nonMated"]), (&6.into(), &(12 * 10 / 2).into()));
    let photos = photos_of(people.path());
    let errors = people.path().join("errors.csv");
    let [[a1, a2], [b1, _], [_, c2], [d1, _]] = &photos[..4] else { unreachable!() };
    fs::write(&errors, format!("# found by hand\n{a1},{a2}\n{b1},{c2}\n{d1}\n")).unwrap();
    let found = evaluated(&["--folder", &folder, "--known-errors", errors.to_str().unwrap()]);
    assert_eq!((&found["photos"], &found["people"]), (&11.into(), &6.into()));
    assert_eq!(found["mated"], 6 - 2, "without that of the first person and of a photo left out");
    assert_eq!(found["nonMated"], 11 * 10 / 2 - 5 - 4, "nothing between the second and the third");
    fs::write(&errors, "nobody/1.jpg\n").unwrap();
    let wrong = run(&["evaluate", "--folder", &folder, "--known-errors", errors.to_str().unwrap()]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("errors.csv, line 1") && wrong.err.contains("nobody/1.jpg"));
}

#[test]
fn selfies_are_held_against_documents_when_that_is_asked() {
    let Some(calibration) = shared("faces/calibration") else { return };
    let people = some_people(&calibration, 20);
    let table = people.path().join("photos.csv");
    let rows = photos_of(people.path()).into_iter().enumerate().map(|(person, [one, other])| {
        format!("{one},{person},selfie\n{other},{person},document\n")
    });
    fs::write(&table, format!("photo,person,kind\n{}", rows.collect::<String>())).unwrap();
    let table = table.to_str().unwrap();
    let cross = evaluated(&["--photos", table, "--pair-type", "selfie-document"]);
    assert_eq!((&cross["pairType"], &cross["photos"]), (&"selfie-document".into(), &40.into()));
    assert_eq!((&cross["mated"], &cross["nonMated"]), (&20.into(), &(20 * 19).into()));
    let interval = &cross["claimed"]["1e-5"]["fnmrInterval"];
    assert!(interval["low"].is_f64() && interval["high"].is_f64(), "{cross}");
    let selfies = evaluated(&["--photos", table]);
    assert_eq!((&selfies["pairType"], &selfies["photos"]), (&"selfie-selfie".into(), &20.into()));
    assert_eq!((&selfies["mated"], &selfies["nonMated"]), (&0.into(), &(20 * 19 / 2).into()));
    assert_eq!(selfies["claimed"]["1e-3"]["fnmr"], Value::Null, "no mated pair says anything");

    let folder = people.path().display().to_string();
    let unknown = run(&["evaluate", "--folder", &folder, "--pair-type", "selfie-document"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("photo,person,kind"), "{}", unknown.err);
}

#[test]
fn groups_of_a_table_are_told_worst_first() {
    let Some(folder) = shared("faces/groups") else { return };
    let own = two_groups(&folder, 60);
    let file = own.path().join("photos.csv");
    let groups = evaluated(&["--photos", file.to_str().unwrap()])["groups"].clone();
    let names: Vec<_> = groups.as_array().unwrap().iter().map(|g| &g["group"]).collect();
    assert_eq!(names, ["asian-f", "white-m"], "{groups}");
    assert_eq!((&groups[0]["people"], &groups[0]["nonMated"]), (&60.into(), &(60 * 59 / 2).into()));
    assert_eq!(groups[0]["fnmr"], Value::Null);
}

/// A table of some people of two groups, and beside them a photo that shows no one.
fn two_groups(folder: &Path, of_each: usize) -> tempfile::TempDir {
    let table = fs::read_to_string(folder.join("photos.csv")).unwrap();
    let own = tempfile::tempdir().unwrap();
    let mut lines = vec!["photo,person,group".to_owned(), "grey.png,nobody,white-m".to_owned()];
    for group in ["asian-f", "white-m"] {
        symlink(folder.join(group), own.path().join(group)).unwrap();
        let of_group = table.lines().filter(|line| line.starts_with(group));
        lines.extend(of_group.take(of_each).map(str::to_owned));
    }
    image::RgbImage::from_pixel(200, 200, image::Rgb([128; 3]))
        .save(own.path().join("grey.png"))
        .unwrap();
    fs::write(own.path().join("photos.csv"), lines.join("\n")).unwrap();
    own
}

/// Every path to a member of an object, with RATE for the name of a rate and STAGE for that of a
/// stage. Intervals are a thing of their own.
fn paths(found: &Value, at: &str, all: &mut BTreeSet<String>) {
    let is_interval = |object: &serde_json::Map<String, Value>| object.contains_key("low");
    match found {
        Value::Object(_) if at.ends_with("reasons") => drop(all.insert(at.to_owned())),
        Value::Object(object) if !object.is_empty() && !is_interval(object) => {
            for (name, member) in object {
                let name = match name.as_str() {
                    name if name.starts_with("1e-") => "RATE",
                    name if at.starts_with("stage") && !name.is_empty() => "STAGE",
                    name => name,
                };
                let dot = if at.is_empty() { "" } else { "." };
                paths(member, &format!("{at}{dot}{name}"), all);
            }
        }
        Value::Array(array) if array.iter().any(Value::is_object) => {
            for item in array {
                paths(item, &format!("{at}[]"), all);
            }
        }
        _ => drop(all.insert(at.to_owned())),
    }
}

#[test]
fn the_documentation_lists_the_members_of_the_object_and_no_others() {
    let Some(folder) = shared("faces/groups") else { return };
    let own = two_groups(&folder, 10);
    let file = own.path().join("photos.csv");
    // Each photo twice, so that there are mated pairs.
    let table = fs::read_to_string(&file).unwrap();
    let again: Vec<_> = table.lines().skip(2).collect();
    fs::write(&file, format!("{table}\n{}\n", again.join("\n"))).unwrap();
    let mut found = BTreeSet::new();
    paths(&evaluated(&["--photos", file.to_str().unwrap(), "--quality"]), "", &mut found);
    let text = fs::read_to_string(in_repository("docs/EVALUATION.md")).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with("The JSON of")).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split(" | ").next().unwrap());
    let documented: BTreeSet<String> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(found, documented);
}

#[test]
fn a_table_needs_enough_people_and_a_question_needs_photos() {
    let Some(calibration) = shared("faces/calibration") else { return };
    let people = some_people(&calibration, 5);
    let folder = people.path().display().to_string();
    for (arguments, reported) in [
        (vec!["calibrate", "--folder", &folder, "--id", "x"], "at least 30000"),
        (vec!["calibrate", "--id", "x"], "--folder <DIR>|--photos <FILE>"),
        (vec!["evaluate", "--json"], "--folder <DIR>|--photos <FILE>|--pairs <FILE>"),
        (vec!["evaluate", "--folder", &folder, "--pairs", "x.csv"], "cannot be used with"),
        (vec!["evaluate", "--folder", &folder, "--root", "x"], "cannot be used with"),
        (vec!["evaluate", "--folder", "/nowhere"], "/nowhere"),
        (vec!["evaluate", "--pairs", "/nowhere.csv"], "/nowhere.csv"),
    ] {
        let ran = run(&arguments);
        assert_eq!(ran.code, 2, "{arguments:?}");
        assert!(ran.err.contains(reported), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn the_table_of_each_built_in_pack_was_measured_with_its_nets() {
    let manifest = Manifest::load(Path::new("/nowhere")).unwrap();
    let mut tables = 0;
    for name in manifest.packs.keys() {
        let pack = manifest.resolve(name).unwrap();
        if let Some(table) = &pack.calibration {
            assert_eq!(table.model, pack.digest(), "{name}");
            tables += 1;
        }
    }
    assert!(tables >= 4, "{tables}");
}

#[test]
fn the_score_can_speak_of_strangers_of_one_group_and_both_rates_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let reported = run(&["check", "--data", &data]);
    assert!(reported.out.contains("1.0e-5 among all"), "{}", reported.out);
    assert!(
        reported.out.contains("e-3 among people of one sex and region of origin"),
        "{}",
        reported.out
    );
    assert!(run(&["models", "list"]).out.contains("12943492 pairs of 2317 people"));

    let [one, other] = ["obama-2009.jpg", "obama-2012.jpg"];
    let [one, other] = [one, other].map(|name| in_repository(&format!("samples/{name}")));
    let compare = |population: &str| {
        let mut command = with_models();
        command.env("VISAVIS_COMPARE_POPULATION", population);
        let ran: Ran = command.args(["compare", &one, &other, "--json"]).ran();
        ran.json()
    };
    let (mixed, within) = (compare("mixed"), compare("within-group"));
    let table = pack().calibration.unwrap();
    assert_eq!(
        (&mixed["calibration"], &within["calibration"]),
        (&table.id.clone().into(), &format!("{}-within-group", table.id).into())
    );
    assert!(within["score"].as_f64() < mixed["score"].as_f64(), "{within} {mixed}");
    assert_eq!(within["similarity"], mixed["similarity"]);
}

/// Puts the nets of the pack into `models` under the name `mine`, without a table: the text of its
/// `pack.toml`.
fn pack_without_table(models: &Path) -> toml::Table {
    let name = pack().name;
    symlink(pack_folder(), models.join(&name)).unwrap();
    let manifest: toml::Table =
        fs::read_to_string(in_repository("models/manifest.toml")).unwrap().parse().unwrap();
    let built_in = manifest[&name].as_table().unwrap();
    let mut own = toml::Table::new();
    for role in ["detector", "landmarks"] {
        own.insert(
            role.to_owned(),
            toml::Table::from_iter([("from".to_owned(), name.clone().into())]).into(),
        );
    }
    for name in ["about", "accuracy", "embedder"] {
        own.insert(name.to_owned(), built_in[name].clone());
    }
    let mine = models.join("mine");
    fs::create_dir(&mine).unwrap();
    let file = built_in["embedder"]["file"].as_str().unwrap();
    fs::copy(pack_folder().join(file), mine.join(file)).unwrap();
    fs::write(mine.join("pack.toml"), own.to_string()).unwrap();
    own
}

/// `check` of the pack `mine`.
fn check_mine(models: &Path, data: &Path, allow_uncalibrated: bool) -> Ran {
    let mut command = with_models();
    command.arg("check").arg("--data").arg(data);
    command.env("VISAVIS_MODEL_DIR", models).env("VISAVIS_MODEL_PACK", "mine");
    command.env("VISAVIS_MODEL_ALLOW_UNCALIBRATED", allow_uncalibrated.to_string());
    command.ran()
}

/// In a checkout of its own, whose scripts are those of this one.
#[test]
fn one_command_calibrates_a_pack_which_then_starts() {
    let Some(calibration) = shared("faces/calibration") else { return };
    let people = some_people(&calibration, 125);
    let checkout = tempfile::tempdir().unwrap();
    let [models, data, target] =
        ["models", "data", "target"].map(|name| checkout.path().join(name));
    fs::create_dir(&models).unwrap();
    for name in ["scripts", "models/manifest.toml", "models/packages.lock"] {
        symlink(in_repository(name), checkout.path().join(name)).unwrap();
    }
    pack_without_table(&models);
    create_data(&data);
    let refused = check_mine(&models, &data, false);
    assert_eq!(refused.code, 1, "{}", refused.out);
    let file = models.join("mine/pack.toml");
    assert!(refused.out.contains(&*file.display().to_string()), "{}", refused.out);

    let mut command = Command::new(checkout.path().join("scripts/calibrate-pack"));
    command.arg("mine").arg(people.path()).arg(env!("CARGO_BIN_EXE_visavis"));
    command.env("CARGO_TARGET_DIR", &target).env("ORT_DYLIB_PATH", runtime_library());
    let calibrated = command.env_remove("VISAVIS_RUNTIME_DEVICE").ran();
    assert_eq!(calibrated.code, 0, "{}{}", calibrated.out, calibrated.err);
    let table = fs::read_to_string(target.join("calibrated/mine/table.toml")).unwrap();
    for part in [
        table.as_str(),
        "Table `mine-1`",
        "pairs of 125 people",
        " on cpu.",
        "append the table to models/mine/pack.toml",
    ] {
        assert!(calibrated.out.contains(part), "{part}: {}", calibrated.out);
    }
    let own = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{own}\n{table}")).unwrap();
    let started = check_mine(&models, &data, false);
    assert_eq!(started.code, 0, "{}{}", started.out, started.err);
    assert!(started.out.contains("calibration mine-1"), "{}", started.out);
}

#[test]
fn a_pack_is_not_calibrated_without_photos() {
    let mut command = Command::new(in_repository("scripts/calibrate-pack"));
    let refused = command.args(["sface", "/nowhere"]).ran();
    assert_eq!((refused.code, refused.out.as_str()), (2, ""));
    assert!(refused.err.contains("FACES is not a folder (/nowhere): set it"), "{}", refused.err);
}

/// The nets of the pack under another name, with a table that says it is of others.
#[test]
fn a_pack_with_the_table_of_other_nets_does_not_start_unless_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut own = pack_without_table(folder.path());
    let knots = toml::Value::Array(vec![
        toml::Value::Array(vec![0.2.into(), 1e-2.into()]),
        toml::Value::Array(vec![0.6.into(), 1e-6.into()]),
    ]);
    let data = folder.path().join("data");
    create_data(&data);
    for (table, reported) in [
        (None, "has no calibration table"),
        (Some("0123456789abcdef"), "was measured with other nets"),
    ] {
        if let Some(model) = table {
            let table =
                [("id", "theirs".into()), ("model", model.into()), ("knots", knots.clone())];
            let table = table.map(|(name, value)| (name.to_owned(), value));
            own.insert("calibration".to_owned(), toml::Table::from_iter(table).into());
        }
        fs::write(folder.path().join("mine/pack.toml"), own.to_string()).unwrap();
        let refused = check_mine(folder.path(), &data, false);
        assert_eq!(refused.code, 1, "{}{}", refused.out, refused.err);
        assert!(
            refused.out.contains(reported) && refused.out.contains("visavis calibrate"),
            "{}",
            refused.out
        );
        let insisted = check_mine(folder.path(), &data, true);
        assert_eq!(insisted.code, 0, "{}", insisted.out);
        assert!(insisted.out.contains("UNCALIBRATED") || insisted.out.contains("OTHER NETS"));
    }
}

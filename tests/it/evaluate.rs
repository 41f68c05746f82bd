//! `visavis evaluate` and `visavis calibrate` on real photos, and tables that belong to other nets.

use std::{fs, os::unix::fs::symlink, path::Path};

use serde_json::Value;

use crate::support::{
    Ran, in_repository,
    models::{pack, shared},
    pack_folder, with_models,
};

fn run(arguments: &[&str]) -> Ran {
    with_models().args(arguments).output().unwrap().into()
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

#[test]
fn labelled_pairs_are_decided_and_counted() {
    let Some(folder) = shared("faces/pairs") else { return };
    let pairs = folder.join("pairs.csv").display().to_string();
    let ran = run(&["evaluate", "--pairs", &pairs, "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let found = ran.json();
    let rates = &found["pairs"];
    assert_eq!(found["photos"], 25);
    assert_eq!(rates["mated"].as_u64().unwrap() + rates["non_mated"].as_u64().unwrap(), 300);
    assert!(rates["ten_fold_accuracy"].as_f64().unwrap() > 0.98, "{rates}");
    assert!(rates["accuracy"].as_f64().unwrap() > 0.99, "{rates}");
}

#[test]
fn every_pair_of_a_folder_is_compared_and_the_report_is_one_page() {
    let Some(calibration) = shared("faces/calibration") else { return };
    let people = some_people(&calibration, 40);
    let page = people.path().join("report.html");
    let folder = people.path().display().to_string();
    let ran = run(&["evaluate", &folder, "--json", "--html", page.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let found = ran.json();
    let all = &found["all_pairs"];
    assert_eq!((&found["photos"], &found["persons"]), (&Value::from(80), &Value::from(40)));
    assert_eq!((&all["mated"], &all["non_mated"]), (&Value::from(40), &Value::from(80 * 78 / 2)));
    let point = &all["operating_points"][1];
    assert!((point["fmr"].as_f64().unwrap() - 1e-3).abs() < 1e-9, "{point}");
    assert!(point["fnmr"].as_f64().unwrap() < 0.1, "{point}");
    assert!(all["promises"][0]["measured"]["fmr"].as_f64().unwrap() < 0.02, "{all}");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("<svg") && !page.contains("http://") && !page.contains("https://"));
    assert!(!page.contains("src="), "nothing from elsewhere");
}

#[test]
fn groups_of_a_table_are_told_worst_first() {
    let Some(folder) = shared("faces/groups") else { return };
    let table = fs::read_to_string(folder.join("photos.csv")).unwrap();
    let own = tempfile::tempdir().unwrap();
    let mut lines = vec!["photo,person,group".to_owned()];
    for group in ["asian-f", "white-m"] {
        symlink(folder.join(group), own.path().join(group)).unwrap();
        let of_group = table.lines().filter(|line| line.starts_with(group));
        lines.extend(of_group.take(60).map(str::to_owned));
    }
    let file = own.path().join("photos.csv");
    fs::write(&file, lines.join("\n")).unwrap();
    let ran = run(&["evaluate", "--photos", file.to_str().unwrap(), "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let groups = ran.json()["groups"].clone();
    let names: Vec<_> = groups.as_array().unwrap().iter().map(|g| &g["group"]).collect();
    assert_eq!(names, ["asian-f", "white-m"], "{groups}");
    assert_eq!(groups[0]["pairs"], 60 * 59 / 2);
    assert_eq!(groups[0]["has_mated"], false);
}

#[test]
fn a_table_needs_enough_people_and_a_question_needs_photos() {
    let Some(calibration) = shared("faces/calibration") else { return };
    let people = some_people(&calibration, 5);
    let folder = people.path().display().to_string();
    for (arguments, told) in [
        (vec!["calibrate", &folder, "--id", "x"], "at least 30000"),
        (vec!["calibrate", "--id", "x"], "--photos FILE"),
        (vec!["evaluate", "/nowhere"], "/nowhere"),
        (vec!["evaluate", "--pairs", "/nowhere.csv"], "/nowhere.csv"),
    ] {
        let ran = run(&arguments);
        assert_eq!(ran.code, 2, "{arguments:?}");
        assert!(ran.err.contains(told), "{}", ran.err);
    }
}

#[test]
fn the_table_of_the_default_pack_was_measured_with_its_nets() {
    let pack = pack();
    assert_eq!(pack.calibration.as_ref().unwrap().model, pack.digest());
}

#[test]
fn the_score_can_speak_of_strangers_of_one_group_and_both_rates_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let told = run(&["check", "--data", &data]);
    assert!(told.out.contains("1.0e-5 among all"), "{}", told.out);
    assert!(told.out.contains("e-3 among people of one sex and region of origin"), "{}", told.out);
    assert!(run(&["models", "list"]).out.contains("12943492 pairs of 2311 people"));

    let [one, other] = ["obama-2009.jpg", "obama-2012.jpg"];
    let [one, other] = [one, other].map(|name| in_repository(&format!("samples/{name}")));
    let compare = |population: &str| {
        let mut command = with_models();
        command.env("VISAVIS_COMPARE_POPULATION", population);
        let ran: Ran = command.args(["compare", &one, &other, "--json"]).output().unwrap().into();
        ran.json()
    };
    let (mixed, within) = (compare("mixed"), compare("within-group"));
    assert_eq!(
        (&mixed["calibration"], &within["calibration"]),
        (&"omz-2".into(), &"omz-2-within-group".into())
    );
    assert!(within["score"].as_f64() < mixed["score"].as_f64(), "{within} {mixed}");
    assert_eq!(within["similarity"], mixed["similarity"]);
}

/// The nets of omz under another name, with a table that says it is of others.
#[test]
fn a_pack_with_the_table_of_other_nets_does_not_start_unless_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    symlink(pack_folder(), folder.path().join("omz")).unwrap();
    let manifest: toml::Table =
        fs::read_to_string(in_repository("models/manifest.toml")).unwrap().parse().unwrap();
    let omz = manifest["omz"].as_table().unwrap();
    let mut own = toml::Table::new();
    for role in ["detector", "landmarks"] {
        own.insert(
            role.to_owned(),
            toml::Table::from_iter([("from".to_owned(), "omz".into())]).into(),
        );
    }
    for name in ["about", "accuracy", "embedder"] {
        own.insert(name.to_owned(), omz[name].clone());
    }
    let knots = toml::Value::Array(vec![
        toml::Value::Array(vec![0.2.into(), 1e-2.into()]),
        toml::Value::Array(vec![0.6.into(), 1e-6.into()]),
    ]);
    let mine = folder.path().join("mine");
    fs::create_dir(&mine).unwrap();
    fs::copy(
        pack_folder().join(omz["embedder"]["file"].as_str().unwrap()),
        mine.join(omz["embedder"]["file"].as_str().unwrap()),
    )
    .unwrap();
    for (table, told) in [
        (None, "has no calibration table"),
        (Some("0123456789abcdef"), "was measured with other nets"),
    ] {
        if let Some(model) = table {
            let table =
                [("id", "theirs".into()), ("model", model.into()), ("knots", knots.clone())];
            let table = table.map(|(name, value)| (name.to_owned(), value));
            own.insert("calibration".to_owned(), toml::Table::from_iter(table).into());
        }
        fs::write(mine.join("pack.toml"), own.to_string()).unwrap();
        let check = |insist: bool| -> Ran {
            let mut command = with_models();
            command.arg("check").arg("--data").arg(folder.path().join("data"));
            command.env("VISAVIS_MODEL_DIR", folder.path()).env("VISAVIS_MODEL_PACK", "mine");
            command.env("VISAVIS_MODEL_ALLOW_UNCALIBRATED", insist.to_string());
            command.output().unwrap().into()
        };
        let refused = check(false);
        assert_eq!(refused.code, 1, "{}{}", refused.out, refused.err);
        assert!(
            refused.out.contains(told) && refused.out.contains("visavis calibrate"),
            "{}",
            refused.out
        );
        let insisted = check(true);
        assert_eq!(insisted.code, 0, "{}", insisted.out);
        assert!(insisted.out.contains("UNCALIBRATED") || insisted.out.contains("OTHER NETS"));
    }
}

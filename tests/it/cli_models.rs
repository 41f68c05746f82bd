//! The command line with the real models: what it decides, and how it names what is missing.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use serde_json::{Value, json};
use visavis_face::{manifest::Manifest, sha256_hex};

use crate::support::{
    Ran, Run as _, create_data, in_repository,
    models::{pack, shared},
    pack_folder, program, runtime_library, visavis, with_models,
};

fn ran(command: &mut Command) -> Ran {
    command.ran()
}

fn compare(probe: &str, reference: &str, more: &[&str]) -> Ran {
    let sample = |name: &str| in_repository(&format!("samples/{name}"));
    ran(with_models().args(["compare", &sample(probe), &sample(reference)]).args(more))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect()
}

/// What `compare --json` says of one photo.
fn assert_face(face: &Value, (width, height): (f64, f64)) {
    assert_eq!(face["quality"], "PASS", "{face}");
    let reasons = face["reasons"].as_array().unwrap();
    assert!(reasons.iter().all(Value::is_string), "{face}");
    let side = |name: &str| face["box"][name].as_f64().unwrap();
    assert!(side("width") > 40.0 && side("height") > 40.0, "{face}");
    assert!(side("x") + side("width") < width && side("y") + side("height") < height, "{face}");
    let points: Vec<Vec<f64>> = face["landmarks"].as_array().unwrap().iter().map(numbers).collect();
    assert_eq!(points.len(), 5, "{face}");
    for point in &points {
        assert!(point[0] > side("x") && point[0] < side("x") + side("width"), "{face}");
    }
    assert!(points[0][0] < points[1][0], "the left eye is the left one: {face}");
    assert!(points[0][1] < points[3][1], "eyes are above the mouth: {face}");
    assert_eq!((face["width"].as_f64(), face["height"].as_f64()), (Some(width), Some(height)));
    assert!(face["measures"]["inter_eye_distance_px"].as_f64().unwrap() > 20.0, "{face}");
}

#[test]
fn two_photos_of_one_person_are_the_same_person() {
    let compared = compare("obama-2012.jpg", "obama-2009.jpg", &["--json"]);
    assert_eq!((compared.code, compared.err.as_str()), (0, ""), "{}", compared.out);
    let verdict = compared.json();
    let members: Vec<_> = verdict.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        members,
        [
            "samePerson",
            "score",
            "threshold",
            "similarity",
            "degradationLoss",
            "model",
            "calibration",
            "face1",
            "face2"
        ]
    );
    assert_eq!((&verdict["samePerson"], &verdict["threshold"]), (&json!(true), &json!(80.0)));
    let score = verdict["score"].as_f64().unwrap();
    assert!((80.0..100.0).contains(&score), "{score}");
    // The README of the samples has the results of an independent pipeline.
    let similarity = verdict["similarity"].as_f64().unwrap();
    let is_default = pack().name == "omz";
    assert!(!is_default || (similarity - 0.767).abs() < 0.02, "{similarity}");
    for (face, name) in [("face1", "obama-2012.jpg"), ("face2", "obama-2009.jpg")] {
        let bytes = fs::read(in_repository(&format!("samples/{name}"))).unwrap();
        let limits = visavis::compare::DecodeLimits::default();
        let picture = visavis_face::decode::decode(&bytes, &limits).unwrap();
        let size = (f64::from(picture.width()), f64::from(picture.height()));
        assert_face(&verdict[face], size);
    }
    let reported = compare("obama-2012.jpg", "obama-2009.jpg", &[]);
    assert_eq!(reported.code, 0);
    assert!(reported.out.starts_with("SAME PERSON\n"), "{}", reported.out);
}

#[test]
fn a_photo_of_another_format_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let photo = in_repository("samples/obama-2012.jpg");
    for (name, bytes, message) in [
        (
            "a.heic",
            &b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..],
            " is HEIC, which is not supported; convert it to JPEG (accepted: JPEG, PNG, BMP, WebP)",
        ),
        ("a.txt", b"hello", ": unsupported image format (expected JPEG, PNG, BMP or WebP)"),
    ] {
        let path = folder.path().join(name).display().to_string();
        fs::write(&path, bytes).unwrap();
        let compared = ran(with_models().args(["compare", &path, &photo]));
        assert_eq!((compared.code, compared.err), (2, format!("error: {path}{message}\n")));
    }
}

#[test]
fn a_reason_is_printed_with_its_code_measure_value_and_limit() {
    let sample = |name: &str| in_repository(&format!("samples/{name}"));
    let mut command = with_models();
    command
        .args(["compare", &sample("obama-2012.jpg"), &sample("obama-2009.jpg")])
        .env("VISAVIS_QUALITY_SELFIE_SHARPNESS_FAIL_BELOW", "1000")
        .env("VISAVIS_QUALITY_SELFIE_BRIGHTNESS_WARN_ABOVE", "0");
    let compared = ran(&mut command);
    assert_eq!(compared.code, 1, "{}", compared.err);
    let lines: Vec<_> = compared.out.lines().map(str::trim).collect();
    for (start, end) in [
        ("FAIL BLURRED: sharpness ", " is below the minimum of 1000"),
        ("the photo is blurred. Hold the camera still", "."),
        ("warning TOO_BRIGHT: brightness 0.", " is above the maximum of 0"),
    ] {
        let has = |line: &&str| line.starts_with(start) && line.ends_with(end);
        assert_eq!(lines.iter().filter(|line| has(line)).count(), 2, "{}", compared.out);
    }
}

/// Whatever the score: a blurred photo of the same person scores low too.
#[test]
fn a_photo_that_fails_the_quality_check_gives_no_reliable_result() {
    let sample = |name: &str| in_repository(&format!("samples/{name}.jpg"));
    for other in ["obama-2009", "collins"] {
        let mut command = with_models();
        command.args(["compare", &sample("obama-2012"), &sample(other), "--document"]);
        let compared = ran(command.env("VISAVIS_QUALITY_DOCUMENT_SHARPNESS_FAIL_BELOW", "1000"));
        assert_eq!(compared.code, 1, "{}", compared.err);
        let headline = "NO RELIABLE RESULT: photo 2 is blurred\n";
        assert!(compared.out.starts_with(headline), "{other}: {}", compared.out);
    }
}

#[test]
fn a_portrait_on_a_document_is_decided_at_the_rate_for_documents() {
    let sample = |name: &str| in_repository(&format!("samples/{name}"));
    let threshold = |more: &[&str]| {
        let mut command = with_models();
        command.args(["compare", &sample("obama-2012.jpg"), &sample("obama-2009.jpg"), "--json"]);
        ran(command.args(more).env("VISAVIS_COMPARE_DOCUMENT_FMR", "1e-4")).json()["threshold"]
            .clone()
    };
    assert_eq!((threshold(&[]), threshold(&["--document"])), (json!(80.0), json!(70.0)));
}

#[test]
fn photos_of_two_people_are_not_the_same_person() {
    let compared = compare("obama-2012.jpg", "collins.jpg", &["--json"]);
    assert_eq!((compared.code, compared.err.as_str()), (1, ""), "{}", compared.out);
    let verdict = compared.json();
    assert_eq!(verdict["samePerson"], false);
    assert!(verdict["score"].as_f64().unwrap() < 50.0, "{verdict}");
    let (similarity, is_default) = (verdict["similarity"].as_f64().unwrap(), pack().name == "omz");
    assert!(!is_default || (similarity - 0.049).abs() < 0.02, "{verdict}");
    assert_eq!(
        (&verdict["face1"]["quality"], &verdict["face2"]["quality"]),
        (&json!("PASS"), &json!("PASS"))
    );
}

#[test]
fn a_file_that_is_no_image_is_an_error_and_is_named() {
    let compared = compare("obama-2012.jpg", "README.md", &["--json"]);
    assert_eq!(compared.code, 2);
    let refused = compared.json();
    assert_eq!(refused["face"], "face2");
    assert!(refused["error"].as_str().unwrap().contains("README.md"), "{refused}");
    assert!(
        compared.err.contains("README.md") && compared.err.contains("unsupported image format"),
        "{}",
        compared.err
    );
    let missing = compare("nobody.jpg", "obama-2012.jpg", &[]);
    assert_eq!((missing.code, missing.out.as_str()), (2, ""));
    assert!(missing.err.contains("nobody.jpg"), "{}", missing.err);
}

#[test]
fn the_annotated_sheet_is_a_png_that_shows_both_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let sheet = folder.path().join("sheet.png");
    let path = sheet.display().to_string();
    assert_eq!(compare("obama-2012.jpg", "collins.jpg", &["--annotate", &path]).code, 1);
    let bytes = fs::read(&sheet).unwrap();
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1A\n"));
    let limits = visavis::compare::DecodeLimits::default();
    let picture = visavis_face::decode::decode(&bytes, &limits).unwrap();
    assert!(picture.width() > 600 && picture.height() > 480, "{:?}", picture.dimensions());
    let colours: std::collections::HashSet<_> = picture.pixels().map(|p| p.0).collect();
    assert!(colours.len() > 1_000, "photos and not a blank sheet");
}

#[test]
fn models_are_listed_with_digest_and_state() {
    let listed = ran(with_models().args(["models", "list", "--json"]));
    assert_eq!(listed.code, 0, "{}", listed.err);
    let packs = listed.json();
    let omz = packs["omz"]["files"].as_array().unwrap();
    let roles: Vec<_> = omz.iter().map(|f| f["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["detector", "landmarks", "pose", "eyes", "embedder"]);
    let there = &packs[pack().name];
    assert!(there["about"].is_string() && there["accuracy"].is_string(), "{there}");
    for file in there["files"].as_array().unwrap() {
        assert_eq!(file["sha256"].as_str().unwrap().len(), 64, "{file}");
        assert!(file["licence"].is_string() && file["state"] == "verified", "{file}");
    }
    let text = visavis(&["models", "list"]).out;
    let auraface = text.split("\n\n").find(|block| block.starts_with("auraface: ")).unwrap();
    for part in ["calibration: none, so it does not start", " 260.7 MB  Apache-2.0 "] {
        assert!(auraface.contains(part), "{part}: {auraface}");
    }
    let empty = tempfile::tempdir().unwrap();
    let without =
        ran(program().args(["models", "list", "--json"]).env("VISAVIS_MODEL_DIR", empty.path()));
    assert_eq!(without.json()["omz"]["files"][0]["state"], "missing");
}

/// A folder with a copy of the pack in which one byte of the detector is another one.
fn damaged() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let detector = pack().detector;
    let pack = folder.path().join(&detector.pack);
    fs::create_dir(&pack).unwrap();
    for entry in fs::read_dir(pack_folder()).unwrap() {
        let entry = entry.unwrap();
        let mut bytes = fs::read(entry.path()).unwrap();
        if *entry.file_name() == *detector.net.weights.file {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        fs::write(pack.join(entry.file_name()), bytes).unwrap();
    }
    folder
}

#[test]
fn a_changed_net_is_not_loaded_and_the_cure_is_told() {
    let models = damaged();
    let data = tempfile::tempdir().unwrap();
    let data = data.path().join("data").display().to_string();
    create_data(Path::new(&data));
    let check = |folder: &Path| {
        ran(program()
            .args(["check", "--json", "--data", &data])
            .env("VISAVIS_MODEL_DIR", folder)
            .env("VISAVIS_MODEL_PACK", pack().name)
            .env("ORT_DYLIB_PATH", runtime_library()))
    };
    let good = check(pack_folder().parent().unwrap());
    assert_eq!(good.code, 0, "{}{}", good.out, good.err);
    let findings = good.json();
    let what: Vec<_> = findings.as_array().unwrap().iter().map(|f| &f["what"]).collect();
    assert_eq!(
        what,
        [
            "configuration",
            "ports",
            "tls",
            "device",
            "runtime",
            "models",
            "folder",
            "permissions",
            "clocks",
            "clients",
            "audit",
            "secrets",
            "folders",
            "files",
            "memory",
            "traces",
            "data"
        ]
    );

    let bad = check(models.path());
    assert_eq!(bad.code, 1, "{}{}", bad.out, bad.err);
    let findings = bad.json();
    let found = findings.as_array().unwrap().iter().find(|f| f["ok"] == false).unwrap();
    let detail = found["detail"].as_str().unwrap();
    assert_eq!(found["what"], "models");
    let file = pack().detector.net.weights.file;
    assert!(detail.contains(&file) && detail.contains("models pull"), "{detail}");

    let verified = ran(program()
        .args(["models", "verify", &pack().name])
        .env("VISAVIS_MODEL_DIR", models.path()));
    assert_eq!(verified.code, 1);
    let wrong: Vec<_> = verified.out.lines().filter(|l| !l.ends_with("verified")).collect();
    assert!(matches!(wrong[..], [line] if line.starts_with(&file)), "{wrong:?}");
}

#[test]
fn a_missing_library_or_pack_is_one_sentence_with_the_cure() {
    let pair = [in_repository("samples/hopper.jpg"), in_repository("samples/collins.jpg")];
    let compare = |library: &Path, models: &Path| {
        ran(program()
            .arg("compare")
            .args(&pair)
            .env("ORT_DYLIB_PATH", library)
            .env("VISAVIS_MODEL_PACK", pack().name)
            .env("VISAVIS_MODEL_DIR", models))
    };
    let detector = pack().detector.net.weights.file;
    let models = pack_folder();
    let models = models.parent().unwrap();
    let no_library = compare(Path::new("/nonexistent"), models);
    let empty = tempfile::tempdir().unwrap();
    let no_models = compare(&runtime_library(), empty.path());
    for (run, named, cure) in [
        (no_library, "/nonexistent", "make runtime"),
        (no_models, detector.as_str(), "visavis models pull"),
    ] {
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{}", run.err);
        assert_eq!(run.err.trim_end().lines().count(), 1, "{}", run.err);
        assert!(run.err.contains(named) && run.err.contains(cure), "{}", run.err);
    }
    assert_eq!(visavis(&["models", "verify", "nonsense"]).code, 2);
}

#[test]
fn a_configured_pack_that_is_missing_names_the_one_that_is_there_and_is_not_replaced_by_it() {
    let folder = tempfile::tempdir().unwrap();
    symlink(pack_folder(), folder.path().join(pack().name)).unwrap();
    let data = folder.path().join("data").display().to_string();
    let refused = ran(program()
        .args(["serve", "--listen", "127.0.0.1:0", "--data", &data])
        .env("VISAVIS_MODEL_DIR", folder.path())
        .env("VISAVIS_MODEL_PACK", "sface")
        .env("ORT_DYLIB_PATH", runtime_library()));
    assert_ne!(refused.code, 0, "{}", refused.out);
    for part in ["sface", "is missing", &pack().name, "VISAVIS_MODEL_PACK", "models pull sface"] {
        assert!(refused.err.contains(part), "{part}: {}", refused.err);
    }
}

#[test]
fn every_built_in_pack_has_a_card_with_its_files_licences_and_table() {
    let manifest = Manifest::load(Path::new("/nowhere")).unwrap();
    let packs = fs::read_to_string(in_repository("docs/PACKS.md")).unwrap();
    for (name, pack) in &manifest.packs {
        let card = fs::read_to_string(in_repository(&format!("models/{name}.md"))).unwrap();
        // Where a line ends is no matter of the card.
        let flat = card.split_whitespace().collect::<Vec<_>>().join(" ");
        for (role, weights) in pack.own_weights() {
            let row = card.lines().find(|line| line.contains(&format!("`{}`", weights.file)));
            let row = row.unwrap_or_else(|| panic!("{name}: no row for the {role}"));
            assert!(row.contains(&weights.licence), "{row}");
        }
        if let Some(table) = &pack.calibration {
            assert!(card.contains(&format!("`{}`", table.id)), "{name}");
        } else {
            assert!(flat.contains("no calibration table"), "{name}");
            assert!(packs.contains(&format!("`{name}`")), "{name}");
        }
        assert!(card.contains("Where it fails"), "{name}");
    }
}

#[test]
fn every_component_is_told_in_its_unit_and_from_0_to_100() {
    let compared = compare("obama-2009.jpg", "obama-2012.jpg", &["--json"]);
    let compared: Value = serde_json::from_str(&compared.out).unwrap();
    let components = compared["face1"]["components"].as_array().unwrap();
    // As many as the configuration has limits for, but for what the pack has no net for.
    let pack = pack();
    let absent = usize::from(pack.pose.is_none()) + usize::from(pack.eyes.is_none());
    assert_eq!(components.len(), 27 - absent, "{components:?}");
    for component in components {
        let score = component["score"].as_f64().unwrap();
        assert!((0.0..=100.0).contains(&score), "{component}");
        let measure = component["measure"].as_str().unwrap();
        assert_eq!(component["native"], compared["face1"]["measures"][measure], "{measure}");
    }
    let unified = compared["face1"]["measures"]["unified"].as_f64().unwrap();
    assert!(unified > 50.0, "an ordinary photo: {unified}");
}

#[test]
fn a_graph_converted_by_hand_is_the_one_that_the_manifest_pins() {
    let Some(models) = shared("models") else { return };
    let folder = tempfile::tempdir().unwrap();
    let net =
        Manifest::load(folder.path()).unwrap().resolve("omz-int8").unwrap().embedder.net.weights;
    let table = in_repository(&format!("models/{}.ranges.toml", net.ranges.unwrap()));
    let out = folder.path().join("out.onnx");
    let sources = net.sources.iter().map(|source| models.join("upstream").join(&source.mirror));
    let mut command = program();
    command.args(["models", "convert"]).args(sources).arg(&out).arg("--ranges").arg(&table);
    let converted = ran(&mut command);
    assert_eq!((converted.code, converted.err.as_str()), (0, ""));
    assert!(converted.out.contains(&net.sha256), "{}", converted.out);
    assert_eq!(sha256_hex(&fs::read(&out).unwrap()), net.sha256);
    // A table in place of the weights: the message names the graph.
    let sources = net.sources.iter().take(1).map(|s| models.join("upstream").join(&s.mirror));
    let refused = ran(program().args(["models", "convert"]).args(sources).arg(&table).arg(&out));
    assert!(refused.code != 0 && refused.err.contains(".xml"), "{}", refused.err);
}

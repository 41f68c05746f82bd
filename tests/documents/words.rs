//! Plain words, and lines that fit: what readers see is the trade's own English.
//!
//! A fault says the file, the line, the word and what to write instead. Add a word here when a reader stumbled over it.

use std::path::Path;

use crate::{
    files, prose, read,
    rust::{Part, parts},
};

/// Texts that people read: documents, comments of configuration and deployment, the console.
const TEXTS: &[&str] = &[
    "README.md",
    "SECURITY.md",
    "NOTICE",
    "CHANGELOG.md",
    "Makefile",
    "Dockerfile",
    ".github",
    "clients",
    "config",
    "deploy",
    "docs",
    "examples",
    "models",
    "samples",
    "scripts",
    "src/console/assets/texts.en.js",
    "src/http/openapi.json",
    "tests/reference/README.md",
    "tests/upgrade/README.md",
];
/// Code whose strings, names and comments are held to the same words.
const CODE: &[&str] =
    &["src", "crates", "benches", "fuzz/fuzz_targets", "tests/chaos", "tests/it/support"];

/// Words that may not occur, and what to write instead. All forms are listed; letters match in any case.
const WORDS: &[(&str, &str)] = &[
    ("anew", "again"),
    ("anybody", "anyone, an attacker"),
    ("answer", "response"),
    ("answered", "gets, returns"),
    ("answers", "responses, returns"),
    ("any more", "no longer"),
    ("as configured", "default"),
    ("everybody", "all clients, every operator"),
    ("for ever", "without end"),
    ("for want of", "because … is not available"),
    ("front end alone", "front end only"),
    ("front ends alone", "front ends only"),
    ("goes before", "takes precedence over"),
    ("go before", "take precedence over"),
    ("hears", "receives"),
    ("held against", "compared with"),
    ("if there is one", "if it exists"),
    ("is good for", "is valid for"),
    ("is that there", "that exists"),
    ("is there", "exists, is set"),
    ("it likes", "is optional"),
    ("may call", "is enabled"),
    ("nobody", "no client, no operator"),
    ("of late", "recently"),
    ("of one's own", "your own"),
    ("out of packages", "from packages"),
    ("says what", "lists, reports"),
    ("says which", "names, reports"),
    ("settled", "fixed"),
    ("somebody", "someone, an attacker, an operator"),
    ("spoiled", "degraded"),
    ("stays good", "stays valid"),
    ("stay good", "stay valid"),
    ("stood still", "stalled"),
    ("stranger", "different person, unauthenticated sender"),
    ("strangers", "different people, unauthenticated senders"),
    ("take up", "reload, resume"),
    ("taken up", "reloaded, resumed"),
    ("takes up", "reloads, resumes"),
    ("tell", "report, show, return"),
    ("telling", "reporting"),
    ("tells", "reports, shows, returns"),
    ("that are there", "that exist"),
    ("that is there", "that exists"),
    ("told", "reported"),
    ("what is there", "what exists"),
    ("whoever", "anyone who, the client that"),
];

/// Words that readers do not see, and that code and its comments may use.
const WORDS_OF_READERS: &[(&str, &str)] = &[("picture", "photo"), ("pictures", "photos")];

/// What is counted per unit of time or work: "3 pairs a second".
const COUNTED: [&str; 12] = [
    "bytes",
    "commits",
    "comparisons",
    "errors",
    "jobs",
    "ms",
    "pairs",
    "photos",
    "questions",
    "requests",
    "responses",
    "times",
];
const UNITS: [&str; 6] = ["second", "minute", "day", "pair", "job", "request"];

/// Places where a word of the list is right: file, and the line's own words around it.
const EXCEPTIONS: &[(&str, &str)] = &[
    // Messages as the program writes them.
    ("src/http/openapi.json", "\"resultMessage\""),
    // An attribute of spans.
    ("src/worker/outcome_metrics.rs", "(\"picture\", picture)"),
    // The name of a fuzz target.
    ("scripts/fuzz", "encrypted picture"),
];

/// Longest line of prose and comments; `rustfmt` and the other formatters hold code.
const WIDTH: usize = 100;

/// Names of Rust that are paraphrases: parts of an identifier, between underscores or capitals.
const NAME_PARTS: &[&str] = &[
    "anew",
    "servants",
    "stranger",
    "strangers",
    "suspect",
    "tell",
    "telling",
    "tells",
    "told",
    "whoever",
    "wish",
    "wished",
];

/// Names with more parts are sentences.
const LONGEST_NAME: usize = 5;

/// A text in lower case with all that is no letter as one space, and a space at both ends.
fn flat(text: &str) -> String {
    let mut flat = String::from(" ");
    for c in text.to_lowercase().chars() {
        match c {
            c if c.is_alphanumeric() || c == '\'' || c == '_' => flat.push(c),
            _ if flat.ends_with(' ') => {}
            _ => flat.push(' '),
        }
    }
    if !flat.ends_with(' ') {
        flat.push(' ');
    }
    flat
}

/// What is wrong with a text for readers.
fn faults(text: &str) -> Vec<String> {
    faults_of(text, WORDS.iter().chain(WORDS_OF_READERS))
}

fn faults_of<'a>(text: &str, words: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Vec<String> {
    let flat = flat(text);
    let mut found: Vec<_> = words
        .filter(|(word, _)| flat.contains(&format!(" {word} ")))
        .map(|(word, better)| format!("\"{word}\": say {better}"))
        .collect();
    let words: Vec<_> = text.split_whitespace().collect();
    for three in words.windows(3) {
        let unit = three[2].trim_end_matches(|c: char| !c.is_alphabetic());
        if COUNTED.contains(&three[0]) && three[1] == "a" && UNITS.contains(&unit) {
            found.push(format!("\"{} a {unit}\": say per {unit}", three[0]));
        }
    }
    found
}

/// A line without code, and without the targets of links.
fn without_code(line: &str) -> String {
    let outside: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" x ");
    let mut text = String::new();
    let mut rest = outside.as_str();
    while let Some((before, after)) = rest.split_once("](") {
        text += before;
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    text + rest
}

/// Lines of a file that people read, each with its number and with the line after it, so that a phrase over two lines
/// is found as well.
fn lines_to_read(path: &str, text: &str) -> Vec<(usize, String)> {
    if path.ends_with("texts.en.js") {
        // Its keys are names.
        let texts = parts(text).into_iter().filter_map(|(number, part)| match part {
            Part::Comment(words) | Part::Text(words) => Some((number, words.to_owned())),
            Part::Name(_) => None,
        });
        return texts.collect();
    }
    let is_document = Path::new(path).extension().is_some_and(|end| end == "md");
    let lines: Vec<_> = if is_document { prose(text) } else { (1..).zip(text.lines()).collect() };
    let next = |index: usize| {
        let (number, _) = lines[index];
        match lines.get(index + 1) {
            Some((after, line)) if *after == number + 1 => *line,
            _ => "",
        }
    };
    let joined = lines.iter().enumerate().map(|(index, (number, line))| {
        let after = next(index).trim_start_matches(['#', '/', ' ', '-', '*']);
        let head = after.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        (*number, without_code(&format!("{line} {head}")))
    });
    joined.collect()
}

fn is_text(path: &str) -> bool {
    let binary = ["png", "jpg", "gz", "key", "onnx", "degradations", "lock"];
    let end = Path::new(path).extension().and_then(|end| end.to_str()).unwrap_or_default();
    // Weights and cards that were fetched lie in folders of their own.
    let is_fetched = path.starts_with("models/") && path.matches('/').count() > 1;
    !binary.contains(&end) && !is_fetched && path != "scripts/mutations"
}

fn is_exception(path: &str, line: &str) -> bool {
    EXCEPTIONS.iter().any(|(file, words)| *file == path && line.contains(words))
}

#[test]
fn texts_for_readers_have_no_words_of_the_list() {
    let mut found = Vec::new();
    let paths: Vec<_> = TEXTS.iter().flat_map(|path| files(path)).filter(|p| is_text(p)).collect();
    assert!(paths.len() > 100, "{paths:?}");
    for path in paths {
        for (number, line) in lines_to_read(&path, &read(&path)) {
            if !is_exception(&path, &line) {
                found.extend(faults(&line).iter().map(|fault| format!("{path}:{number}: {fault}")));
            }
        }
    }
    found.dedup();
    assert!(found.is_empty(), "{} faults:\n{}", found.len(), found.join("\n"));
}

/// Whether a line is too long although it could be broken: tables, code, links and addresses cannot.
fn is_too_wide(line: &str) -> bool {
    let longest = line.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0);
    line.chars().count() > WIDTH
        && !line.trim_start().trim_start_matches("//!").trim_start().starts_with('|')
        && !line.contains("](")
        && longest < WIDTH - 20
}

fn comment(line: &str) -> Option<&str> {
    let text = line.trim_start();
    let is_comment = ["# ", "## ", "// ", "/// ", "//! "].iter().any(|mark| text.starts_with(mark));
    is_comment.then_some(line)
}

#[test]
fn prose_and_comments_fit_into_a_hundred_columns() {
    let mut found = Vec::new();
    for path in TEXTS.iter().flat_map(|path| files(path)).filter(|path| is_text(path)) {
        let text = read(&path);
        let is_document = Path::new(&path).extension().is_some_and(|end| end == "md");
        let lines: Vec<_> = if is_document {
            prose(&text)
        } else {
            let numbered = (1..).zip(text.lines());
            numbered.filter_map(|(number, line)| Some((number, comment(line)?))).collect()
        };
        let wide = lines.into_iter().filter(|(_, line)| is_too_wide(line));
        found.extend(
            wide.map(|(number, line)| format!("{path}:{number}: {}", line.chars().count())),
        );
    }
    assert!(found.is_empty(), "{} lines:\n{}", found.len(), found.join("\n"));
}

/// The words of a name: `ToldTwice` and `told_twice` are two.
fn name_parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c.is_uppercase() {
            parts.push(String::new());
        }
        if c != '_' {
            parts.last_mut().unwrap().extend(c.to_lowercase());
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// What is wrong in a file of Rust or JavaScript: words in comments and strings, parts of names, and lines that are too wide.
fn faults_of_code(text: &str, is_rust: bool) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, part) in parts(text) {
        match part {
            Part::Comment(words) => {
                let faults = faults_of(&without_code(words), WORDS.iter());
                found.extend(faults.into_iter().map(|fault| (number, fault)));
            }
            // A path.
            Part::Text(words) if words.contains('/') && !words.contains(' ') => {}
            Part::Text(words) => {
                found.extend(faults(&without_code(words)).into_iter().map(|fault| (number, fault)));
            }
            // The names of tests are sentences.
            Part::Name(name) if name_parts(name).len() > LONGEST_NAME => {}
            Part::Name(name) => {
                let bad = name_parts(name).into_iter().find(|p| NAME_PARTS.contains(&p.as_str()));
                found.extend(bad.map(|part| (number, format!("the name {name}: not \"{part}\""))));
            }
        }
    }
    let wide = (1..).zip(text.lines()).filter(|(_, line)| is_too_wide(line));
    // rustfmt breaks all code but strings; nothing breaks the code of the console.
    let wide = wide.filter(|(_, line)| comment(line).is_some() || is_rust && line.contains('"'));
    found.extend(wide.map(|(number, line)| (number, format!("{} columns", line.chars().count()))));
    found
}

#[test]
fn strings_names_and_comments_of_code_have_no_words_of_the_list() {
    let mut found = Vec::new();
    for path in CODE.iter().flat_map(|path| files(path)) {
        let end = Path::new(&path).extension().and_then(|end| end.to_str()).unwrap_or_default();
        if ["rs", "js"].contains(&end) {
            let text = read(&path);
            let lines: Vec<_> = text.lines().collect();
            let mut faults = faults_of_code(&text, end == "rs");
            faults.retain(|(number, _)| !is_exception(&path, lines[number - 1]));
            found.extend(faults.into_iter().map(|(line, fault)| format!("{path}:{line}: {fault}")));
        }
    }
    assert!(found.is_empty(), "{} faults:\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_word_of_the_list_is_found_wherever_it_stands() {
    for text in ["The log tells it.", "WHOEVER calls", "three pairs a\nsecond", "It is\nthere."] {
        assert_eq!(faults(text).len(), 1, "{text}");
    }
    for text in ["intellect", "a second look", "It is a pair.", "There is a file."] {
        assert!(faults(text).is_empty(), "{text}: {:?}", faults(text));
    }
    assert!(faults(&without_code("`tells` and [x](tells.md)")).is_empty());
}

#[test]
fn strings_names_and_comments_are_told_apart_in_rust() {
    for (text, line) in [
        ("// nobody waits\n", 1),
        ("\nlet x = \"nobody waits\";", 2),
        ("let x = r#\"no \" body: whoever\"#;", 1),
        ("fn told_twice() {}", 1),
        ("struct Telling;", 1),
        ("let x = '\"'; // anew", 1),
        ("/* a\n strangers */", 1),
    ] {
        let found = faults_of_code(text, true);
        assert!(found.len() == 1 && found[0].0 == line, "{text}: {found:?}");
    }
    for text in [
        "let tellurium = 'x'; let x: &'static str = \"a\";",
        "fn what_is_told_of_a_client_is_true() {}",
        "// A picture.\nstruct Picture;",
    ] {
        assert!(faults_of_code(text, true).is_empty(), "{text}: {:?}", faults_of_code(text, true));
    }
    assert_eq!(faults_of_code("let x = \"a picture\";", true).len(), 1, "readers see strings");
    let wide = format!("// {}", "word ".repeat(30));
    assert_eq!(faults_of_code(&wide, true).len(), 1);
}

//! The files of a crate import each other in one direction.
//!
//! A file imports another one if it names something that is defined there, in a `use` or in a path;
//! `pub use` only passes a name on and is followed. Blind spots: paths that a macro makes, methods.

use std::collections::{BTreeMap, BTreeSet};

use super::{code, walk_all};

/// The path of a module in its crate; empty for the root.
type Module = Vec<String>;

/// The modules of a crate, each with its imports and with what it passes on.
#[derive(Default)]
struct Crate(BTreeMap<Module, Names>);

#[derive(Default)]
struct Names {
    /// Paths as they are written.
    imports: Vec<String>,
    /// The path of each name that is passed on.
    exports: BTreeMap<String, String>,
}

impl Names {
    fn parse(code: &str) -> Self {
        let mut names = Self::default();
        for statement in code.split(';') {
            let Some((before, tree)) = split_use(statement) else {
                names.imports.extend(inline_paths(statement));
                continue;
            };
            names.imports.extend(inline_paths(before));
            for path in expand(tree) {
                let (path, alias) = path.split_once(" as ").unwrap_or((&path, ""));
                let last = path.rsplit("::").next().unwrap_or_default();
                let name = if alias.is_empty() { last } else { alias };
                if is_public(before) {
                    names.exports.insert(name.trim().to_owned(), path.to_owned());
                } else {
                    names.imports.push(path.to_owned());
                }
            }
        }
        names
    }
}

/// A statement that ends with a `use`: what is before that, and its tree.
fn split_use(statement: &str) -> Option<(&str, &str)> {
    let (at, mark) = statement.match_indices("use ").find(|(at, _)| {
        let before = statement[..*at].trim_end();
        before.is_empty() || before.ends_with(['{', '}', ']', ')']) || before.ends_with("pub")
    })?;
    Some((&statement[..at], &statement[at + mark.len()..]))
}

fn is_public(before: &str) -> bool {
    let before = before.trim_end();
    let item = before.rsplit(['{', '}', ']']).next().unwrap_or_default().trim();
    item == "pub" || (item.starts_with("pub(") && item.ends_with(')'))
}

/// `a::{b, c::{self, d}}` as single paths.
fn expand(tree: &str) -> Vec<String> {
    let Some((head, rest)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let inner = rest.trim_end().strip_suffix('}').unwrap_or(rest);
    let (mut parts, mut depth) = (vec![String::new()], 0_i32);
    for c in inner.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        match c {
            ',' if depth == 0 => parts.push(String::new()),
            c => parts.last_mut().unwrap().push(c),
        }
    }
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    let whole = |part: &str| format!("{}{part}", head.trim());
    parts.flat_map(|part| expand(&whole(part))).map(|path| path.replace("::self", "")).collect()
}

/// Every `crate::…`, `super::…` and `self::…` outside of a `use`.
fn inline_paths(code: &str) -> Vec<String> {
    let in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = code.split(|c| !in_path(c));
    let is_relative =
        |word: &&str| ["crate::", "super::", "self::"].iter().any(|m| word.starts_with(m));
    words.filter(is_relative).map(|word| word.trim_end_matches(':').to_owned()).collect()
}

impl Crate {
    fn add(&mut self, file: &str, text: &str) {
        let mut module: Module =
            file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|last| last == "mod" || last == "lib") {
            module.pop();
        }
        self.0.insert(module, Names::parse(&code(text)));
    }

    /// The module that defines what a path names; `None` for another crate.
    fn resolve(&self, here: &Module, path: &str, depth: usize) -> Option<Module> {
        let path = path.replace(' ', "");
        let mut parts = path.split("::").filter(|part| !part.is_empty()).peekable();
        let mut module = here.clone();
        match *parts.peek()? {
            "crate" => {
                parts.next();
                module.clear();
            }
            "self" => drop(parts.next()),
            "super" => {
                while parts.next_if_eq(&"super").is_some() {
                    module.pop();
                }
            }
            child if !self.0.contains_key(&below(here, child)) => return None,
            _ => {}
        }
        while let Some(child) = parts.next_if(|part| self.0.contains_key(&below(&module, part))) {
            module.push(child.to_owned());
        }
        let passed_on = parts.peek().and_then(|name| self.0.get(&module)?.exports.get(*name));
        match passed_on {
            Some(path) if depth < 8 => self.resolve(&module, path, depth + 1),
            _ => Some(module),
        }
    }

    /// The modules that each module imports.
    fn edges(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let imported = |(module, names): (_, &Names)| {
            let found = names.imports.iter().filter_map(|path| self.resolve(module, path, 0));
            (module, found.filter(|found| found != module).collect())
        };
        self.0.iter().map(imported).collect()
    }

    /// Groups of modules each of which imports, maybe through others, every other one.
    fn circles(&self) -> BTreeSet<Vec<String>> {
        let edges = self.edges();
        let reach = |from: &Module| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
            while let Some(module) = open.pop() {
                for next in edges.get(&module).into_iter().flatten() {
                    if seen.insert(next.clone()) {
                        open.push(next.clone());
                    }
                }
            }
            seen
        };
        let reached: BTreeMap<_, _> =
            self.0.keys().map(|module| (module.clone(), reach(module))).collect();
        let mutual = |module: &Module| {
            let group = reached[module].iter().filter(|other| {
                reached.get(*other).is_some_and(|reached| reached.contains(module))
            });
            group.map(|module| module.join("::")).collect::<Vec<_>>()
        };
        reached.keys().map(mutual).filter(|group| !group.is_empty()).collect()
    }
}

fn below(module: &Module, child: &str) -> Module {
    [module.as_slice(), &[child.to_owned()]].concat()
}

#[test]
fn the_files_of_a_crate_import_each_other_in_one_direction() {
    let mut crates = BTreeMap::<String, Crate>::new();
    walk_all(&mut |path, text| {
        let Some((folder, file)) = path.split_once("src/") else { return };
        // The program has a library and nothing else.
        if file != "main.rs" {
            crates.entry(folder.to_owned()).or_default().add(file, text);
        }
    });
    assert!(crates.len() > 5 && crates[""].0.len() > 150, "the files are found");
    let mut wrong = Vec::new();
    for (folder, files) in &crates {
        let circles = files.circles().into_iter();
        wrong.extend(circles.map(|circle| format!("{folder}src: {}", circle.join(" ↔ "))));
    }
    assert!(
        wrong.is_empty(),
        "move what two files share into a file of its own:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_circle_is_found_in_every_form_and_a_name_that_is_passed_on_makes_none() {
    let circles = |files: &[(&str, &str)]| {
        let mut all = Crate::default();
        for (file, text) in files {
            all.add(file, text);
        }
        all.circles().into_iter().collect::<Vec<_>>()
    };
    for text in [
        "use crate::a::A;",
        "use super::{x::Y, a::{self, A}};",
        "use crate::{\n    a::A as B,\n};",
        "pub(super) struct X;\nuse super::A;",
        "fn f() { super::a::f() }",
        "fn f() -> &'static str { \"use this\" }\nuse super::a;",
        "const X: crate::A = 1;",
    ] {
        let files = [
            ("lib.rs", "mod a;\nmod b;\npub use a::A;"),
            ("a.rs", "use super::b::B;\npub struct A;"),
            ("b.rs", text),
        ];
        assert_eq!(circles(&files), [["a", "b"]], "{text}");
    }
    // A file and the modules below it.
    let parent = [("x/mod.rs", "mod y;\nuse y::Y;\npub struct X;"), ("x/y.rs", "use super::X;")];
    assert_eq!(circles(&parent), [["x", "x::y"]]);
    let three =
        [("a.rs", "use crate::b::B;"), ("b.rs", "use crate::c::C;"), ("c.rs", "use crate::a::A;")];
    assert_eq!(circles(&three), [["a", "b", "c"]]);
    let passed_on = [
        ("lib.rs", "mod x;"),
        ("x/mod.rs", "mod y;\nmod z;\npub use z::Z;\npub(crate) use y::Y;"),
        ("x/y.rs", "use super::Z;"),
        ("x/z.rs", "//! use super::y\n#[cfg(test)]\nuse super::Y;"),
    ];
    assert!(circles(&passed_on).is_empty());
}

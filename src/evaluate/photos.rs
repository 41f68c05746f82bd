//! Photos and whom they show: a folder with a folder for each person, or a table.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use super::{EvaluateError, read};

/// One photo of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    /// Where it is.
    pub path: PathBuf,
    /// What the set calls it: its path below the set's folder.
    pub name: String,
    /// Number of the person, from 0; the same for all photos of one person.
    pub person: usize,
    /// Values of the set's group columns, in their order.
    pub groups: Vec<String>,
}

/// A labelled set of photos.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PhotoSet {
    /// The photos, in the order of their names.
    pub photos: Vec<Photo>,
    /// How many people there are.
    pub persons: usize,
    /// Names of the group columns.
    pub columns: Vec<String>,
}

/// Endings of picture files, lower case.
const ENDINGS: [&str; 5] = ["jpg", "jpeg", "png", "bmp", "webp"];

impl PhotoSet {
    /// Every picture in the folders of `root`, each of which is a person.
    ///
    /// # Errors
    /// [`EvaluateError`] when a folder cannot be read or there are no two people.
    pub fn from_folder(root: &Path) -> Result<Self, EvaluateError> {
        let mut named = Vec::new();
        for folder in entries(root)?.into_iter().filter(|path| path.is_dir()) {
            let person = file_name(&folder);
            for path in entries(&folder)? {
                let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
                if ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) {
                    let name = format!("{person}/{}", file_name(&path));
                    named.push((path, name, person.clone(), Vec::new()));
                }
            }
        }
        let empty = || {
            format!(
                "{} has no two folders with pictures: one folder for each person is expected",
                root.display()
            )
        };
        Self::from_rows(named, Vec::new(), empty)
    }

    /// A CSV with a heading: `photo,person` and any further columns, which are groups. Photos are looked for
    /// below the folder of the file.
    ///
    /// # Errors
    /// [`EvaluateError`] naming file and line.
    pub fn from_table(table: &Path) -> Result<Self, EvaluateError> {
        let text = read(table)?;
        let root = table.parent().unwrap_or(Path::new("."));
        let mut lines = rows(&text);
        let wrong = |line: usize, what: String| EvaluateError::Line {
            path: table.display().to_string(),
            line,
            what,
        };
        let heading = lines.next().map(|(_, cells)| cells).unwrap_or_default();
        if heading.len() < 2 || heading[0] != "photo" || heading[1] != "person" {
            let what = "the heading must be `photo,person`, with a column for each kind of group"
                .to_owned();
            return Err(wrong(1, what));
        }
        let columns: Vec<String> = heading[2..].iter().map(|c| (*c).to_owned()).collect();
        let mut named = Vec::new();
        for (line, cells) in lines {
            if cells.len() != heading.len() {
                let what = format!("{} cells where the heading has {}", cells.len(), heading.len());
                return Err(wrong(line, what));
            }
            let groups = cells[2..].iter().map(|c| (*c).to_owned()).collect();
            named.push((root.join(cells[0]), cells[0].to_owned(), cells[1].to_owned(), groups));
        }
        Self::from_rows(named, columns, || format!("{} names no two people", table.display()))
    }

    fn from_rows(
        rows: Vec<(PathBuf, String, String, Vec<String>)>,
        columns: Vec<String>,
        too_few: impl Fn() -> String,
    ) -> Result<Self, EvaluateError> {
        let mut numbers = BTreeMap::new();
        let mut photos = Vec::with_capacity(rows.len());
        for (path, name, person, groups) in rows {
            let next = numbers.len();
            let person = *numbers.entry(person).or_insert(next);
            photos.push(Photo { path, name, person, groups });
        }
        if numbers.len() < 2 {
            return Err(EvaluateError::TooFew(too_few()));
        }
        photos.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { photos, persons: numbers.len(), columns })
    }

    /// Leaves out photos whose label is known to be wrong, and makes one person of two who are. The file has a
    /// photo on a line (leave it out), or two with a comma between (they show the same person); `#` begins a
    /// remark.
    ///
    /// # Errors
    /// [`EvaluateError`] when the file cannot be read or names a photo that the set does not have.
    pub fn correct(&mut self, errors: &Path) -> Result<(), EvaluateError> {
        let text = read(errors)?;
        let numbers: HashMap<String, usize> =
            self.photos.iter().enumerate().map(|(n, photo)| (photo.name.clone(), n)).collect();
        let mut gone = BTreeSet::new();
        for (line, cells) in rows(&text) {
            let wrong = |what: String| EvaluateError::Line {
                path: errors.display().to_string(),
                line,
                what,
            };
            let number = |name: &str| {
                numbers
                    .get(name)
                    .copied()
                    .ok_or_else(|| wrong(format!("the set has no photo {name}")))
            };
            match cells.as_slice() {
                [photo] => drop(gone.insert(number(photo)?)),
                [one, other] => {
                    let kept = self.photos[number(one)?].person;
                    let other = self.photos[number(other)?].person;
                    for photo in self.photos.iter_mut().filter(|photo| photo.person == other) {
                        photo.person = kept;
                    }
                }
                _ => {
                    let what = "one photo, or two with a comma between, are expected";
                    return Err(wrong(what.to_owned()));
                }
            }
        }
        let mut number = 0..;
        self.photos.retain(|_| number.next().is_some_and(|number| !gone.contains(&number)));
        Ok(())
    }
}

/// The rows of a plain CSV with their line numbers: no quotes, empty lines and remarks left out.
pub(super) fn rows(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    text.lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(n, line)| (n, line.split(',').map(str::trim).collect()))
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, EvaluateError> {
    let failed = |source| EvaluateError::Read { path: folder.display().to_string(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        found.push(entry.map_err(failed)?.path());
    }
    found.sort();
    Ok(found)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_folder_for_each_person_is_a_set_and_other_files_are_none_of_it() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["ann/1.jpg", "ann/2.JPG", "bob/1.png", "bob/notes.txt", "remark.jpg"] {
            written(folder.path(), name, "");
        }
        let set = PhotoSet::from_folder(folder.path()).unwrap();
        let found: Vec<_> = set.photos.iter().map(|p| (p.name.as_str(), p.person)).collect();
        assert_eq!(found, [("ann/1.jpg", 0), ("ann/2.JPG", 0), ("bob/1.png", 1)]);
        assert_eq!(set.persons, 2);
        let alone = PhotoSet::from_folder(&folder.path().join("ann")).unwrap_err();
        assert!(alone.to_string().contains("one folder for each person"), "{alone}");
    }

    #[test]
    fn a_table_has_groups_and_its_mistakes_are_told_with_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let good = "photo,person,sex\na.jpg,ann,f\n\nb.jpg,bob,m\n";
        let set = PhotoSet::from_table(&written(folder.path(), "t.csv", good)).unwrap();
        assert_eq!(set.columns, ["sex"]);
        assert_eq!(set.photos[1].path, folder.path().join("b.jpg"));
        assert_eq!(set.photos[1].groups, ["m"]);
        for (text, told) in [
            ("who,what\n", "line 1"),
            ("photo,person\na.jpg,ann\nb.jpg\n", "line 3"),
            ("photo,person\na.jpg,ann\n", "no two people"),
        ] {
            let error = PhotoSet::from_table(&written(folder.path(), "t.csv", text)).unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
    }

    #[test]
    fn known_errors_leave_photos_out_and_make_one_person_of_two() {
        let folder = tempfile::tempdir().unwrap();
        let table = "photo,person\na.jpg,ann\nb.jpg,anna\nc.jpg,anne\nd.jpg,bob\ne.jpg,bob\n";
        let mut set = PhotoSet::from_table(&written(folder.path(), "t.csv", table)).unwrap();
        let errors = "# found by hand\na.jpg,b.jpg\nb.jpg,c.jpg\ne.jpg\n";
        set.correct(&written(folder.path(), "e.csv", errors)).unwrap();
        let persons: Vec<_> = set.photos.iter().map(|p| (p.name.as_str(), p.person)).collect();
        assert_eq!(persons, [("a.jpg", 0), ("b.jpg", 0), ("c.jpg", 0), ("d.jpg", 3)]);
        let unknown = set.correct(&written(folder.path(), "e.csv", "x.jpg\n")).unwrap_err();
        assert!(unknown.to_string().contains("no photo x.jpg"), "{unknown}");
    }
}

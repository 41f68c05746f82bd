//! Labelled photos: a folder with one folder per person, or a table.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use visavis_face::PictureKind;

use crate::{
    EvaluateError,
    csv::rows,
    known_errors::KnownErrors,
    pair_type::{PairType, ordered},
    read,
};

/// One photo of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    /// Path of the file.
    pub path: PathBuf,
    /// Its name: the path below the set's folder.
    pub name: String,
    /// Number of the person, from 0; the same for all photos of one person.
    pub(crate) person: usize,
    /// Selfie or document.
    pub kind: PictureKind,
    /// Values of the set's group columns, in their order.
    pub(crate) groups: Vec<String>,
}

/// A labelled set of photos.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PhotoSet {
    /// The photos, in the order of their names.
    pub photos: Vec<Photo>,
    /// How many people there are.
    pub(crate) persons: usize,
    /// Names of the group columns.
    pub columns: Vec<String>,
    /// The kinds of photos in a pair.
    pub(crate) pair_type: PairType,
    /// People between whom no pair is made, the lower number first.
    pub(crate) people_left_out: BTreeSet<(usize, usize)>,
    /// Photos of one person that are not compared, as their numbers, the lower one first.
    pub(crate) photos_left_out: BTreeSet<(usize, usize)>,
}

/// A photo that has no number yet.
struct PhotoRow {
    path: PathBuf,
    name: String,
    person: String,
    kind: PictureKind,
    groups: Vec<String>,
}

/// The column of a table that marks documents.
const KIND: &str = "kind";

/// File name extensions of photos, lower case.
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
                    let (person, kind) = (person.clone(), PictureKind::Selfie);
                    named.push(PhotoRow { path, name, person, kind, groups: Vec::new() });
                }
            }
        }
        let empty = || {
            format!(
                "{} has fewer than two folders with photos: create one folder for each person",
                root.display()
            )
        };
        Self::from_rows(named, Vec::new(), empty)
    }

    /// A CSV with a heading: `photo,person` and any further columns, which are groups, but for
    /// `kind`: that says `selfie` or `document`. Photos are looked for below the folder of the
    /// file.
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
        let kind_at = heading.iter().position(|column| *column == KIND);
        let groups_of = |cells: &[&str]| -> Vec<String> {
            let groups = cells.iter().enumerate().skip(2).filter(|(n, _)| Some(*n) != kind_at);
            groups.map(|(_, cell)| (*cell).to_owned()).collect()
        };
        let mut named = Vec::new();
        for (line, cells) in lines {
            if cells.len() != heading.len() {
                let what = format!("{} cells where the heading has {}", cells.len(), heading.len());
                return Err(wrong(line, what));
            }
            let kind = match kind_at.map(|n| cells[n]) {
                None | Some("selfie") => PictureKind::Selfie,
                Some("document") => PictureKind::Document,
                Some(other) => {
                    let what =
                        format!("the kind of a photo must be selfie or document, not `{other}`");
                    return Err(wrong(line, what));
                }
            };
            named.push(PhotoRow {
                path: root.join(cells[0]),
                name: cells[0].to_owned(),
                person: cells[1].to_owned(),
                kind,
                groups: groups_of(&cells),
            });
        }
        Self::from_rows(named, groups_of(&heading), || {
            format!("{} has fewer than two people", table.display())
        })
    }

    fn from_rows(
        rows: Vec<PhotoRow>,
        columns: Vec<String>,
        too_few: impl Fn() -> String,
    ) -> Result<Self, EvaluateError> {
        let mut numbers = BTreeMap::new();
        let mut photos = Vec::with_capacity(rows.len());
        for PhotoRow { path, name, person, kind, groups } in rows {
            let next = numbers.len();
            let person = *numbers.entry(person).or_insert(next);
            photos.push(Photo { path, name, person, kind, groups });
        }
        if numbers.len() < 2 {
            return Err(EvaluateError::TooFew(too_few()));
        }
        photos.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { photos, persons: numbers.len(), columns, ..Self::default() })
    }

    /// Leaves out wrong labels: photos that show another person, pairs of
    /// one person's photos, and all pairs between two people of whom two photos are named, because
    /// if one of those pairs is wrong, one person has two names and every such pair is.
    ///
    /// # Errors
    /// [`EvaluateError`] when the labels name a photo that the set does not have.
    pub fn correct(&mut self, errors: &KnownErrors) -> Result<(), EvaluateError> {
        let numbers: HashMap<&str, usize> =
            self.photos.iter().enumerate().map(|(n, photo)| (photo.name.as_str(), n)).collect();
        let labels = errors.numbered(|name| numbers.get(name).copied())?;
        let mut gone = BTreeSet::new();
        for label in labels {
            match label {
                (photo, None) => drop(gone.insert(photo)),
                (one, Some(other)) => {
                    let (a, b) = (self.photos[one].person, self.photos[other].person);
                    if a == b {
                        self.photos_left_out.insert(ordered(one, other));
                    } else {
                        self.people_left_out.insert(ordered(a, b));
                    }
                }
            }
        }
        self.keep(|number, _| !gone.contains(&number));
        Ok(())
    }

    /// Keeps what pairs of this type are made of.
    ///
    /// # Errors
    /// [`EvaluateError::TooFew`] for documents in a set that does not mark which photos are
    /// documents.
    pub fn for_pairs(mut self, pair_type: PairType) -> Result<Self, EvaluateError> {
        self.pair_type = pair_type;
        let has = |kind| self.photos.iter().any(|photo| photo.kind == kind);
        match pair_type {
            PairType::SelfieSelfie => self.keep(|_, photo| photo.kind == PictureKind::Selfie),
            PairType::SelfieDocument => {
                if !(has(PictureKind::Selfie) && has(PictureKind::Document)) {
                    let what = "there are no selfies and documents to compare: give --photos FILE, \
                                a table with the heading photo,person,kind, in which kind is \
                                selfie or document";
                    return Err(EvaluateError::TooFew(what.to_owned()));
                }
            }
        }
        Ok(self)
    }

    /// Keeps the photos that `stays` accepts, and the excluded pairs among them.
    fn keep(&mut self, stays: impl Fn(usize, &Photo) -> bool) {
        let mut number_of = HashMap::new();
        let mut number = 0..;
        self.photos.retain(|photo| {
            let old = number.next().unwrap_or_default();
            let stays = stays(old, photo);
            if stays {
                number_of.insert(old, number_of.len());
            }
            stays
        });
        let renumbered = |(one, other): &(usize, usize)| {
            Some(ordered(*number_of.get(one)?, *number_of.get(other)?))
        };
        self.photos_left_out = self.photos_left_out.iter().filter_map(renumbered).collect();
    }
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
    use crate::pairing::Pairing;

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
        for (text, expected) in [
            ("who,what\n", "line 1"),
            ("photo,person\na.jpg,ann\nb.jpg\n", "line 3"),
            ("photo,person\na.jpg,ann\n", "fewer than two people"),
        ] {
            let error = PhotoSet::from_table(&written(folder.path(), "t.csv", text)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    fn corrected(table: &str, errors: &str) -> Result<PhotoSet, EvaluateError> {
        let folder = tempfile::tempdir().unwrap();
        let mut set = PhotoSet::from_table(&written(folder.path(), "t.csv", table)).unwrap();
        let errors = KnownErrors::read(&written(folder.path(), "e.csv", errors))?;
        set.correct(&errors).map(|()| set)
    }

    #[test]
    fn known_errors_leave_out_photos_pairs_of_photos_and_all_pairs_of_two_people() {
        let table =
            "photo,person\na.jpg,ann\nb.jpg,anna\nc.jpg,anna\nd.jpg,bob\ne.jpg,bob\nf.jpg,bob\n";
        let errors = "# found by hand\na.jpg,b.jpg\nf.jpg,e.jpg\nd.jpg\n";
        let set = corrected(table, errors).unwrap();
        let persons: Vec<_> = set.photos.iter().map(|p| (p.name.as_str(), p.person)).collect();
        assert_eq!(
            persons,
            [("a.jpg", 0), ("b.jpg", 1), ("c.jpg", 1), ("e.jpg", 2), ("f.jpg", 2)],
            "every photo keeps its person"
        );
        let pairing = Pairing::from_set(&set, &[0, 1, 2, 3, 4]);
        for row in [1, 2] {
            assert!(!pairing.is_non_mated(0, row) && !pairing.is_mated(0, row), "ann and anna");
            assert!(pairing.is_non_mated(row, 3), "others are not touched");
        }
        assert!(pairing.is_mated(1, 2) && !pairing.is_mated(3, 4) && pairing.is_non_mated(0, 4));
    }

    #[test]
    fn known_errors_that_name_nothing_are_told_with_their_line() {
        let table = "photo,person\na.jpg,ann\nb.jpg,bob\n";
        for (errors, expected) in [
            ("a.jpg\nx.jpg\n", "line 2: the set has no photo x.jpg"),
            ("a.jpg,b.jpg,1\n", "line 1"),
        ] {
            let error = corrected(table, errors).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn a_column_of_kinds_makes_pairs_of_selfies_and_documents_and_is_no_group() {
        let folder = tempfile::tempdir().unwrap();
        let table =
            "photo,person,kind,sex\na.jpg,ann,selfie,f\nb.jpg,ann,document,f\nc.jpg,bob,selfie,m\n";
        let set = PhotoSet::from_table(&written(folder.path(), "t.csv", table)).unwrap();
        assert_eq!((set.columns.len(), set.photos[1].kind), (1, PictureKind::Document));
        assert_eq!(set.photos[2].groups, ["m"]);
        let names = |set: PhotoSet| set.photos.into_iter().map(|p| p.name).collect::<Vec<_>>();
        let selfies = set.clone().for_pairs(PairType::SelfieSelfie).unwrap();
        assert_eq!(names(selfies), ["a.jpg", "c.jpg"]);
        let cross = set.for_pairs(PairType::SelfieDocument).unwrap();
        let pairing = Pairing::from_set(&cross, &[0, 1, 2]);
        assert!(
            pairing.is_mated(0, 1) && pairing.is_non_mated(1, 2) && !pairing.is_non_mated(0, 2)
        );

        let neither = "photo,person,kind\na.jpg,ann,passport\n";
        let error = PhotoSet::from_table(&written(folder.path(), "t.csv", neither)).unwrap_err();
        assert!(
            error.to_string().contains("line 2: the kind of a photo must be selfie or document")
        );
        let none = "photo,person\na.jpg,ann\nb.jpg,bob\n";
        let set = PhotoSet::from_table(&written(folder.path(), "t.csv", none)).unwrap();
        let error = set.for_pairs(PairType::SelfieDocument).unwrap_err();
        assert!(error.to_string().contains("photo,person,kind"), "{error}");
    }
}

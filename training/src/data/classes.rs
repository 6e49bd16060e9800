//! A source's class names and the student's.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::{DataError, SourceConfig};
use crate::maps::Object;

/// What becomes of objects of one of the source's classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// They are the student's class of this index.
    Class(usize),
    /// What is found there is neither right nor wrong.
    Ignored,
    /// The student does not know them.
    LeftOut,
}

/// What becomes of each of a source's classes.
#[derive(Debug)]
pub(super) struct Classes {
    fates: HashMap<String, Fate>,
    /// For each of the student's classes whether the source labels it.
    pub known: Arc<[bool]>,
    /// The source's classes that the student does not have, in its own order.
    pub left_out: Vec<String>,
}

pub(super) fn key(name: &str) -> String {
    name.trim().to_lowercase()
}

impl Classes {
    /// Brings `names`, the source's classes, and `student`, the student's, together. Upper and lower case are the same.
    pub fn new(
        path: &Path,
        names: &[String],
        student: &[String],
        source: &SourceConfig,
    ) -> Result<Self, DataError> {
        let keys: Vec<String> = names.iter().map(|name| key(name)).collect();
        let rename: BTreeMap<String, String> =
            source.rename.iter().map(|(from, to)| (key(from), key(to))).collect();
        let ignore: Vec<String> = source.ignore.iter().map(|name| key(name)).collect();
        for (setting, wanted) in
            [("rename", rename.keys().collect::<Vec<_>>()), ("ignore", ignore.iter().collect())]
        {
            if let Some(stranger) = wanted.into_iter().find(|name| !keys.contains(name)) {
                let problem = format!(
                    "`{setting}` names the class {stranger:?}, which it does not have; it has: {}",
                    names.join(", ")
                );
                return Err(DataError::source(path, problem));
            }
        }
        let index: HashMap<String, usize> = student.iter().map(|name| key(name)).zip(0..).collect();
        let fate = |name: &String| match index.get(rename.get(name).unwrap_or(name)) {
            _ if ignore.contains(name) => Fate::Ignored,
            Some(&class) => Fate::Class(class),
            None => Fate::LeftOut,
        };
        let fates: HashMap<String, Fate> = keys.iter().map(|name| (name.clone(), fate(name))).collect();
        let known: Vec<bool> =
            (0..student.len()).map(|class| fates.values().any(|&fate| fate == Fate::Class(class))).collect();
        if !known.contains(&true) {
            let (student, data) = (student.to_vec(), names.to_vec());
            return Err(DataError::NoSharedClass { path: path.to_owned(), student, data });
        }
        let left_out = |name: &&String| fates[&key(name)] == Fate::LeftOut;
        let left_out = names.iter().filter(left_out).cloned().collect();
        Ok(Self { fates, known: known.into(), left_out })
    }

    /// What becomes of objects of the class `name`, one of those of [`Classes::new`].
    pub fn fate(&self, name: &str) -> Fate {
        self.fates.get(&key(name)).copied().unwrap_or(Fate::LeftOut)
    }

    /// Adds an object of a class with this fate to `objects`; one not to be judged is so for every class that is known.
    pub fn add(&self, fate: Fate, object: Object, objects: &mut Vec<Object>) {
        match fate {
            Fate::Class(class) => objects.push(Object { class, ..object }),
            Fate::Ignored => {
                let known = (0..self.known.len()).filter(|&class| self.known[class]);
                objects.extend(known.map(|class| Object { class, ignore: true, ..object }));
            }
            Fate::LeftOut => {}
        }
    }

    /// What is to be told of it.
    pub fn note(&self, path: &Path) -> Option<String> {
        let count = self.left_out.len();
        let some = self.left_out.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
        let more = if count > 8 { format!(" and {} more", count - 8) } else { String::new() };
        (count > 0).then(|| {
            format!("{}: classes that the student does not have are left out: {some}{more}", path.display())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Kind;
    use centerx::detection::BoundingBox;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn source(rename: &[(&str, &str)], ignore: &[&str]) -> SourceConfig {
        let rename = rename.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect();
        SourceConfig { rename, ignore: names(ignore), ..SourceConfig::new(Kind::Coco, ["set"]) }
    }

    fn classes(data: &[&str], student: &[&str], source: &SourceConfig) -> Result<Classes, DataError> {
        Classes::new(Path::new("set"), &names(data), &names(student), source)
    }

    #[test]
    fn names_meet_whatever_their_case_after_renaming() {
        let source = source(&[("Truck", "car"), ("human", "PERSON")], &["sign"]);
        let classes =
            classes(&["human", "truck", "Car", "dog", "sign"], &["car", "face", "Person"], &source).unwrap();
        let fates = ["HUMAN", "truck", "car", "dog", "sign"].map(|name| classes.fate(name));
        let [a, b] = [Fate::Class(2), Fate::Class(0)];
        assert_eq!(fates, [a, b, b, Fate::LeftOut, Fate::Ignored]);
        assert_eq!(*classes.known, [true, false, true]);
        assert_eq!(classes.left_out, ["dog"]);
        assert!(classes.note(Path::new("set")).unwrap().ends_with("left out: dog"));
    }

    #[test]
    fn an_ignored_class_is_not_judged_for_any_known_class() {
        let classes =
            classes(&["car", "person", "sign"], &["car", "face", "person"], &source(&[], &["sign"])).unwrap();
        let object = Object { class: 0, bbox: BoundingBox::default(), ignore: false };
        let mut objects = Vec::new();
        classes.add(classes.fate("sign"), object, &mut objects);
        assert_eq!(
            objects.iter().map(|one| (one.class, one.ignore)).collect::<Vec<_>>(),
            [(0, true), (2, true)]
        );
    }

    #[test]
    fn strangers_are_refused_with_both_lists() {
        let message = classes(&["cat", "dog"], &["face"], &source(&[], &[])).unwrap_err().to_string();
        assert!(message.contains("has: face;") && message.contains("has: cat, dog"), "{message}");
        for source in [source(&[("cart", "face")], &[]), source(&[], &["cart"])] {
            let message = classes(&["cat"], &["cat"], &source).unwrap_err().to_string();
            assert!(message.contains("\"cart\"") && message.contains("it has: cat"), "{message}");
        }
    }
}

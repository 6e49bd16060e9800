//! Bringing a model's class names and another list of names together.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{EvalError, Found};
use crate::detection::Detection;

/// Which of a model's classes is which in another list, by name; upper and lower case are the same.
#[derive(Clone, Debug)]
pub struct ClassMap {
    /// For each of the model's classes the id in the other list.
    ids: Vec<Option<u64>>,
    /// Classes that only the model has.
    pub only_in_model: Vec<String>,
    /// Classes that only the other list has.
    pub only_in_other: Vec<String>,
}

fn key(name: &str) -> String {
    name.trim().to_lowercase()
}

impl ClassMap {
    /// Maps `model`, a model's class names, to `others`, ids and names; `other` names that side in messages.
    ///
    /// Several of the model's classes may have the same name, they all map. Names in `others` are to be
    /// distinct.
    ///
    /// # Errors
    /// No name in common.
    pub fn new(model: &[Arc<str>], others: &[(u64, String)], other: &'static str) -> Result<Self, EvalError> {
        let by_name: HashMap<String, u64> = others.iter().map(|(id, name)| (key(name), *id)).collect();
        let ids: Vec<_> = model.iter().map(|name| by_name.get(&key(name)).copied()).collect();
        let covered: HashSet<u64> = ids.iter().copied().flatten().collect();
        if covered.is_empty() {
            let model = model.iter().map(ToString::to_string).collect();
            let data = others.iter().map(|(_, name)| name.clone()).collect();
            return Err(EvalError::NoSharedClass { other, model, data });
        }
        let unmapped = model.iter().zip(&ids).filter(|(_, id)| id.is_none());
        let uncovered = others.iter().filter(|(id, _)| !covered.contains(id));
        Ok(Self {
            only_in_model: unmapped.map(|(name, _)| name.to_string()).collect(),
            only_in_other: uncovered.map(|(_, name)| name.clone()).collect(),
            ids,
        })
    }

    /// A detection in the other list's terms; none if its class is not there.
    pub fn map(&self, detection: &Detection) -> Option<Found> {
        let class = (*self.ids.get(detection.class_id as usize)?)?;
        Some(Found { class, score: detection.score, bbox: detection.bbox })
    }
}

/// The classes that two models share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Their names, in the teacher's order and spelling; a [`Found::class`] is an index into them.
    pub names: Vec<String>,
    /// From the student's classes.
    pub student: ClassMap,
    /// From the teacher's classes.
    pub teacher: ClassMap,
}

impl Shared {
    /// Finds them.
    ///
    /// # Errors
    /// No name in common.
    pub fn of(student: &[Arc<str>], teacher: &[Arc<str>]) -> Result<Self, EvalError> {
        let has: HashSet<String> = student.iter().map(|name| key(name)).collect();
        let mut seen = HashSet::new();
        let distinct = teacher.iter().filter(|name| seen.insert(key(name)));
        let numbered = |names: Vec<String>| (0..).zip(names).collect::<Vec<(u64, String)>>();
        let all: Vec<String> = distinct.map(ToString::to_string).collect();
        let names: Vec<String> = all.iter().filter(|name| has.contains(&key(name))).cloned().collect();
        // With nothing shared, the whole list makes the message.
        let shared = numbered(if names.is_empty() { all } else { names.clone() });
        let student = ClassMap::new(student, &shared, "the teacher")?;
        let teacher = ClassMap::new(teacher, &shared, "the student")?;
        Ok(Self { names, student, teacher })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    fn categories(list: &[(u64, &str)]) -> Vec<(u64, String)> {
        list.iter().map(|(id, name)| (*id, (*name).to_owned())).collect()
    }

    fn mapped(map: &ClassMap, class_id: u32) -> Option<u64> {
        map.ids.get(class_id as usize).copied().flatten()
    }

    #[test]
    fn names_meet_whatever_their_case() {
        let model = names(&["Person", "car", "dog", "person "]);
        let data = categories(&[(7, "CAR"), (3, "person"), (9, "bus")]);
        let map = ClassMap::new(&model, &data, "the data set").unwrap();
        assert_eq!([0, 1, 2, 3, 4].map(|id| mapped(&map, id)), [Some(3), Some(7), None, Some(3), None]);
        assert_eq!((map.only_in_model, map.only_in_other), (vec!["dog".to_owned()], vec!["bus".to_owned()]));
    }

    #[test]
    fn strangers_are_refused_with_both_lists() {
        let error = ClassMap::new(&names(&["face"]), &categories(&[(1, "person")]), "the data set");
        let message = error.unwrap_err().to_string();
        assert!(message.contains("face") && message.contains("the data set has: person"), "{message}");
        let message = Shared::of(&names(&["face"]), &names(&["car", "bus"])).unwrap_err().to_string();
        assert!(message.contains("face") && message.contains("the teacher has: car, bus"), "{message}");
    }

    #[test]
    fn two_models_share_what_both_have_in_the_teachers_words() {
        let shared =
            Shared::of(&names(&["cat", "PERSON"]), &names(&["person", "car", "Cat", "person"])).unwrap();
        assert_eq!(shared.names, ["person", "Cat"]);
        assert_eq!([0, 1].map(|id| mapped(&shared.student, id)), [Some(1), Some(0)]);
        assert_eq!(
            [0, 1, 2, 3].map(|id| mapped(&shared.teacher, id)),
            [Some(0), None, Some(1), Some(0)],
            "a name that the teacher has twice is one class"
        );
        assert_eq!(shared.teacher.only_in_model, ["car"]);
    }
}

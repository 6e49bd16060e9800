//! Which of the student's classes a teacher teaches.

use std::collections::BTreeMap;

use super::{Teacher, TeacherError};

/// A class of the student's and the teacher's class that it is learnt from, both by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taught {
    pub student: usize,
    pub teacher: usize,
}

fn position(names: &[String], name: &str) -> Option<usize> {
    let key = |name: &str| name.trim().to_lowercase();
    // A name that differs in case alone is another one where both are there.
    names
        .iter()
        .position(|other| other == name)
        .or_else(|| names.iter().position(|other| key(other) == key(name)))
}

/// What `teacher` teaches, in the order of the student's classes: what `told` says, or all that both have.
///
/// # Errors
/// Nothing in common, or a name that one of them does not have.
pub(super) fn taught(
    teacher: &str,
    told: &BTreeMap<String, String>,
    student: &[String],
    theirs: &[String],
) -> Result<Vec<Taught>, TeacherError> {
    let find = |names: &[String], whose, class: &String| {
        position(names, class).ok_or_else(|| TeacherError::NoSuchClass {
            teacher: teacher.to_owned(),
            whose,
            class: class.clone(),
            have: names.to_vec(),
        })
    };
    let mut taught = Vec::new();
    for (ours, its) in told {
        let (student, teacher) = (find(student, "the student", ours)?, find(theirs, "the teacher", its)?);
        taught.push(Taught { student, teacher });
    }
    if told.is_empty() {
        let both =
            |(at, name): (usize, &String)| Some(Taught { student: at, teacher: position(theirs, name)? });
        taught = student.iter().enumerate().filter_map(both).collect();
    }
    if taught.is_empty() {
        let (teacher, theirs, student) = (teacher.to_owned(), theirs.to_vec(), student.to_vec());
        return Err(TeacherError::NoSharedClass { teacher, theirs, student });
    }
    taught.sort_by_key(|one| one.student);
    Ok(taught)
}

/// Sees that every class is learnt from somebody and from one teacher only; `labelled` tells of each class whether
/// there are labels of it.
///
/// # Errors
/// The first class for which that is not so.
pub fn check_owners(teachers: &[Teacher], classes: &[String], labelled: &[bool]) -> Result<(), TeacherError> {
    let owned: Vec<_> = teachers.iter().map(|teacher| (teacher.name(), teacher.owns())).collect();
    check(&owned, classes, labelled)
}

fn check(owned: &[(&str, &[usize])], classes: &[String], labelled: &[bool]) -> Result<(), TeacherError> {
    for (at, class) in classes.iter().enumerate() {
        let mut owners =
            owned.iter().filter(|(_, owns)| owns.contains(&at)).map(|(name, _)| (*name).to_owned());
        match (owners.next(), owners.next()) {
            (Some(first), Some(second)) => {
                return Err(TeacherError::TwoTeachers { class: class.clone(), first, second });
            }
            (None, _) if !labelled.get(at).is_some_and(|labelled| *labelled) => {
                return Err(TeacherError::NoTeacher { class: class.clone() });
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn pairs(
        told: &[(&str, &str)],
        student: &[&str],
        teacher: &[&str],
    ) -> Result<Vec<(usize, usize)>, String> {
        let told = told.iter().map(|(ours, its)| ((*ours).to_owned(), (*its).to_owned())).collect();
        let taught =
            taught("t", &told, &names(student), &names(teacher)).map_err(|error| error.to_string())?;
        Ok(taught.iter().map(|one| (one.student, one.teacher)).collect())
    }

    #[test]
    fn untold_it_teaches_all_that_both_have() {
        assert_eq!(
            pairs(&[], &["face", "car", "Person"], &["person", "bus", "car"]),
            Ok(vec![(1, 2), (2, 0)])
        );
        assert_eq!(pairs(&[], &["a"], &["A", "a"]), Ok(vec![(0, 1)]), "the same name comes first");
    }

    #[test]
    fn told_it_teaches_that_and_no_more() {
        let student = ["human", "car"];
        assert_eq!(pairs(&[("human", "person")], &student, &["car", "person"]), Ok(vec![(0, 1)]));
        let both = [("car", "truck"), ("human", "person")];
        assert_eq!(pairs(&both, &student, &["person", "truck"]), Ok(vec![(0, 0), (1, 1)]));
    }

    #[test]
    fn classes_that_do_not_fit_are_listed() {
        let error = pairs(&[], &["cat"], &["face", "hand"]).unwrap_err();
        assert!(error.contains("has: face, hand; the student has: cat"), "{error}");
        assert!(error.contains(r#"classes = { "cat" = "face" }"#), "{error}");
        let error = pairs(&[("dog", "face")], &["cat"], &["face"]).unwrap_err();
        assert!(error.contains(r#"the student has no class "dog"; it has: cat"#), "{error}");
        let error = pairs(&[("cat", "dog")], &["cat"], &["face"]).unwrap_err();
        assert!(error.contains(r#"the teacher has no class "dog"; it has: face"#), "{error}");
    }

    #[test]
    fn each_class_has_one_teacher_or_labels() {
        let classes = names(&["person", "car", "face"]);
        let check = |owned: &[(&str, &[usize])], labelled: [bool; 3]| {
            check(owned, &classes, &labelled).map_err(|error| error.to_string())
        };
        check(&[("coco", &[0, 1]), ("face", &[2])], [false; 3]).unwrap();
        check(&[("coco", &[0, 1])], [true, false, true]).unwrap();
        check(&[], [true; 3]).unwrap();
        let error = check(&[("coco", &[0, 1]), ("other", &[1, 2])], [true; 3]).unwrap_err();
        assert!(error.contains("the class car has two teachers, coco and other"), "{error}");
        let error = check(&[("coco", &[0, 1])], [true, true, false]).unwrap_err();
        assert!(error.contains("the class face has neither labels nor a teacher"), "{error}");
    }
}

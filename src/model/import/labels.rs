//! Class names.

use super::ImportError;
use crate::model::coco::COCO_CLASSES;
use crate::model::decode::{CENTERFACE, CENTERPOSE, Family};

/// The names of `count` classes: those given, or those that the family or the number suggests.
pub(super) fn names(
    given: Option<&[String]>,
    family: &Family,
    count: usize,
) -> Result<Vec<String>, ImportError> {
    match given {
        Some(names) if names.len() == count => Ok(names.to_vec()),
        Some(names) => Err(ImportError::Labels(format!(
            "--labels: the file names {} classes, the network's heatmap has {count}; one name a line, in the \
             order of the network's classes",
            names.len()
        ))),
        None => Ok(suggested(family, count)),
    }
}

fn suggested(family: &Family, count: usize) -> Vec<String> {
    let one = |name: &str| vec![name.to_owned()];
    match count {
        1 if family.name == CENTERFACE.name => one("face"),
        1 if family.name == CENTERPOSE.name => one("person"),
        1 => one("object"),
        80 => COCO_CLASSES.map(str::to_owned).to_vec(),
        _ => (0..count).map(|class| format!("class_{class}")).collect(),
    }
}

/// Names out of a text file: one a line, empty lines left out.
pub fn parse(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

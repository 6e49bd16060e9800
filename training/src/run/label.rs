//! What teachers find, as labels: to be looked through, corrected, and learned from.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use centerx::app::models;
use centerx::cli::UsageError;
use centerx::eval::Found;
use serde_json::{Value, json};

use super::recipe::Recipe;
use super::{materials, referee};
use crate::data::Item;

/// What was labelled.
#[derive(Clone, Debug)]
pub struct Labelled {
    file: PathBuf,
    pictures: usize,
    objects: Vec<(String, usize)>,
}

impl fmt::Display for Labelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} pictures", self.file.display(), self.pictures)?;
        self.objects.iter().try_for_each(|(class, count)| write!(f, ", {class} {count}"))
    }
}

/// Writes what the recipe's teachers find in its pictures, from its `teacher-score` up, by COCO's format. Pictures that
/// are held out have none: whoever learns from the labels can be judged by those.
///
/// # Errors
/// Input that cannot be used, named; a recipe without teachers; a file that cannot be written.
pub fn label(recipe: &Recipe, file: &Path) -> anyhow::Result<Labelled> {
    if recipe.teacher.is_empty() {
        return Err(UsageError("the recipe has no [[teacher]] that could label anything".to_owned()).into());
    }
    let runtime = models::load_runtime()?;
    let (all, _) = materials::pictures(recipe)?;
    let pictures: Vec<_> = all.items.iter().map(|item| item.file.clone()).collect();
    let least = recipe.train.teacher_score;
    let teachers = materials::teachers(&runtime, recipe)?;
    let found = referee::ask_teachers(&runtime, &pictures, &teachers, least)?;
    let text = coco(&all.items, &found, &recipe.classes)?.to_string();
    centerx::model::write(file, text.as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))?;
    let count = |class: usize| found.iter().flatten().filter(|one| one.class == class as u64).count();
    let objects = recipe.classes.iter().enumerate().map(|(class, name)| (name.clone(), count(class)));
    Ok(Labelled { file: file.to_owned(), pictures: pictures.len(), objects: objects.collect() })
}

fn coco(items: &[Item], found: &[Vec<Found>], classes: &[String]) -> anyhow::Result<Value> {
    let images = (1..).zip(items).map(|(id, item): (u64, _)| {
        let path = std::path::absolute(&item.file)?;
        let name = path.strip_prefix("/")?.to_str().context("a picture's path is not valid UTF-8")?;
        Ok(json!({"id": id, "file_name": name, "width": item.size.0, "height": item.size.1}))
    });
    let images = images.collect::<anyhow::Result<Vec<_>>>()?;
    let of = |(image, found): (u64, &Vec<Found>)| {
        let one = |found: &Found| (image, found.class, found.score, found.bbox);
        found.iter().map(one).collect::<Vec<_>>()
    };
    let annotations =
        (1..).zip(found).flat_map(of).zip(1..).map(|((image, class, score, bbox), id): (_, u64)| {
            let (w, h) = (bbox.x2 - bbox.x1, bbox.y2 - bbox.y1);
            json!({
                "id": id, "image_id": image, "category_id": class + 1, "bbox": [bbox.x1, bbox.y1, w, h],
                "area": w * h, "iscrowd": 0, "score": score,
            })
        });
    let annotations: Vec<_> = annotations.collect();
    let categories: Vec<_> =
        (1..).zip(classes).map(|(id, name): (u64, _)| json!({"id": id, "name": name})).collect();
    Ok(json!({"images": images, "annotations": annotations, "categories": categories}))
}

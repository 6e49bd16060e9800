//! What a run needs before its first step: pictures, teachers and what they say, and what the student is held against.

use std::error::Error;
use std::sync::Arc;

use centerx::app::models;
use centerx::cli::UsageError;
use centerx::engine::onnx::OnnxRuntime;
use indicatif::ProgressBar;

use super::batch::Shape;
use super::recipe::Recipe;
use super::referee::{Referee, Scores};
use crate::data::{self, AugmentConfig, DataSet, Item, MapSource};
use crate::maps::Maps;
use crate::nn;
use crate::teacher::{self, Cached, Grid, Look, Teacher};
use crate::view::View;

/// All of it.
pub struct Materials {
    /// What runs teachers and exported students.
    pub runtime: OnnxRuntime,
    /// The pictures to learn from.
    pub learn: Arc<DataSet>,
    /// Those held out.
    pub held_out: DataSet,
    /// What the teachers say.
    pub lessons: Arc<Lessons>,
    /// Judges students.
    pub referee: Referee,
    /// What all batches have in common.
    pub shape: Shape,
}

impl Materials {
    /// Opens everything, and lets the teachers look at what they have not looked at yet.
    ///
    /// # Errors
    /// Input that cannot be used, named; nothing to learn from, or nothing to evaluate on.
    pub fn gather(recipe: &Recipe) -> anyhow::Result<Self> {
        let runtime = models::load_runtime()?;
        let (learn, held_out) = pictures(recipe)?;
        let teachers = teachers(&runtime, recipe)?;
        let labelled = labelled(&learn);
        if teachers.is_empty() && !labelled.contains(&true) {
            let cure = "name a [[teacher]], or a data set with labels";
            return Err(
                UsageError(format!("there are no labels and no teacher to learn from; {cure}")).into()
            );
        }
        teacher::check_owners(&teachers, &recipe.classes, &labelled)?;
        let shape = Shape {
            input: recipe.input(),
            classes: recipe.classes.len(),
            labelled: labelled.contains(&true),
            teachers: teachers.len(),
            distill: recipe.distill.clone(),
        };
        let learn = Arc::new(learn.repeated());
        let lessons = Lessons::prepare(recipe, learn.clone(), teachers)?;
        let referee = Referee::new(&runtime, &held_out, lessons.teachers(), Scores::of(recipe))?;
        Ok(Self { runtime, learn, held_out, lessons: Arc::new(lessons), referee, shape })
    }
}

/// The recipe's pictures: those to learn from, and those held out, at least one.
///
/// # Errors
/// Data that cannot be used, named; too few pictures to hold any out.
pub fn pictures(recipe: &Recipe) -> anyhow::Result<(DataSet, DataSet)> {
    let all = data::open(&recipe.data, &recipe.classes, &recipe.cache)?;
    all.notes.iter().for_each(|note| eprintln!("note: {note}"));
    let (learn, held_out) = all.hold_out(recipe.hold_out);
    eprintln!("{} pictures to learn from, {} held out", learn.items.len(), held_out.items.len());
    if held_out.items.is_empty() {
        let cure = "raise hold-out or add pictures, so that there is something to evaluate on";
        return Err(UsageError(format!("no picture is held out: {cure}")).into());
    }
    Ok((learn, held_out))
}

/// The recipe's teachers.
///
/// # Errors
/// One that is missing, or does not fit the student's classes.
pub fn teachers(runtime: &OnnxRuntime, recipe: &Recipe) -> anyhow::Result<Vec<Teacher>> {
    let open = |config| Ok(Teacher::open(runtime, config, &recipe.classes)?);
    recipe.teacher.iter().map(open).collect()
}

/// For each class whether it is labelled in any picture.
fn labelled(data: &DataSet) -> Vec<bool> {
    let labels = || data.items.iter().filter_map(|item| item.labels.as_ref());
    (0..data.classes.len()).map(|class| labels().any(|one| one.known.get(class) == Some(&true))).collect()
}

/// What the teachers say of the pictures to learn from, in each of their views.
pub struct Lessons {
    data: Arc<DataSet>,
    maps: Cached,
    augment: AugmentConfig,
    seed: u64,
    input: (u32, u32),
}

impl Lessons {
    fn prepare(recipe: &Recipe, data: Arc<DataSet>, teachers: Vec<Teacher>) -> anyhow::Result<Self> {
        let grid = Grid { input: recipe.input(), stride: nn::STRIDE as u32 };
        let maps = Cached::new(teachers, &recipe.cache.join("teachers"), grid)?;
        let augment = recipe.augment.clone();
        let lessons = Self { data, maps, augment, seed: recipe.seed, input: recipe.input() };
        if !lessons.teachers().is_empty() {
            let pairs = lessons
                .data
                .items
                .iter()
                .flat_map(|item| (0..lessons.augment.variants).map(move |v| (item, v)));
            let looks: Vec<Look<'_>> = pairs.map(|(item, variant)| lessons.look(item, variant)).collect();
            eprintln!("the teachers look at {} views", looks.len());
            let asked = lessons.maps.prepare(&looks, data::render, &teacher::bar())?;
            eprintln!("asked for {}, had {} already", asked.asked, asked.found);
        }
        Ok(lessons)
    }

    /// The teachers.
    pub fn teachers(&self) -> &[Teacher] {
        self.maps.teachers()
    }

    /// What they say of a picture that is not to be learned from, as it is.
    ///
    /// # Errors
    /// A picture that cannot be read, a teacher that fails.
    pub fn shown(&self, item: &Item) -> anyhow::Result<Vec<Maps>> {
        let view = View::letterbox(item.size, self.input);
        let look = Look { id: &item.id, file: &item.file, view };
        self.maps.prepare(&[look], data::render, &ProgressBar::hidden())?;
        Ok(self.maps.get(&look)?)
    }

    fn look<'a>(&self, item: &'a Item, variant: usize) -> Look<'a> {
        let view = self.augment.view(self.seed, item, variant, self.input);
        Look { id: &item.id, file: &item.file, view }
    }
}

impl MapSource for Lessons {
    fn maps(&self, item: usize, variant: usize) -> Result<Vec<Maps>, Box<dyn Error + Send + Sync>> {
        Ok(self.maps.get(&self.look(&self.data.items[item], variant))?)
    }
}

//! What teachers say, on disk: asked once, read in every epoch.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use centerx::cli::eval::lanes;
use centerx::engine::onnx::Threads;
use centerx::picture_file;
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest as _, Sha256};

use super::lane::{Grid, Render, TeacherLane};
use super::{Teacher, TeacherError, file};
use crate::maps::Maps;
use crate::view::View;

/// A view of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look<'a> {
    /// The picture's name, the same in every run.
    pub id: &'a str,
    /// Its file.
    pub file: &'a Path,
    /// How it lies in the student's input.
    pub view: View,
}

/// What [`Cached::prepare`] did, counted in views of one teacher each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// Those that were there.
    pub found: u64,
    /// Those that the teachers were asked for.
    pub asked: u64,
}

/// Teachers whose maps are kept in a folder, a small file for each view and teacher.
///
/// A file is found by what it depends on: the picture's name, size and time, the view, the student's grid, the teacher's
/// model and classes. So nothing is ever out of date, and what is not needed any more may be deleted at any time.
pub struct Cached {
    teachers: Vec<Teacher>,
    folder: PathBuf,
    grid: Grid,
}

/// A file that is not there yet: which teacher's, and its path.
type Missing = (usize, PathBuf);

impl Cached {
    /// Maps on `grid`, kept in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn new(teachers: Vec<Teacher>, folder: &Path, grid: Grid) -> Result<Self, TeacherError> {
        fs::create_dir_all(folder).map_err(|error| TeacherError::folder(folder, &error))?;
        Ok(Self { teachers, folder: folder.to_owned(), grid })
    }

    /// The teachers.
    pub fn teachers(&self) -> &[Teacher] {
        &self.teachers
    }

    /// What each of the teachers says of a view, scores under its floor being 0.
    ///
    /// # Errors
    /// A view that was not [prepared](Self::prepare).
    pub fn get(&self, look: &Look<'_>) -> Result<Vec<Maps>, TeacherError> {
        let picture = Stamp::of(look.file)?;
        let read = |teacher: &Teacher| {
            let path = self.path(look, picture, teacher);
            let unprepared = |problem: String| TeacherError::Unprepared {
                teacher: teacher.name().to_owned(),
                item: look.id.to_owned(),
                file: path.clone(),
                problem,
            };
            let bytes = fs::read(&path).map_err(|error| unprepared(error.to_string()))?;
            let maps = file::decode(&bytes, teacher.owns().len(), self.grid.cells());
            let mut maps = maps.map_err(|problem| unprepared(problem.to_owned()))?;
            let floor = teacher.config().score_floor;
            maps.heat.iter_mut().filter(|score| **score < floor).for_each(|score| *score = 0.0);
            Ok(maps)
        };
        self.teachers.iter().map(read).collect()
    }

    /// Asks the teachers for all that is not there yet or was damaged, one thread a core; pictures are drawn by
    /// `render`, and decoded once for views that follow each other. The bar counts views.
    ///
    /// # Errors
    /// The first picture that cannot be read, teacher that fails or file that cannot be written. What is there by then is
    /// found the next time.
    pub fn prepare(
        &self,
        looks: &[Look<'_>],
        render: Render,
        progress: &ProgressBar,
    ) -> Result<Prepared, TeacherError> {
        let total = (looks.len() * self.teachers.len()) as u64;
        let jobs = self.missing(looks)?;
        let asked = jobs.iter().flatten().map(|(_, missing)| missing.len() as u64).sum();
        if asked > 0 {
            progress.set_length(asked);
            progress.reset();
            let lanes = (0..threads().min(jobs.len())).map(|_| self.lanes(render));
            let lanes = lanes.collect::<Result<Vec<_>, _>>()?;
            in_parallel(lanes, jobs, |lanes, job| self.ask(lanes, &job, progress))?;
        }
        progress.finish_and_clear();
        Ok(Prepared { found: total - asked, asked })
    }

    fn lanes(&self, render: Render) -> Result<Vec<TeacherLane>, TeacherError> {
        self.teachers.iter().map(|teacher| teacher.lane(render)).collect()
    }

    /// The views of which something is not there, in lists of those of one picture.
    fn missing<'a>(&self, looks: &'a [Look<'a>]) -> Result<Vec<Job<'a>>, TeacherError> {
        let jobs: Vec<_> = looks.chunk_by(|a, b| a.file == b.file).collect();
        let jobs = in_parallel(vec![(); threads()], jobs, |(), looks| {
            let Some(first) = looks.first() else { return Ok(Vec::new()) };
            let picture = Stamp::of(first.file)?;
            let each = looks.iter().map(|look| (look, self.missing_of(look, picture)));
            Ok(each.filter(|(_, missing)| !missing.is_empty()).collect())
        })?;
        Ok(jobs.into_iter().filter(|job| !job.is_empty()).collect())
    }

    fn missing_of(&self, look: &Look<'_>, picture: Stamp) -> Vec<Missing> {
        let is_there = |teacher: &Teacher, path: &Path| {
            fs::read(path)
                .is_ok_and(|bytes| file::check(&bytes, teacher.owns().len(), self.grid.cells()).is_ok())
        };
        let each = self.teachers.iter().enumerate();
        let each = each.map(|(at, teacher)| (at, teacher, self.path(look, picture, teacher)));
        each.filter(|(_, teacher, path)| !is_there(teacher, path)).map(|(at, _, path)| (at, path)).collect()
    }

    /// Looks at the views of one picture.
    fn ask(
        &self,
        lanes: &mut [TeacherLane],
        job: &Job<'_>,
        progress: &ProgressBar,
    ) -> Result<(), TeacherError> {
        let Some((first, _)) = job.first() else { return Ok(()) };
        let bytes = fs::read(first.file).map_err(|error| TeacherError::picture(first.file, &error))?;
        let picture =
            picture_file::decode(&bytes).map_err(|error| TeacherError::picture(first.file, &error))?;
        for (look, missing) in job {
            for (teacher, path) in missing {
                let Some(lane) = lanes.get_mut(*teacher) else { continue };
                self.write(path, &file::encode(&lane.look(&picture, look.view, self.grid)?))?;
                progress.inc(1);
            }
        }
        Ok(())
    }

    /// Writes a file: it appears whole or not at all.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), TeacherError> {
        let folder = path.parent().unwrap_or(&self.folder);
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(folder)?;
            // Temporary files are for their owner alone; this one is to be read like any other.
            let for_all = fs::Permissions::from_mode(0o666);
            let mut file = tempfile::Builder::new().permissions(for_all).tempfile_in(folder)?;
            file.write_all(bytes)?;
            // Not synced: what a power cut takes is found damaged, and asked again.
            file.persist(path)?;
            Ok(())
        };
        write().map_err(|error| TeacherError::folder(&self.folder, &error))
    }

    /// Where a teacher's maps of a view lie: by a hash of all that they depend on, in one of 256 folders.
    fn path(&self, look: &Look<'_>, picture: Stamp, teacher: &Teacher) -> PathBuf {
        let view = [look.view.scale, look.view.left, look.view.top].map(f32::to_bits);
        let Grid { input, stride } = self.grid;
        let model = (file::VERSION, teacher.sha256(), teacher.classes());
        let key =
            serde_json::json!([look.id, picture.bytes, picture.nanoseconds, view, input, stride, model]);
        let hash: String = Sha256::digest(key.to_string()).iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(&hash[..2]).join(&hash[2..])
    }
}

/// The views of one picture, each with what is missing of it.
type Job<'a> = Vec<(&'a Look<'a>, Vec<Missing>)>;

/// By what a changed picture is told from what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    /// Since 1970.
    nanoseconds: u64,
}

impl Stamp {
    fn of(file: &Path) -> Result<Self, TeacherError> {
        let about = fs::metadata(file).map_err(|error| TeacherError::picture(file, &error))?;
        let modified = about.modified().map_err(|error| TeacherError::picture(file, &error))?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self { bytes: about.len(), nanoseconds: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX) })
    }
}

/// A bar for [`Cached::prepare`] on a terminal, with the rate and the time that is left.
pub fn bar() -> ProgressBar {
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} views for the teachers  {per_sec}  {eta} left");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn threads() -> usize {
    Threads::throughput(0).lanes
}

/// Does every job, each on the next free lane; results in the jobs' order.
fn in_parallel<L: Send, J: Send, T: Send>(
    lanes: Vec<L>,
    jobs: Vec<J>,
    work: impl Fn(&mut L, J) -> Result<T, TeacherError> + Sync,
) -> Result<Vec<T>, TeacherError> {
    let hidden = ProgressBar::hidden();
    let done = lanes::run(lanes, jobs.into_iter().map(Ok), &hidden, |lane, job| Ok(work(lane, job)?));
    // Its errors are the jobs' own.
    done.map_err(|error| {
        let other =
            |error: anyhow::Error| TeacherError::Run { teacher: "of all".into(), cause: error.to_string() };
        error.downcast().unwrap_or_else(other)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_first_failure_ends_the_work_and_is_told() {
        let done = AtomicUsize::new(0);
        let work = |_: &mut (), job: usize| {
            done.fetch_add(1, Ordering::Relaxed);
            if job < 3 { Ok(job) } else { Err(TeacherError::NoTeacher { class: format!("c{job}") }) }
        };
        assert_eq!(in_parallel(vec![(); 2], vec![0, 1, 2], work).unwrap(), [0, 1, 2]);
        let error = in_parallel(vec![()], (0..1000).collect(), work).unwrap_err();
        assert!(matches!(error, TeacherError::NoTeacher { class } if class == "c3"));
        assert_eq!(done.into_inner(), 3 + 4);
    }
}

//! One teacher's network at work.

use std::sync::Arc;

use burn::tensor::f16;
use centerx::frame::Picture;
use centerx::model::INPUT;
use centerx::model::decode::Head;
use centerx::model::reference::Values;
use ort::session::Session;
use ort::value::{DynValue, Tensor};

use super::TeacherError;
use super::heads;
use super::open::Network;
use super::regrid::regrid;
use crate::maps::Maps;
use crate::view::View;

/// Draws a view of a picture: RGB, uint8 `[height, width, 3]` of the given width and height, zeros where there is no
/// picture. It is given rather than known, for pictures are the business of `data`.
pub type Render = fn(&Picture, View, (u32, u32)) -> Vec<u8>;

/// The student's input and the cells that it is divided into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Width and height in pixels.
    pub input: (u32, u32),
    /// Pixels a cell.
    pub stride: u32,
}

impl Grid {
    /// Rows and columns of cells.
    pub fn cells(&self) -> (usize, usize) {
        ((self.input.1 / self.stride) as usize, (self.input.0 / self.stride) as usize)
    }
}

/// A session of a teacher's network on one thread.
pub struct TeacherLane {
    network: Arc<Network>,
    session: Session,
    render: Render,
}

impl TeacherLane {
    pub(super) fn open(network: &Arc<Network>, render: Render) -> Result<Self, TeacherError> {
        let session = network.runtime.session(&network.onnx, 1).map_err(|error| network.failed(&error))?;
        Ok(Self { network: Arc::clone(network), session, render })
    }

    /// What the teacher says of a view of a picture, on the student's grid: a channel of scores for each of the classes
    /// that it [owns](super::Teacher::owns), in their order.
    ///
    /// It looks at what the student sees and no more, but from the picture itself and as large as fits its input.
    ///
    /// # Errors
    /// A network that fails, or gives something else than its metadata tell.
    pub fn look(&mut self, picture: &Picture, view: View, grid: Grid) -> Result<Maps, TeacherError> {
        let input = self.network.input;
        let factor = factor(grid.input, input);
        let pixels = self.pixels(picture, view, grid, factor);
        let own = self.run(pixels)?;
        let ratio = self.network.heads.stride / (factor * grid.stride as f32);
        Ok(regrid(&own, ratio, grid.cells()))
    }

    /// The student's view at the top left of the teacher's input, `factor` times as large.
    fn pixels(&self, picture: &Picture, view: View, grid: Grid, factor: f32) -> Vec<u8> {
        let input = self.network.input;
        let view = View { scale: view.scale * factor, left: view.left * factor, top: view.top * factor };
        let side = |length: u32, limit: u32| ((length as f32 * factor).round() as u32).clamp(1, limit);
        let canvas = (side(grid.input.0, input.0), side(grid.input.1, input.1));
        let seen = (self.render)(picture, view, canvas);
        let (row, seen_row) = (input.0 as usize * 3, canvas.0 as usize * 3);
        let mut pixels = vec![0; row * input.1 as usize];
        let rows = pixels.chunks_exact_mut(row).zip(seen.chunks_exact(seen_row));
        rows.for_each(|(to, from)| to[..seen_row].copy_from_slice(from));
        pixels
    }

    /// The teacher's own maps of a picture of its input's size.
    fn run(&mut self, pixels: Vec<u8>) -> Result<Maps, TeacherError> {
        let network = &self.network;
        let (width, height) = network.input;
        let failed = |error: ort::Error| network.failed(&error);
        let pixels = Tensor::from_array(([1, height as usize, width as usize, 3], pixels)).map_err(failed)?;
        let outputs = self.session.run(ort::inputs![INPUT => pixels]).map_err(failed)?;
        let read = |head: &Head| match outputs.get(&head.value) {
            Some(value) => values(value, head).map_err(|problem| network.misfit(head, problem)),
            None => Err(network.misfit(head, "is not there".to_owned())),
        };
        let heatmap = read(&network.heads.heatmap)?;
        let regressions = network.heads.regressions.iter();
        let regressions = regressions.map(|head| head.as_ref().map(read).transpose());
        let regressions = regressions.collect::<Result<Vec<_>, _>>()?;
        let values =
            Values { heatmap: &heatmap, regressions: regressions.iter().map(Option::as_deref).collect() };
        Ok(heads::maps(network.reader, &network.heads, &values, &network.classes))
    }
}

/// How much larger than the student's the teacher's view of a picture is.
fn factor(student: (u32, u32), teacher: (u32, u32)) -> f32 {
    (teacher.0 as f32 / student.0 as f32).min(teacher.1 as f32 / student.1 as f32)
}

/// A head's values, of whichever float type; what is wrong with them otherwise.
fn values(value: &DynValue, head: &Head) -> Result<Vec<f32>, String> {
    let (shape, values) = match value.try_extract_tensor::<f32>() {
        Ok((shape, values)) => (shape, values.to_vec()),
        Err(_) => {
            let (shape, values) = value.try_extract_tensor::<f16>().map_err(|error| error.to_string())?;
            (shape, values.iter().map(|value| value.to_f32()).collect())
        }
    };
    let expected = [1, head.channels, head.height, head.width].map(|size| size as i64);
    if shape[..] != expected {
        return Err(format!("is {:?} and should be {expected:?}", &shape[..]));
    }
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err("holds values that are not numbers".to_owned()),
    }
}

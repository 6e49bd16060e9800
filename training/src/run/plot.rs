//! The record of a run as a picture: loss terms, learning rate and scores over the steps, as SVG.

use std::error::Error;
use std::ops::Range;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::log::History;

/// Width and height in pixels.
const SIZE: (u32, u32) = (1100, 760);
/// Pixels for the names of the lines, on the right.
const LEGEND: u32 = 210;
/// Points a line; more rows are averaged.
const POINTS: usize = 500;
/// Decades that the axis of the losses spans at most, so that a term that is almost nothing does not flatten the rest.
const DECADES: i32 = 6;

/// The plot cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// Nothing to see.
    #[error("there is no row in the record yet: train for some steps first")]
    Empty,
    /// Plotters refuses.
    #[error("the plot cannot be drawn: {0}")]
    Draw(String),
    /// The file system refuses, or is full.
    #[error("{}: {cause}; is there space left, and may this user write there?", path.display())]
    File {
        /// The plot.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error + Send + Sync>>;

/// A line: its name, and its (step, value)s.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Writes the plot of a record; it appears whole or not at all.
///
/// Above are the loss terms before they are weighted, and the total, on a logarithmic axis; below the learning rate,
/// and the scores of the evaluations if there were any. Values that are not positive numbers are left out of the
/// logarithmic axis.
///
/// # Errors
/// See [`PlotError`].
pub fn plot(history: &History, title: &str, path: &Path) -> Result<(), PlotError> {
    let svg = draw(history, title)?;
    centerx::model::write(path, svg.as_bytes())
        .map_err(|cause| PlotError::File { path: path.to_owned(), cause })
}

fn draw(history: &History, title: &str) -> Result<String, PlotError> {
    if history.rows.is_empty() {
        return Err(PlotError::Empty);
    }
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    panels(&area, history, title).map_err(|error| PlotError::Draw(error.to_string()))?;
    drop(area);
    Ok(svg)
}

fn panels(area: &Area, history: &History, title: &str) -> Drawn {
    area.fill(&WHITE)?;
    let area = area.titled(title, ("sans-serif", 24))?;
    let scores = scores(history);
    let height = area.dim_in_pixel().1 as i32;
    let lower = if scores.points.is_empty() { height / 4 } else { height / 5 };
    let (losses, area) = area.split_vertically(height - lower * if scores.points.is_empty() { 1 } else { 2 });
    let steps = steps(history);
    let lines = losses_of(history);
    let span = span(lines.iter().flat_map(|line| &line.points).map(|point| point.1));
    panel(&losses, "loss terms, not weighted", steps.clone(), span.log_scale(), &lines)?;
    let (rates, area) = area.split_vertically(lower);
    let rate = line("learning rate", history, |row| row.rate);
    let top = rate.points.iter().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
    panel(&rates, "learning rate", steps.clone(), 0.0..top * 1.1, &[rate])?;
    if !scores.points.is_empty() {
        panel(&area, "score", steps, 0.0..1.0, &[scores])?;
    }
    Ok(area.present()?)
}

/// One diagram with its legend.
fn panel<Y>(area: &Area, about: &str, steps: Range<f64>, values: Y, lines: &[Line]) -> Drawn
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let (diagram, names) = area.split_horizontally(area.dim_in_pixel().0 as i32 - LEGEND as i32);
    let mut chart = ChartBuilder::on(&diagram)
        .margin(8)
        .set_label_area_size(LabelAreaPosition::Left, 75)
        .set_label_area_size(LabelAreaPosition::Bottom, 38)
        .build_cartesian_2d(steps, values)?;
    chart
        .configure_mesh()
        .y_labels((area.dim_in_pixel().1 / 28) as usize)
        .max_light_lines(1)
        .light_line_style(BLACK.mix(0.05))
        .bold_line_style(BLACK.mix(0.15))
        .x_desc("step")
        .y_desc(about)
        .label_style(("sans-serif", 13))
        .axis_desc_style(("sans-serif", 14))
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&|value| number(*value))
        .draw()?;
    for (index, line) in lines.iter().enumerate() {
        let style = color(index).stroke_width(2);
        chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        // A line of one point is nothing to see.
        let points = line.points.iter().filter(|_| line.points.len() == 1);
        chart.draw_series(points.map(|&point| Circle::new(point, 3, style.filled())))?;
        let y = 20 + 20 * index as i32;
        names.draw(&PathElement::new([(4, y), (28, y)], style))?;
        names.draw(&Text::new(line.name.clone(), (34, y - 7), ("sans-serif", 14)))?;
    }
    Ok(())
}

/// Neighbours far apart on the colour wheel, the total black, all dark enough for white paper.
fn color(index: usize) -> RGBAColor {
    const GOLDEN_RATIO: f64 = 0.618_033_988_75;
    match index {
        0 => BLACK.to_rgba(),
        _ => HSLColor((index as f64 * GOLDEN_RATIO).fract(), 0.85, 0.42).to_rgba(),
    }
}

/// As short as it can be read: 250, 0.25, 2.5e-5.
fn number(value: f64) -> String {
    if value == 0.0 || (1e-3..1e5).contains(&value.abs()) {
        // Steps of an axis are sums, with their errors.
        format!("{}", (value * 1e6).round() / 1e6)
    } else {
        format!("{value:.1e}")
    }
}

/// The axis of the steps; it is never empty.
fn steps(history: &History) -> Range<f64> {
    let of = |step: Option<&super::log::Row>| step.map_or(0.0, |row| row.step as f64);
    let (first, last) = (of(history.rows.first()), of(history.rows.last()));
    first..last.max(first + 1.0)
}

/// A range for a logarithmic axis around the values that can be on one.
fn span(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, greatest) = values.fold((f64::MAX, 0.0f64), |(a, b), value| (a.min(value), b.max(value)));
    if greatest == 0.0 {
        return 0.1..1.0;
    }
    least.max(greatest * 10f64.powi(-DECADES)) / 1.5..greatest * 1.5
}

/// The total and each term, what a logarithm has no place for left out.
fn losses_of(history: &History) -> Vec<Line> {
    let total = line("total", history, |row| f64::from(row.total));
    let term = |(index, name): (usize, &String)| {
        line(name, history, move |row| f64::from(row.terms.get(index).map_or(f32::NAN, |term| term.value)))
    };
    let terms = history.terms.iter().enumerate().map(term);
    std::iter::once(total)
        .chain(terms)
        .map(|mut line| {
            line.points.retain(|&(_, value)| value > 0.0);
            line
        })
        .collect()
}

fn scores(history: &History) -> Line {
    let point = |row: &super::log::Row| Some((row.step as f64, row.score?));
    let points = history.rows.iter().filter_map(point).filter(|point| point.1.is_finite());
    Line { name: "evaluation".to_owned(), points: points.collect() }
}

/// Means of some rows each, so that there are at most [`POINTS`]. Rows with values that are no numbers do not count.
fn line(name: &str, history: &History, value: impl Fn(&super::log::Row) -> f64) -> Line {
    let rows = history.rows.len().div_ceil(POINTS).max(1);
    let mean = |rows: &[super::log::Row]| {
        let values: Vec<_> = rows
            .iter()
            .map(|row| (row.step as f64, value(row)))
            .filter(|point| point.1.is_finite())
            .collect();
        let count = values.len() as f64;
        let (steps, sum) = values.iter().fold((0.0, 0.0), |sums, point| (sums.0 + point.0, sums.1 + point.1));
        (count > 0.0).then(|| (steps / count, sum / count))
    };
    Line { name: name.to_owned(), points: history.rows.chunks(rows).filter_map(mean).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::log::{Row, TermValue};
    use super::*;

    fn history(rows: u64, value: impl Fn(u64) -> f32) -> History {
        let row = |step| Row {
            step,
            epoch: 1,
            rate: 1e-3 * (1.0 - step as f64 / rows as f64),
            gradient_norm: 1.0,
            seconds: 0.2,
            total: 3.0 * value(step),
            score: step.is_multiple_of(100).then_some(0.5),
            terms: vec![
                TermValue { value: value(step), weight: 1.0 },
                TermValue { value: 2.0 * value(step), weight: 1.0 },
            ],
        };
        History {
            terms: vec!["labels/heat".into(), "coco/size <b>".into()],
            rows: (1..=rows).map(row).collect(),
        }
    }

    #[test]
    fn a_plot_names_its_lines_and_axes() {
        let svg = draw(&history(300, |step| 10.0 / step as f32), "run yard & street").unwrap();
        for text in ["run yard &amp; street", "labels/heat", "coco/size &lt;b&gt;", "total", "learning rate"]
        {
            assert!(svg.contains(text), "{text}");
        }
        assert!(svg.contains("evaluation") && svg.contains("score"));
        roxmltree::Document::parse(&svg).unwrap();
    }

    #[test]
    fn there_is_no_panel_of_scores_without_evaluations() {
        assert!(!draw(&history(50, |_| 1.0), "run").unwrap().contains("evaluation"));
    }

    #[test]
    fn one_row_and_values_that_are_no_numbers_are_drawn_too() {
        for rows in [1, 2, 40] {
            for value in [f32::NAN, f32::INFINITY, 0.0, -1.0, 1.0] {
                let svg = draw(&history(rows, |_| value), "run").unwrap();
                roxmltree::Document::parse(&svg).unwrap();
            }
        }
        assert!(matches!(draw(&history(0, |_| 1.0), "run"), Err(PlotError::Empty)));
    }

    #[test]
    fn many_rows_become_means() {
        let losses = losses_of(&history(5000, |step| step as f32));
        assert_eq!(losses[1].points.len(), POINTS);
        assert_eq!(losses[1].points[0], (5.5, 5.5));
        assert_eq!(losses[2].points[499], (4995.5, 9991.0));
    }

    #[test]
    fn the_axis_of_losses_holds_all_but_what_is_almost_nothing() {
        assert_eq!(span([3.0, 1.5].into_iter()), 1.0..4.5);
        assert_eq!(span([3.0, 1e-20].into_iter()).start, 2e-6);
        assert!(!span([].into_iter()).is_empty());
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 0.1 + 0.2, 250.0, 2.5e-5, 1e6].map(number), ["0", "0.3", "250", "2.5e-5", "1.0e6"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let error = plot(&history(3, |_| 1.0), "run", Path::new("/nowhere/plot.svg")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/plot.svg"), "{error}");
    }
}

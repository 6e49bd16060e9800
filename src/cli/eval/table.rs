//! A report as text for people.

use comfy_table::{CellAlignment, Table, presets};

use crate::eval::listed;
use crate::eval::report::{Agreed, Coco, Outcome, Report, Teacher};

/// What COCO's numbers are, in its order.
const METRICS: [(&str, &str); 12] = [
    ("AP", "average precision, overlap 0.50 to 0.95"),
    ("AP50", "at overlap 0.50"),
    ("AP75", "at overlap 0.75"),
    ("APs", "of small objects, under 32x32 pixels"),
    ("APm", "of medium objects"),
    ("APl", "of large objects, over 96x96 pixels"),
    ("AR1", "average recall, 1 detection a picture and class"),
    ("AR10", "with 10"),
    ("AR100", "with 100"),
    ("ARs", "of small objects"),
    ("ARm", "of medium objects"),
    ("ARl", "of large objects"),
];

/// The whole report.
pub fn text(report: &Report) -> String {
    let run = &report.run;
    let mut parts = vec![format!(
        "{} on {} picture{} in {:.1} s ({:.1} a second), {}",
        report.model.name,
        run.pictures,
        if run.pictures == 1 { "" } else { "s" },
        run.seconds,
        run.pictures as f64 / run.seconds.max(1e-9),
        report.model.engine
    )];
    match &report.outcome {
        Outcome::Coco(coco) => parts.extend(coco_text(coco)),
        Outcome::Teacher(teacher) => parts.extend(teacher_text(teacher)),
    }
    if !run.left_out.is_empty() {
        let names: Vec<_> = run.left_out.iter().map(|path| path.display().to_string()).collect();
        parts.push(format!("left out, missing or damaged ({}): {}", names.len(), listed(&names)));
    }
    parts.extend(report.notes.iter().map(|note| format!("note: {note}")));
    parts.join("\n").trim_end().to_owned()
}

fn coco_text(coco: &Coco) -> Vec<String> {
    let counts =
        format!("instances: {}, crowds: {}, detections: {}", coco.instances, coco.crowds, coco.detections);
    let mut metrics = table(&["", "", ""]);
    for (name, meaning) in METRICS {
        let value = coco.metrics.get(name).copied().flatten();
        metrics.add_row([name.to_owned(), shown(value), meaning.to_owned()]);
    }
    align_right(&mut metrics, 1..2);
    let mut classes = table(&["class", "instances", "detections", "AP", "AP50", "AR100"]);
    for class in coco.classes.iter().filter(|class| class.instances > 0) {
        let counts = [class.instances, class.detections].map(|count| count.to_string());
        let values = [class.ap, class.ap50, class.ar100].map(shown);
        classes.add_row([vec![class.name.clone()], counts.to_vec(), values.to_vec()].concat());
    }
    align_right(&mut classes, 1..6);
    let without: Vec<_> =
        coco.classes.iter().filter(|class| class.instances == 0).map(|class| class.name.clone()).collect();
    let mut parts = vec![counts, metrics.to_string(), String::new(), classes.to_string(), String::new()];
    parts.extend(unless_empty("no instances of", &without));
    parts.extend(unless_empty(
        "unknown to the model, so their objects count as missed",
        &coco.only_in_dataset,
    ));
    parts.extend(unless_empty("not in the data set, so left out", &coco.only_in_model));
    parts
}

/// What two models have in common, a class each and all together.
pub fn teacher_text(teacher: &Teacher) -> Vec<String> {
    let about = format!(
        "teacher {} from score {}, student from {}, overlap {}",
        teacher.teacher.name, teacher.teacher_score, teacher.score, teacher.iou
    );
    let header = [
        "class",
        "matched",
        "only student",
        "only teacher",
        "unsure",
        "precision",
        "recall",
        "F1",
        "mean IoU",
        "score diff",
    ];
    let mut classes = table(&header);
    let seen = |one: &Agreed| one.matched + one.only_student + one.only_teacher + one.unsure > 0;
    for class in teacher.classes.iter().filter(|class| seen(&class.agreed)) {
        classes.add_row(agreed_row(&class.name, &class.agreed));
    }
    classes.add_row(agreed_row("all", &teacher.overall));
    align_right(&mut classes, 1..header.len());
    let mut parts = vec![about, classes.to_string(), String::new()];
    parts.extend(unless_empty("only the student knows, so left out", &teacher.only_in_model));
    parts.extend(unless_empty("only the teacher knows, so left out", &teacher.only_in_teacher));
    parts
}

fn agreed_row(name: &str, one: &Agreed) -> Vec<String> {
    let counts = [one.matched, one.only_student, one.only_teacher, one.unsure].map(|count| count.to_string());
    let ratios = [one.precision, one.recall, one.f1, one.mean_iou].map(shown);
    let difference = one.score_difference.map_or_else(|| "-".into(), |value| format!("{value:+.3}"));
    [vec![name.to_owned()], counts.to_vec(), ratios.to_vec(), vec![difference]].concat()
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.3}"))
}

fn unless_empty(what: &str, names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| format!("{what} ({}): {}", names.len(), listed(names)))
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if header.iter().any(|title| !title.is_empty()) {
        table.set_header(header);
    }
    table
}

fn align_right(table: &mut Table, columns: std::ops::Range<usize>) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

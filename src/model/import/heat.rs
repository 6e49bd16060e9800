//! What a heatmap went through before it became an output, and how much of that the decode does itself.

use crate::model::decode::Heat;
use crate::model::graph::{Graph, ints, op};
use crate::model::onnx::NodeProto;

/// How many nodes back the beginning of centerX's peak test may lie.
const MAX_STEPS: usize = 8;
/// What the test may be written in, beside the products that it ends in.
const TEST_STEPS: [&str; 15] = [
    "Add",
    "Cast",
    "Ceil",
    "Clip",
    "Div",
    "Equal",
    "Floor",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "Less",
    "LessOrEqual",
    "Not",
    "Relu",
    "Sub",
];

/// Takes the peak test that centerX exports inside the graph, `heat * relu(heat - maxpool(heat) + 1e-9) * 1e9`
/// and its like, off the outputs and the values in `named`: they become what went into the test.
///
/// The decode does the test itself, float16 knows no 1e-9, and some exports of the test hold the shape of the
/// heatmap as a constant, so this comes before the network is run at a size.
pub(super) fn undo_peak_tests(graph: &mut Graph, named: &[String]) {
    let outputs = graph.proto().output.iter().filter_map(|value| value.name.clone());
    for output in outputs.chain(named.iter().cloned()).collect::<Vec<_>>() {
        let Some(heat) = before_peak_test(graph, &output) else { continue };
        // Who reads the tested one goes on doing so; only the name changes hands.
        let tested = graph.fresh(&format!("{output}_tested"));
        graph.rename_value(&output, &tested);
        graph.node_into("Identity", &[&heat], std::slice::from_ref(&output), &[]);
        let outputs = graph.proto_mut().output.iter_mut().filter_map(|value| value.name.as_mut());
        outputs.filter(|name| **name == tested).for_each(|name| name.clone_from(&output));
    }
}

/// The value to decode instead of the heatmap `output`, and what it holds.
///
/// A sigmoid at the end is left out, because the decode takes it of the K best only. Where the graph does not
/// tell, `scores` does: whether all values of the output lay between 0 and 1.
pub(super) fn source(graph: &Graph, output: &str, scores: bool) -> (String, Heat) {
    let mut raw = output.to_owned();
    while let Some(node) = graph.maker(&raw).filter(|node| op(node) == "Identity") {
        raw = node.input.first().cloned().unwrap_or_default();
    }
    match graph.maker(&raw) {
        Some(node) if op(node) == "Sigmoid" => (node.input.first().cloned().unwrap_or(raw), Heat::Logits),
        _ if scores => (raw, Heat::Scores),
        _ => (raw, Heat::Logits),
    }
}

/// The heatmap that went into a peak test ending in `output`: what a 3x3 max-pool some steps before reads, if
/// products along the way read it too.
fn before_peak_test(graph: &Graph, output: &str) -> Option<String> {
    let mut open = vec![(output.to_owned(), 0)];
    let mut factors: Vec<String> = Vec::new();
    let mut pooled = None;
    while let Some((value, steps)) = open.pop() {
        let Some(node) = graph.maker(&value).filter(|_| steps < MAX_STEPS) else { continue };
        match op(node) {
            "MaxPool" if is_3x3(node) => {
                pooled = node.input.first().cloned();
                continue;
            }
            "Mul" => factors.extend(node.input.iter().cloned()),
            "Where" => factors.extend(node.input.iter().skip(1).cloned()),
            op if TEST_STEPS.contains(&op) => {}
            _ => continue,
        }
        open.extend(node.input.iter().map(|input| (input.clone(), steps + 1)));
    }
    pooled.filter(|heat| factors.contains(heat))
}

fn is_3x3(node: &NodeProto) -> bool {
    ints(node, "kernel_shape") == Some(&[3, 3])
        && ints(node, "strides").is_none_or(|strides| strides == [1, 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::graph::Attr;
    use crate::model::onnx::ElementType;

    fn logits() -> (Graph, String) {
        let mut graph = Graph::new("g");
        let x = graph.input("x", ElementType::Float, &[]);
        let w = graph.float("w", 1.0);
        let conv = graph.node("Conv", &[&x, &w], "conv", &[]);
        (graph, conv)
    }

    fn pool(graph: &mut Graph, heat: &str) -> String {
        let window = [("kernel_shape", Attr::Ints(&[3, 3])), ("pads", Attr::Ints(&[1; 4]))];
        graph.node("MaxPool", &[heat], "pool", &window)
    }

    #[test]
    fn a_sigmoid_at_the_end_is_left_out() {
        let (mut graph, conv) = logits();
        let hm = graph.node("Sigmoid", &[&conv], "hm", &[]);
        assert_eq!(source(&graph, &hm, true), (conv.clone(), Heat::Logits));
        assert_eq!(source(&graph, &conv, false), (conv.clone(), Heat::Logits));
        assert_eq!(
            source(&graph, &conv, true),
            (conv, Heat::Scores),
            "a network may be trained to give scores"
        );
    }

    #[test]
    fn clamped_scores_are_scores() {
        let (mut graph, conv) = logits();
        let hm = graph.node("Sigmoid", &[&conv], "hm", &[]);
        let clamped = graph.with_number("Min", &hm, 0.9999);
        assert_eq!(source(&graph, &clamped, true), (clamped, Heat::Scores));
    }

    #[test]
    fn the_peak_test_of_centerx_is_undone() {
        let (mut graph, conv) = logits();
        let heat = graph.node("Sigmoid", &[&conv], "heat", &[]);
        let most = pool(&mut graph, &heat);
        let apart = graph.binary("Sub", &heat, &most);
        let apart = graph.with_number("Add", &apart, 1e-9);
        let keep = graph.node("Relu", &[&apart], "keep", &[]);
        let keep = graph.with_number("Mul", &keep, 1e9);
        let hm = graph.binary("Mul", &heat, &keep);
        graph.output(&hm, ElementType::Float, &[]);
        undo_peak_tests(&mut graph, &[]);
        graph.check().unwrap();
        assert_eq!(graph.proto().output[0].name.as_ref(), Some(&hm), "the output keeps its name");
        assert_eq!(source(&graph, &hm, true), (conv, Heat::Logits));
    }

    #[test]
    fn a_peak_test_by_choice_is_undone_where_another_node_reads_it_too() {
        let (mut graph, conv) = logits();
        let heat = graph.node("Sigmoid", &[&conv], "heat", &[]);
        let most = pool(&mut graph, &heat);
        let apart = graph.binary("Sub", &most, &heat);
        let peak = graph.with_number("Less", &apart, 1e-9);
        let zeros = graph.floats("zeros", &[1, 3, 8, 8], &[0.0; 192]);
        let hm = graph.node("Where", &[&peak, &heat, &zeros], "hm", &[]);
        let (best, _) = graph.top(&hm, 3, 5);
        graph.output(&best, ElementType::Float, &[]);
        undo_peak_tests(&mut graph, std::slice::from_ref(&hm));
        graph.check().unwrap();
        assert_eq!(source(&graph, &hm, true), (conv, Heat::Logits));
    }

    #[test]
    fn a_pool_of_something_else_is_no_peak_test() {
        let (mut graph, conv) = logits();
        let most = pool(&mut graph, &conv);
        let hm = graph.with_number("Mul", &most, 2.0);
        graph.output(&hm, ElementType::Float, &[]);
        undo_peak_tests(&mut graph, &[]);
        assert_eq!(source(&graph, &hm, false), (hm.clone(), Heat::Logits));
    }
}

//! What each TensorFlow operation is in ONNX.

use super::convert::{Factor, Feature, Importer, MAX_SIDE, Operand, Value};
use super::manifest::{Node, Weight, WeightData};
use crate::model::graph::Attr;

/// The largest height or width a feature map is resized to.
const MAX_RESIZE: i32 = 1 << 14;

impl<'a> Importer<'a> {
    /// Adds what `node` computes; the nodes it reads are translated already.
    pub fn translate(&mut self, node: &'a Node) -> Result<Value, String> {
        match node.op.as_str() {
            "Shape" => return Ok(Value::Ints(shape(&self.feature(node, 0)?))),
            "StridedSlice" => return self.slice(node).map(Value::Ints),
            "Mul" if matches!(self.operand(node, 0)?, Operand::Ints(_)) => {
                return self.product(node).map(Value::Ints);
            }
            _ => {}
        }
        self.feature_map(node).map(Value::Feature)
    }

    fn feature_map(&mut self, node: &'a Node) -> Result<Feature, String> {
        match node.op.as_str() {
            "Placeholder" => Ok(self.input.clone()),
            "Identity" => self.feature(node, 0),
            "Cast" => self.cast(node),
            "Conv2D" | "_FusedConv2D" => self.convolution(node, false),
            "DepthwiseConv2dNative" | "FusedDepthwiseConv2dNative" => self.convolution(node, true),
            "Add" | "AddV2" => self.binary(node, "Add"),
            "Sub" => self.binary(node, "Sub"),
            "Mul" => self.binary(node, "Mul"),
            "Relu" | "Relu6" | "Sigmoid" => {
                let x = self.feature(node, 0)?;
                self.activation(&node.op, x, &node.name)
            }
            "Mean" => self.mean(node),
            "ConcatV2" => self.concat(node),
            "ResizeBilinear" => self.resize(node),
            _ => Err("this operation cannot be translated".to_owned()),
        }
    }

    /// The pixels are floats from the beginning, so one that makes them floats does nothing.
    fn cast(&self, node: &Node) -> Result<Feature, String> {
        match node.element("DstT")?.as_str() {
            "DT_FLOAT" => self.feature(node, 0),
            other => Err(format!("a feature map cannot become {other}")),
        }
    }

    /// A range of a list of numbers.
    fn slice(&self, node: &Node) -> Result<Vec<i32>, String> {
        let list = self.ints(node, 0)?;
        for mask in ["begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"] {
            if node.axes(mask)? != 0 {
                return Err(format!("{mask} is set; only a plain range can be translated"));
            }
        }
        let range = [self.ints(node, 1)?, self.ints(node, 2)?, self.ints(node, 3)?];
        let [&[from], &[to], &[1]] = [&range[0][..], &range[1][..], &range[2][..]] else {
            return Err(format!("the range {range:?} is not a begin, an end and a step of 1"));
        };
        let [from, to] = [from, to].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
        let part = list.get(from..to).ok_or_else(|| format!("{from}..{to} is no range of {list:?}"))?;
        Ok(part.to_vec())
    }

    /// Two lists of numbers, multiplied one by one.
    fn product(&self, node: &Node) -> Result<Vec<i32>, String> {
        let (a, b) = (self.ints(node, 0)?, self.ints(node, 1)?);
        let product = |(x, y): (&i32, &i32)| x.checked_mul(*y);
        let product = (a.len() == b.len()).then(|| a.iter().zip(&b).map(product).collect()).flatten();
        product.ok_or_else(|| format!("{a:?} and {b:?} cannot be multiplied"))
    }

    fn activation(&mut self, op: &str, x: Feature, name: &str) -> Result<Feature, String> {
        let value = match op {
            "Relu" | "Sigmoid" => self.graph.node(op, &[&x.value], name, &[]),
            "Relu6" => {
                let [zero, six] = [0.0, 6.0].map(|bound| self.graph.float("bound", bound));
                self.graph.node("Clip", &[&x.value, &zero, &six], name, &[])
            }
            _ => return Err(format!("the activation {op:?} cannot be translated")),
        };
        Ok(Feature { value, ..x })
    }

    /// Kernels come as [h, w, in, out], or [h, w, in, multiplier] for a depthwise convolution.
    fn convolution(&mut self, node: &Node, depthwise: bool) -> Result<Feature, String> {
        if node.text("data_format")? != "NHWC" {
            return Err("only the layout NHWC can be translated".to_owned());
        }
        let x = self.feature(node, 0)?;
        let (shape, kernel) = self.floats(node, 1)?;
        let &[kh, kw, inputs, last] = shape else {
            return Err(format!("the kernel's shape {shape:?} has not four dimensions"));
        };
        if inputs != x.channels || [kh, kw, inputs, last].contains(&0) || last > MAX_SIDE {
            return Err(format!("a kernel of shape {shape:?} does not fit {} channels", x.channels));
        }
        let (dims, kernel, channels, group) = if depthwise {
            let channels = inputs.checked_mul(last).filter(|&c| c <= MAX_SIDE).ok_or("too many channels")?;
            ([channels, 1, kh, kw], permuted(kernel, [kh, kw, inputs, last], [2, 3, 0, 1]), channels, inputs)
        } else {
            ([last, inputs, kh, kw], permuted(kernel, [kh, kw, inputs, last], [3, 2, 0, 1]), last, 1)
        };
        let weight = self.graph.floats(&format!("{}/weight", node.name), &dims, &kernel);
        let fused = node.texts("fused_ops")?;
        let (biased, activations) = match fused.split_first() {
            Some((first, rest)) if first == "BiasAdd" => (true, rest),
            _ => (false, &fused[..]),
        };
        let mut inputs = vec![x.value.clone(), weight];
        if biased {
            inputs.push(self.bias(node, channels)?);
        }
        let window = Window::of(node, [kh, kw], [x.height, x.width])?;
        let name = if activations.is_empty() { node.name.clone() } else { format!("{}/conv", node.name) };
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let value = self.graph.node("Conv", &inputs, &name, &window.attributes(&(group as i64)));
        let y = Feature { value, channels, height: window.output[0], width: window.output[1] };
        match activations {
            [] => Ok(y),
            [op] => self.activation(op, y, &node.name),
            _ => Err(format!("the fused operations {fused:?} cannot be translated")),
        }
    }

    fn bias(&mut self, node: &Node, channels: usize) -> Result<String, String> {
        let (shape, bias) = self.floats(node, 2)?;
        if bias.len() != channels {
            return Err(format!("a bias of shape {shape:?} does not fit {channels} channels"));
        }
        Ok(self.graph.floats(&format!("{}/bias", node.name), &[channels], bias))
    }

    fn binary(&mut self, node: &Node, op: &str) -> Result<Feature, String> {
        let operands = (self.operand(node, 0)?, self.operand(node, 1)?);
        let (a, b, shape) = match operands {
            (Operand::Feature(a), Operand::Feature(b)) => {
                let shape = broadcast(&a, &b)?;
                (a.value, b.value, shape)
            }
            (Operand::Feature(a), Operand::Constant(c)) => {
                (a.value.clone(), self.constant(node, c, a.channels)?, a)
            }
            (Operand::Constant(c), Operand::Feature(b)) => {
                (self.constant(node, c, b.channels)?, b.value.clone(), b)
            }
            _ => return Err("none of the inputs is a feature map, or one is made from shapes".to_owned()),
        };
        Ok(Feature { value: self.graph.node(op, &[&a, &b], &node.name, &[]), ..shape })
    }

    /// A constant operand: one number, or one a channel.
    fn constant(&mut self, node: &Node, weight: &Weight, channels: usize) -> Result<String, String> {
        let Weight { shape, data: WeightData::Floats(data) } = weight else {
            return Err("a constant operand is not a float".to_owned());
        };
        let hint = format!("{}/constant", node.name);
        match data[..] {
            [number] => Ok(self.graph.float(&hint, number)),
            _ if data.len() == channels && shape.last() == Some(&channels) => {
                Ok(self.graph.floats(&hint, &[1, channels, 1, 1], data))
            }
            _ => Err(format!(
                "a constant of shape {shape:?} is neither one number nor one for each of {channels} channels"
            )),
        }
    }

    fn mean(&mut self, node: &Node) -> Result<Feature, String> {
        let x = self.feature(node, 0)?;
        let axes = self.ints(node, 1)?;
        if !matches!(axes[..], [1, 2] | [2, 1]) || !node.flag("keep_dims")? {
            return Err(format!(
                "a mean over {axes:?}; only one over height and width that keeps them can be translated"
            ));
        }
        let value = self.graph.node("GlobalAveragePool", &[&x.value], &node.name, &[]);
        Ok(Feature { value, height: 1, width: 1, ..x })
    }

    fn concat(&mut self, node: &Node) -> Result<Feature, String> {
        let last = node.input.len().checked_sub(1).ok_or("has no inputs")?;
        let axis = self.ints(node, last)?;
        if !matches!(axis[..], [3 | -1]) {
            return Err(format!("joins along axis {axis:?}; only along channels can be translated"));
        }
        let parts = (0..last).map(|i| self.feature(node, i)).collect::<Result<Vec<_>, _>>()?;
        let first = parts.first().ok_or("joins nothing")?;
        let (height, width) = (first.height, first.width);
        if parts.iter().any(|part| (part.height, part.width) != (height, width)) {
            return Err("joins feature maps of different sizes".to_owned());
        }
        let channels = parts.iter().map(|part| part.channels).sum();
        if channels > MAX_SIDE {
            return Err("too many channels".to_owned());
        }
        let values: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
        let value = self.graph.node("Concat", &values, &node.name, &[("axis", Attr::Int(1))]);
        Ok(Feature { value, channels, height, width })
    }

    /// The height and width that `node` resizes `x` to. If they are constants, it is their factor that
    /// counts, found out in the model as it was saved.
    fn target(&mut self, node: &'a Node, x: &Feature) -> Result<[usize; 2], String> {
        let size = self.ints(node, 1)?;
        let &[height @ 1..=MAX_RESIZE, width @ 1..=MAX_RESIZE] = &size[..] else {
            return Err(format!("the size {size:?} is not a height and a width"));
        };
        let size = [height as usize, width as usize];
        if !matches!(self.operand(node, 1)?, Operand::Constant(_)) {
            return Ok(size);
        }
        let [x_height, x_width] = [x.height, x.width];
        let as_saved =
            [Factor { to: size[0], from: x_height.max(1) }, Factor { to: size[1], from: x_width.max(1) }];
        let [vertical, horizontal] = *self.factors.entry(&node.name).or_insert(as_saved);
        let enlarged = |side: usize, Factor { to, from }: Factor| {
            let whole = (side * to).is_multiple_of(from) && side * to / from <= MAX_SIDE;
            whole
                .then_some(side * to / from)
                .ok_or_else(|| format!("{side} times {to}/{from} is no whole size"))
        };
        Ok([enlarged(x_height, vertical)?, enlarged(x_width, horizontal)?])
    }

    fn resize(&mut self, node: &'a Node) -> Result<Feature, String> {
        let x = self.feature(node, 0)?;
        let [height, width] = self.target(node, &x)?;
        let scales = [height as f32 / x.height as f32, width as f32 / x.width as f32];
        // The batch may be any, so the size is given by factors; the runtime rounds down what they give.
        let reached = [x.height as f32 * scales[0], x.width as f32 * scales[1]].map(|s| s as usize);
        if reached != [height, width] {
            return Err(format!("no factor takes {}x{} to {height}x{width} exactly", x.height, x.width));
        }
        let coordinates = match (node.flag("align_corners")?, node.flag("half_pixel_centers")?) {
            (false, false) => "asymmetric",
            (false, true) => "half_pixel",
            (true, false) => "align_corners",
            (true, true) => return Err("both align_corners and half_pixel_centers are set".to_owned()),
        };
        let scales =
            self.graph.floats(&format!("{}/scales", node.name), &[4], &[1.0, 1.0, scales[0], scales[1]]);
        let attributes =
            [("mode", Attr::Text("linear")), ("coordinate_transformation_mode", Attr::Text(coordinates))];
        let value = self.graph.node("Resize", &[&x.value, "", &scales], &node.name, &attributes);
        Ok(Feature { value, height, width, ..x })
    }
}

/// How a kernel moves over a feature map.
struct Window {
    kernel: [i64; 2],
    strides: [i64; 2],
    dilations: [i64; 2],
    /// Top, left, bottom, right.
    pads: [i64; 4],
    output: [usize; 2],
}

impl Window {
    /// TensorFlow's `SAME` puts the odd row of padding at the end, and how many there are depends on the
    /// input's size: <https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2>.
    fn of(node: &Node, kernel: [usize; 2], input: [usize; 2]) -> Result<Self, String> {
        let strides = node.height_and_width("strides")?;
        let dilations = node.height_and_width("dilations")?;
        let padding = node.text("padding")?;
        let (mut pads, mut output) = ([0; 4], [0; 2]);
        for side in 0..2 {
            let reach = (kernel[side] - 1) * dilations[side] + 1;
            match padding.as_str() {
                "SAME" => {
                    output[side] = input[side].div_ceil(strides[side]);
                    let total =
                        ((output[side] - 1) * strides[side] + reach).saturating_sub(input[side]) as i64;
                    (pads[side], pads[side + 2]) = (total / 2, total - total / 2);
                }
                "VALID" if reach <= input[side] => output[side] = (input[side] - reach) / strides[side] + 1,
                "VALID" => return Err(format!("the kernel {kernel:?} is larger than its input {input:?}")),
                _ => return Err(format!("the padding {padding:?} cannot be translated")),
            }
        }
        let wide = |pair: [usize; 2]| pair.map(|n| n as i64);
        Ok(Self { kernel: wide(kernel), strides: wide(strides), dilations: wide(dilations), pads, output })
    }

    fn attributes<'a>(&'a self, group: &'a i64) -> [(&'static str, Attr<'a>); 5] {
        [
            ("kernel_shape", Attr::Ints(&self.kernel)),
            ("strides", Attr::Ints(&self.strides)),
            ("dilations", Attr::Ints(&self.dilations)),
            ("pads", Attr::Ints(&self.pads)),
            ("group", Attr::Int(*group)),
        ]
    }
}

/// The shape in TensorFlow's order; the batch may be any and stands as -1.
fn shape(x: &Feature) -> Vec<i32> {
    let side = |side: usize| i32::try_from(side).unwrap_or(i32::MAX);
    vec![-1, side(x.height), side(x.width), side(x.channels)]
}

fn broadcast(a: &Feature, b: &Feature) -> Result<Feature, String> {
    let joined = |x: usize, y: usize| match (x, y) {
        _ if x == y => Ok(x),
        (1, other) | (other, 1) => Ok(other),
        _ => Err(format!(
            "feature maps of {}x{}x{} and {}x{}x{} do not go together",
            a.height, a.width, a.channels, b.height, b.width, b.channels
        )),
    };
    Ok(Feature {
        value: String::new(),
        channels: joined(a.channels, b.channels)?,
        height: joined(a.height, b.height)?,
        width: joined(a.width, b.width)?,
    })
}

/// `data` of shape `dims` with its axes in another order.
fn permuted(data: &[f32], dims: [usize; 4], order: [usize; 4]) -> Vec<f32> {
    let strides = [dims[1] * dims[2] * dims[3], dims[2] * dims[3], dims[3], 1];
    let [d, s] = [order.map(|axis| dims[axis]), order.map(|axis| strides[axis])];
    let mut out = Vec::with_capacity(data.len());
    for i in 0..d[0] {
        for j in 0..d[1] {
            for k in 0..d[2] {
                out.extend((0..d[3]).map(|l| data[i * s[0] + j * s[1] + k * s[2] + l * s[3]]));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::permuted;

    #[test]
    fn axes_are_permuted_by_value() {
        // [h=1, w=2, in=1, out=3] to [out, in, h, w].
        let kernel = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(permuted(&kernel, [1, 2, 1, 3], [3, 2, 0, 1]), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}

//! A network as text, in protobuf's text format: all but the weights.

use std::fmt::{self, Display, Write};

use super::messages::{
    BlobShape, ConvolutionParameter, EltwiseOp, EltwiseParameter, LayerParameter, NetParameter, PoolMethod,
    PoolingParameter,
};

/// A network as Caffe's users read it, after `comment`, each line of which is marked as one.
pub(super) fn prototxt(net: &NetParameter, comment: &str) -> String {
    let mut text = Text::default();
    for line in comment.lines() {
        text.line(format_args!("# {line}"));
    }
    text.string("name", net.name());
    for layer in &net.layer {
        text.block("layer", |text| text.layer(layer));
    }
    text.0
}

/// Text so far, and how deep its end is nested.
#[derive(Default)]
struct Text(String, usize);

impl Text {
    fn line(&mut self, line: impl Display) {
        let indent = 2 * self.1;
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{:indent$}{line}", "");
    }

    fn string(&mut self, name: &str, value: &str) {
        self.line(format_args!("{name}: {}", Quoted(value)));
    }

    fn value(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.line(format_args!("{name}: {value}"));
        }
    }

    fn block(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        self.line(format_args!("{name} {{"));
        self.1 += 1;
        inside(self);
        self.1 -= 1;
        self.line("}");
    }

    fn part<T>(&mut self, name: &str, part: Option<&T>, inside: impl FnOnce(&mut Self, &T)) {
        if let Some(part) = part {
            self.block(name, |text| inside(text, part));
        }
    }

    fn layer(&mut self, layer: &LayerParameter) {
        self.string("name", layer.name());
        self.string("type", layer.r#type());
        layer.bottom.iter().for_each(|bottom| self.string("bottom", bottom));
        layer.top.iter().for_each(|top| self.string("top", top));
        self.part("convolution_param", layer.convolution_param.as_ref(), Self::convolution);
        self.part("eltwise_param", layer.eltwise_param.as_ref(), Self::eltwise);
        self.part("pooling_param", layer.pooling_param.as_ref(), Self::pooling);
        self.part("power_param", layer.power_param.as_ref(), |text, power| {
            text.value("scale", power.scale);
            text.value("shift", power.shift);
        });
        self.part("flatten_param", layer.flatten_param.as_ref(), |text, flatten| {
            text.value("axis", flatten.axis);
        });
        self.part("scale_param", layer.scale_param.as_ref(), |text, scale| text.value("axis", scale.axis));
        self.part("input_param", layer.input_param.as_ref(), |text, input| {
            input.shape.iter().for_each(|shape| text.block("shape", |text| text.shape(shape)));
        });
    }

    fn convolution(&mut self, param: &ConvolutionParameter) {
        self.value("num_output", param.num_output);
        self.value("bias_term", param.bias_term);
        self.value("group", param.group);
        self.value("pad_h", param.pad_h);
        self.value("pad_w", param.pad_w);
        self.value("kernel_h", param.kernel_h);
        self.value("kernel_w", param.kernel_w);
        self.value("stride_h", param.stride_h);
        self.value("stride_w", param.stride_w);
        param.dilation.iter().for_each(|dilation| self.value("dilation", Some(dilation)));
    }

    fn eltwise(&mut self, param: &EltwiseParameter) {
        let name = match param.operation() {
            EltwiseOp::Prod => "PROD",
            EltwiseOp::Sum => "SUM",
        };
        self.value("operation", Some(name));
    }

    fn pooling(&mut self, param: &PoolingParameter) {
        let name = match param.pool() {
            PoolMethod::Max => "MAX",
            PoolMethod::Ave => "AVE",
        };
        self.value("pool", Some(name));
        self.value("kernel_size", param.kernel_size);
        self.value("stride", param.stride);
        self.value("pad", param.pad);
        self.value("global_pooling", param.global_pooling);
    }

    fn shape(&mut self, shape: &BlobShape) {
        shape.dim.iter().for_each(|dim| self.value("dim", Some(dim)));
    }
}

/// In quotes, what would end them or the line escaped.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                '\n' => f.write_str("\\n")?,
                _ => f.write_char(character)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::super::messages::{InputParameter, PowerParameter};
    use super::*;

    #[test]
    fn a_network_is_nested_text() {
        let input = LayerParameter {
            name: Some("images".into()),
            r#type: Some("Input".into()),
            top: vec!["images".into()],
            input_param: Some(InputParameter { shape: vec![BlobShape { dim: vec![1, 3] }] }),
            ..Default::default()
        };
        let power = LayerParameter {
            name: Some("power".into()),
            r#type: Some("Power".into()),
            bottom: vec!["images".into()],
            top: vec!["power".into()],
            power_param: Some(PowerParameter { scale: Some(0.5), shift: Some(-1.0) }),
            ..Default::default()
        };
        let net = NetParameter { name: Some("a \"b\"".into()), layer: vec![input, power] };
        let expected = r#"# one
# two
name: "a \"b\""
layer {
  name: "images"
  type: "Input"
  top: "images"
  input_param {
    shape {
      dim: 1
      dim: 3
    }
  }
}
layer {
  name: "power"
  type: "Power"
  bottom: "images"
  top: "power"
  power_param {
    scale: 0.5
    shift: -1
  }
}
"#;
        assert_eq!(prototxt(&net, "one\ntwo"), expected);
    }
}

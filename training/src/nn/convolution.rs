//! Convolutions and their gradients by ways that are quicker on processors than burn's own.
//!
//! burn's gradient of the input is a transposed convolution, that of the weights one with a kernel of the size of the
//! picture; at stride 1 the first is a convolution with the mirrored weights too, and of pointwise convolutions the second
//! is a matrix product. And with few input channels burn leaves matrix products altogether. What comes out is the same;
//! docs/training.md has the times.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::ModuleOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::ops::{ConvOptions, PadMode};
use burn::tensor::{Shape, Tensor};

/// Input channels up to which burn's convolution of stride 2 is slower than one of stride 1 over four times the channels.
const FEW_CHANNELS: usize = 4;

/// What `conv.forward` gives, bias included, with gradients that cost less.
pub(super) fn convolve(x: Tensor<4>, conv: &Conv2d) -> Tensor<4> {
    let PaddingConfig2d::Explicit(top, left, bottom, right) = conv.padding.clone() else {
        return conv.forward(x);
    };
    let square = top == left && top == bottom && top == right;
    if !square || conv.dilation != [1, 1] {
        return conv.forward(x);
    }
    let weight = conv.weight.val();
    let [_, channels, height, width] = x.dims();
    let halves = conv.stride == [2, 2] && height.is_multiple_of(2) && width.is_multiple_of(2);
    let y = if halves && channels <= FEW_CHANNELS && conv.groups == 1 {
        by_phases(x, weight, top)
    } else {
        apply(x, weight, ConvOptions::new(conv.stride, [top, top], [1, 1], conv.groups))
    };
    match &conv.bias {
        Some(bias) => y + bias.val().reshape([1, -1, 1, 1]),
        None => y,
    }
}

fn apply(x: Tensor<4>, weight: Tensor<4>, options: ConvOptions<2>) -> Tensor<4> {
    let y = <Dispatch as Convolution>::convolution(x.into_dispatch(), weight.into_dispatch(), options);
    Tensor::from_dispatch(y)
}

/// A convolution of stride 2 as one of stride 1 over the four phases of the picture, each of half its size: cell `2i + k`
/// is cell `i + k / 2` of phase `k % 2`. `x` is `[N, C, H, W]` with even sides, `weight` `[O, C, K, K]`.
fn by_phases(x: Tensor<4>, weight: Tensor<4>, pad: usize) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let [outputs, _, kernel, _] = weight.dims();
    // Zeros before and after the kernel, so that it begins at an even cell and has even sides.
    let before = pad % 2;
    let sides = (kernel + before).next_multiple_of(2);
    let after = sides - kernel - before;
    let taps = sides / 2;
    let weight = weight
        .pad((before, after, before, after), PadMode::Constant(0.0))
        .reshape([outputs, channels, taps, 2, taps, 2])
        .permute([0, 1, 3, 5, 2, 4])
        .reshape([outputs, channels * 4, taps, taps]);
    let begin = (pad + before) / 2;
    let end = taps - 1 - begin;
    let x = x
        .reshape([batch, channels, height / 2, 2, width / 2, 2])
        .permute([0, 1, 3, 5, 2, 4])
        .reshape([batch, channels * 4, height / 2, width / 2])
        .pad((begin, end, begin, end), PadMode::Constant(0.0));
    apply(x, weight, ConvOptions::new([1, 1], [0, 0], [1, 1], 1))
}

/// Backends with this convolution.
#[backend_extension(Flex, Autodiff)]
trait Convolution: Backend {
    /// `x` `[N, C, H, W]`, `weight` `[O, C / groups, K, K]`, padded alike on all sides, not dilated.
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self>;
}

impl Convolution for Flex {
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        <Self as ModuleOps<Self>>::conv2d(x, weight, None, options)
    }
}

/// The step back through a convolution.
#[derive(Debug)]
struct Step;

impl<B: Backend> Backward<B, 2> for Step {
    type State = (NodeId, NodeId, ConvOptions<2>);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [to_x, to_weight] = ops.parents;
        let gradient = gradients.consume::<B>(&ops.node);
        let (x, weight, options) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let weight = checkpointer.retrieve_node_output::<FloatTensor<B>>(weight);
        if let Some(node) = to_x {
            let of_x = gradient_of_x::<B>(x.clone(), weight.clone(), gradient.clone(), options.clone());
            gradients.register::<B>(node.id, of_x);
        }
        if let Some(node) = to_weight {
            let of_weight = gradient_of_weight::<B>(x, weight, gradient, options);
            gradients.register::<B>(node.id, of_weight);
        }
    }
}

impl<B: Convolution, C: CheckpointStrategy> Convolution for Autodiff<B, C> {
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        match Step.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prepared) => {
                let state = (prepared.checkpoint(&x), prepared.checkpoint(&weight), options.clone());
                prepared.finish(state, B::convolution(x.into_primitive(), weight.into_primitive(), options))
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(B::convolution(x.into_primitive(), weight.into_primitive(), options))
            }
        }
    }
}

fn gradient_of_x<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    options: ConvOptions<2>,
) -> FloatTensor<B> {
    let [outputs, inputs, kernel, _] = weight.shape().dims();
    let depthwise = inputs == 1 && options.groups == outputs;
    if options.stride != [1, 1] || !(options.groups == 1 || depthwise) {
        return B::conv2d_x_backward(x, weight, gradient, options);
    }
    let mirrored = B::float_flip(weight, &[2, 3]);
    let mirrored = if depthwise { mirrored } else { B::float_swap_dims(mirrored, 0, 1) };
    let pad = kernel - 1 - options.padding[0].0;
    B::conv2d(gradient, mirrored, None, ConvOptions::new([1, 1], [pad, pad], [1, 1], options.groups))
}

fn gradient_of_weight<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    options: ConvOptions<2>,
) -> FloatTensor<B> {
    let [outputs, inputs, kernel, _] = weight.shape().dims();
    let pointwise = kernel == 1 && options.stride == [1, 1] && options.padding == [(0, 0); 2];
    if options.groups != 1 || !pointwise {
        return B::conv2d_weight_backward(x, weight, gradient, options);
    }
    let [batch, _, height, width] = gradient.shape().dims();
    // [N, O, cells] times [N, cells, C], added up over the pictures.
    let flat = |tensor, channels| B::float_reshape(tensor, Shape::new([batch, channels, height * width]));
    let product = B::float_matmul(flat(gradient, outputs), B::float_swap_dims(flat(x, inputs), 1, 2));
    B::float_reshape(B::float_sum_dim(product, 0), Shape::new([outputs, inputs, 1, 1]))
}

#[cfg(test)]
mod tests {
    use burn::module::Param;
    use burn::nn::conv::Conv2dConfig;
    use burn::tensor::{Device, Distribution};

    use super::*;

    /// Input channels, output channels, kernel, stride, groups.
    const KINDS: [[usize; 5]; 10] = [
        [3, 4, 7, 2, 1],
        [3, 4, 3, 2, 1],
        [2, 3, 5, 2, 1],
        [4, 6, 1, 1, 1],
        [4, 6, 1, 2, 1],
        [4, 6, 3, 1, 1],
        [6, 4, 3, 2, 1],
        [4, 4, 3, 1, 4],
        [4, 4, 5, 2, 4],
        [4, 8, 3, 1, 2],
    ];

    fn gradients(
        run: impl Fn(Tensor<4>, &Conv2d) -> Tensor<4>,
        x: &Tensor<4>,
        conv: &Conv2d,
    ) -> [Vec<f32>; 4] {
        let x = x.clone().require_grad();
        let y = run(x.clone(), conv);
        // Each cell pulls with a strength of its own.
        let pull = Tensor::arange(0..y.shape().num_elements() as i64, &x.device()).float().sin();
        let gradients = (y.clone() * pull.reshape(y.dims())).sum().backward();
        let bias = conv.bias.as_ref().map(Param::val).unwrap();
        let of = |tensor: Tensor<4>| tensor.into_data().try_to_vec::<f32>().unwrap();
        let outer = |tensor: &Tensor<4>| of(Tensor::from_inner(tensor.grad(&gradients).unwrap()));
        let bias = bias.grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap();
        [of(y), outer(&x), outer(&conv.weight.val()), bias]
    }

    #[test]
    fn it_is_burns_own_convolution_with_the_same_gradients() {
        let device = Device::flex().autodiff();
        device.seed(3);
        for [inputs, outputs, kernel, stride, groups] in KINDS {
            // The second has sides that are no even numbers.
            for (height, width) in [(8, 12), (9, 7)] {
                let pad = kernel / 2;
                let conv = Conv2dConfig::new([inputs, outputs], [kernel; 2])
                    .with_stride([stride; 2])
                    .with_groups(groups)
                    .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
                    .init(&device);
                let x = Tensor::random([2, inputs, height, width], Distribution::Normal(0.0, 1.0), &device);
                let expected = gradients(|x, conv| conv.forward(x), &x, &conv);
                let found = gradients(convolve, &x, &conv);
                for (what, (expected, found)) in
                    ["y", "x", "weight", "bias"].iter().zip(expected.iter().zip(&found))
                {
                    assert_eq!(expected.len(), found.len());
                    let worst = expected.iter().zip(found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(
                        worst < 1e-4,
                        "{what} of {inputs}->{outputs} {kernel}x{kernel}/{stride}, {groups} groups: {worst}"
                    );
                }
            }
        }
    }
}

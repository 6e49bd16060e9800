//! Whatever happens in whatever order: no call is wrong and nothing is left behind.

use proptest::prelude::*;

use super::super::ErrorKind;
use super::super::fake::{Call, FakeGpu, FakePlan};
use super::{Bench, SHAPE, look, marks, plan};
use crate::engine::Engine;

#[derive(Clone, Debug)]
enum Deed {
    Open,
    Run { lane: usize, batch: usize },
    Close { lane: usize },
    Fail { gpu: usize, call: Call, after: u64, kind: ErrorKind },
}

fn deed() -> impl Strategy<Value = Deed> {
    let call = prop::sample::select(Call::FALLIBLE.to_vec());
    let kind = prop::sample::select(ErrorKind::ALL.to_vec());
    prop_oneof![
        3 => Just(Deed::Open),
        6 => (0..8_usize, 1..=8_usize).prop_map(|(lane, batch)| Deed::Run { lane, batch }),
        2 => (0..8_usize).prop_map(|lane| Deed::Close { lane }),
        2 => (0..2_usize, call, 0..12_u64, kind)
            .prop_map(|(gpu, call, after, kind)| Deed::Fail { gpu, call, after, kind }),
    ]
}

/// A plan of which about three lanes of full batches fit on a device.
fn hungry() -> FakePlan {
    let tensors = SHAPE.input_bytes() + SHAPE.output_values() * size_of::<f32>();
    plan().takes(5_000, 1_000 - tensors as u64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_is_misused_and_nothing_left(
        deeds in prop::collection::vec(deed(), 1..60),
        graphs: bool,
    ) {
        let fakes = (0..2).map(|index| FakeGpu::new(index, 30_000)).collect();
        let bench = Bench::with(fakes, hungry(), |setup| setup.graphs = graphs);
        let mut lanes = Vec::new();
        for (number, deed) in deeds.into_iter().enumerate() {
            match deed {
                Deed::Open => lanes.extend(bench.engine.open_lane().ok()),
                Deed::Run { lane, batch } => {
                    let count = lanes.len().max(1);
                    if let Some(lane) = lanes.get_mut(lane % count) {
                        // It may fail; what comes back without an error is right.
                        drop(look(&mut **lane, &marks(batch, number as u8)));
                    }
                }
                Deed::Close { lane } if !lanes.is_empty() => drop(lanes.swap_remove(lane % lanes.len())),
                Deed::Close { .. } => {}
                Deed::Fail { gpu, call, after, kind } => bench.fakes[gpu].fail(call, after, kind),
            }
            bench.fakes.iter().for_each(FakeGpu::assert_well_used);
        }
        drop(lanes);
        bench.assert_given_back();
    }
}

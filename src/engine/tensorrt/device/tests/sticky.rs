//! A context that is spoiled, and the one after it.

use super::super::ErrorKind;
use super::super::fake::Call;
use super::{Bench, look, marks};
use crate::engine::EngineError;

/// Calls of a run in which a sticky error may show.
const IN_A_RUN: [Call; 5] = [Call::CopyIn, Call::Launch, Call::CopyOut, Call::Synchronize, Call::Elapsed];

#[test]
fn all_lanes_leave_a_lost_context_and_get_a_new_one() {
    for call in IN_A_RUN {
        let bench = Bench::new(1);
        let [mut first, mut second] = [bench.open(), bench.open()];
        bench.fake().fail(call, 0, ErrorKind::Sticky);
        let error = look(&mut *first, &marks(8, 1)).unwrap_err();
        assert!(matches!(error, EngineError::Run(_)), "{error}");
        let error = error.to_string();
        assert!(
            error.contains("GPU 0 (Fake GPU) broke down") && error.contains("CUDA_ERROR_ILLEGAL_ADDRESS"),
            "{error}"
        );
        assert_eq!(bench.errors("sticky"), 1.0);
        // The other one notices without asking the device.
        let calls = bench.fake().calls(Call::CopyIn);
        look(&mut *second, &marks(1, 2)).unwrap_err();
        assert_eq!(bench.fake().calls(Call::CopyIn), calls);
        assert_eq!(bench.errors("sticky"), 1.0, "one breakdown");

        drop(first);
        assert_eq!(bench.fake().calls(Call::Reset), 0, "the second still has memory of it");
        let refusal = bench.refusal();
        assert!(refusal.contains("a new one is made when all lanes have left it"), "{refusal}");
        second.input().fill(1);

        drop(second);
        assert_eq!(bench.fake().calls(Call::Reset), 1);
        bench.assert_given_back();
        let mut again = bench.open();
        look(&mut *again, &marks(8, 3)).unwrap();
        drop(again);
        bench.assert_given_back();
    }
}

#[test]
fn a_context_that_is_spoiled_while_a_lane_opens_is_thrown_away() {
    for call in Call::FALLIBLE {
        for after in 0..6 {
            let bench = Bench::new(1);
            bench.fake().fail(call, after, ErrorKind::Sticky);
            let opened = bench.openings();
            assert!(opened >= 2, "{opened} of 3 with {call:?} failing after {after}");
            assert!(opened == 3 || bench.errors("sticky") >= 1.0);
        }
    }
}

#[test]
fn a_device_that_stays_broken_stays_refused_and_comes_back_when_it_is_well() {
    let bench = Bench::new(1);
    let mut lane = bench.open();
    bench.fake().fail(Call::Launch, 0, ErrorKind::Sticky);
    (0..5).for_each(|after| bench.fake().fail(Call::Retain, after, ErrorKind::Sticky));
    look(&mut *lane, &marks(1, 1)).unwrap_err();
    drop(lane);
    for _ in 0..5 {
        let refusal = bench.refusal();
        assert!(refusal.contains("restart the server"), "{refusal}");
        bench.assert_given_back();
    }
    look(&mut *bench.open(), &marks(3, 1)).unwrap();
    bench.assert_given_back();
}

#[test]
fn a_lane_whose_device_does_not_even_wait_is_not_used_again() {
    let bench = Bench::new(1);
    let mut lane = bench.open();
    bench.fake().fail(Call::CopyOut, 0, ErrorKind::Other);
    bench.fake().fail(Call::Synchronize, 0, ErrorKind::Other);
    look(&mut *lane, &marks(8, 1)).unwrap_err();
    // Nobody knows what is under way: the memory is given back with the context only.
    let error = look(&mut *lane, &marks(8, 1)).unwrap_err().to_string();
    assert!(error.contains("its context is lost"), "{error}");
    drop(lane);
    assert_eq!(bench.fake().calls(Call::Reset), 1);
    bench.assert_given_back();
}

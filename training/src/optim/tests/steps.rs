use std::path::Path;

use burn::module::Module;

use super::{Tiny, number, numbers};
use crate::optim::{Kind, OptimConfig, OptimError, Optimiser};

const KINDS: [Kind; 3] = [Kind::Adam, Kind::Adamw, Kind::Sgd];

fn config(kind: Kind) -> OptimConfig {
    OptimConfig { kind, clip: None, ..OptimConfig::default() }
}

/// Trains; the loss before each step and at the end.
fn train(mut module: Tiny, optimiser: &mut Optimiser, steps: usize) -> (Tiny, Vec<f32>) {
    let mut losses = Vec::new();
    for _ in 0..steps {
        let loss = module.loss();
        losses.push(number(loss.clone()));
        (module, _) = optimiser.step(module, loss.backward(), 0.03);
    }
    losses.push(number(module.loss()));
    (module, losses)
}

#[test]
fn each_kind_learns() {
    for kind in KINDS {
        let module = Tiny::new(1);
        let mut optimiser = Optimiser::new(&config(kind), &module);
        let (_, losses) = train(module, &mut optimiser, 60);
        let (first, last) = (losses[0], losses[60]);
        assert!(last < first / 4.0, "{kind:?}: {first} {last}");
    }
}

/// A step with gradients that are all 0.
fn idle(module: Tiny, optimiser: &mut Optimiser) -> Tiny {
    let loss = module.loss().mul_scalar(0.0);
    optimiser.step(module, loss.backward(), 0.1).0
}

/// Whether kernels have decayed, to the `factor`th of what they were where one is given, and nothing else has changed.
fn is_decayed(before: &[(usize, f32)], after: &[(usize, f32)], factor: Option<f32>) -> bool {
    before.iter().zip(after).all(|((axes, before), (_, after))| match (axes, factor) {
        (1, _) => before == after,
        (_, None) => after < before,
        (_, Some(factor)) => (after / before - factor).abs() < 1e-5,
    })
}

/// Statistics of BatchNorm change by looking; so they are left out.
fn weights(module: &Tiny) -> Vec<(usize, f32)> {
    let (conv, out) = (numbers(&module.conv), numbers(&module.out));
    let norm = [&module.norm.gamma, &module.norm.beta].map(numbers).concat();
    [conv, norm, out].concat()
}

#[test]
fn kernels_decay_and_biases_and_batch_norm_do_not() {
    for (kind, factor) in [(Kind::Adam, None), (Kind::Adamw, Some(0.95)), (Kind::Sgd, Some(0.95))] {
        let module = Tiny::new(1);
        let before = weights(&module);
        let config = OptimConfig { weight_decay: 0.5, ..config(kind) };
        let after = weights(&idle(module.clone(), &mut Optimiser::new(&config, &module)));
        assert!(is_decayed(&before, &after, factor), "{kind:?}: {before:?} {after:?}");
        let none = OptimConfig { weight_decay: 0.0, ..config };
        let after = weights(&idle(module.clone(), &mut Optimiser::new(&none, &module)));
        assert_eq!(before, after, "{kind:?}");
    }
}

/// One step of SGD without momentum and decay at a rate of 1, which takes the gradient itself away: its norm, and what the
/// step says it is.
fn norms(clip: Option<f32>) -> (f32, f32) {
    let module = Tiny::new(1);
    let config = OptimConfig { momentum: 0.0, weight_decay: 0.0, clip, ..config(Kind::Sgd) };
    let (before, loss) = (weights(&module), module.loss());
    let (module, told) = Optimiser::new(&config, &module).step(module, loss.backward(), 1.0);
    let squares =
        before.iter().zip(weights(&module)).map(|((_, before), (_, after))| (before - after).powi(2));
    (squares.sum::<f32>().sqrt(), told)
}

#[test]
fn gradients_are_cut_to_the_limit_and_their_norm_is_told() {
    let (whole, told) = norms(None);
    assert!((whole - told).abs() < 1e-4 * told && told > 1.0, "{whole} {told}");
    for clip in [0.5, 0.01] {
        let (cut, still_told) = norms(Some(clip));
        assert!((cut - clip).abs() < 1e-3 * clip, "{cut} {clip}");
        assert_eq!(still_told, told, "what it was before");
    }
    assert_eq!(norms(Some(told * 2.0)), (whole, told));
}

#[test]
fn gradients_that_are_no_numbers_are_told() {
    let module = Tiny::new(1);
    for (factor, clip) in [(f32::NAN, None), (f32::NAN, Some(1.0)), (f32::INFINITY, Some(1.0))] {
        let loss = module.loss().mul_scalar(factor);
        let config = OptimConfig { clip, ..OptimConfig::default() };
        let (_, norm) = Optimiser::new(&config, &module).step(module.clone(), loss.backward(), 0.1);
        assert!(!norm.is_finite(), "{factor} {norm}");
    }
}

/// Files of a run.
fn files(folder: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    (folder.join("module.bpk"), folder.join("optimiser.bpk"))
}

#[test]
fn a_run_goes_on_from_its_files_as_if_it_had_not_stopped() {
    for kind in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let (module_file, optimiser_file) = files(folder.path());
        let module = Tiny::new(1);
        let mut optimiser = Optimiser::new(&config(kind), &module);
        let (module, _) = train(module, &mut optimiser, 5);
        let _ = module.valid();
        module.clone().save_file(&module_file).unwrap();
        optimiser.save(&optimiser_file).unwrap();
        let (module, losses) = train(module, &mut optimiser, 5);

        let again = Tiny::new(2).load_file(&module_file);
        let mut optimiser = Optimiser::new(&config(kind), &again).load(&optimiser_file).unwrap();
        let (again, same) = train(again, &mut optimiser, 5);
        assert_eq!(losses, same, "{kind:?}");
        assert_eq!(numbers(&module.valid()), numbers(&again.valid()), "{kind:?}");

        let fresh = Tiny::new(2).load_file(&module_file);
        let mut forgetful = Optimiser::new(&config(kind), &fresh);
        assert_ne!(losses, train(fresh, &mut forgetful, 5).1, "{kind:?}: what it remembers matters");
    }
}

#[test]
fn after_loading_biases_still_do_not_decay() {
    let folder = tempfile::tempdir().unwrap();
    let (module_file, optimiser_file) = files(folder.path());
    let config = OptimConfig { weight_decay: 0.5, ..config(Kind::Adamw) };
    let module = Tiny::new(1);
    let mut optimiser = Optimiser::new(&config, &module);
    let module = idle(module, &mut optimiser);
    optimiser.save(&optimiser_file).unwrap();
    module.save_file(&module_file).unwrap();
    let module = Tiny::new(2).load_file(&module_file);
    let mut optimiser = Optimiser::new(&config, &module).load(&optimiser_file).unwrap();
    let before = weights(&module);
    assert!(is_decayed(&before, &weights(&idle(module, &mut optimiser)), Some(0.95)));
}

#[test]
fn files_that_cannot_be_read_or_written_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let module = Tiny::new(1);
    let new = || Optimiser::new(&OptimConfig::default(), &module);
    let (broken, missing) = (folder.path().join("broken.bpk"), folder.path().join("missing.bpk"));
    std::fs::write(&broken, b"no state").unwrap();
    for path in [&broken, &missing] {
        let error = new().load(path).err().unwrap();
        assert!(
            matches!(error, OptimError::Read { .. }) && error.to_string().contains(path.to_str().unwrap())
        );
    }
    let nowhere = folder.path().join("no").join("folder").join("optimiser.bpk");
    let error = new().save(&nowhere).unwrap_err();
    assert!(matches!(error, OptimError::Write { .. }) && error.to_string().contains("folder"), "{error}");
}

//! What a server in the test's own process needs: settings of its own, and a model on an engine that does as it
//! is told.

// Each test uses its own part of this.
#![allow(dead_code)]

use std::path::Path;

use centerx::api::backend::Backend as _;
use centerx::app::{App, LoadedModel};
use centerx::config::Config;
use centerx::detection::ModelInfo;
use centerx::engine::Engine;
use centerx::engine::fake::FakeEngine;
use centerx::ledger::{Balance, DropReason};

/// Settings of a server on free ports that keeps its files in `data_dir`.
pub fn config(data_dir: &Path) -> Config {
    let mut config = Config::default();
    config.data_dir = data_dir.to_owned();
    config.grpc.listen = ([127, 0, 0, 1], 0).into();
    config.http.listen = ([127, 0, 0, 1], 0).into();
    config
}

/// The model `coco` of these classes on `engine`, whose input is 64x64.
pub fn model(engine: FakeEngine, classes: &[&str]) -> LoadedModel {
    model_on(Box::new(engine), classes)
}

/// As [`model`], on any engine.
pub fn model_on(engine: Box<dyn Engine>, classes: &[&str]) -> LoadedModel {
    let info = ModelInfo {
        name: "coco".into(),
        family: "ttf".into(),
        classes: classes.iter().map(|&class| class.into()).collect(),
        input_width: 64,
        input_height: 64,
        top_k: 1,
        engine: "fake".into(),
        ..Default::default()
    };
    LoadedModel { info, engine }
}

/// Every camera's books, checked.
pub fn balances(app: &App) -> Vec<Balance> {
    let balances: Vec<_> = app.server().cameras().into_iter().map(|view| view.balance).collect();
    for balance in &balances {
        assert_eq!(
            balance.received,
            balance.published + balance.total_dropped() + balance.in_flight,
            "{balance:?}"
        );
        assert_eq!(balance.dropped(DropReason::Lost), 0, "{balance:?}");
    }
    balances
}

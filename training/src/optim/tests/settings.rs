use crate::optim::{Kind, OptimConfig, Schedule};

fn config(schedule: Schedule) -> OptimConfig {
    OptimConfig { rate: 0.5, warm_up: 0, schedule, ..OptimConfig::default() }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-12
}

#[test]
fn the_rate_rises_to_its_highest_and_begins_to_fall_there() {
    let config = OptimConfig { rate: 0.4, warm_up: 4, ..OptimConfig::default() };
    let rates: Vec<f64> = (0..5).map(|step| config.rate(step, 104)).collect();
    assert!(rates.iter().zip([0.1, 0.2, 0.3, 0.4, 0.4]).all(|(is, should)| close(*is, should)), "{rates:?}");
    assert!(config.rate(5, 104) < 0.4);
    let longer_than_the_run = OptimConfig { warm_up: 200, ..config };
    assert!(close(longer_than_the_run.rate(99, 100), 0.2));
}

#[test]
fn a_cosine_falls_to_its_floor() {
    let config = config(Schedule::Cosine { floor: 0.2 });
    for (step, rate) in [(0, 0.5), (50, 0.3), (100, 0.1), (150, 0.1)] {
        assert!(close(config.rate(step, 100), rate), "{step}");
    }
    // A third of the way: cos 60 degrees.
    assert!(close(config.rate(30, 90), 0.5 * (0.2 + 0.8 * 0.75)));
    assert!((1..100).all(|step| config.rate(step, 100) < config.rate(step - 1, 100)));
}

#[test]
fn milestones_take_their_factor_each() {
    let config = config(Schedule::MultiStep { milestones: vec![0.5, 0.75], factor: 0.1 });
    for (step, rate) in [(0, 0.5), (49, 0.5), (50, 0.05), (74, 0.05), (75, 0.005), (99, 0.005)] {
        assert!(close(config.rate(step, 100), rate), "{step}");
    }
}

#[test]
fn a_constant_stays() {
    let config = config(Schedule::Constant {});
    assert!([0, 1, 50, 99].iter().all(|step| config.rate(*step, 100) == 0.5));
    assert_eq!(config.rate(0, 0), 0.5);
}

#[test]
fn settings_are_read_with_their_defaults() {
    let read = |text: &str| toml::from_str::<OptimConfig>(text);
    assert_eq!(read("").unwrap(), OptimConfig::default());
    let text = "kind = \"sgd\"\nrate = 0.1\nclip = 5.0\nwarm-up = 7\n[schedule]\nkind = \"multi-step\"\nmilestones = [0.5]";
    let expected = OptimConfig {
        kind: Kind::Sgd,
        rate: 0.1,
        clip: Some(5.0),
        warm_up: 7,
        schedule: Schedule::MultiStep { milestones: vec![0.5], factor: 0.1 },
        ..OptimConfig::default()
    };
    assert_eq!(read(text).unwrap(), expected);
    assert_eq!(read("schedule.kind = \"cosine\"").unwrap().schedule, Schedule::Cosine { floor: 0.01 });
    for wrong in ["weight_decay = 0.1", "kind = \"lion\"", "schedule = { kind = \"constant\", floor = 1 }"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let told =
        |text: &str| toml::from_str::<OptimConfig>(text).unwrap().check().map_err(|error| error.to_string());
    let cases = [
        ("rate = 0", "optimiser.rate: 0 is not a number above 0"),
        ("rate = nan", "optimiser.rate: NaN is not a number above 0"),
        ("rate = inf", "optimiser.rate: inf is not a number above 0"),
        ("weight-decay = 1", "optimiser.weight-decay: 1 is not a number from 0 to less than 1"),
        ("momentum = -0.1", "optimiser.momentum: -0.1 is not a number from 0 to less than 1"),
        ("clip = 0", "optimiser.clip: 0 is not a number above 0; take inf for none"),
        ("clip = nan", "optimiser.clip: NaN is not a number above 0; take inf for none"),
        (
            "schedule = { kind = \"cosine\", floor = 2 }",
            "optimiser.schedule.floor: 2 is not a share from 0 to 1",
        ),
        (
            "schedule = { kind = \"multi-step\", milestones = [0.9, 0.5] }",
            "optimiser.schedule.milestones: [0.9, 0.5] are not rising shares of the run from 0 to 1",
        ),
        (
            "schedule = { kind = \"multi-step\", milestones = [0.9, 1.5] }",
            "optimiser.schedule.milestones: [0.9, 1.5] are not rising shares of the run from 0 to 1",
        ),
        (
            "schedule = { kind = \"multi-step\", milestones = [], factor = 10 }",
            "optimiser.schedule.factor: 10 is not a share from 0 to 1",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(told(text), Err(message.to_owned()), "{text}");
    }
    assert_eq!(told("clip = inf\nweight-decay = 0\nmomentum = 0"), Ok(()));
}

#[test]
fn mixed_precision_is_refused_with_what_to_take() {
    let config: OptimConfig = toml::from_str("precision = \"mixed\"").unwrap();
    let told = config.check().unwrap_err().to_string();
    assert!(told.starts_with("optimiser.precision") && told.contains("float32"), "{told}");
    assert!(OptimConfig::default().check().is_ok());
}

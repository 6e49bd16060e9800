//! Subscribers that never read and those that do, in the short form: `centerx bench fanout` on a small scale.
//! The long form, with its bound of 5 %, is in docs/reliability.md.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use serde_json::Value;

const SUBSCRIBERS: f64 = 60.0;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn subscribers_that_never_read_take_nothing_from_the_others() {
    let output = Command::new(env!("CARGO_BIN_EXE_centerx"))
        .args([
            "bench",
            "fanout",
            "--subscribers",
            "60",
            "--stuck",
            "6",
            "--rounds",
            "3",
            "--seconds",
            "2",
            "--json",
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let phases = report["phases"].as_array().unwrap();
    assert_eq!(phases.len(), 6);
    for phase in phases {
        assert_eq!(phase["dropped"], 0, "those that read miss nothing: {phase}");
        let due = phase["published"].as_f64().unwrap() * SUBSCRIBERS;
        let share = phase["received"].as_f64().unwrap() / due;
        // What is on its way when the counting begins and ends.
        assert!((0.9..1.1).contains(&share), "{share} of {due} messages came: {phase}");
    }
    let p99 = |stuck: bool| {
        let with = phases.iter().filter(|phase| (phase["stuck"] != 0) == stuck);
        median(with.map(|phase| phase["latency_p99_ms"].as_f64().unwrap()).collect())
    };
    // Wide, because tests share their machine: a subscriber that held up the others would hold them up for ever.
    assert!(p99(true) < 3.0 * p99(false) + 100.0, "p99 {} ms with them, {} without", p99(true), p99(false));
    let resident = |at: usize| phases[at]["resident_mib"].as_f64().unwrap();
    let grown = resident(5) - resident(1);
    assert!(grown < 20.0, "memory grew by {grown} MiB over two more rounds");
}

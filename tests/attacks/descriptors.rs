//! The system has no descriptors left.

use std::collections::VecDeque;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::*;
use crate::healthy::Healthy;

const CONNECTIONS: usize = 1_000;
/// Descriptors that the server may open on top of those it has.
const SPARE: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_descriptors_goes_on_serving() {
    let target = Target::start("");
    let most = allowed_sockets();
    let healthy = Healthy::start(&target.server).await;
    let open = std::fs::read_dir(format!("/proc/{}/fd", target.server.pid())).unwrap().count();
    let limit = Some((open + SPARE) as u64);
    let pid = Pid::from_raw(target.server.pid() as i32).unwrap();
    prlimit(Some(pid), Resource::Nofile, Rlimit { current: limit, maximum: limit }).unwrap();
    let mut held = VecDeque::new();
    for n in 0..CONNECTIONS {
        held.push_back(connect_from(2 + (n % 20) as u8, target.server.grpc).await.unwrap());
        if held.len() > most {
            held.pop_front();
        }
    }
    let answers = healthy.answers();
    until("others are answered although no descriptors are left", || healthy.answers() > answers + 10).await;
    healthy.stop().await.assert_served("no descriptors left");
    let mut server = target.server;
    server.wait_for_line("a connection cannot be accepted", PATIENCE);
}

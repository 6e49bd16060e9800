//! Everything at once, for as long as you like: at the end every frame is accounted for, and memory is flat.

use std::sync::Arc;
use std::time::{Duration, Instant};

use comfy_table::Table;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::actors::{self, Totals, World};
use super::churn::settled;
use super::clients::{Clients, Held, books, serve, well_cameras};
use super::hostile::PASSWORD;
use super::process::ServerProcess;
use super::samples::Samples;
use super::tiny_model::Tiny;
use super::{PATIENCE, alone, number};

/// The short form, in seconds.
const SHORT: u64 = 20;
/// Memory grows while pools and caches fill: at most so many seconds are not looked at.
const WARM_UP: f64 = 600.0;
/// Runs of at least so many seconds are long enough to tell growth from noise.
const TELLING: u64 = 30 * 60;
/// Time from one rest to the next.
const BETWEEN_RESTS: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);
/// Cameras that are there all along.
const STAY: [&str; 4] = ["well0", "well1", "well2", "well3"];
/// Subscribers that are: the one that checks.
const CHECKING: usize = 1;
/// How much memory may grow, in megabytes an hour.
const SLOPE: f64 = 1.0;

/// Begins all that goes on.
fn begin(world: &Arc<World>, seed: u64) -> JoinSet<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut actors = JoinSet::new();
    actors.spawn(actors::hostile(Arc::clone(world), random.fork()));
    actors.spawn(actors::churn(Arc::clone(world), random.fork()));
    actors.spawn(actors::overload(Arc::clone(world), random.fork()));
    actors.spawn(actors::subscribers(Arc::clone(world), random.fork()));
    actors.spawn(actors::reader(Arc::clone(world), random.fork()));
    actors.spawn(actors::auditor(Arc::clone(world), random.fork()));
    actors.spawn(actors::pictures(Arc::clone(world), random.fork()));
    actors.spawn(actors::swaps(Arc::clone(world), random.fork()));
    actors.spawn(actors::garbage(Arc::clone(world), random.fork()));
    actors
}

/// Takes a sample each second until the time is up or an actor fails. Now and then, and at the end, all but the
/// cameras that stay have a rest.
async fn observe(
    server: &mut ServerProcess,
    world: &World,
    actors: &mut JoinSet<()>,
    time: Duration,
) -> Samples {
    let (begin, mut samples) = (Instant::now(), Samples::new());
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut rested = begin;
    loop {
        ticks.tick().await;
        server.keep_log();
        samples.take(Held::by(server.pid()), world.clients.clone().list().await.len());
        if let Some(ended) = actors.try_join_next() {
            ended.unwrap();
            panic!("an actor ended early");
        }
        let is_over = begin.elapsed() >= time;
        if is_over || rested.elapsed() >= BETWEEN_RESTS {
            samples.rest(rest(server, world).await);
            rested = Instant::now();
        }
        if is_over {
            return samples;
        }
    }
}

/// Waits until all that comes and goes is gone, and tells what the server holds then.
async fn rest(server: &mut ServerProcess, world: &World) -> Held {
    world.rests.send_replace(true);
    let (begin, mut clients) = (Instant::now(), world.clients.clone());
    let only = format!("\ncenterx_subscribers {CHECKING}\n");
    while clients.list().await.len() > STAY.len() || !server.get("/metrics").contains(&only) {
        assert!(begin.elapsed() < PATIENCE, "cameras or subscribers stay: {:?}", clients.list().await);
        server.keep_log();
        tokio::time::sleep(LOOK).await;
    }
    let held = settled(server.pid(), None).await;
    world.rests.send_replace(false);
    held
}

fn table(totals: &Totals) -> Table {
    let mut table = Table::new();
    table.set_header(["what", "times"]);
    for (what, times) in totals.done.iter().chain(&totals.frames) {
        table.add_row([what, &times.to_string()]);
    }
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_at_once_is_accounted_for_and_memory_is_flat() {
    let _alone = alone().await;
    let seconds = std::env::var_os("CENTERX_CHAOS_MINUTES").map(|_| number("CENTERX_CHAOS_MINUTES", 0) * 60);
    let seconds = seconds.unwrap_or(SHORT);
    let seed = number("CENTERX_CHAOS_SEED", fastrand::u64(..));
    println!("seed {seed}: CENTERX_CHAOS_SEED={seed} plays the same again");
    let data = tempfile::tempdir().unwrap();
    let models = ["one", "two"].map(|name| Tiny::new(name, &["person"]).write(data.path()));
    let mut server = serve(data.path(), &models[0], &[actors::SLOW_MODEL]);
    let mut clients = Clients::of(&server).await;
    let world = Arc::new(World {
        clients: clients.clone(),
        well: well_cameras(4),
        ports: [server.grpc, server.http],
        models: models.map(|path| path.display().to_string()),
        stop: CancellationToken::new(),
        rests: watch::Sender::new(false),
        totals: Default::default(),
    });
    for id in STAY {
        clients.add(id, &world.well.url(id)).await.unwrap();
        world.count("cameras added");
    }
    let mut actors = begin(&world, seed);
    let samples = observe(&mut server, &world, &mut actors, Duration::from_secs(seconds)).await;
    world.stop.cancel();
    let ended = async {
        while let Some(actor) = actors.join_next().await {
            actor.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the actors end");
    for id in STAY {
        assert!(books(&clients.get(id).await).published > seconds, "{id} was served all along");
        world.retire(id).await;
    }
    assert!(clients.list().await.is_empty(), "every camera is gone");
    server.signal("TERM");
    let (code, took) = server.wait();
    assert_eq!(code, Some(0), "after {took:?}: {}", server.log);
    for word in ["panicked", PASSWORD] {
        assert!(!server.log.contains(word), "{word}: {}", server.log);
    }
    report(&world, &samples, seconds);
}

fn report(world: &World, samples: &Samples, seconds: u64) {
    let warm_up = WARM_UP.min(seconds as f64 / 4.0);
    let (first, most, last) = samples.resident(warm_up);
    let slope = samples.slope(warm_up);
    println!("{}", table(&world.totals()));
    println!("resident memory: {first:.1} MB after {warm_up:.0} s, {last:.1} MB after {seconds} s");
    println!("at most {most:.1} MB meanwhile");
    for (seconds, megabytes) in samples.rests(0.0) {
        println!("at rest after {seconds:.0} s: {megabytes:.2} MB");
    }
    println!("slope: {slope:+.2} MB an hour");
    assert!(seconds < TELLING || slope < SLOPE, "memory grows by {slope:.2} MB an hour");
}

//! kill -9 at any moment while cameras and models are added, changed and removed by several clients at once.
//!
//! Each client changes what is its own, and remembers what was answered. What a kill cut off may have been done or
//! not; all else must be there after the restart as it was answered.

use std::collections::BTreeMap;
use std::process::Stdio;

use tokio::task::JoinSet;

use super::*;

const CLIENTS: usize = 4;
/// Cameras of a client, about.
const FLOCK: usize = 12;

/// What a client was told: names by id of its cameras, or sources by name of its models.
type Told = BTreeMap<String, String>;

/// One client's view of the world.
#[derive(Default)]
struct Ledger {
    told: Told,
    /// What was cut off: the key, and the value if it came through (none: it is gone).
    open: Option<(String, Option<String>)>,
    next: u32,
    answers: usize,
    waits: Vec<Duration>,
}

#[derive(Debug, Default)]
struct Score {
    kills: usize,
    answers: usize,
    cut_off: usize,
    cut_off_and_done: usize,
}

impl Ledger {
    /// Notes how a change ended; false once the server is gone.
    fn note(
        &mut self,
        key: String,
        value: Option<String>,
        begin: Instant,
        outcome: Result<(), Status>,
    ) -> bool {
        match outcome {
            Ok(()) => {
                self.waits.push(begin.elapsed());
                self.answers += 1;
                match value {
                    Some(value) => self.told.insert(key, value),
                    None => self.told.remove(&key),
                };
                true
            }
            Err(status) => {
                let gone = matches!(
                    status.code(),
                    Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
                );
                assert!(gone && !status.message().contains("store"), "{status:?}");
                self.open = Some((key, value));
                false
            }
        }
    }

    /// Compares with what is there after a restart.
    fn settle(&mut self, mut there: Told, score: &mut Score) {
        if let Some((key, value)) = self.open.take() {
            let found = there.remove(&key);
            let before = self.told.remove(&key);
            assert!(
                found == value || found == before,
                "{key} is {found:?}, was {before:?}, was to be {value:?}"
            );
            score.cut_off += 1;
            score.cut_off_and_done += usize::from(found == value);
            assert_eq!(there, self.told);
            self.told.extend(found.map(|found| (key, found)));
        } else {
            assert_eq!(there, self.told);
        }
    }
}

async fn change_cameras(
    prefix: String,
    mut client: Cameras,
    mut ledger: Ledger,
    mut random: fastrand::Rng,
) -> Ledger {
    loop {
        ledger.next += 1;
        let (fresh, name) = (format!("{prefix}{}", ledger.next), format!("name {}", ledger.next));
        let old = random.choice(ledger.told.keys()).cloned();
        let begin = Instant::now();
        let go_on = match old {
            Some(id) if random.usize(..2 * FLOCK) < ledger.told.len() => {
                let outcome = remove(&mut client, &id).await;
                ledger.note(id, None, begin, outcome)
            }
            Some(id) if random.bool() => {
                let outcome = rename(&mut client, &id, &name).await;
                ledger.note(id, Some(name), begin, outcome)
            }
            _ => {
                let mut new = camera(&fresh, &name);
                if random.u8(..8) == 0 {
                    new = Camera {
                        url: "test://ball?width=64&height=64&fps=2".into(),
                        enabled: Some(true),
                        ..new
                    };
                }
                let outcome = add(&mut client, new).await;
                ledger.note(fresh, Some(name), begin, outcome)
            }
        };
        if !go_on {
            return ledger;
        }
    }
}

async fn change_models(
    sources: [String; 2],
    mut client: ModelServiceClient<Channel>,
    mut ledger: Ledger,
    mut random: fastrand::Rng,
) -> Ledger {
    loop {
        let name = format!("m{}", random.u8(..3));
        let source = random.choice(&sources).unwrap().clone();
        let is_there = ledger.told.contains_key(&name);
        let begin = Instant::now();
        let go_on = if is_there && random.bool() {
            let outcome = client.unload_model(UnloadModelRequest { name: name.clone() }).await;
            ledger.note(name, None, begin, outcome.map(drop))
        } else if is_there {
            let request = SwapModelRequest { name: name.clone(), source: source.clone() };
            let outcome = client.swap_model(request).await;
            ledger.note(name, Some(source), begin, outcome.map(drop))
        } else {
            let request = LoadModelRequest { name: name.clone(), source: source.clone() };
            let outcome = client.load_model(request).await;
            ledger.note(name, Some(source), begin, outcome.map(drop))
        };
        if !go_on {
            return ledger;
        }
    }
}

/// Compares every client's ledger with a server that has just started.
async fn settle(server: &ServerProcess, ledgers: &mut [Ledger], score: &mut Score) {
    assert!(!server.log.contains("could not be read"), "{}", server.log);
    let channel = channel(server).await;
    let cameras: Told = list(&mut CameraServiceClient::new(channel.clone())).await.into_iter().collect();
    let models =
        ModelServiceClient::new(channel).list_models(ListModelsRequest {}).await.unwrap().into_inner().models;
    let models = models.into_iter().filter(|model| !model.is_default);
    let (of_models, of_cameras) = ledgers.split_last_mut().unwrap();
    for (index, ledger) in of_cameras.iter_mut().enumerate() {
        let own = |id: &str| id.starts_with(&format!("c{index}-"));
        ledger.settle(
            cameras.iter().filter(|(id, _)| own(id)).map(|(id, name)| (id.clone(), name.clone())).collect(),
            score,
        );
    }
    of_models.settle(models.map(|model| (model.name, model.loaded_from)).collect(), score);
    let known: usize = of_cameras.iter().map(|ledger| ledger.told.len()).sum();
    assert_eq!(cameras.len(), known, "cameras of nobody");
}

/// Lets the clients at the server and kills it in the midst of it.
async fn churn_and_kill(
    server: ServerProcess,
    ledgers: &mut Vec<Ledger>,
    sources: &[String; 2],
    random: &mut fastrand::Rng,
) {
    let channel = channel(&server).await;
    let mut clients = JoinSet::new();
    let count = ledgers.len();
    for (index, ledger) in ledgers.drain(..).enumerate() {
        let (channel, random) = (channel.clone(), random.fork());
        if index + 1 < count {
            let cameras =
                change_cameras(format!("c{index}-"), CameraServiceClient::new(channel), ledger, random);
            clients.spawn(async move { (index, cameras.await) });
        } else {
            let models = change_models(sources.clone(), ModelServiceClient::new(channel), ledger, random);
            clients.spawn(async move { (index, models.await) });
        }
    }
    // Not to wait for something: this is the moment that is tried.
    tokio::time::sleep(Duration::from_micros(random.u64(20_000..500_000))).await;
    server.signal("KILL");
    let mut back = tokio::time::timeout(PATIENCE, clients.join_all()).await.expect("the clients notice");
    back.sort_by_key(|(index, _)| *index);
    ledgers.extend(back.into_iter().map(|(_, ledger)| ledger));
}

/// Starts a server and kills it while it starts.
async fn kill_at_the_start(data: &Path, arguments: &[&str], random: &mut fastrand::Rng) {
    let mut child =
        process::serve(&[], process::ANY_PORT, data, arguments).stderr(Stdio::null()).spawn().unwrap();
    tokio::time::sleep(Duration::from_micros(random.u64(0..400_000))).await;
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_moment_lose_nothing_that_was_answered() {
    let long = std::env::var("CENTERX_CHAOS").is_ok_and(|form| form == "long");
    let kills = if long { 100 } else { 15 };
    let seed = std::env::var("CENTERX_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("CENTERX_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (models, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = models.path().display().to_string();
    let arguments = ["--model", &quick_model(models.path()), "--allow", &folder];
    let sources =
        ["day", "night"].map(|name| Tiny::new(name, &["person"]).write(models.path()).display().to_string());

    let begin = Instant::now();
    let mut ledgers: Vec<_> = (0..=CLIENTS).map(|_| Ledger::default()).collect();
    let mut score = Score::default();
    let mut server = ServerProcess::start(data.path(), &arguments);
    while score.kills < kills {
        churn_and_kill(server, &mut ledgers, &sources, &mut random).await;
        score.kills += 1;
        if score.kills % 5 == 0 {
            kill_at_the_start(data.path(), &arguments, &mut random).await;
            score.kills += 1;
        }
        server = ServerProcess::start(data.path(), &arguments);
        settle(&server, &mut ledgers, &mut score).await;
    }
    score.answers = ledgers.iter().map(|ledger| ledger.answers).sum();
    println!("{score:?} in {:.0} s", begin.elapsed().as_secs_f64());
    let (of_models, of_cameras) = ledgers.split_last_mut().unwrap();
    for (what, ledgers) in [("camera", of_cameras), ("model", std::slice::from_mut(of_models))] {
        let mut waits: Vec<_> = ledgers.iter_mut().flat_map(|ledger| ledger.waits.drain(..)).collect();
        waits.sort();
        let at = |share: usize| waits.get(waits.len() * share / 100);
        println!("a change of a {what}: median {:?}, p99 {:?}, worst {:?}", at(50), at(99), waits.last());
    }
    // Kills that hit nothing would show nothing.
    assert!(score.answers > 10 * kills && score.cut_off > kills, "{score:?}");
}

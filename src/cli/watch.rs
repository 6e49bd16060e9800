//! `centerx watch`: a subscriber that prints what is pushed to it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::Code;

use crate::api::v1::detection_service_client::DetectionServiceClient;
use crate::api::v1::model_service_client::ModelServiceClient;
use crate::api::v1::subscribe_response::Event;
use crate::api::v1::{
    CameraState, CameraStateChange, Detection, FrameDetections, ListModelsRequest, Position, ResumeOutcome,
    Resumed, SubscribeRequest,
};
use crate::cli::connect::{Connection, ServerArgs};
use crate::cli::output;
use crate::detection::Landmark;

/// How long `--seconds` waits for the first detection.
const FIRST_DETECTION: Duration = Duration::from_secs(60);

/// Between two attempts to reach the server again, the first time and at most.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Subscribe to a server and print detections as they come.
#[derive(Debug, clap::Args)]
#[command(after_help = "A line is: camera, seconds since the first frame, class, score, box in pixels \
[x1,y1,x2,y2], and of a \
model with landmarks how many of them were seen.\n\nExamples:\n  centerx watch --camera yard --class person\n  centerx watch --seconds 10")]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Only this camera; may be repeated.
    #[arg(long = "camera", value_name = "ID")]
    cameras: Vec<String>,
    /// Only this class; may be repeated.
    #[arg(long = "class", value_name = "NAME")]
    classes: Vec<String>,
    /// Leave out detections under this score, 0 to 1.
    #[arg(long, default_value_t = 0.0, value_name = "SCORE")]
    min_score: f32,
    /// End this long after the first detection; fail if none comes within a minute.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Print each landmark that was seen: name, score, place in pixels [x,y].
    #[arg(long)]
    landmarks: bool,
}

impl Args {
    /// Prints until the time is up. When the server is gone, waits for it and goes on where it was.
    ///
    /// # Errors
    /// A server that cannot be reached at first, or refuses, or no detection in time.
    pub fn run(self) -> anyhow::Result<()> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.watch())
    }

    async fn watch(self) -> anyhow::Result<()> {
        let channel = self.server.connect().await?;
        let mut printer = Printer::default();
        if self.landmarks {
            printer.names =
                Some(landmark_names(channel.clone()).await.map_err(|status| refusal(&self.server, &status))?);
        }
        let mut watch = Watch {
            client: DetectionServiceClient::new(channel),
            printer,
            positions: Positions::default(),
            until: self.seconds.map(|_| Instant::now() + FIRST_DETECTION),
            wait: FIRST_WAIT,
            answered: false,
        };
        while let Some(cause) = watch.follow(&self).await? {
            output::line(format_args!("-- {cause}; trying again in {:.1} s", watch.wait.as_secs_f32()))?;
            if watch.pause().await.is_none() {
                break;
            }
        }
        anyhow::ensure!(self.seconds.is_none() || watch.printer.detections > 0, "no detections came");
        Ok(())
    }

    fn request(&self, positions: &Positions) -> SubscribeRequest {
        SubscribeRequest {
            camera_ids: self.cameras.clone(),
            classes: self.classes.clone(),
            min_score: self.min_score,
            resume: positions.0.values().cloned().collect(),
        }
    }
}

/// The last frame of each camera that was seen, to continue there.
#[derive(Debug, Default)]
struct Positions(BTreeMap<String, Position>);

impl Positions {
    fn enter(&mut self, frame: &FrameDetections) {
        let FrameDetections { camera_id, epoch, sequence, .. } = frame;
        let position = Position { camera_id: camera_id.clone(), epoch: *epoch, sequence: *sequence };
        self.0.insert(camera_id.clone(), position);
    }
}

/// A watch over as many subscriptions as it takes.
struct Watch {
    client: DetectionServiceClient<Connection>,
    printer: Printer,
    positions: Positions,
    until: Option<Instant>,
    /// Before the next attempt.
    wait: Duration,
    /// The server has answered once: whatever is wrong from then on may pass.
    answered: bool,
}

impl Watch {
    /// Subscribes and prints until the time is up, or until what this returns has happened, after which another
    /// attempt is worth it.
    async fn follow(&mut self, args: &Args) -> anyhow::Result<Option<String>> {
        let request = args.request(&self.positions);
        let mut stream = match self.client.subscribe(request).await {
            Ok(response) => response.into_inner(),
            Err(status) if !self.answered && args.server.explain(&status).is_some() => {
                return Err(refusal(&args.server, &status));
            }
            Err(status) => return passing(&args.server, &status).map(Some),
        };
        self.answered = true;
        loop {
            let message = match self.until {
                Some(until) => match timeout_at(until, stream.message()).await {
                    Ok(message) => message,
                    Err(_) => return Ok(None),
                },
                None => stream.message().await,
            };
            match message {
                Ok(Some(response)) => self.enter(response.event, args.seconds)?,
                Ok(None) => return Ok(Some("the server ended the stream".into())),
                Err(status) => return passing(&args.server, &status).map(Some),
            }
        }
    }

    fn enter(&mut self, event: Option<Event>, seconds: Option<f64>) -> io::Result<()> {
        self.wait = FIRST_WAIT;
        if let Some(Event::Detections(frame)) = &event {
            self.positions.enter(frame);
        }
        let seen_before = self.printer.detections > 0;
        self.printer.print(event)?;
        if let (false, true, Some(seconds)) = (seen_before, self.printer.detections > 0, seconds) {
            self.until = Some(Instant::now() + Duration::from_secs_f64(seconds.max(0.0)));
        }
        Ok(())
    }

    /// Waits before the next attempt; none when the time is up meanwhile.
    async fn pause(&mut self) -> Option<()> {
        let end = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        sleep_until(self.until.map_or(end, |until| until.min(end))).await;
        self.until.is_none_or(|until| Instant::now() < until).then_some(())
    }
}

/// In words, what may pass by itself.
///
/// # Errors
/// A refusal that will not.
fn passing(server: &ServerArgs, status: &tonic::Status) -> anyhow::Result<String> {
    match status.code() {
        Code::Unavailable | Code::Aborted | Code::ResourceExhausted => Ok(server.refusal(status)),
        _ if std::error::Error::source(status).is_some() => {
            Ok(format!("the connection broke: {}", server.refusal(status)))
        }
        _ => Err(refusal(server, status)),
    }
}

/// The names of each model's landmarks.
async fn landmark_names(channel: Connection) -> Result<HashMap<String, Vec<String>>, tonic::Status> {
    let listed = ModelServiceClient::new(channel).list_models(ListModelsRequest {}).await;
    let models = listed?.into_inner().models;
    Ok(models.into_iter().map(|model| (model.name, model.landmarks)).collect())
}

fn refusal(server: &ServerArgs, status: &tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{}: {}", status.code(), server.refusal(status))
}

#[derive(Default)]
struct Printer {
    begin: Option<SystemTime>,
    detections: u64,
    /// The landmarks' names by model, if each is to be printed.
    names: Option<HashMap<String, Vec<String>>>,
}

impl Printer {
    fn print(&mut self, event: Option<Event>) -> io::Result<()> {
        match event {
            Some(Event::Detections(frame)) => self.frame(&frame),
            Some(Event::Dropped(dropped)) => {
                output::line(format_args!("-- {} frames missed: this reader is too slow", dropped.frames))
            }
            Some(Event::Resumed(resumed)) => resumed_line(&resumed).map_or(Ok(()), output::line),
            Some(Event::CameraState(change)) => output::line(state_line(&change)),
            None => Ok(()),
        }
    }

    fn frame(&mut self, frame: &FrameDetections) -> io::Result<()> {
        let captured = frame
            .capture_time
            .and_then(|time| SystemTime::try_from(time).ok())
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let begin = *self.begin.get_or_insert(captured);
        let seconds = captured.duration_since(begin).unwrap_or_default().as_secs_f64();
        for found in &frame.detections {
            let names =
                self.names.as_ref().map(|names| names.get(&frame.model).map_or(&[][..], Vec::as_slice));
            output::line(format_args!(
                "{}  {seconds:.1} s  {}{}",
                frame.camera_id,
                detection_text(found),
                landmark_text(found, names)
            ))?;
        }
        self.detections += frame.detections.len() as u64;
        Ok(())
    }
}

/// What to say of a camera that was resumed; nothing if nothing is missing.
fn resumed_line(resumed: &Resumed) -> Option<String> {
    let restarted = resumed.outcome() == ResumeOutcome::Restarted;
    let gone = resumed
        .gap
        .as_ref()
        .map(|gap| format!("frames {} to {} are gone", gap.first_sequence, gap.last_sequence));
    let again = restarted.then(|| "its frames are counted anew".to_owned());
    let parts: Vec<_> = again.into_iter().chain(gone).collect();
    (!parts.is_empty()).then(|| format!("-- {}  {}", resumed.camera_id, parts.join(", ")))
}

fn detection_text(found: &Detection) -> String {
    let b = found.r#box.unwrap_or_default();
    format!("{} {:.2} [{:.0},{:.0},{:.0},{:.0}]", found.label, found.score, b.x1, b.y1, b.x2, b.y2)
}

/// How many landmarks were seen, or each of them, if there are names; nothing of a model without.
/// A landmark without a name, of a model that came later, is told by its number.
fn landmark_text(found: &Detection, names: Option<&[String]>) -> String {
    let seen: Vec<_> =
        found.landmarks.iter().enumerate().filter(|(_, landmark)| landmark.score >= Landmark::SEEN).collect();
    let Some(names) = names else {
        return if found.landmarks.is_empty() { String::new() } else { format!(" {} landmarks", seen.len()) };
    };
    let text = |(index, at): &(usize, &crate::api::v1::Landmark)| {
        let name = names.get(*index).cloned().unwrap_or_else(|| index.to_string());
        format!(" {name} {:.2} [{:.0},{:.0}]", at.score, at.x, at.y)
    };
    seen.iter().map(text).collect()
}

fn state_line(change: &CameraStateChange) -> String {
    let Some(status) = &change.status else { return format!("{}  state unknown", change.camera_id) };
    let state = CameraState::try_from(status.state).map_or("unknown".into(), |state| {
        state.as_str_name().trim_start_matches("CAMERA_STATE_").to_lowercase()
    });
    let reason = if status.reason.is_empty() { String::new() } else { format!(": {}", status.reason) };
    format!("{}  {state}{reason}", change.camera_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::v1::{BoundingBox, CameraStatus};

    #[test]
    fn a_detection_is_class_score_and_box() {
        let r#box = Some(BoundingBox { x1: 613.2, y1: 232.0, x2: 652.4, y2: 341.0 });
        let found = Detection { r#box, score: 0.709, label: "person".into(), ..Default::default() };
        assert_eq!(detection_text(&found), "person 0.71 [613,232,652,341]");
    }

    #[test]
    fn landmarks_are_counted_or_told_by_name() {
        let landmark = |x, y, score| crate::api::v1::Landmark { x, y, score };
        let landmarks = vec![landmark(10.2, 20.0, 0.912), landmark(30.0, 40.0, 0.1), landmark(5.0, 6.0, 0.5)];
        let face = Detection { landmarks, ..Default::default() };
        let names = ["left_eye".to_owned(), "right_eye".to_owned()];
        assert_eq!(landmark_text(&face, None), " 2 landmarks");
        assert_eq!(landmark_text(&face, Some(&names)), " left_eye 0.91 [10,20] 2 0.50 [5,6]");
        assert_eq!(landmark_text(&Detection::default(), None), "");
        assert_eq!(landmark_text(&Detection::default(), Some(&names)), "");
    }

    #[test]
    fn what_is_missing_after_a_return_is_told() {
        let gap = Some(crate::api::v1::Gap { first_sequence: 3, last_sequence: 9, ..Default::default() });
        let resumed = |outcome: ResumeOutcome, gap| {
            resumed_line(&Resumed { camera_id: "yard".into(), outcome: outcome.into(), gap })
        };
        assert_eq!(resumed(ResumeOutcome::Continued, None), None);
        assert_eq!(resumed(ResumeOutcome::Gap, gap.clone()).unwrap(), "-- yard  frames 3 to 9 are gone");
        let both = "-- yard  its frames are counted anew, frames 3 to 9 are gone";
        assert_eq!(resumed(ResumeOutcome::Restarted, gap).unwrap(), both);
    }

    #[test]
    fn a_state_is_told_in_words() {
        let status = CameraStatus {
            state: CameraState::Failed.into(),
            reason: "no such host".into(),
            ..Default::default()
        };
        let change = CameraStateChange { camera_id: "yard".into(), status: Some(status) };
        assert_eq!(state_line(&change), "yard  failed: no such host");
    }
}

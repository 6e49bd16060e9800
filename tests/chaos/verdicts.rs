//! What a camera with a fault must be told to be: live for all that, or failed, with the cause in words.

use centerx::camera::FailureKind as Kind;

use super::hostile::Fault;

/// How a sick camera must be seen.
#[derive(Clone, Copy, Debug)]
pub enum Verdict {
    /// The fault is put up with: so many frames come, and with them what is odd about the camera.
    Lives(u64),
    /// It fails in one of these ways, and one of these words is in the reason.
    Fails(&'static [Kind], &'static [&'static str]),
}

/// The truth about each fault.
pub fn verdict(fault: Fault) -> Verdict {
    use Fault as F;
    use Verdict::{Fails, Lives};
    match fault {
        F::Refuses => Fails(&[Kind::Network], &["refuses connections on port"]),
        F::NoHandshake => Fails(&[Kind::Network], &["does not answer on port"]),
        F::HangsAtOptions | F::HangsAtDescribe | F::HangsAtSetup | F::HangsAtPlay => {
            Fails(&[Kind::Network], &["no video came within", "the connection to"])
        }
        F::HangsMidStream | F::Freezes => Fails(&[Kind::Stalled], &["no frame came for"]),
        // In one TCP connection nothing may come out of order, and nothing is waited for.
        F::ReordersPackets => Fails(&[Kind::Network, Kind::Codec], &["no video came within", "no picture"]),
        F::NoPictures => {
            Fails(&[Kind::Network, Kind::Codec], &["no video came", "no picture can be decoded"])
        }
        F::GarbageAnswers | F::GarbageSdp | F::HugeBody => {
            Fails(&[Kind::Network, Kind::NoVideo, Kind::Codec], &["the connection to", "no video"])
        }
        F::GarbagePayload => Fails(&[Kind::Stalled, Kind::Codec], &["no frame came for", "damaged"]),
        F::GarbageFraming => {
            Fails(&[Kind::Stalled, Kind::Network, Kind::Ended], &["no frame came for", "the connection to"])
        }
        F::ChangesSource => Fails(&[Kind::Network], &["began another stream in the same connection"]),
        F::ChangesCodec => Fails(&[Kind::Stalled, Kind::Codec], &["no frame came for", "damaged"]),
        F::Resets => Fails(&[Kind::Network, Kind::Ended], &["the connection to", "ended the stream"]),
        F::Refuses401 | F::Refuses401Later => Fails(&[Kind::Auth], &["refuses this user or password"]),
        F::Drips => Fails(&[Kind::Network], &["no video came within"]),
        F::DripsMidStream => Fails(&[Kind::Stalled], &["no frame came for"]),
        F::LosesPackets | F::RepeatsStamps | F::ReordersStamps | F::StartsMidGop => Lives(15),
        F::BFrames | F::Nothing => Lives(15),
        // There and back again; the first of the larger pictures is the 21st.
        F::JumpsAhead | F::JumpsBack | F::Resizes => Lives(25),
    }
}

//! One stream of RTP packets in an RTSP connection (RFC 2326, 10.12), and what goes wrong in it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::dialog::{DRIP, stream_of_noise};
use super::reel::{self, Reel, TICKS};
use super::{FPS, Fault};

/// Three hours of the RTP clock.
const HOURS: u32 = 3 * 3600 * 90_000;
/// The number of who sends, as it was told at SETUP.
const SOURCE: u32 = 0x1122_3344;
/// Where the parameter sets lie in a packet: its type is behind the head of 12 bytes.
const RTP_HEAD: usize = 12;

/// What comes next in a stream.
pub(super) struct Stream {
    fault: Fault,
    reel: &'static Reel,
    /// Frames begun so far.
    begun: u64,
    /// Where in the reel the next one is.
    at: usize,
    /// Time stamp of the reel's beginning in this round.
    base: u32,
    sequence: u16,
    random: fastrand::Rng,
    ticks: Interval,
    dripping: VecDeque<u8>,
}

impl Stream {
    /// Of a camera that has streamed so often before.
    pub(super) fn new(fault: Fault, before: u32) -> Self {
        let mut ticks = interval(Duration::from_millis(1000 / FPS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let at = if fault == Fault::StartsMidGop { 5 } else { 0 };
        Self {
            fault,
            reel: reel::at_start(fault, before),
            begun: 0,
            at,
            base: 1_000_000,
            sequence: 7,
            random: fastrand::Rng::with_seed(1),
            ticks,
            dripping: VecDeque::new(),
        }
    }

    /// Whether the camera would answer a request now.
    pub(super) fn answers(&self) -> bool {
        self.is_well() || !matches!(self.fault, Fault::HangsMidStream | Fault::DripsMidStream)
    }

    /// The bytes to send next, when it is time for them. Nothing is lost when this future is dropped.
    pub(super) async fn next(&mut self) -> Vec<u8> {
        if let Some(byte) = self.dripping.front().copied() {
            sleep(DRIP).await;
            self.dripping.pop_front();
            return vec![byte];
        }
        self.ticks.tick().await;
        let frozen = matches!(self.fault, Fault::HangsMidStream | Fault::Freezes);
        if frozen && !self.is_well() {
            return std::future::pending().await;
        }
        let drips = self.fault == Fault::DripsMidStream && !self.is_well();
        let bytes = self.frame();
        if drips {
            self.dripping = bytes.into();
            return Vec::new();
        }
        bytes
    }

    fn is_well(&self) -> bool {
        self.begun < Fault::WELL_FRAMES
    }

    /// The next frame, as it is sent.
    fn frame(&mut self) -> Vec<u8> {
        self.turn_the_reel();
        let frame = &self.reel.frames[self.at];
        let stamp = self.stamp(frame.stamp);
        let mut packets = Vec::new();
        for packet in &frame.packets {
            let mut packet = packet.clone();
            packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
            packet[4..8].copy_from_slice(&stamp.to_be_bytes());
            packet[8..12].copy_from_slice(&self.source().to_be_bytes());
            self.sequence = self.sequence.wrapping_add(1);
            packets.push(packet);
        }
        self.twist(&mut packets);
        let mut bytes: Vec<u8> = packets.iter().flat_map(|packet| interleaved(packet)).collect();
        if self.fault == Fault::GarbageFraming && !self.is_well() {
            bytes = stream_of_noise(4000);
        }
        self.begun += 1;
        self.at += 1;
        bytes
    }

    /// Begins the reel anew at its end, or another one.
    fn turn_the_reel(&mut self) {
        if self.at < self.reel.frames.len() {
            return;
        }
        self.base = self.base.wrapping_add(self.reel.frames.len() as u32 * TICKS);
        self.at = 0;
        let round = self.begun / self.reel.frames.len() as u64;
        self.reel = match self.fault {
            Fault::Resizes if round % 2 == 1 => reel::large(),
            Fault::Resizes => reel::plain(),
            Fault::ChangesCodec => reel::h265(),
            _ => self.reel,
        };
    }

    /// The time stamp that a frame gets which is shown so many ticks after the reel's beginning.
    fn stamp(&self, ticks: u32) -> u32 {
        let (round, odd) = (self.base, self.begun % 2 == 1);
        let right = round.wrapping_add(ticks);
        let jumped = (self.begun / Fault::WELL_FRAMES) % 2 == 1;
        match self.fault {
            Fault::JumpsAhead if jumped => right.wrapping_add(HOURS),
            Fault::JumpsBack if jumped => right.wrapping_sub(HOURS),
            Fault::RepeatsStamps => right.wrapping_sub((self.begun % 3) as u32 * TICKS),
            Fault::ReordersStamps if odd => right.wrapping_sub(TICKS),
            Fault::ReordersStamps => right.wrapping_add(TICKS),
            _ => right,
        }
    }

    /// Who sends, by RFC 3550's number.
    fn source(&self) -> u32 {
        let others = if self.fault == Fault::ChangesSource { self.begun / Fault::WELL_FRAMES } else { 0 };
        SOURCE + others as u32
    }

    fn twist(&mut self, packets: &mut Vec<Vec<u8>>) {
        match self.fault {
            Fault::LosesPackets => packets.retain(|_| self.random.f32() >= 0.1),
            Fault::ReordersPackets => packets.chunks_mut(2).for_each(|pair| pair.reverse()),
            Fault::NoPictures => packets.retain(|packet| is_parameter_set(packet)),
            Fault::GarbagePayload if !self.is_well() => {
                for packet in packets {
                    packet[RTP_HEAD..].fill_with(|| self.random.u8(..));
                }
            }
            _ => {}
        }
    }
}

/// Whether the packet holds a sequence or picture parameter set (RFC 6184, types 7 and 8).
fn is_parameter_set(packet: &[u8]) -> bool {
    matches!(packet[RTP_HEAD] & 0x1f, 7 | 8)
}

fn interleaved(packet: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let length = (packet.len() as u16).to_be_bytes();
    [b'$', 0, length[0], length[1]].into_iter().chain(packet.iter().copied())
}

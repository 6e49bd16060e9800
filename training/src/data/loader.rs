//! Batches, made ahead by threads.
//!
//! Thread `t` of `n` makes the samples `t, t + n, t + 2n, …` of an epoch, into a channel of its own; they are taken from
//! one channel after the other. So their order is that of the epoch, and each depends on its position alone.

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::decoded::Decoded;
use super::sample::Maker;
use super::seed::rng;
use super::{AugmentConfig, DataError, DataSet, Sample};
use crate::maps::Maps;

/// What teachers say of pictures.
pub trait MapSource: Send + Sync {
    /// The maps of the picture with the index `item` of the data set in its view `variant`, one a teacher, each of the
    /// grid of the whole input.
    ///
    /// # Errors
    /// They are not there, or cannot be read.
    fn maps(&self, item: usize, variant: usize) -> Result<Vec<Maps>, Box<dyn Error + Send + Sync>>;
}

/// No teachers.
#[derive(Clone, Copy, Debug)]
pub struct NoMaps;

impl MapSource for NoMaps {
    fn maps(&self, _: usize, _: usize) -> Result<Vec<Maps>, Box<dyn Error + Send + Sync>> {
        Ok(Vec::new())
    }
}

/// How pictures become batches.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Width and height of the network's input in pixels, multiples of `stride`.
    pub input: (u32, u32),
    /// Input pixels a cell of the heads.
    pub stride: u32,
    /// Samples a batch.
    pub batch: usize,
    /// Another one, other views, orders and colours.
    pub seed: u64,
    /// Threads that make samples.
    pub threads: usize,
    /// What is changed.
    pub augment: AugmentConfig,
    /// Whether each epoch has an order of its own. If so its last batch is filled up from its beginning; if not, it is
    /// shorter where pictures run out.
    pub shuffle: bool,
    /// Bytes of decoded pictures that are kept in memory.
    pub memory: usize,
}

impl Settings {
    /// Columns and rows of the heads' grid.
    pub(super) fn grid(&self) -> (usize, usize) {
        ((self.input.0 / self.stride) as usize, (self.input.1 / self.stride) as usize)
    }

    fn check(&self) -> Result<(), DataError> {
        let refuse = |problem: String| Err(DataError::Settings(problem));
        let (stride, (width, height)) = (self.stride, self.input);
        if stride == 0 || width < 4 * stride || height < 4 * stride || width % stride + height % stride > 0 {
            let least = 4 * stride;
            return refuse(format!(
                "the input is {width}x{height}; its sides are to be multiples of {stride}, at least {least}"
            ));
        }
        if self.batch == 0 || self.threads == 0 {
            return refuse("a batch has 1 picture or more, made by 1 thread or more".into());
        }
        self.augment.check()
    }
}

/// Makes batches of a data set.
pub struct Loader {
    maker: Arc<Maker>,
}

impl Loader {
    /// A loader of `data`; `maps` knows what teachers say of it.
    ///
    /// # Errors
    /// A data set without pictures, settings that make no sense.
    pub fn new(data: Arc<DataSet>, maps: Arc<dyn MapSource>, settings: Settings) -> Result<Self, DataError> {
        settings.check()?;
        if data.items.is_empty() {
            return Err(DataError::Settings("the data set has no pictures".into()));
        }
        let decoded = Decoded::new(settings.memory);
        Ok(Self { maker: Arc::new(Maker { data, maps, settings, decoded }) })
    }

    /// Batches an epoch.
    pub fn batches(&self) -> usize {
        self.maker.data.items.len().div_ceil(self.maker.settings.batch)
    }

    /// The batches of the epoch `number`: the same ones each time. Making them begins at once, some are made ahead.
    pub fn epoch(&self, number: u64) -> Epoch {
        let Settings { batch, threads, .. } = self.maker.settings;
        let order: Arc<[usize]> = self.order(number).into();
        // Each thread has its share of the next batch ready, and one more.
        let ahead = batch.div_ceil(threads) + 1;
        let start = |first: usize| {
            let (sender, receiver) = sync_channel(ahead);
            let (maker, order) = (Arc::clone(&self.maker), Arc::clone(&order));
            let work = move || work(&maker, number, &order, (first, threads), &sender);
            (receiver, thread::spawn(work))
        };
        let (receivers, workers) = (0..threads.min(order.len())).map(start).unzip();
        Epoch { receivers, workers, batch, next: 0, count: order.len() }
    }

    /// Which picture comes when.
    fn order(&self, epoch: u64) -> Vec<usize> {
        let Settings { batch, seed, shuffle, .. } = self.maker.settings;
        let mut order: Vec<usize> = (0..self.maker.data.items.len()).collect();
        if shuffle {
            rng(&[seed, epoch]).shuffle(&mut order);
            let whole = order.len().div_ceil(batch) * batch;
            order = order.iter().copied().cycle().take(whole).collect();
        }
        order
    }
}

/// Makes every `threads`th sample from `first` on, until one fails or nobody wants more.
fn work(
    maker: &Maker,
    epoch: u64,
    order: &[usize],
    (first, threads): (usize, usize),
    sender: &SyncSender<Result<Sample, DataError>>,
) {
    for (position, &item) in order.iter().enumerate().skip(first).step_by(threads) {
        let sample = maker.sample(epoch, position, item);
        let is_last = sample.is_err();
        if sender.send(sample).is_err() || is_last {
            return;
        }
    }
}

/// The batches of one epoch. After an error there are no more.
pub struct Epoch {
    receivers: Vec<Receiver<Result<Sample, DataError>>>,
    workers: Vec<JoinHandle<()>>,
    batch: usize,
    /// Position of the next sample.
    next: usize,
    count: usize,
}

impl Epoch {
    fn take(&mut self) -> Result<Sample, DataError> {
        let receiver = &self.receivers[self.next % self.receivers.len()];
        self.next += 1;
        receiver.recv().unwrap_or(Err(DataError::Panicked))
    }
}

impl Iterator for Epoch {
    type Item = Result<Vec<Sample>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let size = self.batch.min(self.count - self.next);
        if size == 0 {
            return None;
        }
        let batch: Result<Vec<Sample>, DataError> = (0..size).map(|_| self.take()).collect();
        if batch.is_err() {
            self.count = self.next;
        }
        Some(batch)
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        // Whoever waits to send learns that nobody takes it.
        self.receivers.clear();
        for worker in self.workers.drain(..) {
            // One that panicked has been told as an error.
            let _ = worker.join();
        }
    }
}

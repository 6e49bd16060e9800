//! From a data set to batches.

use std::error::Error;
use std::sync::Arc;

use centerx::detection::BoundingBox;

use super::{Folder, write_picture};
use crate::data::{AugmentConfig, DataError, DataSet, Item, Loader, MapSource, NoMaps, Sample, Settings};
use crate::maps::{Labels, Maps, Object};

/// Pictures of different greys with a labelled box each.
fn set(folder: &Folder, count: usize) -> Arc<DataSet> {
    let item = |at: usize| {
        let file = folder.path(&format!("{at}.png"));
        write_picture(&file, (60, 40), [20 + 10 * (at % 20) as u8; 3]);
        let bbox = BoundingBox { x1: 10.0, y1: 10.0, x2: 30.0, y2: 30.0 };
        let objects = vec![Object { class: 0, bbox, ignore: false }];
        let labels = at.is_multiple_of(2).then(|| Labels { objects, known: [true].into() });
        Item { id: format!("{at}"), group: "g".into(), frame: None, file, size: (60, 40), labels, repeat: 1 }
    };
    let items = (0..count).map(item).collect();
    Arc::new(DataSet { classes: vec!["a".into()], items, notes: Vec::new() })
}

fn settings(threads: usize, augment: AugmentConfig) -> Settings {
    Settings {
        input: (32, 32),
        stride: 4,
        batch: 3,
        seed: 5,
        threads,
        augment,
        shuffle: true,
        memory: 1 << 20,
    }
}

/// Maps that tell of which item and variant they are.
struct Numbered;

impl MapSource for Numbered {
    fn maps(&self, item: usize, variant: usize) -> Result<Vec<Maps>, Box<dyn Error + Send + Sync>> {
        let mut maps = Maps::empty(1, 8, 8);
        maps.heat.fill(item as f32 + 0.01 * variant as f32);
        Ok(vec![maps])
    }
}

fn batches(data: &Arc<DataSet>, settings: Settings, epoch: u64) -> Vec<Vec<Sample>> {
    let loader = Loader::new(Arc::clone(data), Arc::new(Numbered), settings).unwrap();
    let batches: Vec<Vec<Sample>> = loader.epoch(epoch).collect::<Result<_, _>>().unwrap();
    assert_eq!(batches.len(), loader.batches());
    batches
}

#[test]
fn batches_are_the_same_whatever_the_number_of_threads() {
    let folder = Folder::new();
    let data = set(&folder, 7);
    let augment = || AugmentConfig { mosaic: 0.5, ..AugmentConfig::default() };
    let one = batches(&data, settings(1, augment()), 2);
    for threads in [2, 3, 16] {
        let without_memory = Settings { memory: 0, ..settings(threads, augment()) };
        assert_eq!(batches(&data, without_memory, 2), one, "{threads} threads");
    }
    assert_ne!(batches(&data, settings(1, augment()), 3), one, "another epoch is another order");
}

#[test]
fn an_epoch_has_every_picture_and_its_last_batch_is_filled_up_when_shuffled() {
    let folder = Folder::new();
    let data = set(&folder, 7);
    let items =
        |batches: &[Vec<Sample>]| -> Vec<usize> { batches.iter().flatten().map(|one| one.item).collect() };
    let filled = items(&batches(&data, settings(2, AugmentConfig::none()), 0));
    assert_eq!((filled.len(), &filled[7..]), (9, &filled[..2]));
    let mut first = filled[..7].to_vec();
    first.sort_unstable();
    assert_eq!(first, [0, 1, 2, 3, 4, 5, 6]);
    let in_order = Settings { shuffle: false, ..settings(2, AugmentConfig::none()) };
    let batches = batches(&data, in_order, 0);
    assert_eq!(items(&batches), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(batches[2].len(), 1);
}

#[test]
fn without_changes_a_sample_is_the_letterbox_of_its_picture() {
    let folder = Folder::new();
    let data = set(&folder, 3);
    for sample in batches(&data, settings(1, AugmentConfig::none()), 0).concat() {
        let grey = 20 + 10 * sample.item as u8;
        // 60 x 40 in 32 x 32 is 32 x 21.
        let covered = 32 * 21 * 3;
        assert!(sample.pixels[..covered].iter().all(|value| *value == grey));
        assert!(sample.pixels[covered..].iter().all(|value| *value == 0));
        assert!(sample.maps[0].heat.iter().all(|heat| *heat == sample.item as f32));
        let scale = 32.0 / 60.0;
        let expected = [10.0, 10.0, 30.0, 30.0].map(|v: f32| v * scale);
        let found = sample.labels.map(|labels| labels.objects[0].bbox);
        let found = found.map(|b| [b.x1, b.y1, b.x2, b.y2]);
        assert_eq!(found, sample.item.is_multiple_of(2).then_some(expected));
    }
}

#[test]
fn colours_leave_what_is_beside_the_picture_black() {
    let folder = Folder::new();
    let data = set(&folder, 3);
    let augment = AugmentConfig { brightness: 0.5, contrast: 0.5, ..AugmentConfig::none() };
    let samples = batches(&data, settings(1, augment), 0).concat();
    assert!(samples.iter().all(|sample| sample.pixels[32 * 21 * 3..].iter().all(|value| *value == 0)));
    assert!(samples.iter().any(|sample| sample.pixels[0] != 20 + 10 * sample.item as u8));
}

#[test]
fn every_variant_comes_with_its_maps() {
    let folder = Folder::new();
    let data = set(&folder, 4);
    let augment = AugmentConfig { variants: 3, ..AugmentConfig::none() };
    let loader = Loader::new(Arc::clone(&data), Arc::new(Numbered), settings(2, augment)).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for sample in (0..30).flat_map(|epoch| loader.epoch(epoch)).flat_map(Result::unwrap) {
        let heat = sample.maps[0].heat[0];
        assert_eq!(heat as usize, sample.item);
        seen.insert((100.0 * heat).round() as usize);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2, 100, 101, 102, 200, 201, 202, 300, 301, 302]);
}

#[test]
fn an_error_ends_the_epoch() {
    let folder = Folder::new();
    let data = set(&folder, 6);
    let in_order = || Settings { shuffle: false, ..settings(2, AugmentConfig::none()) };
    std::fs::write(&data.items[4].file, "damaged since").unwrap();
    let loader = Loader::new(Arc::clone(&data), Arc::new(NoMaps), in_order()).unwrap();
    let mut epoch = loader.epoch(0);
    assert_eq!(epoch.next().unwrap().unwrap().len(), 3);
    let message = epoch.next().unwrap().unwrap_err().to_string();
    assert!(message.contains("4.png") && message.contains("not a JPEG"), "{message}");
    assert!(epoch.next().is_none());

    write_picture(&data.items[4].file, (10, 10), [0; 3]);
    let error = loader.epoch(0).find_map(Result::err).unwrap();
    assert!(error.to_string().contains("its size has changed"), "{error}");
}

struct Bad(usize);

impl MapSource for Bad {
    fn maps(&self, item: usize, _: usize) -> Result<Vec<Maps>, Box<dyn Error + Send + Sync>> {
        match (item, self.0) {
            (2, 0) => Err("not in the cache".into()),
            (2, 1) => Ok(vec![Maps::empty(1, 8, 9)]),
            (2, 2) => Ok(vec![Maps { heat: Vec::new(), ..Maps::empty(1, 8, 8) }]),
            (2, _) => panic!("on purpose"),
            _ => Ok(Vec::new()),
        }
    }
}

#[test]
fn maps_that_are_missing_or_do_not_fit_are_refused() {
    let folder = Folder::new();
    let data = set(&folder, 4);
    let error = |kind: usize| {
        let loader =
            Loader::new(Arc::clone(&data), Arc::new(Bad(kind)), settings(2, AugmentConfig::none())).unwrap();
        loader.epoch(0).find_map(Result::err).unwrap()
    };
    assert!(error(0).to_string().contains("maps of 2: not in the cache"));
    assert!(error(1).to_string().contains("they are 9x8 cells, the input has 8x8"));
    assert!(matches!(error(2), DataError::Maps { .. }));
    assert!(matches!(error(3), DataError::Panicked));
}

#[test]
fn workers_end_with_the_epoch() {
    let folder = Folder::new();
    let data = set(&folder, 30);
    let loader =
        Loader::new(Arc::clone(&data), Arc::new(NoMaps), settings(3, AugmentConfig::default())).unwrap();
    drop(loader.epoch(0));
    let mut epoch = loader.epoch(1);
    assert!(epoch.next().unwrap().is_ok());
    drop(epoch);
    // The loader holds one, and no worker any.
    drop(loader);
    assert_eq!(Arc::strong_count(&data), 1);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let folder = Folder::new();
    let data = set(&folder, 1);
    let good = || settings(1, AugmentConfig::none());
    let cases = [
        (Settings { input: (30, 32), ..good() }, "the input is 30x32; its sides are to be multiples of 4"),
        (Settings { input: (12, 32), ..good() }, "at least 16"),
        (Settings { batch: 0, ..good() }, "a batch has 1"),
        (Settings { threads: 0, ..good() }, "1 thread"),
        (settings(1, AugmentConfig { flip: 2.0, ..AugmentConfig::none() }), "`flip`"),
    ];
    for (settings, part) in cases {
        let message = Loader::new(Arc::clone(&data), Arc::new(NoMaps), settings).err().unwrap().to_string();
        assert!(message.contains(part), "{message}");
    }
    let empty = Arc::new(DataSet { classes: vec!["a".into()], items: Vec::new(), notes: Vec::new() });
    assert!(Loader::new(empty, Arc::new(NoMaps), good()).is_err());
}

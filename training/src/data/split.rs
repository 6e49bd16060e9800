//! What is trained on and what is kept to judge by.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::{DataSet, Item};

/// What makes a picture the same as another one: of a video its frame's number, else its file.
type Key<'a> = (&'a Path, Option<u64>);

fn key(item: &Item) -> Key<'_> {
    match item.frame {
        Some(_) => (Path::new(&item.group), item.frame),
        None => (&item.file, None),
    }
}

impl DataSet {
    /// Takes `share` (0 to 1) of the pictures away, to judge by: of a video its last frames, as frames beside each other
    /// are nearly the same; of other groups pictures at equal distances. The same in every run. Gives those to train on
    /// and those held out; of a group of two or more at least one goes either way. A picture that several sources have
    /// goes one way.
    pub fn hold_out(&self, share: f32) -> (Self, Self) {
        let held = self.held(share);
        let part = |wanted: bool| -> Vec<Item> {
            self.items.iter().filter(|item| held.contains(&key(item)) == wanted).cloned().collect()
        };
        let notes = self.notes.clone();
        let train = Self { classes: self.classes.clone(), items: part(false), notes };
        (train, Self { classes: self.classes.clone(), items: part(true), notes: Vec::new() })
    }

    fn held(&self, share: f32) -> HashSet<Key<'_>> {
        let mut groups: HashMap<(&str, bool), Vec<Key<'_>>> = HashMap::new();
        let mut met = HashSet::new();
        for item in self.items.iter().filter(|item| met.insert(key(item))) {
            groups.entry((&item.group, item.frame.is_some())).or_default().push(key(item));
        }
        let mut held = HashSet::new();
        for ((_, is_video), mut members) in groups {
            let (all, out) = (members.len(), held_of(members.len(), share));
            if is_video {
                members.sort_unstable();
            }
            let is_held = |position: usize| match is_video {
                true => position >= all - out,
                false => (position + 1) * out / all > position * out / all,
            };
            held.extend(members.into_iter().enumerate().filter(|(at, _)| is_held(*at)).map(|(_, key)| key));
        }
        held
    }

    /// Each picture as often as its source says: an epoch has it so many times, each with views of its own.
    pub fn repeated(self) -> Self {
        let again = |item: Item| {
            (1..=item.repeat.max(1)).map(move |time| match time {
                1 => item.clone(),
                _ => Item { id: format!("{} (time {time})", item.id), ..item.clone() },
            })
        };
        Self { items: self.items.into_iter().flat_map(again).collect(), ..self }
    }
}

/// How many of a group's pictures are held out.
fn held_of(all: usize, share: f32) -> usize {
    if all < 2 {
        return 0;
    }
    // Not a number, and less than 0, are cast to 0.
    let count = (all as f64 * f64::from(share)).round() as usize;
    count.clamp(usize::from(share > 0.0), all - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(group: &str, at: usize, frame: Option<u64>) -> Item {
        Item {
            id: format!("{group}/{at}"),
            group: group.into(),
            frame,
            file: format!("{group}/{at}.jpg").into(),
            size: (1, 1),
            labels: None,
            repeat: 1,
        }
    }

    fn set(pictures: usize, frames: usize) -> DataSet {
        let pictures = (0..pictures).map(|at| item("p", at, None));
        let frames = (0..frames).map(|at| item("v", at, Some(at as u64)));
        DataSet {
            classes: vec!["a".into()],
            items: pictures.chain(frames).collect(),
            notes: vec!["odd".into()],
        }
    }

    fn ids(set: &DataSet) -> Vec<&str> {
        set.items.iter().map(|item| item.id.as_str()).collect()
    }

    #[test]
    fn the_end_of_a_video_and_every_kth_picture_are_held_out() {
        let (train, held) = set(6, 5).hold_out(0.34);
        assert_eq!(ids(&held), ["p/2", "p/5", "v/3", "v/4"]);
        assert_eq!(ids(&train), ["p/0", "p/1", "p/3", "p/4", "v/0", "v/1", "v/2"]);
        assert_eq!((train.notes.len(), held.notes.len()), (1, 0));
    }

    #[test]
    fn nothing_is_held_out_where_there_is_nothing_to_spare() {
        assert!(set(1, 1).hold_out(0.5).1.items.is_empty());
        assert!(set(9, 9).hold_out(0.0).1.items.is_empty());
        assert!(set(9, 9).hold_out(f32::NAN).1.items.is_empty());
        assert_eq!(set(2, 2).hold_out(0.01).1.items.len(), 2);
        assert_eq!(set(2, 2).hold_out(1.0).0.items.len(), 2);
    }

    #[test]
    fn what_several_sources_have_goes_one_way() {
        let mut whole = set(6, 6);
        // Every second frame and every third picture once more, as of another source.
        let more = (0..6).step_by(2).map(|at| item("v", at, Some(at as u64)));
        let more: Vec<Item> = more.chain((0..6).step_by(3).map(|at| item("p", at, None))).collect();
        whole.items.extend(more);
        let (train, held) = whole.hold_out(0.34);
        assert_eq!(ids(&held), ["p/2", "p/5", "v/4", "v/5", "v/4"]);
        assert_eq!(train.items.len(), 12);
    }

    #[test]
    fn a_picture_is_there_as_often_as_its_source_says() {
        let mut whole = set(2, 0);
        whole.items[1].repeat = 3;
        let repeated = whole.repeated();
        assert_eq!(ids(&repeated), ["p/0", "p/1", "p/1 (time 2)", "p/1 (time 3)"]);
        assert!(repeated.items[1..].iter().all(|item| item.file == repeated.items[1].file));
    }

    proptest! {
        #[test]
        fn every_picture_goes_one_way(pictures in 0usize..40, frames in 0usize..40, share in -0.5f32..1.5) {
            let whole = set(pictures, frames);
            let (train, held) = whole.hold_out(share);
            let mut all: Vec<_> = ids(&train).into_iter().chain(ids(&held)).collect();
            let mut expected = ids(&whole);
            all.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(all, expected);
            // No frame that is held out comes before one that is trained on.
            let frames = |set: &DataSet| set.items.iter().filter_map(|item| item.frame).collect::<Vec<_>>();
            if let (Some(last), Some(first)) = (frames(&train).last(), frames(&held).first()) {
                prop_assert!(last < first);
            }
            prop_assert!(held.items.len() as f32 <= share.clamp(0.0, 1.0) * whole.items.len() as f32 + 2.0);
        }
    }
}

//! What is trained on and what is kept to judge by.

use std::collections::HashMap;

use super::{DataSet, Item};

impl DataSet {
    /// Takes `share` (0 to 1) of the pictures away, to judge by: of a video its last frames, as frames beside each other
    /// are nearly the same; of other groups pictures at equal distances. The same in every run. Gives those to train on
    /// and those held out; of a group of two or more at least one goes either way.
    pub fn hold_out(&self, share: f32) -> (Self, Self) {
        let mut groups: HashMap<(&str, bool), Vec<usize>> = HashMap::new();
        for (at, item) in self.items.iter().enumerate() {
            groups.entry((&item.group, item.frame.is_some())).or_default().push(at);
        }
        let mut held = vec![false; self.items.len()];
        for ((_, is_video), members) in groups {
            let (all, out) = (members.len(), held_of(members.len(), share));
            for (position, at) in members.into_iter().enumerate() {
                held[at] = if is_video {
                    position >= all - out
                } else {
                    (position + 1) * out / all > position * out / all
                };
            }
        }
        let part = |wanted: bool| -> Vec<Item> {
            self.items
                .iter()
                .zip(&held)
                .filter(|(_, held)| **held == wanted)
                .map(|(item, _)| item.clone())
                .collect()
        };
        let notes = self.notes.clone();
        let train = Self { classes: self.classes.clone(), items: part(false), notes };
        (train, Self { classes: self.classes.clone(), items: part(true), notes: Vec::new() })
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
            file: "x".into(),
            size: (1, 1),
            labels: None,
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

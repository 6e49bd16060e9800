//! From a detector's raw heads to [`Maps`] on its own grid.

use centerx::model::decode::{FAMILIES, Heads};
use centerx::model::reference::Values;

use crate::maps::Maps;

/// Size w, h and offset x, y of the object at a cell, in cells.
type Object = ([f32; 2], [f32; 2]);

/// How a family's heads say where an object is. The formulas are those of `centerx::model::decode::family`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// `wh`, shared or for each class, and `reg` where there is one: centernet, and the boxes of centerpose.
    Centred,
    /// Distances to the four sides in input pixels: ttf.
    Sides,
    /// Logarithm of height and width, offset y, x from the cell's middle: centerface.
    LogSize,
    /// Four corners from the centre: quad. The box is what surrounds them.
    Corners,
}

impl Reader {
    /// That of a family, by its name in the metadata.
    pub fn of(family: &str) -> Option<Self> {
        match family {
            "centernet" | "centerpose" => Some(Self::Centred),
            "ttf" => Some(Self::Sides),
            "centerface" => Some(Self::LogSize),
            "quad" => Some(Self::Corners),
            _ => None,
        }
    }

    /// The families that have one.
    pub fn families() -> String {
        let known = FAMILIES.into_iter().map(|family| family.name).filter(|name| Self::of(name).is_some());
        known.collect::<Vec<_>>().join(", ")
    }

    /// The object at a cell, whose best class is the teacher's `class`.
    fn object(self, raw: &Raw<'_>, cell: usize, class: usize) -> Object {
        let stride = raw.heads.stride;
        match self {
            Self::Centred => {
                // Width and height of each class, one class after the other.
                let first = if raw.channels(0) > 2 { 2 * class } else { 0 };
                ([first, first + 1].map(|channel| raw.at(0, channel, cell)), raw.offset(cell))
            }
            Self::Sides => {
                let [left, top, right, bottom] = [0, 1, 2, 3].map(|side| raw.at(0, side, cell) / stride);
                ([left + right, top + bottom], [(right - left) / 2.0, (bottom - top) / 2.0])
            }
            Self::LogSize => {
                let size = [1, 0].map(|axis| raw.at(0, axis, cell).exp());
                (size, [1, 0].map(|axis| raw.at(1, axis, cell) + 0.5))
            }
            Self::Corners => {
                let side = |axis: usize, pick: fn(f32, f32) -> f32| {
                    let corners = (1..4).map(|nth| raw.at(0, 2 * nth + axis, cell));
                    corners.fold(raw.at(0, axis, cell), pick)
                };
                let ([x1, y1], [x2, y2]) =
                    ([0, 1].map(|axis| side(axis, f32::min)), [0, 1].map(|axis| side(axis, f32::max)));
                let [x, y] = raw.offset(cell);
                ([x2 - x1, y2 - y1], [x + (x1 + x2) / 2.0, y + (y1 + y2) / 2.0])
            }
        }
    }
}

/// The heads of one picture.
struct Raw<'a> {
    heads: &'a Heads,
    values: &'a Values<'a>,
    cells: usize,
}

impl Raw<'_> {
    fn channels(&self, head: usize) -> usize {
        self.heads.regressions.get(head).and_then(Option::as_ref).map_or(0, |head| head.channels)
    }

    fn find(&self, head: usize, channel: usize, cell: usize) -> Option<f32> {
        let values = (*self.values.regressions.get(head)?)?;
        values.get(channel * self.cells + cell).copied()
    }

    /// A head that the family cannot do without is there, or there would be no model.
    fn at(&self, head: usize, channel: usize, cell: usize) -> f32 {
        self.find(head, channel, cell).unwrap_or(0.0)
    }

    /// The head `reg`, the second of its families; without one, the centre is the cell's.
    fn offset(&self, cell: usize) -> [f32; 2] {
        [0, 1].map(|axis| self.find(1, axis, cell).unwrap_or(0.5))
    }
}

/// What the heads say of some of the teacher's classes, on its own grid; `values` are as long as `heads` tell.
pub(super) fn maps(reader: Reader, heads: &Heads, values: &Values<'_>, classes: &[usize]) -> Maps {
    let [height, width] = heads.heatmap.size();
    let mut maps = Maps::empty(classes.len(), height, width);
    let cells = height * width;
    let raw = Raw { heads, values, cells };
    for (heat, class) in maps.heat.chunks_exact_mut(cells.max(1)).zip(classes) {
        let theirs = &values.heatmap[class * cells..][..cells];
        heat.iter_mut().zip(theirs).for_each(|(heat, value)| *heat = score(heads, *value));
    }
    // What a network says where there is nothing may be anything.
    let most = 4.0 * height.max(width) as f32;
    for cell in 0..cells {
        let best = (0..classes.len()).max_by(|a, b| {
            let heat = |class: &usize| maps.heat[class * cells + cell];
            heat(a).total_cmp(&heat(b))
        });
        let class = best.and_then(|best| classes.get(best)).copied().unwrap_or(0);
        let (size, offset) = reader.object(&raw, cell, class);
        for axis in 0..2 {
            maps.size[axis * cells + cell] = size[axis].clamp(0.0, most);
            maps.offset[axis * cells + cell] = offset[axis].clamp(-most, most);
        }
    }
    maps
}

fn score(heads: &Heads, value: f32) -> f32 {
    match heads.heat {
        centerx::model::decode::Heat::Logits => 1.0 / (1.0 + (-value).exp()),
        centerx::model::decode::Heat::Scores => value.clamp(0.0, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use centerx::model::decode::{Choice, Family, Head, Heat};
    use centerx::model::reference::{self, Slack};
    use proptest::prelude::*;

    use super::*;
    use crate::teacher::tests::peaks;

    const SIZE: [usize; 2] = [7, 6];

    fn head(channels: usize) -> Head {
        Head { value: "head".into(), channels, height: SIZE[0], width: SIZE[1] }
    }

    /// Heads with numbers such as networks give.
    struct Scene {
        heads: Heads,
        heatmap: Vec<f32>,
        regressions: Vec<Option<Vec<f32>>>,
    }

    impl Scene {
        fn of(family: &Family, heat: Heat, with_optional: bool, seed: u64) -> Self {
            let mut rng = fastrand::Rng::with_seed(seed);
            let cells = SIZE[0] * SIZE[1];
            let mut numbers = |channels: usize, [least, most]: [f32; 2]| -> Vec<f32> {
                (0..channels * cells).map(|_| least + rng.f32() * (most - least)).collect()
            };
            let heatmap = numbers(2, if heat == Heat::Scores { [0.0, 1.0] } else { [-6.0, 4.0] });
            let specs: Vec<_> =
                family.heads.iter().map(|spec| (spec.channels, !spec.optional || with_optional)).collect();
            let range = if matches!(family.name, "ttf" | "centernet" | "centerpose") {
                [0.1, 20.0]
            } else {
                [-1.0, 2.0]
            };
            let regressions: Vec<_> =
                specs.iter().map(|(channels, there)| there.then(|| numbers(*channels, range))).collect();
            let heads = specs.iter().map(|(channels, there)| there.then(|| head(*channels)));
            let heads = Heads { heatmap: head(2), heat, regressions: heads.collect(), stride: 4.0 };
            Self { heads, heatmap, regressions }
        }

        fn values(&self) -> Values<'_> {
            let regressions = self.regressions.iter().map(Option::as_deref).collect();
            Values { heatmap: &self.heatmap, regressions }
        }
    }

    proptest! {
        /// Against centerx's own decode, which was written by itself.
        #[test]
        fn peaks_of_the_maps_are_what_the_heads_decode_to(
            at in 0..FAMILIES.len(), scores: bool, with_optional: bool, seed: u64,
        ) {
            let (family, heat) = (FAMILIES[at], if scores { Heat::Scores } else { Heat::Logits });
            let scene = Scene::of(family, heat, with_optional, seed);
            let values = scene.values();
            let (choice, slack) = (Choice { top_k: 84, nms: None }, Slack { score: 1e-6, px: 1e-3 });
            let expected = reference::decode(family, &scene.heads, &values, choice, slack).unwrap().rows;
            let maps = maps(Reader::of(family.name).unwrap(), &scene.heads, &values, &[0, 1]);
            let found = peaks(&maps, 4.0, 0.0);
            let sure = expected.iter().filter(|row| !row.doubt);
            for row in sure {
                let is_it = |found: &&centerx::eval::Found| {
                    let b = found.bbox;
                    found.class as usize == row.class
                        && (f64::from(found.score) - row.score).abs() < 1e-5
                        && [b.x1, b.y1, b.x2, b.y2].iter().zip(row.bbox).all(|(a, b)| (f64::from(*a) - b).abs() < 0.01)
                };
                prop_assert!(found.iter().any(|found| is_it(&found)), "{}: {row:?} is not in {found:?}", family.name);
            }
            prop_assert!(expected.iter().any(|row| row.doubt) || found.len() == expected.len());
        }
    }

    #[test]
    fn only_the_classes_that_are_asked_for_are_there_in_their_order() {
        let scene = Scene::of(&centerx::model::decode::CENTERNET, Heat::Scores, true, 1);
        let maps = maps(Reader::Centred, &scene.heads, &scene.values(), &[1, 0]);
        let (first, second) = scene.heatmap.split_at(42);
        assert_eq!(maps.heat, [second, first].concat());
        let one = super::maps(Reader::Centred, &scene.heads, &scene.values(), &[1]);
        assert_eq!((one.classes, one.heat), (1, second.to_vec()));
    }

    #[test]
    fn sizes_of_each_class_are_those_of_the_best_one() {
        let mut heat = vec![0.1; 84];
        heat[42] = 0.9;
        let wh: Vec<f32> = (0..4).flat_map(|channel| [channel as f32; 42]).collect();
        let heads = Heads {
            heatmap: head(2),
            heat: Heat::Scores,
            regressions: vec![Some(head(4)), None],
            stride: 4.0,
        };
        let values = Values { heatmap: &heat, regressions: vec![Some(&wh), None] };
        let maps_of = |classes: &[usize]| maps(Reader::Centred, &heads, &values, classes);
        let both = maps_of(&[0, 1]);
        assert_eq!((both.size[0], both.size[42]), (2.0, 3.0));
        assert_eq!((both.offset[0], both.offset[42]), (0.5, 0.5), "the middle of the cell");
        let first = maps_of(&[0]);
        assert_eq!((first.size[0], first.size[42]), (0.0, 1.0), "what is not learnt does not count");
    }
}

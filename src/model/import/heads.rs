//! Which of a network's outputs is which head of which family.
//!
//! Names decide first (`hm`, `wh`, `reg` and what else people call them), then the number of channels, then
//! the order in which the family lists its heads.

use super::{ImportError, Options, Probed};
use crate::model::decode::{FAMILIES, Family, Head, HeadSpec};

/// What people call the heads, by the name of the head here. Parts of a name count: `head/wh/Conv_output_0`
/// is a `wh`.
const ALIASES: [(&str, &[&str]); 11] = [
    ("hm", &["hm", "heatmap", "heat_map", "heat", "cls", "center_heatmap", "keypoint_heatmap"]),
    ("wh", &["wh", "size", "box_size", "bbox_wh", "width_height"]),
    ("reg", &["reg", "offset", "off", "center_offset", "local_offset"]),
    ("ltrb", &["ltrb", "tlrb", "lrtb", "wh", "box"]),
    ("scale", &["scale", "wh", "size"]),
    ("offset", &["offset", "off", "reg"]),
    ("landmarks", &["landmarks", "landmark", "lms", "lm"]),
    ("hps", &["hps", "kps", "keypoints"]),
    ("hm_hp", &["hm_hp", "kp_hm", "joint_heatmap"]),
    ("hp_offset", &["hp_offset", "kp_offset", "joint_offset"]),
    ("corners", &["corners", "corner", "quad", "vertices", "polygon"]),
];

/// The heads of one network, found.
#[derive(Debug)]
pub(super) struct Recognized {
    pub family: &'static Family,
    pub heatmap: Head,
    pub regressions: Vec<Option<Head>>,
    /// How each head was found, for the user to check.
    pub notes: Vec<String>,
}

/// Finds the family and the heads among the `outputs`, probed at batch 1.
pub(super) fn recognize(outputs: &[Probed], options: &Options) -> Result<Recognized, ImportError> {
    let maps: Vec<&Probed> = outputs.iter().filter(|probed| map_size(probed).is_some()).collect();
    if let Some((head, value)) = options.heads.iter().find(|(_, told)| !maps.iter().any(|m| m.name == *told))
    {
        return Err(refused(
            &format!("--head {head}={value}: there is no feature map of that name"),
            outputs,
        ));
    }
    let families: Vec<&'static Family> = match options.family {
        Some(family) => vec![family],
        None => FAMILIES.to_vec(),
    };
    let mut fits: Vec<Recognized> =
        families.iter().filter_map(|family| assign(family, &maps, options)).collect();
    if fits.len() > 1 {
        // Names say more than numbers of channels.
        let fewest = fits.iter().map(|fit| fit.notes.len()).min().unwrap_or(0);
        fits.retain(|fit| fit.notes.len() == fewest);
    }
    match (fits.pop(), fits.is_empty()) {
        (Some(fit), true) => Ok(fit),
        (Some(fit), false) => {
            let names: Vec<_> = fits.iter().chain([&fit]).map(|fit| fit.family.name).collect();
            Err(refused(
                &format!("they fit the families {}; say which one by --family", names.join(" and ")),
                outputs,
            ))
        }
        (None, _) => Err(refused(&missing(&families, &maps), outputs)),
    }
}

fn refused(problem: &str, outputs: &[Probed]) -> ImportError {
    let found = outputs.iter().map(Probed::to_string).collect::<Vec<_>>().join(", ");
    ImportError::Family { problem: problem.to_owned(), found }
}

/// Channels, height and width of a float `[1, C, H, W]`.
fn map_size(probed: &Probed) -> Option<[usize; 3]> {
    let size = |dim: i64| usize::try_from(dim).ok().filter(|&d| d > 0);
    match probed.shape[..] {
        [1, c, h, w] if probed.is_float() => Some([size(c)?, size(h)?, size(w)?]),
        _ => None,
    }
}

fn head(probed: &Probed) -> Option<Head> {
    let [channels, height, width] = map_size(probed)?;
    Some(Head { value: probed.name.clone(), channels, height, width })
}

/// Why no family fits, as far as that can be told: what the families need that comes nearest.
fn missing(families: &[&'static Family], maps: &[&Probed]) -> String {
    if maps.is_empty() {
        return "none of them is a feature map [N,C,H,W]; name inner values by --head NAME=VALUE".to_owned();
    }
    let needs = families.iter().map(|family| {
        let heads = family.heads.iter().map(|spec| {
            let (open, close) = if spec.optional { ("[", "]") } else { ("", "") };
            format!("{open}{} {}{close}", spec.name, spec.channels)
        });
        format!("{} (hm, {})", family.name, heads.collect::<Vec<_>>().join(", "))
    });
    format!(
        "no family fits. Heads and their channels: {}. Say which one it is by --family NAME and which output is \
         which by --head hm=OUTPUT --head wh=OUTPUT ...",
        needs.collect::<Vec<_>>().join("; ")
    )
}

/// The heads of `family` among the maps, if every one it needs is there and none is left over.
fn assign(family: &'static Family, maps: &[&Probed], options: &Options) -> Option<Recognized> {
    let mut search = Search { left: maps.to_vec(), options, notes: Vec::new() };
    // Heads that go by name first, so that they are not taken for others by their channels.
    let mut found: Vec<Option<Head>> =
        family.heads.iter().map(|spec| search.named(spec.name, |c| may_be(spec, c))).collect();
    let heatmap = search.heatmap(family)?;
    for (slot, spec) in found.iter_mut().zip(family.heads) {
        if slot.is_none() {
            *slot = search.by_channels(spec, heatmap.channels);
        }
        if slot.is_none() && !spec.optional {
            return None;
        }
    }
    let told = options.family.is_some() || !options.heads.is_empty();
    let fits = |(slot, spec): (&Option<Head>, &HeadSpec)| {
        slot.as_ref()
            .is_none_or(|head| spec.takes(head.channels, heatmap.channels) && head.size() == heatmap.size())
    };
    let all = found.iter().zip(family.heads).all(fits) && (told || search.left.is_empty());
    all.then_some(Recognized { family, heatmap, regressions: found, notes: search.notes })
}

/// Whether a head of so many channels may be this one, while the number of classes is unknown.
fn may_be(spec: &HeadSpec, channels: usize) -> bool {
    channels == spec.channels || (spec.per_class && channels.is_multiple_of(spec.channels))
}

struct Search<'a> {
    left: Vec<&'a Probed>,
    options: &'a Options,
    notes: Vec<String>,
}

impl Search<'_> {
    fn take(&mut self, at: usize) -> Option<Head> {
        head(self.left.remove(at))
    }

    /// The head that the user named, or whose name says that it is this one.
    fn named(&mut self, name: &str, fits: impl Fn(usize) -> bool) -> Option<Head> {
        if let Some((_, value)) = self.options.heads.iter().find(|(head, _)| head == name) {
            let at = self.left.iter().position(|probed| probed.name == *value)?;
            return self.take(at);
        }
        let claimed = |probed: &&Probed| self.options.heads.iter().any(|(_, value)| *value == probed.name);
        let candidates = self.left.iter().enumerate().filter(|(_, probed)| !claimed(probed));
        let fitting = candidates.filter(|(_, probed)| map_size(probed).is_some_and(|[c, ..]| fits(c)));
        let (at, rank) =
            fitting.map(|(at, probed)| (at, rank(name, &probed.name))).max_by_key(|&(_, rank)| rank)?;
        if rank == 0 { None } else { self.take(at) }
    }

    /// The heatmap: by name, or else what none of the family's other heads can be, or else the first output.
    fn heatmap(&mut self, family: &Family) -> Option<Head> {
        if let Some(head) = self.named("hm", |_| true) {
            return Some(head);
        }
        let other = |probed: &Probed| {
            map_size(probed).is_some_and(|[c, ..]| family.heads.iter().any(|spec| spec.channels == c))
        };
        let classes = self.options.labels.as_ref().map(Vec::len);
        let by_labels = self.left.iter().position(|probed| map_size(probed).map(|[c, ..]| c) == classes);
        let odd: Vec<usize> = (0..self.left.len()).filter(|&at| !other(self.left[at])).collect();
        let at = by_labels.or(if odd.len() == 1 { odd.first().copied() } else { None }).unwrap_or(0);
        let name = self.left.get(at)?.name.clone();
        self.notes.push(format!(
            "took {name} for the heatmap by its channels and place (--head hm=OUTPUT to change)"
        ));
        self.take(at)
    }

    fn by_channels(&mut self, spec: &HeadSpec, classes: usize) -> Option<Head> {
        if self.options.heads.iter().any(|(head, _)| head == spec.name) {
            return None;
        }
        let fits = |probed: &&Probed| map_size(probed).is_some_and(|[c, ..]| spec.takes(c, classes));
        let at = self.left.iter().position(fits)?;
        let name = self.left[at].name.clone();
        let twin = self.left.iter().skip(at + 1).any(|probed| map_size(probed) == map_size(self.left[at]));
        let how = if twin { "channels and order" } else { "channels" };
        self.notes.push(format!(
            "took {name} for {} by its {how} (--head {}=OUTPUT to change)",
            spec.name, spec.name
        ));
        self.take(at)
    }
}

/// How well the value's name says that it is the head: the length of the longest alias in it, 0 if none is.
fn rank(head: &str, value: &str) -> usize {
    let words = |text: &str| -> Vec<String> {
        let lower = text.to_lowercase();
        lower
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|w| !w.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let value = words(value);
    let contains = |alias: &&str| {
        let alias = words(alias);
        value.windows(alias.len()).any(|window| window == alias)
    };
    let own =
        |name: &str| ALIASES.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, aliases)| aliases);
    let best = own(head).iter().filter(|alias| contains(alias)).map(|alias| alias.len()).max().unwrap_or(0);
    // `hm_hp` is not a heatmap of centres, though `hm` is in it.
    let others = ALIASES.iter().filter(|(known, _)| *known != head).flat_map(|(_, aliases)| *aliases);
    let better = others.filter(|alias| alias.contains('_') && contains(alias)).map(|alias| alias.len()).max();
    if better.is_some_and(|better| better > best) { 0 } else { best }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str, channels: i64) -> Probed {
        Probed {
            name: name.into(),
            element: 1,
            shape: vec![1, channels, 96, 128],
            least: -5.0,
            greatest: 5.0,
        }
    }

    fn maps(list: &[(&str, i64)]) -> Vec<Probed> {
        list.iter().map(|&(name, channels)| map(name, channels)).collect()
    }

    /// Family and values found, in the family's order after the heatmap.
    fn found(list: &[(&str, i64)], options: &Options) -> Result<(&'static str, Vec<String>), String> {
        let fit = recognize(&maps(list), options).map_err(|error| error.to_string())?;
        let regressions =
            fit.regressions.iter().map(|head| head.as_ref().map_or("-".into(), |h| h.value.clone()));
        Ok((fit.family.name, [fit.heatmap.value.clone()].into_iter().chain(regressions).collect()))
    }

    fn check(list: &[(&str, i64)], family: &str, heads: &[&str]) {
        let heads: Vec<String> = heads.iter().map(|&head| head.into()).collect();
        assert_eq!(
            found(list, &Options::default()),
            Ok((family, heads)).map(|(f, h)| (leak(f), h)),
            "{list:?}"
        );
    }

    fn leak(name: &str) -> &'static str {
        Family::by_name(name).unwrap().name
    }

    #[test]
    fn names_decide_in_any_order() {
        check(&[("reg", 2), ("hm", 80), ("wh", 2)], "centernet", &["hm", "wh", "reg"]);
        check(&[("wh", 2), ("reg", 2), ("cls", 2)], "centernet", &["cls", "wh", "reg"]);
        check(
            &[("/head/wh/Conv_output_0", 2), ("/head/cls/Sigmoid_output_0", 20)],
            "centernet",
            &["/head/cls/Sigmoid_output_0", "/head/wh/Conv_output_0", "-"],
        );
        let pose = [("hm", 1), ("wh", 2), ("hps", 34), ("reg", 2), ("hm_hp", 17), ("hp_offset", 2)];
        check(&pose, "centerpose", &["hm", "wh", "reg", "hps", "hm_hp", "hp_offset"]);
    }

    #[test]
    fn where_names_say_nothing_channels_and_order_do() {
        check(
            &[("537", 1), ("538", 2), ("539", 2), ("540", 10)],
            "centerface",
            &["537", "538", "539", "540"],
        );
        check(&[("a", 80), ("b", 4)], "ttf", &["a", "b"]);
        check(&[("a", 80), ("b", 160), ("c", 2)], "centernet", &["a", "b", "c"]);
        check(&[("a", 3), ("b", 8)], "quad", &["a", "b", "-"]);
        check(&[("a", 3), ("b", 2), ("c", 2)], "centernet", &["a", "b", "c"]);
        let fit = recognize(&maps(&[("a", 3), ("b", 2), ("c", 2)]), &Options::default()).unwrap();
        assert!(
            fit.notes.iter().any(|note| note.contains("took b for wh by its channels and order")),
            "{:?}",
            fit.notes
        );
    }

    #[test]
    fn what_is_told_wins() {
        let options = Options {
            heads: vec![("wh".into(), "c".into()), ("hm".into(), "a".into())],
            ..Options::default()
        };
        let (_, heads) = found(&[("a", 3), ("b", 2), ("c", 2)], &options).unwrap();
        assert_eq!(heads, ["a", "c", "b"]);
        let heads = vec![("hm".into(), "a".into())];
        let options = Options { family: Some(&crate::model::decode::CENTERNET), heads, ..Options::default() };
        let (family, heads) = found(&[("a", 2), ("b", 4)], &options).unwrap();
        assert_eq!((family, &heads[..2]), ("centernet", &["a".to_owned(), "b".to_owned()][..]));
    }

    #[test]
    fn what_fits_nothing_or_several_is_told_with_what_was_found() {
        let error = found(&[("boxes", 7), ("scores", 9)], &Options::default()).unwrap_err();
        assert!(
            error.contains("boxes float32 [1,7,96,128]")
                && error.contains("--family")
                && error.contains("ttf (hm, ltrb 4)"),
            "{error}"
        );
        let error = found(&[("a", 2), ("b", 4)], &Options::default()).unwrap_err();
        assert!(error.contains("fit the families") && error.contains("--family"), "{error}");
        // Also where another output would do.
        for head in ["wh", "hm", "reg"] {
            let options = Options { heads: vec![(head.into(), "nowhere".into())], ..Options::default() };
            let error = found(&[("a", 3), ("b", 2)], &options).unwrap_err();
            let expected = format!("--head {head}=nowhere: there is no feature map of that name");
            assert!(error.contains(&expected), "{error}");
        }
        let flat = Probed { shape: vec![1, 100, 6], ..map("dets", 1) };
        let error = recognize(&[flat], &Options::default()).unwrap_err().to_string();
        assert!(error.contains("none of them is a feature map"), "{error}");
    }
}

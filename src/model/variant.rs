//! Names of models made for an input of another size than the usual one: `coco@512x384`.

use std::fmt;

/// What stands between a model's name and a size.
const AT: char = '@';

/// A model's name, with the input size asked for if there is one: `coco` or `coco@512x384`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant<'a> {
    /// The model's own name.
    pub base: &'a str,
    /// Height and width of the input in pixels; none for the usual ones.
    pub size: Option<[usize; 2]>,
}

impl<'a> Variant<'a> {
    /// Reads a name; none if what follows its `@` is not a width and a height as in `512x384`, written in
    /// the one way that this type writes it, for it names a folder.
    pub fn parse(name: &'a str) -> Option<Self> {
        let Some((base, size)) = name.split_once(AT) else { return Some(Self { base: name, size: None }) };
        let (width, height) = size.split_once('x')?;
        let variant = Self { base, size: Some([height.parse().ok()?, width.parse().ok()?]) };
        (variant.to_string() == name).then_some(variant)
    }
}

impl fmt::Display for Variant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base)?;
        match self.size {
            Some([height, width]) => write!(f, "{AT}{width}x{height}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_width_first_and_written_again() {
        let wide = Variant { base: "coco", size: Some([384, 512]) };
        assert_eq!(Variant::parse("coco@512x384"), Some(wide));
        assert_eq!(wide.to_string(), "coco@512x384");
        assert_eq!(Variant::parse("coco"), Some(Variant { base: "coco", size: None }));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        let odd = ["@", "coco@", "coco@512", "coco@512x", "coco@x384", "coco@512x384x2", "coco@0512x384"];
        let more =
            ["coco@+512x384", "coco@512X384", "coco@-1x2", "coco@a/../bx1", "coco@1x99999999999999999999"];
        for name in odd.into_iter().chain(more) {
            assert_eq!(Variant::parse(name), None, "{name}");
        }
    }
}

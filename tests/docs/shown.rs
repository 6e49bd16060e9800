//! Values as `{:#?}` shows them, taken apart: the settings' defaults.

use std::iter::Peekable;
use std::str::Lines;

#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    Fields(Vec<(String, Shown)>),
    List(Vec<Shown>),
    Plain(String),
}

impl Shown {
    /// Takes apart what `{:#?}` made.
    pub fn of(value: &impl std::fmt::Debug) -> Self {
        let text = format!("{value:#?}");
        let mut lines = text.lines().peekable();
        let first = lines.next().unwrap_or_default();
        Self::read(first, &mut lines)
    }

    /// A value whose first line is `head`; the lines up to its end are taken.
    fn read(head: &str, lines: &mut Peekable<Lines<'_>>) -> Self {
        match head.trim_end_matches(',') {
            open if open.ends_with('{') => Self::Fields(Self::children(lines, |line, lines| {
                let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} is no field"));
                (name.to_owned(), Self::read(value, lines))
            })),
            open if open.ends_with('[') => Self::List(Self::children(lines, Self::read)),
            // `Some(`, or a struct around one value, which is written as that.
            open if open.ends_with('(') => Self::children(lines, Self::read).pop().unwrap(),
            "[]" => Self::List(Vec::new()),
            plain => Self::Plain(plain.to_owned()),
        }
    }

    fn children<T>(
        lines: &mut Peekable<Lines<'_>>,
        mut read: impl FnMut(&str, &mut Peekable<Lines<'_>>) -> T,
    ) -> Vec<T> {
        let mut children = Vec::new();
        loop {
            let line = lines.next().unwrap_or_default().trim();
            if matches!(line.trim_end_matches(','), "" | "}" | "]" | ")") {
                return children;
            }
            children.push(read(line, lines));
        }
    }

    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Fields(fields) => fields.iter().find(|(own, _)| own == name).map(|(_, value)| value),
            _ => None,
        }
    }
}

#[test]
fn values_are_taken_apart() {
    #[derive(Debug)]
    #[expect(dead_code, reason = "shown only")]
    struct Inner(u8);
    #[derive(Debug)]
    #[expect(dead_code, reason = "shown only")]
    struct Outer {
        time: std::time::Duration,
        none: Option<u8>,
        some: Option<Inner>,
        list: Vec<&'static str>,
        empty: Vec<u8>,
    }
    let time = std::time::Duration::from_millis(1500);
    let shown =
        Shown::of(&Outer { time, none: None, some: Some(Inner(3)), list: vec!["a: b", "c,"], empty: vec![] });
    let plain = |text: &str| Shown::Plain(text.into());
    assert_eq!(shown.field("time"), Some(&plain("1.5s")));
    assert_eq!(shown.field("none"), Some(&plain("None")));
    assert_eq!(shown.field("some"), Some(&plain("3")));
    assert_eq!(shown.field("list"), Some(&Shown::List(vec![plain("\"a: b\""), plain("\"c,\"")])));
    assert_eq!(shown.field("empty"), Some(&Shown::List(vec![])));
    assert_eq!(shown.field("other"), None);
}

//! The reference of the settings, `docs/reference/configuration.md`: keys, types and meanings from the structs in the
//! source, defaults from `Config::default()`.

use std::fmt::Write as _;

use centerx::camera::{CameraId, CameraSpec, CameraUrl};
use centerx::config::Config;
use syn::{Field, Fields, GenericArgument, ItemEnum, ItemStruct, PathArguments, Type};

use crate::committed;
use crate::shown::Shown;
use crate::source::{Kind, Source, meaning, serde};

const HEAD: &str = "\
# Every setting

What the file of `centerx serve --config` may hold, written from the source by [a test](../development.md#references).
[Settings](../configuration.md) has an example, and tells how to use them.

What is not required may be left out. Times are written as `\"500ms\"`, `\"8s\"`, `\"1m 30s\"`, `\"1h\"`.

";

/// Defaults that depend on the machine, in words.
const OF_THE_MACHINE: [(&str, &str); 3] = [
    ("data_dir", "`\"~/.local/share/centerx\"`"),
    ("[grpc] decoders", "one a core, up to 4"),
    ("[live] encoders", "one for every 4 cores, 1 to 4"),
];

/// Types of single values, and what they are called.
const VALUES: [(&str, &str); 18] = [
    ("bool", "true or false"),
    ("u8", "whole number"),
    ("u16", "whole number"),
    ("u32", "whole number"),
    ("u64", "whole number"),
    ("usize", "whole number"),
    ("NonZeroU32", "whole number, not 0"),
    ("NonZeroUsize", "whole number, not 0"),
    ("f32", "number"),
    ("f64", "number"),
    ("String", "text"),
    ("CameraId", "text"),
    ("PathBuf", "path"),
    ("Duration", "time"),
    ("SocketAddr", "address and port"),
    ("IpNet", "network"),
    ("CameraUrl", "URL"),
    ("Secret", "secret"),
];

/// What a field holds.
enum Holds {
    Value(&'static str),
    Choice(ItemEnum),
    ListOf(&'static str),
    /// A table of its own, with the module of its struct.
    Table(Vec<String>, ItemStruct),
    /// Any number of tables.
    Tables(Vec<String>, ItemStruct),
}

/// A table of the settings that is still to be written.
struct Section {
    name: String,
    is_list: bool,
    text: String,
    module: Vec<String>,
    item: ItemStruct,
    defaults: Option<Shown>,
}

impl Section {
    fn title(&self) -> String {
        match (self.name.as_str(), self.is_list) {
            ("", _) => "At the top".into(),
            (name, false) => format!("`[{name}]`"),
            (name, true) => format!("`[[{name}]]`"),
        }
    }

    fn key(&self, field: &str) -> String {
        if self.name.is_empty() { field.into() } else { format!("[{}] {field}", self.name) }
    }

    fn below(&self, key: &str) -> String {
        if self.name.is_empty() { key.into() } else { format!("{}.{key}", self.name) }
    }
}

/// The outermost type's name and the one in it, if any: `Vec<PathBuf>` is `Vec` and `PathBuf`.
fn parts(kind: &Type) -> (&syn::Path, Option<&Type>) {
    let Type::Path(kind) = kind else { panic!("a setting is no named type") };
    let inner = match &kind.path.segments.last().unwrap().arguments {
        PathArguments::AngleBracketed(list) => list.args.iter().find_map(|argument| match argument {
            GenericArgument::Type(inner) => Some(inner),
            _ => None,
        }),
        _ => None,
    };
    (&kind.path, inner)
}

fn is(path: &syn::Path, name: &str) -> bool {
    path.segments.last().is_some_and(|last| last.ident == name)
}

fn holds(source: &Source, kind: &Type, module: &[String], key: &str) -> Holds {
    let (path, inner) = parts(kind);
    let value = VALUES.iter().find(|(name, _)| is(path, name)).map(|(_, called)| *called);
    match (inner, value) {
        (_, Some(called)) => Holds::Value(called),
        (Some(inner), _) if is(path, "Vec") => match holds(source, inner, module, key) {
            Holds::Value(called) => Holds::ListOf(called),
            Holds::Table(module, item) => Holds::Tables(module, item),
            _ => panic!("{key}: a list of this kind is not known here"),
        },
        (Some(inner), _) => holds(source, inner, module, key),
        (None, None) if is(path, "Digest") => Holds::Value("64 hexadecimal digits"),
        (None, None) => match source.find(path, module) {
            Some((module, Kind::Struct(item))) => Holds::Table(module, item),
            Some((_, Kind::Enum(item))) => Holds::Choice(item),
            None => panic!("{key}: say in VALUES of this test what its type is called"),
        },
    }
}

/// The names of an enum's variants in settings, with their meanings.
fn choices(item: &ItemEnum) -> Vec<(String, String, String)> {
    assert_eq!(serde(&item.attrs).get("rename_all").map(String::as_str), Some("lowercase"), "{}", item.ident);
    let variants = item.variants.iter().map(|variant| {
        let name = variant.ident.to_string();
        let meaning = meaning(&variant.attrs, &format!("{}::{name}", item.ident));
        (format!("`\"{}\"`", name.to_lowercase()), name, meaning)
    });
    variants.collect()
}

/// A default as it would be written in the file.
fn written(shown: &Shown, holds: &Holds) -> String {
    match (shown, holds) {
        (Shown::Plain(none), _) if none == "None" => "none".into(),
        (Shown::Plain(text), Holds::Choice(item)) => {
            let all = choices(item);
            all.into_iter().find(|(_, variant, _)| variant == text).map(|(name, ..)| name).unwrap()
        }
        (Shown::Plain(text), Holds::Value(called) | Holds::ListOf(called)) => {
            format!("`{}`", single(text, called))
        }
        (Shown::List(items), Holds::ListOf(called)) => {
            let items = items.iter().map(|item| match item {
                Shown::Plain(text) => single(text, called),
                _ => panic!("a list of lists"),
            });
            format!("`[{}]`", items.collect::<Vec<_>>().join(", "))
        }
        _ => panic!("{shown:?} cannot be written as a default"),
    }
}

fn single(text: &str, called: &str) -> String {
    match called {
        "time" => format!("\"{}\"", humantime::format_duration(humantime::parse_duration(text).unwrap())),
        "address and port" | "network" => format!("\"{text}\""),
        _ => text.to_owned(),
    }
}

fn default(section: &Section, field: &Field, holds: &Holds) -> String {
    let name = field.ident.as_ref().unwrap().to_string();
    let key = section.key(&name);
    if let Some((_, words)) = OF_THE_MACHINE.iter().find(|(own, _)| *own == key) {
        return (*words).into();
    }
    let may_be_absent = is(parts(&field.ty).0, "Option")
        || serde(&field.attrs).contains_key("default")
        || serde(&section.item.attrs).contains_key("default");
    match section.defaults.as_ref().and_then(|defaults| defaults.field(&name)) {
        _ if !may_be_absent => "required".into(),
        Some(shown) => written(shown, holds),
        None => {
            assert!(section.defaults.is_none(), "{key}: Config::default() does not show it");
            "none".into()
        }
    }
}

fn row(section: &Section, key: &str, field: &Field, holds: &Holds) -> String {
    let of = section.key(key);
    let mut text = meaning(&field.attrs, &of);
    let kind = match holds {
        Holds::Value(called) => (*called).to_owned(),
        Holds::ListOf(called) => format!("list: {called}"),
        Holds::Choice(item) => {
            let all = choices(item);
            all.iter().for_each(|(name, _, meaning)| write!(text, "<br>{name}: {meaning}").unwrap());
            all.into_iter().map(|(name, ..)| name).collect::<Vec<_>>().join(", ")
        }
        Holds::Table(..) | Holds::Tables(..) => unreachable!("tables have sections"),
    };
    format!("| `{key}` | {kind} | {} | {text} |\n", default(section, field, holds))
}

/// Writes a section; answers the tables in it.
fn write_section(out: &mut String, source: &Source, section: &Section) -> Vec<Section> {
    let mut below = Vec::new();
    write!(out, "## {}\n\n{}\n\n", section.title(), section.text).unwrap();
    let Fields::Named(fields) = &section.item.fields else {
        panic!("{} has no named fields", section.title())
    };
    let mut rows = String::new();
    for field in &fields.named {
        let (name, said) = (field.ident.as_ref().unwrap().to_string(), serde(&field.attrs));
        if said.contains_key("skip") {
            continue;
        }
        assert!(!said.contains_key("flatten"), "{name}: flattened settings are not known here");
        let key = said.get("rename").unwrap_or(&name);
        let held = holds(source, &field.ty, &section.module, &section.key(key));
        match &held {
            Holds::Table(module, item) | Holds::Tables(module, item) => below.push(Section {
                name: section.below(key),
                is_list: matches!(held, Holds::Tables(..)),
                text: meaning(&field.attrs, &section.key(key)),
                module: module.clone(),
                item: item.clone(),
                defaults: defaults(section, &name, item),
            }),
            _ => rows.push_str(&row(section, key, field, &held)),
        }
    }
    if !rows.is_empty() {
        writeln!(out, "| key | type | default | |\n|---|---|---|---|\n{rows}").unwrap();
    }
    below
}

/// What a table below holds by default. Cameras have theirs each, whatever the file says of others.
fn defaults(section: &Section, field: &str, item: &ItemStruct) -> Option<Shown> {
    if item.ident == "CameraSpec" {
        let url = CameraUrl::parse("test://ball").unwrap();
        return Some(Shown::of(&CameraSpec::new(CameraId::new("yard").unwrap(), url)));
    }
    let shown = section.defaults.as_ref().and_then(|defaults| defaults.field(field));
    shown.filter(|shown| matches!(shown, Shown::Fields(_))).cloned()
}

fn write_reference() -> String {
    let source = Source::read();
    let path: syn::Path = syn::parse_str("config::Config").unwrap();
    let Some((module, Kind::Struct(item))) = source.find(&path, &[]) else {
        panic!("config::Config is gone")
    };
    let mut waiting = vec![Section {
        name: String::new(),
        is_list: false,
        text: "Above the first table.".into(),
        module,
        item,
        defaults: Some(Shown::of(&Config::default())),
    }];
    let mut out = HEAD.to_owned();
    while !waiting.is_empty() {
        let section = waiting.remove(0);
        let below = write_section(&mut out, &source, &section);
        waiting.splice(0..0, below);
    }
    out.truncate(out.trim_end().len());
    out + "\n"
}

#[test]
fn the_reference_is_what_the_settings_are() {
    committed::holds("configuration.md", &write_reference());
}

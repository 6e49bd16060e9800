//! Writes docs/reference/configuration.md out of the settings themselves: keys, types and comments as they stand in
//! the source, defaults as the program has them. The test fails when the file says anything else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use syn::{Attribute, Fields, Item, Type};

use super::Config;
use crate::camera::CameraSpec;

const FILE: &str = "docs/reference/configuration.md";
const HEAD: &str = "# Settings, key by key

Every key of `centerx.toml`, with its type, default and meaning. Made from the source by a test
(`CENTERX_WRITE_REFERENCE=1 cargo test --lib reference` writes it anew). How the file is given, camera URLs, TLS and
secrets: [settings](../configuration.md).

A *duration* is text such as `\"500ms\"`, `\"10s\"`, `\"1h 30m\"`. An *address* is an IP address and a port:
`\"127.0.0.1:8080\"`, `\"[::]:8080\"`.
";

/// Defaults that depend on the machine.
const BY_MACHINE: [(&str, &str); 3] = [
    ("data_dir", "`~/.local/share/centerx`"),
    ("grpc.decoders", "cores, 4 at most"),
    ("live.encoders", "a quarter of the cores, 1 to 4"),
];

/// A settings struct or enum as the source has it, by the name of its module and its own.
struct Source {
    types: BTreeMap<(String, String), Item>,
}

impl Source {
    fn read() -> Self {
        let mut types = BTreeMap::new();
        visit(&root().join("src"), &mut types);
        Self { types }
    }

    /// The type that `path` names where it stands in the module `within`.
    fn find(&self, path: &syn::Path, within: &str) -> Option<(&str, &Item)> {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let (name, modules) = names.split_last()?;
        let module = modules.last().map_or(within, String::as_str);
        let exact = self.types.get_key_value(&(module.to_owned(), name.clone()));
        let by_name = || self.types.iter().find(|((_, other), _)| modules.is_empty() && other == name);
        let ((module, _), item) = exact.or_else(by_name)?;
        Some((module, item))
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Gathers what can be read from a file of settings. `config.rs` of a stage counts as the stage itself.
fn visit(folder: &Path, types: &mut BTreeMap<(String, String), Item>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            visit(&path, types);
            continue;
        }
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let folder_name = folder.file_name().unwrap().to_str().unwrap();
        let module =
            if matches!(stem, "mod" | "config") && folder_name != "src" { folder_name } else { stem };
        let parsed = syn::parse_file(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for item in parsed.items {
            let (name, attributes) = match &item {
                Item::Struct(item) => (item.ident.to_string(), &item.attrs),
                Item::Enum(item) => (item.ident.to_string(), &item.attrs),
                _ => continue,
            };
            if derives_deserialize(attributes) {
                types.insert((module.to_owned(), name), item);
            }
        }
    }
}

fn derives_deserialize(attributes: &[Attribute]) -> bool {
    let derives = attributes.iter().filter(|attribute| attribute.path().is_ident("derive"));
    derives.into_iter().any(|derive| quoted(derive).contains("Deserialize"))
}

/// What stands between an attribute's brackets.
fn quoted(attribute: &Attribute) -> String {
    attribute.meta.require_list().map(|list| list.tokens.to_string()).unwrap_or_default()
}

/// A serde attribute's value, such as that of `rename`; empty for one without a value.
fn serde(attributes: &[Attribute], key: &str) -> Option<String> {
    let mut found = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        let read = attribute.parse_nested_meta(|meta| {
            let value = meta.value().and_then(|value| value.parse::<syn::LitStr>());
            if meta.path.is_ident(key) {
                found = Some(value.map(|text| text.value()).unwrap_or_default());
            }
            Ok(())
        });
        read.unwrap();
    }
    found
}

/// The comment, in one line.
fn comment(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => {
                Some(text.value().trim().to_owned())
            }
            _ => None,
        },
        _ => None,
    });
    let text = lines.collect::<Vec<_>>().join(" ");
    assert!(!text.is_empty() && !text.contains("[`"), "users read this comment: {text:?}");
    text.replace('|', "\\|")
}

/// The one type between the angle brackets of `Option<..>`, `Vec<..>` and the like.
fn inner(path: &syn::Path) -> Option<&Type> {
    let syn::PathArguments::AngleBracketed(arguments) = &path.segments.last()?.arguments else { return None };
    match arguments.args.first()? {
        syn::GenericArgument::Type(inner) => Some(inner),
        _ => None,
    }
}

/// A field's type by its path, free of what does not show in the file.
fn bare(mut kind: &Type) -> (&syn::Path, String) {
    loop {
        let Type::Path(path) = kind else { panic!("settings have named types") };
        let name = path.path.segments.last().unwrap().ident.to_string();
        match (name.as_str(), inner(&path.path)) {
            ("Option" | "Spanned", Some(within)) => kind = within,
            _ => return (&path.path, name),
        }
    }
}

struct Writer<'a> {
    source: &'a Source,
    text: String,
}

impl Writer<'_> {
    /// A table of the settings: `title` is how the file names it, `prefix` where its defaults stand.
    fn table(&mut self, title: &str, module: &str, item: &Item, defaults: &Value, prefix: &str) {
        let Item::Struct(item) = item else { panic!("{title} is no struct") };
        let Fields::Named(fields) = &item.fields else { panic!("{title} has unnamed fields") };
        writeln!(self.text, "\n## {title}\n\n{}\n", comment(&item.attrs)).unwrap();
        self.text += "| key | type | default | |\n|---|---|---|---|\n";
        let mut tables = Vec::new();
        for field in &fields.named {
            if serde(&field.attrs, "skip").is_some() {
                continue;
            }
            let name = field.ident.as_ref().unwrap().to_string();
            let key = serde(&field.attrs, "rename").unwrap_or(name);
            let place = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            if let Some(table) = self.nested(&place, &field.ty, module) {
                tables.push((table, place));
                continue;
            }
            let mut meaning = comment(&field.attrs);
            meaning += &self.choices(&field.ty, module);
            let default = default(&place, &key, &field.attrs, &field.ty, defaults);
            let kind = self.kind(&field.ty, module);
            writeln!(self.text, "| `{key}` | {kind} | {default} | {meaning} |").unwrap();
        }
        for ((title, module, item), place) in tables {
            let key = place.rsplit('.').next().unwrap();
            let defaults = sample(&place).unwrap_or_else(|| defaults[key].clone());
            self.table(&title, module, item, &defaults, &place);
        }
    }

    /// The struct behind a field that is a table of its own, and how the file names that.
    fn nested(&self, place: &str, kind: &Type, module: &str) -> Option<(String, &'_ str, &'_ Item)> {
        let (path, name) = bare(kind);
        let (path, title) = match (name.as_str(), inner(path)) {
            ("Vec", Some(within)) => (bare(within).0, format!("`[[{place}]]`")),
            _ => (path, format!("`[{place}]`")),
        };
        let (module, item) = self.source.find(path, module)?;
        matches!(item, Item::Struct(item) if matches!(item.fields, Fields::Named(_)))
            .then_some((title, module, item))
    }

    fn kind(&self, kind: &Type, module: &str) -> String {
        let (path, name) = bare(kind);
        let known = match name.as_str() {
            "Duration" => "duration",
            "bool" => "true or false",
            "f32" | "f64" => "number",
            "u8" | "u32" | "usize" => "whole number",
            "NonZeroUsize" | "NonZeroU32" => "whole number, 1 or more",
            "String" | "CameraId" => "text",
            "PathBuf" => "path",
            "SocketAddr" => "address",
            "IpNet" => "network",
            "CameraUrl" => "[URL](../configuration.md#camera-urls)",
            "Secret" => "[secret](../configuration.md#secrets)",
            "Digest" => "64 hex digits",
            "Vec" => return format!("list: {}", self.kind(inner(path).unwrap(), module)),
            _ => {
                let names: Vec<_> = self.variants(path, module).into_iter().map(|(name, _)| name).collect();
                return names.join(", ");
            }
        };
        known.to_owned()
    }

    /// What each word of an enum means.
    fn choices(&self, kind: &Type, module: &str) -> String {
        let (path, _) = bare(kind);
        if self.source.find(path, module).is_none_or(|(_, item)| !matches!(item, Item::Enum(_))) {
            return String::new();
        }
        self.variants(path, module).iter().map(|(name, meaning)| format!(" {name}: {meaning}")).collect()
    }

    fn variants(&self, path: &syn::Path, module: &str) -> Vec<(String, String)> {
        let Some((_, Item::Enum(item))) = self.source.find(path, module) else {
            panic!("{:?} is of a type that this file does not know", path.segments.last().unwrap().ident)
        };
        assert_eq!(serde(&item.attrs, "rename_all").as_deref(), Some("lowercase"), "{}", item.ident);
        let name = |variant: &syn::Variant| format!("`\"{}\"`", variant.ident.to_string().to_lowercase());
        item.variants.iter().map(|variant| (name(variant), comment(&variant.attrs))).collect()
    }
}

/// An entry of a list of tables with what it must have and no more, as the program fills it up.
fn sample(place: &str) -> Option<Value> {
    match place {
        "camera" => {
            let spec: CameraSpec = toml::from_str("id = \"x\"\nurl = \"test://ball\"").unwrap();
            Some(serde_json::to_value(spec).unwrap())
        }
        "model" | "auth.token" | "grpc.tls" | "http.tls" => Some(Value::Null),
        _ => None,
    }
}

fn default(place: &str, key: &str, attributes: &[Attribute], kind: &Type, defaults: &Value) -> String {
    if let Some((_, text)) = BY_MACHINE.iter().find(|(name, _)| *name == place) {
        return (*text).to_owned();
    }
    let Type::Path(path) = kind else { panic!("settings have named types") };
    let is_optional = path.path.segments.last().unwrap().ident == "Option";
    let is_due =
        (defaults.is_null() || place.starts_with("camera.")) && serde(attributes, "default").is_none();
    match &defaults[key] {
        _ if is_due && !is_optional => "*required*".to_owned(),
        Value::Null => "none".to_owned(),
        Value::Number(number) if number.is_f64() => format!("`{}`", number.as_f64().unwrap() as f32),
        value => format!("`{value}`"),
    }
}

fn reference() -> String {
    let source = Source::read();
    let defaults = serde_json::to_value(Config::default()).unwrap();
    let mut writer = Writer { source: &source, text: HEAD.to_owned() };
    let item = &source.types[&("config".to_owned(), "Config".to_owned())];
    writer.table("At the top of the file", "config", item, &defaults, "");
    writer.text
}

#[test]
fn the_reference_of_the_settings_says_what_the_code_says() {
    crate::reference::check(&root().join(FILE), &reference());
}

//! The settings' structs and enums, as they stand in the source.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use syn::{Attribute, Expr, Item, ItemEnum, ItemStruct, Lit, LitStr, Meta, Token};

/// A type that settings are made of.
#[derive(Clone)]
pub enum Kind {
    Struct(ItemStruct),
    Enum(ItemEnum),
}

/// All types of `src` that can be read from settings, each with the path of its module.
pub struct Source(Vec<(Vec<String>, String, Kind)>);

impl Source {
    pub fn read() -> Self {
        let mut source = Self(Vec::new());
        source.add_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &[]);
        source
    }

    fn add_folder(&mut self, folder: &Path, module: &[String]) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let inner = [module, std::slice::from_ref(&name)].concat();
            match path.extension() {
                None => self.add_folder(&path, &inner),
                Some(extension) if extension == "rs" => {
                    self.add_file(&path, if name == "mod" { module } else { &inner })
                }
                Some(_) => {}
            }
        }
    }

    fn add_file(&mut self, path: &Path, module: &[String]) {
        let file = syn::parse_file(&fs::read_to_string(path).unwrap()).unwrap();
        for item in file.items {
            let (name, kind) = match item {
                Item::Struct(item) if derives(&item.attrs, "Deserialize") => {
                    (item.ident.to_string(), Kind::Struct(item))
                }
                Item::Enum(item) if derives(&item.attrs, "Deserialize") => {
                    (item.ident.to_string(), Kind::Enum(item))
                }
                _ => continue,
            };
            self.0.push((module.to_vec(), name, kind));
        }
    }

    /// The type that `path` names in module `from`: in the module that it ends with, or one that this has taken it
    /// from.
    pub fn find(&self, path: &syn::Path, from: &[String]) -> Option<(Vec<String>, Kind)> {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let (name, prefix) = segments.split_last()?;
        let all: Vec<_> = self.0.iter().filter(|(_, own, _)| own == name).collect();
        let pick = |fits: &dyn Fn(&[String]) -> bool| {
            let mut fitting = all.iter().filter(|(module, ..)| fits(module));
            fitting
                .next()
                .filter(|_| fitting.next().is_none())
                .map(|(module, _, kind)| (module.clone(), kind.clone()))
        };
        match prefix {
            [] => pick(&|module| module == from).or_else(|| pick(&|_| true)),
            prefix => pick(&|module| module.ends_with(prefix))
                .or_else(|| pick(&|module| module.starts_with(prefix))),
        }
    }
}

fn derives(attributes: &[Attribute], name: &str) -> bool {
    let lists = attributes.iter().filter(|attribute| attribute.path().is_ident("derive"));
    let derived = lists.flat_map(|list| {
        list.parse_args_with(syn::punctuated::Punctuated::<syn::Path, Token![,]>::parse_terminated).unwrap()
    });
    derived.into_iter().any(|path| path.segments.last().is_some_and(|last| last.ident == name))
}

/// What `#[serde(...)]` says: `rename = "x"` as `rename` with the text `x`, `default` with none.
pub fn serde(attributes: &[Attribute]) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        attribute
            .parse_nested_meta(|meta| {
                let key = meta.path.get_ident().unwrap().to_string();
                let text = match meta.input.peek(Token![=]) {
                    true => meta.value()?.parse::<LitStr>()?.value(),
                    false => String::new(),
                };
                said.insert(key, text);
                Ok(())
            })
            .unwrap();
    }
    said
}

/// A doc comment in one line, its paragraphs parted as a table's cell can.
///
/// # Panics
/// If it links into the code: who reads settings does not know that.
pub fn meaning(attributes: &[Attribute], of: &str) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(said) if said.path.is_ident("doc") => match &said.value {
            Expr::Lit(syn::ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    let text = lines.collect::<Vec<_>>().join("\n").replace("\n\n", "<br>").replace('\n', " ");
    assert!(!text.is_empty(), "{of} has no comment");
    assert!(
        !text.contains("[`"),
        "the comment of {of} links into the code, which its reader does not know: {text}"
    );
    text.replace('|', "\\|")
}

//! Every relative link and anchor of the documents, on a code host and in the book.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// What a document says of itself and of others.
#[derive(Default)]
struct Document {
    links: Vec<String>,
    anchors: BTreeSet<String>,
}

impl Document {
    fn read(text: &str) -> Self {
        let mut document = Self::default();
        let mut heading: Option<String> = None;
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => document.add_heading(&heading.take().unwrap_or_default()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    document.links.push(dest_url.into_string());
                }
                _ => {}
            }
        }
        document
    }

    /// A heading's anchor, as code hosts and mdbook make it; a second one of the same text is numbered.
    fn add_heading(&mut self, heading: &str) {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let base: String = kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect();
        let numbered = (1..).map(|n| format!("{base}-{n}"));
        let free = std::iter::once(base.clone()).chain(numbered).find(|a| !self.anchors.contains(a));
        self.anchors.extend(free);
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The documents under `docs`, by their paths from the repository's root.
fn book() -> BTreeMap<PathBuf, Document> {
    let mut folders = vec![root().join("docs")];
    let mut documents = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let document = Document::read(&fs::read_to_string(&path).unwrap());
                documents.insert(path.strip_prefix(root()).unwrap().to_owned(), document);
            }
        }
    }
    documents
}

/// Where a relative link leads, from the repository's root, and its anchor. None for what is not of this repository.
fn target(from: &Path, link: &str) -> Option<(PathBuf, Option<String>)> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let joined = match path {
        "" => from.to_owned(),
        path => from.parent().unwrap_or(Path::new("")).join(path),
    };
    let mut plain = PathBuf::new();
    for part in joined.components() {
        match part {
            Component::ParentDir if plain.pop() => {}
            part => plain.push(part),
        }
    }
    Some((plain, anchor.map(str::to_owned)))
}

/// What is wrong with a link, if anything.
fn problem(from: &Path, link: &str, documents: &BTreeMap<PathBuf, Document>) -> Option<String> {
    let (path, anchor) = target(from, link)?;
    if from.starts_with("docs") && !path.starts_with("docs") {
        return Some("leaves docs, and so leads nowhere in the book: write it as text".into());
    }
    if !root().join(&path).exists() {
        return Some(format!("{} is not there", path.display()));
    }
    let anchor = anchor?;
    let known = documents.get(&path).is_some_and(|document| document.anchors.contains(&anchor));
    (!known).then(|| format!("{} has no heading #{anchor}", path.display()))
}

#[test]
fn every_link_and_anchor_leads_somewhere() {
    let mut documents = book();
    let read = |name: &str| Document::read(&fs::read_to_string(root().join(name)).unwrap());
    documents.insert("README.md".into(), read("README.md"));
    let mut problems = Vec::new();
    let mut links = 0;
    for (from, document) in &documents {
        links += document.links.len();
        let broken = document.links.iter().filter_map(|link| Some((link, problem(from, link, &documents)?)));
        problems.extend(broken.map(|(link, problem)| format!("{}: {link}: {problem}", from.display())));
    }
    assert!(links > 100, "only {links} links were found: the test does not see them any more");
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn the_book_has_every_document_once() {
    let mut documents = book();
    let summary = Path::new("docs/SUMMARY.md");
    let links = documents.remove(summary).unwrap().links;
    let listed: Vec<_> = links.iter().filter_map(|link| Some(target(summary, link)?.0)).collect();
    let missing: Vec<_> = documents.keys().filter(|path| !listed.contains(path)).collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md does not name {missing:?}");
    let twice: Vec<_> =
        listed.iter().filter(|path| listed.iter().filter(|p| p == path).count() > 1).collect();
    assert!(twice.is_empty(), "docs/SUMMARY.md names more than once: {twice:?}");
}

#[test]
fn anchors_are_those_of_code_hosts() {
    let text = "# A b\n## `--nms 0.6`\n## A b\n## When it is too much\n## What is *in* [it](x.md)?\n";
    let expected = ["a-b", "--nms-06", "a-b-1", "when-it-is-too-much", "what-is-in-it"];
    let document = Document::read(text);
    assert_eq!(document.anchors, expected.map(String::from).into());
    assert_eq!(document.links, ["x.md"]);
}

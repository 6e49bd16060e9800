//! Every link of the documents leads somewhere: to a file, and to a heading in it. And the book has them all.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

/// A document without what is quoted in it.
struct Document {
    path: PathBuf,
    lines: Vec<String>,
}

impl Document {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        let mut is_quoted = false;
        let lines = text.lines().filter(|line| {
            let fence = line.trim_start().starts_with("```");
            is_quoted ^= fence;
            !is_quoted && !fence
        });
        Self { path: path.to_owned(), lines: lines.map(str::to_owned).collect() }
    }

    /// What headings are called in addresses, on code hosts and in the book alike.
    fn anchors(&self) -> BTreeSet<String> {
        let mut seen: HashMap<String, usize> = HashMap::new();
        let headings = self.lines.iter().filter(|line| line.starts_with('#'));
        let anchors = headings.map(|line| {
            let slug = slug(line.trim_start_matches('#').trim());
            let count = seen.entry(slug.clone()).or_default();
            *count += 1;
            if *count == 1 { slug } else { format!("{slug}-{}", *count - 1) }
        });
        anchors.collect()
    }

    /// The targets of its links and images.
    fn links(&self) -> Vec<String> {
        let text = self.lines.join("\n");
        let mut pieces = text.split("](");
        pieces.next();
        pieces.filter_map(|piece| Some(piece.split_once(')')?.0.to_owned())).collect()
    }
}

fn slug(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// `path` without `..`, as far as that goes by its text.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if out.file_name().is_some() => {
                out.pop();
            }
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

fn documents(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let path = folder.join(entry.unwrap().file_name());
        if root().join(&path).is_dir() {
            if path != Path::new("docs/book") {
                found.extend(documents(&path));
            }
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn links_lead_somewhere() {
    let paths = documents(Path::new("docs")).into_iter().chain(["README.md".into(), "CHANGELOG.md".into()]);
    let all: BTreeMap<PathBuf, Document> = paths.map(|path| (path.clone(), Document::read(&path))).collect();
    let mut dead = Vec::new();
    for document in all.values() {
        let near = document.path.parent().unwrap();
        for link in
            document.links().iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:"))
        {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { document.path.clone() } else { plain(&near.join(file)) };
            let is_there = root().join(&target).exists();
            let has_anchor =
                anchor.is_empty() || all.get(&target).is_some_and(|target| target.anchors().contains(anchor));
            // The book holds what is under docs; the README is for code hosts.
            let is_outside = document.path.starts_with("docs") && !target.starts_with("docs");
            if !is_there || !has_anchor || is_outside {
                dead.push(format!("{}: {link}", document.path.display()));
            }
        }
    }
    assert!(dead.is_empty(), "links that lead nowhere, or out of the book:\n{}", dead.join("\n"));
}

#[test]
fn the_book_has_every_document_once() {
    let summary = Document::read(Path::new("docs/SUMMARY.md"));
    let mut listed: Vec<_> = summary.links().iter().map(|link| Path::new("docs").join(link)).collect();
    listed.sort();
    let mut there = documents(Path::new("docs"));
    there.retain(|path| path != Path::new("docs/SUMMARY.md"));
    assert_eq!(listed, there);
}

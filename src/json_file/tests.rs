//! Files on a real disk, and on one whose power is cut.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde::Deserialize;

use super::*;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    id: String,
}

impl Entry for Item {
    fn key(&self) -> &str {
        &self.id
    }
}

fn items(ids: &[&str]) -> Vec<Item> {
    ids.iter().map(|id| Item { id: (*id).to_owned() }).collect()
}

fn file(folder: &Path) -> JsonFile {
    JsonFile::new(folder, "items.json", 1, "items")
}

#[test]
fn what_is_written_is_read_again_from_a_private_file() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(file(folder.path()).load::<Item>().unwrap(), []);
    file(folder.path()).write(&items(&["a", "b"])).unwrap();
    file(folder.path()).write(&items(&["b", "c"])).unwrap();
    assert_eq!(file(folder.path()).load::<Item>().unwrap(), items(&["b", "c"]));
    let mode = fs::metadata(folder.path().join("items.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn a_damaged_file_is_set_aside_beside_those_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let damaged = r#"{"version": 1, "items": [{"id": "a"}, {"id":"#;
    for round in 1..=2 {
        let text = format!("{damaged} {round}");
        fs::write(path("items.json"), &text).unwrap();
        assert_eq!(file(folder.path()).load::<Item>().unwrap(), items(&["a"]));
        assert_eq!(fs::read_to_string(path(&format!("items.json.unread-{round}"))).unwrap(), text);
    }
    assert_eq!(set_aside_in(folder.path()), [path("items.json.unread-1"), path("items.json.unread-2")]);
    // What took its place is whole.
    let clean = read::<Item>(&fs::read(path("items.json")).unwrap(), 1, "items");
    assert_eq!(clean, Read { entries: items(&["a"]), problems: Vec::new() });
}

#[test]
fn a_damaged_file_that_cannot_be_set_aside_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("items.json");
    fs::write(&path, "damaged").unwrap();
    for number in 1..=MAX_ASIDE {
        fs::write(folder.path().join(format!("items.json.unread-{number}")), "").unwrap();
    }
    let file = file(folder.path());
    assert_eq!(file.load::<Item>().unwrap(), []);
    assert!(file.write(&items(&["a"])).unwrap_err().to_string().contains("unread-*"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "damaged");
    fs::remove_file(folder.path().join("items.json.unread-7")).unwrap();
    file.write(&items(&["a"])).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("items.json.unread-7")).unwrap(), "damaged");
}

#[test]
fn a_failed_write_leaves_the_old_file_and_no_half_of_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    file(folder.path()).write(&items(&["a"])).unwrap();
    let disk = CutDisk { full: Cell::new(true), ..CutDisk::default() };
    let full = JsonFile::on(disk, Path::new("/data"), "items.json", 1, "items");
    let told = full.write(&items(&["a"])).unwrap_err().to_string();
    assert!(told.contains("/data/items.json") && told.contains("free some space"), "{told}");
    assert!(full.disk.now.borrow().is_empty());
    // A folder where the scratch file goes cannot be replaced by a file, not even by root.
    fs::create_dir(folder.path().join("items.json.tmp")).unwrap();
    file(folder.path()).write(&items(&[])).unwrap_err();
    assert_eq!(file(folder.path()).load::<Item>().unwrap(), items(&["a"]));
}

type Names = BTreeMap<PathBuf, Vec<u8>>;

/// A disk in memory whose power is cut after some steps.
#[derive(Default)]
struct CutDisk {
    /// What processes see.
    now: RefCell<Names>,
    /// What is on it for good.
    good: RefCell<Names>,
    /// What happened to names since.
    since: RefCell<Vec<Change>>,
    /// Steps until the power is cut.
    left: Cell<Option<usize>>,
    full: Cell<bool>,
}

#[derive(Clone)]
enum Change {
    Set(PathBuf, Vec<u8>),
    Remove(PathBuf),
    /// Both at once, or neither.
    Rename(PathBuf, PathBuf, Vec<u8>),
}

impl Change {
    fn make(&self, names: &mut Names) {
        match self {
            Self::Set(path, content) => _ = names.insert(path.clone(), content.clone()),
            Self::Remove(path) => _ = names.remove(path),
            Self::Rename(from, to, content) => {
                names.remove(from);
                names.insert(to.clone(), content.clone());
            }
        }
    }
}

impl CutDisk {
    fn step(&self) -> io::Result<()> {
        match self.left.get() {
            Some(0) => Err(io::Error::other("the power is out")),
            left => {
                self.left.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }

    fn change(&self, change: Change) {
        change.make(&mut self.now.borrow_mut());
        self.since.borrow_mut().push(change);
    }

    /// All that may be on it once the power is back: each change of a name since the last sync came through or
    /// did not.
    fn after_the_cut(&self) -> Vec<Names> {
        let since = self.since.borrow();
        let subsets = 0..1u32 << since.len();
        let survived = |subset: u32| {
            let mut names = self.good.borrow().clone();
            let through = since.iter().enumerate().filter(|(index, _)| subset & (1 << index) != 0);
            through.for_each(|(_, change)| change.make(&mut names));
            names
        };
        subsets.map(survived).collect()
    }

    fn with(names: Names) -> Self {
        Self { now: RefCell::new(names.clone()), good: RefCell::new(names), ..Self::default() }
    }
}

impl Disk for CutDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.now.borrow().get(path).cloned().ok_or(ErrorKind::NotFound.into())
    }

    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.step()?;
        if self.now.borrow().contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        // Until the content is synced, half of it is all there may be.
        self.change(Change::Set(path.to_owned(), content[..content.len() / 2].to_vec()));
        if self.full.get() {
            return Err(ErrorKind::StorageFull.into());
        }
        self.step()?;
        self.since.borrow_mut().pop();
        self.change(Change::Set(path.to_owned(), content.to_vec()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        let content = self.read(from)?;
        self.change(Change::Rename(from.to_owned(), to.to_owned(), content));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        if self.now.borrow().contains_key(to) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.change(Change::Set(to.to_owned(), self.read(from)?));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        if self.now.borrow().contains_key(path) {
            self.change(Change::Remove(path.to_owned()));
        }
        Ok(())
    }

    fn sync_names(&self, _: &Path) -> io::Result<()> {
        self.step()?;
        *self.good.borrow_mut() = self.now.borrow().clone();
        self.since.borrow_mut().clear();
        Ok(())
    }
}

fn on(disk: CutDisk) -> JsonFile<CutDisk> {
    JsonFile::on(disk, Path::new("/data"), "items.json", 1, "items")
}

/// Steps enough for any change here.
const STEPS: usize = 20;

#[test]
fn a_power_cut_at_any_step_leaves_the_old_list_or_the_new_one() {
    let old = {
        let file = on(CutDisk::default());
        file.write(&items(&["a"])).unwrap();
        file.disk.good.take()
    };
    let mut outcomes = [0; 2];
    for steps in 0..STEPS {
        let file = on(CutDisk::with(old.clone()));
        file.disk.left.set(Some(steps));
        let answered = file.write(&items(&["a", "b"])).is_ok();
        for names in file.disk.after_the_cut() {
            let found = on(CutDisk::with(names)).load::<Item>().unwrap();
            let is_new = found == items(&["a", "b"]);
            assert!(is_new || (found == items(&["a"]) && !answered), "{steps} steps: {found:?}");
            outcomes[usize::from(is_new)] += 1;
        }
    }
    assert!(outcomes[0] > 4 && outcomes[1] > STEPS / 2, "{outcomes:?}");
}

#[test]
fn a_power_cut_while_a_damaged_file_is_set_aside_loses_no_byte_of_it() {
    let damaged = br#"{"version": 1, "items": [{"id": "a"}, {"id":"#.to_vec();
    let main = PathBuf::from("/data/items.json");
    for steps in 0..STEPS {
        let file = on(CutDisk::with(BTreeMap::from([(main.clone(), damaged.clone())])));
        file.disk.left.set(Some(steps));
        assert_eq!(file.load::<Item>().unwrap(), items(&["a"]));
        for names in file.disk.after_the_cut() {
            assert!(names.values().any(|content| *content == damaged), "{steps} steps");
            assert_eq!(on(CutDisk::with(names)).load::<Item>().unwrap(), items(&["a"]), "{steps} steps");
        }
    }
}

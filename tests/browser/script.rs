//! Scripts that drive the browser. Each gets what it needs as variables, and asks its test for what only that can do.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The folder of this test.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

/// Where npm put the browser's driver.
fn packages() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/browser");
    let packages = std::env::var_os("CENTERX_TEST_BROWSER").map_or_else(default, PathBuf::from);
    assert!(
        packages.join("node_modules/playwright-core").is_dir(),
        "{} has no playwright-core: run bash scripts/test.sh, which installs it",
        packages.display()
    );
    packages
}

/// `node` in the folder of this test.
pub fn node(arguments: &[&str]) -> Command {
    let mut command = Command::new("node");
    command.current_dir(folder()).args(arguments);
    command
}

/// A script of `tests/browser/scripts`.
pub struct Script(Command);

/// A process that ends with its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Script {
    /// The script of this name, for the page at an address. What it draws lies in `target/browser`.
    pub fn new(name: &str, page: std::net::SocketAddr) -> Self {
        let mut command = node(&[&format!("scripts/{name}.js")]);
        let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
        std::fs::create_dir_all(&pictures).unwrap();
        command.env("PACKAGES", packages()).env("PICTURES", pictures).env("PAGE", format!("http://{page}/"));
        Self(command)
    }

    /// With a variable more.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs it to its end. A line `? WORD REST` is a question, which `answer` answers with a line.
    pub fn run(mut self, mut answer: impl FnMut(&str, &str) -> String) {
        let mut child =
            Ended(self.0.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node runs"));
        let mut to = child.0.stdin.take().unwrap();
        for line in BufReader::new(child.0.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            match line.strip_prefix("? ").map(|asked| asked.split_once(' ').unwrap_or((asked, ""))) {
                Some((word, rest)) => writeln!(to, "{}", answer(word, rest)).unwrap(),
                None => println!("{line}"),
            }
        }
        let status = child.0.wait().unwrap();
        assert!(status.success(), "the script failed, see above");
    }
}

//! The real `centerx` binary as a child process.

// Each test uses its own part of this.
#![allow(dead_code)]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::files::centerx_home;

/// `centerx` with the tests' home, logging plainly.
pub fn centerx(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_centerx"));
    command
        .args(arguments)
        .env("CENTERX_HOME", centerx_home())
        .env_remove("ORT_DYLIB_PATH")
        .env_remove("CENTERX_CONFIG");
    command
}

/// Runs `centerx` to its end.
pub fn run(arguments: &[&str]) -> Output {
    centerx(arguments).output().expect("the binary runs")
}

/// Standard error of a run as text.
pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn environment_of(from: &Command, mut to: Command) -> Command {
    for (name, value) in from.get_envs() {
        match value {
            Some(value) => to.env(name, value),
            None => to.env_remove(name),
        };
    }
    to
}

/// A free port, for this machine alone.
pub const ANY_PORT: &str = "127.0.0.1:0";

/// `centerx serve` with gRPC at `grpc` and HTTP on a free port, started by `wrapper`. Files of its folder may be
/// cameras and models.
pub fn serve(wrapper: &[&str], grpc: &str, data_dir: &Path, arguments: &[&str]) -> Command {
    let server = centerx(&["serve", "--grpc", grpc, "--http", ANY_PORT]);
    let mut command = match wrapper.split_first() {
        None => centerx(&[]),
        Some((program, rest)) => {
            let mut wrapped = environment_of(&server, Command::new(program));
            wrapped.args(rest).arg(server.get_program());
            wrapped
        }
    };
    command.args(server.get_args());
    command.arg("--data-dir").arg(data_dir).arg("--allow").arg(data_dir).args(arguments);
    command
}

/// Servers take turns: each uses every core, and some tests look at the clock.
static ALONE: Mutex<()> = Mutex::new(());

/// A running `centerx serve`, the only one of its test binary.
pub struct ServerProcess {
    _alone: MutexGuard<'static, ()>,
    child: Child,
    lines: Receiver<String>,
    /// Where gRPC listens.
    pub grpc: SocketAddr,
    /// Where HTTP listens.
    pub http: SocketAddr,
    /// Everything logged so far.
    pub log: String,
    /// From start to ready.
    pub time_to_ready: Duration,
}

impl ServerProcess {
    /// Starts a server on free ports and waits until it says that it is ready.
    pub fn start(data_dir: &Path, arguments: &[&str]) -> Self {
        Self::start_in(data_dir, arguments, &[])
    }

    /// As [`ServerProcess::start`], with these variables in its environment.
    pub fn start_in(data_dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_wrapped(&[], data_dir, arguments, environment)
    }

    /// As [`ServerProcess::start`], with gRPC at this address.
    pub fn start_at(grpc: &str, data_dir: &Path, arguments: &[&str]) -> Self {
        Self::start_as(serve(&[], grpc, data_dir, arguments))
    }

    /// As [`ServerProcess::start_in`], by a command that becomes what its last arguments say, such as `env`.
    pub fn start_wrapped(
        wrapper: &[&str],
        data_dir: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = serve(wrapper, ANY_PORT, data_dir, arguments);
        command.envs(environment.iter().copied());
        Self::start_as(command)
    }

    fn start_as(mut command: Command) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = Instant::now();
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the server starts");
        let stderr = child.stderr.take().expect("piped");
        let (send, lines) = sync_channel(4096);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Self {
            _alone: alone,
            child,
            lines,
            grpc: unknown,
            http: unknown,
            log: String::new(),
            time_to_ready: Duration::ZERO,
        };
        let ready = server.wait_for_line(" ready ", Duration::from_secs(60));
        server.time_to_ready = begin.elapsed();
        let field =
            |name: &str| ready.split_whitespace().find_map(|word| word.strip_prefix(name)).map(str::to_owned);
        server.grpc =
            field("grpc=").and_then(|text| text.parse().ok()).expect("the ready line names the gRPC address");
        let http = field("http=http://").or_else(|| field("http=https://"));
        server.http = http.and_then(|text| text.parse().ok()).expect("and the HTTP address");
        server
    }

    /// Waits for a log line that contains `pattern`.
    pub fn wait_for_line(&mut self, pattern: &str, patience: Duration) -> String {
        let deadline = Instant::now() + patience;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.log.push_str(&line);
                    self.log.push('\n');
                    if line.contains(pattern) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no {pattern:?} within {patience:?} in:\n{}", self.log)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the server ended before {pattern:?}:\n{}", self.log)
                }
            }
        }
    }

    /// Bytes of its memory: `VmRSS:` what it holds, `VmHWM:` the most since [`ServerProcess::forget_peak_memory`].
    pub fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field is there");
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("in KiB") * 1024
    }

    /// Begins anew to note the most memory it holds (proc(5), clear_refs).
    pub fn forget_peak_memory(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").expect("it is ours");
    }

    /// Takes what was logged meanwhile. A server that logs much would stand still if nobody did.
    pub fn keep_log(&mut self) {
        self.log.extend(self.lines.try_iter().flat_map(|line| [line, "\n".into()]));
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs").success());
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end and returns the exit code and the time it took.
    pub fn wait(&mut self) -> (Option<i32>, Duration) {
        let begin = Instant::now();
        let status = self.child.wait().expect("the server can be waited for");
        self.log.extend(self.lines.try_iter().flat_map(|line| [line, "\n".into()]));
        (status.code(), begin.elapsed())
    }

    /// The text at a path of its HTTP server.
    pub fn get(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.http);
        ureq::get(&url).call().expect("HTTP answers").body_mut().read_to_string().expect("with text")
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Memory that is freed goes back to the system.
//!
//! glibc raises its threshold for giving large blocks back with every large block that is freed, to 32 MB in
//! the end (mallopt(3), `M_MMAP_THRESHOLD`). A server that swaps models then keeps tens of megabytes of the
//! old ones in the heaps of threads that happened to load them. Setting any threshold ends that; the ones
//! that glibc begins with cost nothing, because no frame allocates anything large.
//!
//! It also opens a heap for each thread, up to eight a core (`M_ARENA_MAX`), and each keeps the bits that lie
//! between others. Cameras that come and go bring new threads each time; with one heap a core, and two at least,
//! what they leave is used again.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What glibc reads when a process begins (mallopt(3)): a threshold in bytes, and a number of heaps.
const OURS: [&str; 2] = ["MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX"];
/// The threshold that it begins with.
const THRESHOLD: &str = "131072";
/// Heaps at least.
const FEWEST_HEAPS: usize = 2;
/// Other ways in which users choose. Ours is not to meddle with any.
const OTHERS: [&str; 2] = ["MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"];

/// Begins the program anew, as the same process, with glibc's thresholds held where they are, and few heaps.
/// To be called before anything is begun. Where it cannot be done the program goes on as it is.
pub(super) fn hold_thresholds() {
    if OURS.iter().chain(&OTHERS).any(|name| env::var_os(name).is_some()) {
        return;
    }
    let mut arguments = env::args_os();
    let Some((own_name, program)) = arguments.next().zip(env::current_exe().ok()) else { return };
    let heaps =
        std::thread::available_parallelism().map_or(FEWEST_HEAPS, |cores| cores.get().max(FEWEST_HEAPS));
    let choice = OURS.into_iter().zip([THRESHOLD.to_owned(), heaps.to_string()]);
    let error = Command::new(program).arg0(own_name).args(arguments).envs(choice).exec();
    tracing::debug!(%error, "freed memory may not go back to the system");
}

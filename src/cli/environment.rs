//! What libraries read from the environment as a process begins, and would otherwise choose badly for us.
//!
//! *Reports.* ONNX Runtime, from 1.29 on, reports to its maker what it runs, names of models included, keeps a number
//! that tells machines apart, and begins with it before a program can say no. A server that looks at people's cameras
//! does not talk to anybody unasked.
//!
//! *Freed memory.* glibc raises its threshold for giving large blocks back with every large block that is freed, to
//! 32 MB in the end (mallopt(3), `M_MMAP_THRESHOLD`). A server that swaps models then keeps tens of megabytes of the
//! old ones in the heaps of threads that happened to load them. Setting any threshold ends that; the ones
//! that glibc begins with cost nothing, because no frame allocates anything large.
//!
//! *Heaps.* glibc opens one for each thread, up to eight a core (`M_ARENA_MAX`), and each keeps the bits that lie
//! between others. Cameras that come and go bring new threads each time; with one heap a core, and two at least,
//! what they leave is used again.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::engine::onnx::NO_REPORTS;

const TRIM_THRESHOLD: &str = "MALLOC_TRIM_THRESHOLD_";
const HEAPS: &str = "MALLOC_ARENA_MAX";
/// All ways in which users choose for glibc. Ours is not to meddle with any.
const OF_GLIBC: [&str; 4] = [TRIM_THRESHOLD, HEAPS, "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"];
/// Heaps at least.
const FEWEST_HEAPS: usize = 2;

/// Begins the program anew, as the same process, with what its environment lacks; `serves` if it is to run for long.
/// To be called before anything is begun. What the user has chosen stays; where nothing can be begun anew the program
/// goes on as it is.
pub fn settle(serves: bool) {
    let mut ours = Vec::new();
    if env::var_os(NO_REPORTS).is_none() {
        ours.push((NO_REPORTS, "1".to_owned()));
    }
    if serves && OF_GLIBC.iter().all(|name| env::var_os(name).is_none()) {
        // In bytes: what glibc begins with.
        ours.push((TRIM_THRESHOLD, "131072".to_owned()));
        ours.push((HEAPS, heaps().to_string()));
    }
    if ours.is_empty() {
        return;
    }
    let mut arguments = env::args_os();
    let Some((own_name, program)) = arguments.next().zip(env::current_exe().ok()) else { return };
    let error = Command::new(program).arg0(own_name).args(arguments).envs(ours).exec();
    eprintln!("warning: the environment stays as it is, and freed memory in the process: {error}");
}

fn heaps() -> usize {
    std::thread::available_parallelism().map_or(FEWEST_HEAPS, |cores| cores.get().max(FEWEST_HEAPS))
}

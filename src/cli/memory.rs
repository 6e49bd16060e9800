//! Memory that is freed goes back to the system.
//!
//! glibc raises its threshold for giving large blocks back with every large block that is freed, to 32 MB in
//! the end (mallopt(3), `M_MMAP_THRESHOLD`). A server that swaps models then keeps tens of megabytes of the
//! old ones in the heaps of threads that happened to load them. Setting any threshold ends that; the ones
//! that glibc begins with cost nothing, because no frame allocates anything large.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// glibc reads these when a process begins (mallopt(3)).
const TRIM_THRESHOLD: &str = "MALLOC_TRIM_THRESHOLD_";
/// The user's own choice, in which ours is not to meddle.
const CHOSEN: [&str; 3] = [TRIM_THRESHOLD, "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"];
/// What glibc begins with, in bytes.
const DEFAULT: &str = "131072";

/// Begins the program anew, as the same process, with glibc's thresholds held where they are. To be called
/// before anything is begun. Where it cannot be done the program goes on as it is.
pub(super) fn hold_thresholds() {
    if CHOSEN.iter().any(|name| env::var_os(name).is_some()) {
        return;
    }
    let mut arguments = env::args_os();
    let Some((own_name, program)) = arguments.next().zip(env::current_exe().ok()) else { return };
    let error = Command::new(program).arg0(own_name).args(arguments).env(TRIM_THRESHOLD, DEFAULT).exec();
    tracing::debug!(%error, "freed memory may not go back to the system");
}

//! Standard output.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Prints a line.
///
/// # Errors
/// As writing has them. `println!` would panic when whoever reads the output, such as `head`, has seen enough;
/// [`run`](super::run) ends quietly at this error.
pub fn line(text: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Whether an error is that nobody reads standard output any more: whoever does, such as `head`, has seen enough.
pub fn is_closed(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(is_broken_pipe)
}

fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

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

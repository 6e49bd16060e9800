//! The `centerx` command.

fn main() {}

//! `centerx token`: make tokens for the server's clients.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;

use super::{UsageError, output};
use crate::auth::{Role, Token, check_name};

/// Make tokens for the server's clients.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token: printed once on standard output, its lines for the server's settings on standard error.
    #[command(after_help = "The settings get the token's SHA-256 only: who reads them cannot use it.\n\n\
        Examples:\n  centerx token new --role read --name grafana\n  \
        centerx token new --role operate --name ops --output ops.token 2>>centerx.toml\n  \
        centerx watch --token-file ops.token")]
    New {
        /// What it allows.
        #[arg(long, value_enum)]
        role: Role,
        /// Whose it is: shown in the server's log and in refusals.
        #[arg(long)]
        name: String,
        /// Write the token to this new file, which only you can read, instead of printing it.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

impl Args {
    /// Does what the arguments say.
    ///
    /// # Errors
    /// A system without randomness, or a file that cannot be made.
    pub fn run(self) -> anyhow::Result<()> {
        let Command::New { role, name, output } = self.command;
        check_name(&name).map_err(UsageError)?;
        let token = Token::new().context("the system gives no randomness")?;
        match output {
            Some(path) => write_private(&path, &token)
                .with_context(|| format!("the token cannot be written to {}", path.display()))?,
            None => output::line(token.expose())?,
        }
        eprintln!("{}", settings(&name, role, &token));
        Ok(())
    }
}

fn write_private(path: &Path, token: &Token) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", token.expose())
}

/// The token as the server's settings hold it.
fn settings(name: &str, role: Role, token: &Token) -> String {
    let name = toml::Value::String(name.to_owned());
    format!(
        "\n# For the server's settings (centerx.toml):\n[[auth.token]]\nname = {name}\nrole = \"{}\"\nsha256 = \"{}\"",
        role.as_str(),
        token.digest()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_lines_are_settings_without_the_token() {
        let token = Token::new().unwrap();
        let text = settings("grafana", Role::Read, &token);
        assert!(!text.contains(token.expose()), "{text}");
        let config = Config::parse(&text, "centerx.toml").unwrap();
        config.validate().unwrap();
        let made = &config.auth.tokens[0];
        assert_eq!((made.role, made.sha256, &*made.name), (Role::Read, token.digest(), "grafana"));
    }
}

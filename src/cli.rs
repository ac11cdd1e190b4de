//! The command line, as clap reads it. Wrong usage ends with status 64, `EX_USAGE` of sysexits.h.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use crate::bounds;
use crate::demo;
use crate::doctor;
use crate::ledger_command::LedgerCommand;
use crate::operator_command::{IceOptions, OperatorCommand, Options};
use turn_base::parse_web_url;

/// turn-broker brokers TURN credentials for WebRTC under a monthly bandwidth budget.
#[derive(Debug, Parser)]
#[command(name = "turn-broker", version = bounds::version())]
#[command(after_help = "\
status, spenders, grants, freeze, unfreeze, limit, block, allow, revoke, forget and backup call a running broker. All but status need
its OPERATOR_TOKEN.

Settings come from the environment and from `.env` in the working directory, or from the file of --env-file; see .env.example.")]
pub struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    /// The address of the running broker to call; HOST and PORT of the configuration unless given
    // Read by `parse`, because an error of clap would print a password in it.
    #[arg(long, global = true)]
    url: Option<String>,
    /// Print one JSON document; for doctor and for commands that call a running broker
    #[arg(long, global = true)]
    json: bool,
    /// The file with the settings, in place of `.env` in the working directory
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service (the default)
    Serve,
    /// Check that the service on this machine responds; exit status 0, 1 or 78 (a setting is wrong)
    Healthcheck,
    /// Show a call between two windows, and its budget, on a page; needs no account
    #[command(after_help = demo::HELP)]
    Demo {
        /// The port to listen on; by default 3001, or a free port if 3001 is in use
        #[arg(long)]
        port: Option<u16>,
    },
    /// Find what is wrong and say what to do: configuration, ledger, DNS, TLS, clock, a credential of 60 s, STUN and TURN,
    /// analytics, alerts; exit status 0 (also with warnings), 1 or 78
    Doctor(doctor::Options),
    /// Inspect the ledger in `STATE_DIR` while the service is stopped: ledger show, ledger export, ledger verify; move it: ledger copy
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Keep a program's ICE servers in a file (docs/PROGRAMS.md)
    Ice(IceOptions),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
    /// A command for a running broker.
    #[command(flatten)]
    Operator(OperatorCommand),
}

/// Writes what [`Command::Completions`] or, without a shell, [`Command::Man`] prints.
pub fn describe(shell: Option<Shell>, to: &mut impl Write) -> io::Result<()> {
    let mut command = CommandLine::command();
    match shell {
        Some(shell) => generate(shell, &mut command, "turn-broker", to),
        None => Man::new(command).render(to)?,
    }
    Ok(())
}

const BAD_URL: &str = "give --url an address such as https://turn.example.com or http://127.0.0.1:3001, without user and password";

/// Reads the arguments of the process, with the options of commands for a running broker. Help and the version are an error that goes
/// to standard output.
pub fn parse(
    arguments: impl IntoIterator<Item = std::ffi::OsString>,
) -> Result<(Command, Options), clap::Error> {
    let CommandLine { command, url, json, env_file } = CommandLine::try_parse_from(arguments)?;
    let command = command.unwrap_or(Command::Serve);
    let wrong = |kind, text: &str| CommandLine::command().error(kind, text);
    let url = url.map(|text| parse_web_url(&text).ok_or_else(|| wrong(ErrorKind::ValueValidation, BAD_URL)));
    let url = url.transpose()?;
    let (takes_url, takes_json) = match command {
        Command::Operator(_) => (true, true),
        Command::Ice(_) => (true, false),
        Command::Doctor(_) => (false, true),
        _ => (false, false),
    };
    if (url.is_some() && !takes_url) || (json && !takes_json) {
        let text = "give --url only to a command for a running broker, such as status, and --json only to one of those or to doctor";
        return Err(wrong(ErrorKind::ArgumentConflict, text));
    }
    let has_settings = !matches!(command, Command::Demo { .. } | Command::Completions { .. } | Command::Man);
    if env_file.is_some() && !has_settings {
        let text = "give --env-file to another command: this one reads no file of settings";
        return Err(wrong(ErrorKind::ArgumentConflict, text));
    }
    Ok((command, Options { url, json, env_file }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<(Command, Options), clap::Error> {
        parse(std::iter::once("turn-broker").chain(line.split_whitespace()).map(Into::into))
    }

    #[test]
    fn the_definition_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn completions_and_the_manual_page_have_each_command() {
        let printed = |shell| {
            let mut text = vec![];
            describe(shell, &mut text).unwrap();
            String::from_utf8(text).unwrap()
        };
        let pages = [Some(Shell::Bash), Some(Shell::Zsh), Some(Shell::Fish), None].map(printed);
        for command in CommandLine::command().get_subcommands() {
            let name = command.get_name();
            assert!(pages.iter().all(|page| page.replace("\\-", "-").contains(name)), "{name}");
        }
        assert!(parsed("help limit").unwrap_err().to_string().contains("GB"));
    }

    #[test]
    fn shared_options_stand_before_or_after_the_name() {
        for line in [
            "--json --url https://turn.example.com/base limit 5",
            "limit --json 5 --url https://turn.example.com/base",
        ] {
            let (command, shared) = parsed(line).unwrap();
            assert!(matches!(command, Command::Operator(OperatorCommand::Limit { .. })), "{command:?}");
            assert_eq!((shared.url.unwrap().as_str(), shared.json), ("https://turn.example.com/base", true));
        }
        assert!(parsed("doctor --json").unwrap().1.json);
        for command in ["", "serve", "healthcheck", "doctor", "ledger show", "status"] {
            for line in [format!("--env-file a {command}"), format!("{command} --env-file a")] {
                assert_eq!(parsed(&line).unwrap().1.env_file, Some("a".into()), "{line}");
            }
        }
    }

    #[test]
    fn a_password_in_the_url_is_refused_and_not_printed() {
        for url in [
            "https://ann:hush@turn.example.com",
            "https://hush@turn.example.com",
            "ann:hush@turn.example.com",
        ] {
            let error = parsed(&format!("status --url {url}")).unwrap_err().to_string();
            assert!(error.contains("without user and password") && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn other_arguments_are_wrong_usage() {
        for (line, expected) in [
            ("limit", "GB"),
            ("limit -1", "-1"),
            ("limit 1000001", "from 0 to 1000000"),
            ("limit NaN", "from 0 to 1000000"),
            ("limit much", "from 0 to 1000000"),
            ("limit 1e3", "from 0 to 1000000"),
            ("limit +5", "from 0 to 1000000"),
            ("limit 1 2", "unexpected argument"),
            ("backup", "FILE"),
            ("freeze now", "unexpected argument"),
            ("freeze --user ann", "--user"),
            ("block", "USER"),
            ("allow", "USER"),
            ("block ann ben", "unexpected argument"),
            ("revoke", "GRANT"),
            ("revoke id-1 --user ann", "cannot be used with"),
            ("grants ann", "unexpected argument"),
            ("spenders everybody", "user, label"),
            ("status --url turn.example.com", "an address"),
            ("status --url ftp://turn.example.com", "an address"),
            ("status --verbose", "--verbose"),
            ("serve --json", "such as status"),
            ("doctor --url http://127.0.0.1", "such as status"),
            ("demo --env-file .env", "reads no file"),
            ("man --env-file .env", "reads no file"),
            ("ice", "--write"),
            ("ice --write f --every 90", "such as 1h"),
            ("ice --write f --form asterisk", "mediamtx"),
            ("ledger", "show"),
            ("ledger copy", "--to-database"),
            ("ledger copy --to-database --from-database", "cannot be used with"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.use_stderr() && error.to_string().contains(expected), "{line}: {error}");
        }
    }
}

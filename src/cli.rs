//! The command line, as clap reads it. Wrong usage ends with status 64, `EX_USAGE` of sysexits.h.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
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
The commands from status on call a running broker. All but status need its OPERATOR_TOKEN.

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
    let mut command = definition();
    match shell {
        Some(shell) => generate(shell, &mut command, "turn-broker", to),
        None => Man::new(command).render(to)?,
    }
    Ok(())
}

const BAD_URL: &str = "give --url an address such as https://turn.example.com or http://127.0.0.1:3001, without user and password";

const NOT_TAKEN: &str = "give --url only to a command for a running broker, such as status, --json only to one of those or to doctor, and --env-file only to one that reads settings";

/// The options that stand before or after the name of a command.
const SHARED: [&str; 3] = ["url", "json", "env_file"];

/// Which of them a command takes.
fn taken_by(command: &str) -> &'static [&'static str] {
    match command {
        "demo" | "completions" | "man" | "help" => &[],
        "serve" | "healthcheck" | "ledger" => &["env_file"],
        "doctor" => &["json", "env_file"],
        "ice" => &["url", "env_file"],
        _ => &SHARED,
    }
}

/// The definition, where the help of a command shows only the options that it takes.
fn definition() -> clap::Command {
    let all = CommandLine::command();
    let shared: Vec<_> = all.get_arguments().filter(|option| option.is_global_set()).cloned().collect();
    all.mut_subcommands(|command| {
        let taken = taken_by(command.get_name());
        let others = shared.iter().filter(|option| !taken.contains(&option.get_id().as_str()));
        let hidden: Vec<_> = others.map(|option| option.clone().hide(true)).collect();
        command.args(hidden)
    })
}

/// Reads the arguments of the process, with the options of commands for a running broker. Help and the version are an error that goes
/// to standard output.
pub fn parse(
    arguments: impl IntoIterator<Item = std::ffi::OsString>,
) -> Result<(Command, Options), clap::Error> {
    let matches = definition().try_get_matches_from(arguments)?;
    let CommandLine { command, url, json, env_file } = CommandLine::from_arg_matches(&matches)?;
    let wrong = |kind, text: &str| definition().error(kind, text);
    let url = url.map(|text| parse_web_url(&text).ok_or_else(|| wrong(ErrorKind::ValueValidation, BAD_URL)));
    let url = url.transpose()?;
    let taken = taken_by(matches.subcommand_name().unwrap_or("serve"));
    let given = [url.is_some(), json, env_file.is_some()];
    if SHARED.iter().zip(given).any(|(option, is_given)| is_given && !taken.contains(option)) {
        return Err(wrong(ErrorKind::ArgumentConflict, NOT_TAKEN));
    }
    let command = command.unwrap_or(Command::Serve);
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
        let options = |line| {
            let help = parsed(line).unwrap_err().to_string();
            ["--url", "--json", "--env-file"].map(|option| help.contains(option))
        };
        for (lines, expected) in [
            (["limit --help", "help status"], [true; 3]),
            (["doctor --help", "help doctor"], [false, true, true]),
            (["ledger show --help", "help serve"], [false, false, true]),
            (["demo --help", "man --help"], [false; 3]),
        ] {
            assert_eq!(lines.map(options), [expected; 2], "{lines:?}");
        }
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
            ("demo --env-file .env", "that reads settings"),
            ("man --env-file .env", "that reads settings"),
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

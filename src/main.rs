//! The command line: `turn-broker [serve | healthcheck | demo | doctor | ledger show|export|verify | COMMAND FOR A RUNNING BROKER]`. Exit status: 0 success, 1 failure, 64 wrong usage, 78 invalid configuration.

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use turn_broker::app;
use turn_broker::clock::{Clock, SystemClock};
use turn_broker::config::{Config, Environment};
use turn_broker::demo::{self, Demo, DemoError};
use turn_broker::doctor::{self, OutputFormat, ProbeTail, Progress};
use turn_broker::journal::Journal;
use turn_broker::journal::store::Store;
use turn_broker::ledger_command::{self, LedgerCommand};
use turn_broker::operator_command::{self, OperatorCommand, OperatorError};
use turn_broker::serve::{Ended, Shutdown};
use turn_broker::telemetry::log::LostLines;
use turn_broker::telemetry::{log, startup};
use turn_broker::{healthcheck, router, serve};

/// `EX_USAGE` of sysexits.h.
const EXIT_USAGE: u8 = 64;
/// `EX_CONFIG` of sysexits.h.
const EXIT_CONFIG: u8 = 78;

/// The longest probe of the tail, in minutes: two days.
const PROBE_MINUTES_MAX: u64 = 2_880;

/// The signal for a write beyond the file size limit. The number is the same on every supported platform.
const SIGXFSZ: i32 = 25;

const HELP: &str = "\
turn-broker brokers TURN credentials for WebRTC under a monthly bandwidth budget.

Usage: turn-broker [COMMAND]

Commands:
  serve          run the service (the default)
  healthcheck    check that the service on this machine responds; exit status 0 or 1
  demo           show a call between two windows, and its budget, on a page; needs no account
  doctor         find what is wrong and say what to do: configuration, ledger, DNS, TLS, clock, a credential of
                 60 s, STUN and TURN, analytics, alerts; exit status 0 (also with warnings), 1 or 78
      --json             print one JSON document
      --send-test-alert  post an alert to ALERT_WEBHOOK_URL, instead of only connecting to it
      --probe-tail[=MIN] also keep an allocation of a credential of 60 s open, and say for how long after its expiry the
                         server accepts it; takes up to MIN minutes, 15 unless given
      --ca FILE          also trust the authorities in this PEM file, for turns: and stuns:
  status         show the state of the budget
  spenders [BY]  list who spends most, by user, label, origin, address, call or grant; by user unless given
  grants         list the live credentials with the most bytes; of one user with --user USER
  freeze         stop all minting; running calls continue
  unfreeze       resume minting
  limit GB       set the limit; `limit default` restores BANDWIDTH_LIMIT_GB
  block USER     give a user no more credentials; `allow USER` ends it
  revoke GRANT   revoke a credential by its id or token; with --user USER instead, all credentials of that user
  backup FILE    copy the ledger into a new file, which only its owner can read
      --url URL          the broker's address; HOST and PORT of the configuration unless given
      --json             print one JSON document
  ledger show    print a summary of the ledger in STATE_DIR
  ledger export  print the ledger as JSON, without secrets
  ledger verify  find errors in the ledger; exit status 0 or 1

The commands from `status` to `backup` call a running broker. All but `status` need its OPERATOR_TOKEN. The ledger commands need
the service to be stopped. They change nothing.

Options:
  -h, --help     print this help; after `demo`, help for the demo
  -V, --version  print the version

Settings come from the environment and from `.env` in the working directory; see .env.example.";

enum Command {
    Serve,
    Healthcheck,
    Ledger(LedgerCommand),
    Operator(OperatorCommand, operator_command::Options),
    Doctor(doctor::Options),
    /// The port, if `--port` is given.
    Demo(Option<u16>),
    /// The help text to print.
    Help(&'static str),
    Version,
}

#[expect(clippy::print_stderr, reason = "this is the command line")]
fn main() -> ExitCode {
    let command = match parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("turn-broker: {error}\nTry `turn-broker --help`.");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match command {
        Command::Help(text) => print(text),
        Command::Version => print(concat!("turn-broker ", env!("CARGO_PKG_VERSION"))),
        Command::Doctor(options) => return examine(&options),
        Command::Demo(port) => return run_demo(port),
        Command::Serve | Command::Healthcheck | Command::Ledger(_) | Command::Operator(..) => {
            return with_config(&command);
        }
    }
    ExitCode::SUCCESS
}

/// Ignores write errors, because the reader may have gone (`--help | head -1`).
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::{Long, Short, Value};
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut command = None;
    let mut options = operator_command::Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help(HELP)),
            // The commands for a running broker take them also after their name.
            Long("url") if command.is_none() => options.url = Some(operator_command::url(&mut parser)?),
            Long("json") if command.is_none() => options.json = true,
            Value(name) if command.is_none() && is_operators(&name) => {
                return operator(&name, options, parser);
            }
            other if options != operator_command::Options::default() => {
                return Err(format!(
                    "{}: give --url and --json only to a command for a running broker, such as status",
                    other.unexpected()
                )
                .into());
            }
            Short('V') | Long("version") => return Ok(Command::Version),
            Value(name) if command.is_none() && name == "serve" => command = Some(Command::Serve),
            Value(name) if command.is_none() && name == "healthcheck" => command = Some(Command::Healthcheck),
            Value(name) if command.is_none() && name == "ledger" => command = Some(ledger(&mut parser)?),
            Value(name) if command.is_none() && name == "doctor" => return doctor_options(parser),
            Value(name) if command.is_none() && name == "demo" => return demo_options(parser),
            other => return Err(other.unexpected()),
        }
    }
    if options != operator_command::Options::default() {
        return Err("--url and --json belong to a command for a running broker, such as status".into());
    }
    Ok(command.unwrap_or(Command::Serve))
}

fn ledger(parser: &mut lexopt::Parser) -> Result<Command, lexopt::Error> {
    let missing = || lexopt::Error::from("expected ledger show, ledger export or ledger verify");
    match parser.next()?.ok_or_else(missing)? {
        lexopt::Arg::Value(name) => {
            let command = name.to_str().and_then(LedgerCommand::from_name);
            command.map(Command::Ledger).ok_or_else(missing)
        }
        lexopt::Arg::Short('h') | lexopt::Arg::Long("help") => Ok(Command::Help(HELP)),
        other => Err(other.unexpected()),
    }
}

fn is_operators(name: &OsStr) -> bool {
    operator_command::NAMES.iter().any(|known| name == *known)
}

/// Parses what follows the name of a command for a running broker.
fn operator(
    name: &OsStr,
    options: operator_command::Options,
    parser: lexopt::Parser,
) -> Result<Command, lexopt::Error> {
    let parsed = operator_command::parse(name.to_str().unwrap_or_default(), options, parser)?;
    Ok(parsed.map_or(Command::Help(HELP), |(command, options)| Command::Operator(command, options)))
}

/// Parses the options of `doctor`.
fn doctor_options(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::{Long, Short};
    let mut options = doctor::Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help(HELP)),
            Long("json") => options.json = true,
            Long("send-test-alert") => options.send_test_alert = true,
            Long("probe-tail") => options.probe_tail = Some(probe_tail(parser.optional_value())?),
            Long("ca") => options.ca = Some(parser.value()?.into()),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::Doctor(options))
}

/// Parses the minutes of `--probe-tail`.
fn probe_tail(minutes: Option<OsString>) -> Result<ProbeTail, lexopt::Error> {
    let Some(minutes) = minutes else { return Ok(ProbeTail::up_to(doctor::PROBE_TAIL_DEFAULT)) };
    let minutes = minutes.to_str().and_then(|text| text.parse().ok());
    let minutes = minutes.filter(|minutes| (1..=PROBE_MINUTES_MAX).contains(minutes));
    let minutes = minutes.ok_or("--probe-tail: expected minutes, 1 to 2880")?;
    Ok(ProbeTail::up_to(Duration::from_secs(minutes * 60)))
}

/// Parses the options of `demo`.
fn demo_options(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    use lexopt::ValueExt;
    use lexopt::prelude::{Long, Short};
    let mut port = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help(demo::HELP)),
            Long("port") => port = Some(parser.value()?.parse()?),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::Demo(port))
}

/// Runs the doctor. Its findings are the output; it writes no log.
#[expect(clippy::print_stderr, reason = "this is the command line")]
fn examine(options: &doctor::Options) -> ExitCode {
    let environment = Environment::of_process();
    let stdout = std::io::stdout();
    let is_terminal = stdout.is_terminal();
    let look = doctor::TextStyle { colour: is_terminal && environment.wants_colour() };
    let form = if options.json { OutputFormat::Json } else { OutputFormat::Text { is_terminal, look } };
    let progress = Progress::new(stdout, form);
    let config = match Config::from_env(&environment) {
        Ok(config) => config,
        Err(problems) => return ExitCode::from(doctor::report_invalid(&problems, progress).exit_status()),
    };
    let examined = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(AnyError::from);
    let examined = examined.and_then(|runtime| {
        let report = runtime.block_on(doctor::run(&config, options, Arc::new(SystemClock), progress));
        // A running DNS lookup cannot be canceled. Do not wait for it.
        runtime.shutdown_background();
        Ok(report?)
    });
    match examined {
        Ok(report) => ExitCode::from(report.exit_status()),
        Err(error) => {
            eprintln!("turn-broker: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "there are no logs before the configuration is read")]
fn with_config(command: &Command) -> ExitCode {
    let config = match Config::from_env(&Environment::of_process()) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("turn-broker: the configuration is invalid:\n{problems}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    report(match command {
        Command::Healthcheck => healthcheck::run(&config.server).map_err(Into::into),
        Command::Ledger(command) => {
            let Some(directory) = &config.budget.state_dir else {
                eprintln!("turn-broker: STATE_DIR is not set: there is no ledger on disk.");
                return ExitCode::from(EXIT_CONFIG);
            };
            inspect_ledger(&config, directory, *command)
        }
        Command::Operator(command, options) => operate(&config, command, options),
        _ => run(&config, None),
    })
}

#[expect(clippy::print_stderr, reason = "there are no logs before the configuration is made")]
fn run_demo(port: Option<u16>) -> ExitCode {
    match Demo::prepare(Environment::of_process_only(&demo::SETTINGS), port) {
        Ok(Demo { config, listener, greeting }) => report(run(&config, Some((listener, greeting)))),
        Err(error) => {
            eprintln!("turn-broker: {error}");
            let is_wrong = matches!(error, DemoError::Config(_));
            if is_wrong { ExitCode::from(EXIT_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}

#[expect(clippy::print_stderr, reason = "setting up the log may have failed")]
fn report(done: Result<ExitCode, AnyError>) -> ExitCode {
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("turn-broker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn inspect_ledger(config: &Config, directory: &Path, command: LedgerCommand) -> Result<ExitCode, AnyError> {
    let report = ledger_command::run(config, directory, command, SystemClock.now())?;
    print(&report.text);
    Ok(if report.is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Calls a running broker.
#[expect(clippy::print_stderr, reason = "this is the command line")]
fn operate(
    config: &Config,
    command: &OperatorCommand,
    options: &operator_command::Options,
) -> Result<ExitCode, AnyError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(operator_command::run(config, command, options)) {
        Ok(text) => print(&text),
        Err(error @ OperatorError::NoToken) => {
            eprintln!("turn-broker: {error}");
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(ExitCode::SUCCESS)
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// A bound listener, and the text to print once the service runs.
type Opened = (std::net::TcpListener, String);

fn run(config: &Config, opened: Option<Opened>) -> Result<ExitCode, AnyError> {
    let log = log::install(&config.log)?;
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(serve_until_signal(config, opened, log.lost.clone()));
    // A running DNS lookup cannot be canceled. Do not wait for it.
    runtime.shutdown_background();
    done
}

/// Raises the soft limit on open files to the hard one. Every socket counts as a file, and many shells allow 1,024.
fn raise_file_limit() {
    let limits = getrlimit(Resource::Nofile);
    // With an unlimited hard limit, macOS refuses an unlimited soft limit.
    let files = limits.maximum.unwrap_or(serve::FILES_WANTED);
    let raised = Rlimit { current: limits.current.map(|current| current.max(files)), ..limits };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) if files < serve::FILES_WANTED => {
            tracing::warn!(
                files,
                wanted = serve::FILES_WANTED,
                "the limit on open files is low: raise `ulimit -n`"
            );
        }
        Ok(()) => {}
        Err(error) => tracing::warn!(%error, "the limit on open files could not be raised"),
    }
}

/// Treat `ulimit -f` as a full disk: log, retry. By default the signal ends the process at the next write of the ledger.
fn treat_file_size_limit_as_full_disk() -> std::io::Result<()> {
    // tokio replaces a signal's default for the life of the process, also after the listener is dropped.
    signal(SignalKind::from_raw(SIGXFSZ)).map(drop)
}

async fn serve_until_signal(
    config: &Config,
    opened: Option<Opened>,
    lost_lines: LostLines,
) -> Result<ExitCode, AnyError> {
    treat_file_size_limit_as_full_disk()?;
    let journal = config.budget.state_dir.clone().map(Journal::open::<Store>).transpose()?;
    // Install the handlers before anything listens, so that no early signal has its default action.
    let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let app = app::build(config, Arc::new(SystemClock), journal, lost_lines)?;
    let (listener, greeting) = match opened {
        Some((listener, greeting)) => (TcpListener::from_std(listener)?, Some(greeting)),
        None => (listen(config).await?, None),
    };
    startup::report(config, listener.local_addr()?, &app.account.snapshot());
    if let Some(greeting) = greeting {
        // It contains the operator's token. Standard output is the log, which may go to a file or a collector.
        let _ = writeln!(std::io::stderr(), "{greeting}");
    }
    let shutdown = Shutdown::default();
    let watch = tokio::spawn(watch(signals, shutdown.clone()));
    let routes = router::build(&app);
    let ended = serve::run(listener, app, routes, shutdown).await;
    watch.abort();
    Ok(match ended {
        Ended::Drained | Ended::TimedOut => ExitCode::SUCCESS,
        Ended::Forced => ExitCode::FAILURE,
    })
}

async fn listen(config: &Config) -> Result<TcpListener, String> {
    let address = (config.server.host, config.server.port);
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::AddrInUse => ". Set PORT to another port, or stop the process that uses it",
            ErrorKind::PermissionDenied => ". Set PORT to a port above 1023",
            ErrorKind::AddrNotAvailable => ". Set HOST to an address of this machine",
            _ => "",
        };
        format!("cannot listen on {}:{} (HOST, PORT): {error}{remedy}", address.0, address.1)
    })
}

/// The first signal starts the shutdown, the second ends it at once.
async fn watch((mut terminate, mut interrupt): (Signal, Signal), shutdown: Shutdown) {
    for stage in [shutdown.soft, shutdown.hard] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stage.cancel();
    }
}

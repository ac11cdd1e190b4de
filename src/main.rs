//! The program: what each command of [`cli`] does. Exit status: 0 success, 1 failure, 64 wrong usage, 75 another
//! replica leads, 78 invalid configuration.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use governor::clock::DefaultClock;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use turn_base::clock::{Clock, SystemClock};
use turn_broker::app;
use turn_broker::cli::{self, Command};
use turn_broker::config::{Config, DatabaseConfig, Environment};
use turn_broker::demo::{self, Demo, DemoError};
use turn_broker::doctor::{self, OutputFormat, Progress};
use turn_broker::journal::Journal;
use turn_broker::journal::postgres::standby::Standby;
use turn_broker::journal::store::Store;
use turn_broker::ledger_command::{self, LedgerCommand, LedgerCommandError};
use turn_broker::operator_command::{self, OperatorCommand, OperatorError, Options};
use turn_broker::serve::replica::Replica;
use turn_broker::serve::{Ended, Shutdown};
use turn_broker::telemetry::log::LostLines;
use turn_broker::telemetry::{log, startup};
use turn_broker::{healthcheck, router, serve};

/// `EX_USAGE` of sysexits.h.
const EXIT_USAGE: u8 = 64;
/// `EX_TEMPFAIL` of sysexits.h: this replica must start again.
const EXIT_LOST: u8 = 75;
/// `EX_CONFIG` of sysexits.h.
const EXIT_CONFIG: u8 = 78;

/// The signal for a write beyond the file size limit. The number is the same on every supported platform.
const SIGXFSZ: i32 = 25;

fn main() -> ExitCode {
    let (command, shared) = match cli::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => {
            // The reader may have gone (`--help | head -1`).
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match command {
        Command::Doctor(options) => examine(&options, shared.json),
        Command::Demo { port } => run_demo(port),
        command => with_config(&command, &shared),
    }
}

/// Runs the doctor. Its findings are the output; it writes no log.
#[expect(clippy::print_stderr, reason = "this is the command line")]
fn examine(options: &doctor::Options, json: bool) -> ExitCode {
    let environment = Environment::of_process();
    let stdout = std::io::stdout();
    let colour = stdout.is_terminal() && environment.wants_colour();
    let form = if json { OutputFormat::Json } else { OutputFormat::Text { colour } };
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
fn with_config(command: &Command, shared: &Options) -> ExitCode {
    let environment = Environment::of_process();
    let read = match command {
        Command::Ledger(LedgerCommand::Copy { .. }) => Config::for_copy(&environment),
        _ => Config::from_env(&environment),
    };
    let config = match read {
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
        Command::Operator(command) => operate(&config, command, shared),
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

#[expect(clippy::print_stderr, reason = "this is the command line")]
fn inspect_ledger(config: &Config, directory: &Path, command: LedgerCommand) -> Result<ExitCode, AnyError> {
    let report = match ledger_command::run(config, directory, command, SystemClock.now()) {
        Err(error @ LedgerCommandError::NoDatabase) => {
            eprintln!("turn-broker: {error}");
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
        report => report?,
    };
    print(&report.text);
    Ok(if report.is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Calls a running broker.
#[expect(clippy::print_stderr, reason = "this is the command line")]
fn operate(config: &Config, command: &OperatorCommand, options: &Options) -> Result<ExitCode, AnyError> {
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

/// Writes to standard output. The reader of a pipe may have gone (`ledger … | head -1`).
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// A bound listener, and the text to print once the service runs.
type Opened = (std::net::TcpListener, String);

fn run(config: &Config, opened: Option<Opened>) -> Result<ExitCode, AnyError> {
    let log = log::install(&config.log)?;
    raise_file_limit();
    // The clock of the rate limit takes some milliseconds to calibrate itself. Meanwhile the ledger is read.
    let _ = std::thread::Builder::new().spawn(DefaultClock::default);
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
    let store = config.budget.state_dir.as_deref().map(Store::open).transpose()?;
    let journal = store.map(Journal::open).transpose()?;
    // Install the handlers before anything listens, so that no early signal has its default action.
    let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = Shutdown::default();
    let watch = tokio::spawn(watch(signals, shutdown.clone()));
    if let Some(database) = &config.database {
        let listener = listen(config).await?;
        let replica = Box::pin(serve_as_replica(config, database, listener, shutdown, lost_lines));
        let ended = replica.await;
        watch.abort();
        return ended;
    }
    let app = app::build(config, Arc::new(SystemClock), journal, lost_lines)?;
    let (listener, greeting) = match opened {
        Some((listener, greeting)) => (TcpListener::from_std(listener)?, Some(greeting)),
        None => (listen(config).await?, None),
    };
    startup::report(config, listener.local_addr()?, Some(&app.account.snapshot()));
    if let Some(greeting) = greeting {
        // It contains the operator's token. Standard output is the log, which may go to a file or a collector.
        let _ = writeln!(std::io::stderr(), "{greeting}");
    }
    let routes = router::build(&app);
    let ended = serve::run(listener, app, routes, shutdown).await;
    watch.abort();
    Ok(exit_code(ended))
}

/// One of several replicas on one database.
async fn serve_as_replica(
    config: &Config,
    database: &DatabaseConfig,
    listener: TcpListener,
    shutdown: Shutdown,
    lost_lines: LostLines,
) -> Result<ExitCode, AnyError> {
    let address = listener.local_addr()?;
    let clock = Arc::new(SystemClock);
    let settings = app::settings_digest(config);
    let electorate = Standby::new(database, address.port(), settings, clock.clone());
    startup::report(config, address, None);
    let (config, lease) = (config.clone(), database.lease);
    let replica = Replica { config, lease, electorate, clock, lost_lines };
    Ok(exit_code(Box::pin(replica.run(listener, shutdown)).await?))
}

fn exit_code(ended: Ended) -> ExitCode {
    match ended {
        Ended::Drained | Ended::TimedOut => ExitCode::SUCCESS,
        Ended::Forced => ExitCode::FAILURE,
        Ended::Lost => ExitCode::from(EXIT_LOST),
    }
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

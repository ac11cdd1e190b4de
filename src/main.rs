//! The program: what each command of [`cli`] does. Exit status: 0 success, 1 failure, 64 wrong usage, 75 another
//! replica leads, 78 invalid configuration.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use clap_complete::Shell;
use futures_util::future::select_all;
use governor::clock::DefaultClock;
use reqwest::Method;
use rustix::net::sockopt::set_ipv6_v6only;
use sd_notify::NotifyState;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use turn_base::{Clock, HttpClient, SystemClock};
use turn_broker::app;
use turn_broker::cli::{self, Command};
use turn_broker::config::{Config, DatabaseConfig, Environment};
use turn_broker::demo::{self, Demo, DemoError};
use turn_broker::doctor::{self, Progress};
use turn_broker::ledger_command::{self, LedgerCommandError};
use turn_broker::listen::replica::Replica;
use turn_broker::listen::{self, Ended, Shutdown};
use turn_broker::operator_command::{self, OperatorError, Options};
use turn_broker::router;
use turn_broker::store::file::FileStorage;
use turn_broker::store::postgres::standby::Standby;
use turn_broker::store::storage::OpenError;
use turn_broker::store::writer::Store;
use turn_broker::telemetry::log::LostLines;
use turn_broker::telemetry::{log, startup};

/// A mint makes about 140 memory allocations, five of them large. With the C library's allocator they take a quarter of its CPU time (ADR
/// 12).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `EX_USAGE` of sysexits.h.
const EXIT_USAGE: u8 = 64;
/// `EX_TEMPFAIL` of sysexits.h: this replica must start again.
const EXIT_LOST: u8 = 75;
/// `EX_CONFIG` of sysexits.h.
const EXIT_CONFIG: u8 = 78;

/// The signal for a write beyond the file size limit. The number is the same on every supported platform.
const SIGXFSZ: i32 = 25;

/// Connections that may wait to be accepted: as many as by default with [`TcpListener::bind`].
const BACKLOG: u32 = 1_024;

/// Why a command failed, and its exit status.
struct Failure {
    text: String,
    status: u8,
}

impl Failure {
    /// `is_of_settings`: a setting is wrong or missing.
    fn new(error: &impl Display, is_of_settings: bool) -> Self {
        Self { text: error.to_string(), status: if is_of_settings { EXIT_CONFIG } else { 1 } }
    }
}

impl<E: Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(&error, false)
    }
}

#[expect(clippy::print_stderr, reason = "there may be no log")]
pub(crate) fn main() -> ExitCode {
    let (command, shared) = match cli::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => {
            // The reader may have gone (`--help | head -1`).
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    run(&command, &shared).unwrap_or_else(|Failure { text, status }| {
        eprintln!("turn-broker: {text}");
        ExitCode::from(status)
    })
}

fn printed(shell: Option<Shell>) -> Result<ExitCode, Failure> {
    cli::describe(shell, &mut std::io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

fn run(command: &Command, shared: &Options) -> Result<ExitCode, Failure> {
    keep_secrets_in_memory();
    match command {
        Command::Doctor(options) => return examine(options, shared),
        Command::Demo { port } => {
            let demo = Demo::prepare(Environment::of_process_only(&demo::SETTINGS), *port);
            let Demo { config, listener, greeting } =
                demo.map_err(|error| Failure::new(&error, matches!(error, DemoError::Config(_))))?;
            return serve(&config, "the environment alone, by demo", Some((listener, greeting)));
        }
        Command::Completions { shell } => return printed(Some(*shell)),
        Command::Man => return printed(None),
        _ => {}
    }
    let environment = Environment::of_process(shared.env_file.as_deref());
    if !matches!(command, Command::Serve) {
        say_origin(&environment);
    }
    let config = match command {
        Command::Ledger(_) => Config::for_ledger(&environment),
        _ => Config::from_env(&environment),
    };
    // The text of the demo's error fits here too.
    let config = config.map_err(|problems| Failure::new(&DemoError::Config(problems), true))?;
    let (text, is_success) = match command {
        Command::Healthcheck => {
            let client = HttpClient::new(&config.network)?;
            let url = format!("http://{}/health", config.server.reachable());
            block_on(client.send(client.request(Method::GET, url)))??;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Ledger(command) => {
            let report = ledger_command::run(&config, *command, SystemClock.now());
            let report = report.map_err(|error| {
                use LedgerCommandError::{NoDatabase, NoDirectory};
                Failure::new(&error, matches!(error, NoDirectory | NoDatabase))
            })?;
            (report.text, report.is_sound)
        }
        Command::Ice(wanted) => {
            (of_operator(block_on(operator_command::keep_ice(&config, wanted, shared))?)?, true)
        }
        Command::Operator(command) => {
            (of_operator(block_on(operator_command::run(&config, command, shared))?)?, true)
        }
        _ => return serve(&config, &environment.origin, None),
    };
    // The reader may have gone.
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(if is_success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn of_operator<T>(done: Result<T, OperatorError>) -> Result<T, Failure> {
    let is_of_settings = |error: &_| matches!(error, OperatorError::NoToken | OperatorError::NoServerKey);
    done.map_err(|error| Failure::new(&error, is_of_settings(&error)))
}

/// Runs the doctor. Its findings are the output; it writes no log.
fn examine(options: &doctor::Options, shared: &Options) -> Result<ExitCode, Failure> {
    let mut stdout = std::io::stdout();
    let progress = Progress::new(&mut stdout, shared.json);
    let environment = Environment::of_process(shared.env_file.as_deref());
    say_origin(&environment);
    let report = match Config::from_env(&environment) {
        Ok(mut config) => {
            if !config.secrets.is_empty() {
                config.warnings.extend(environment.readable_by_others.clone());
            }
            block_on(doctor::run(&config, options, Arc::new(SystemClock), progress))??
        }
        Err(problems) => doctor::report_invalid(&problems, progress),
    };
    Ok(ExitCode::from(report.exit_status()))
}

/// Says which file of settings was read: a command in another folder reads another one, or none.
#[expect(clippy::print_stderr, reason = "standard output is that of the command")]
fn say_origin(environment: &Environment) {
    eprintln!("turn-broker: settings of {}", environment.origin);
}

fn block_on<T>(run: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(run);
    // A running DNS lookup cannot be canceled. Do not wait for it.
    runtime.shutdown_background();
    Ok(done)
}

/// A bound listener, and the text to print once the service runs.
type Opened = (std::net::TcpListener, String);

fn serve(config: &Config, origin: &str, opened: Option<Opened>) -> Result<ExitCode, Failure> {
    let (_flushes_on_drop, lost_lines) = log::install(&config.log, &config.secrets)?;
    tracing::info!("settings of {origin}");
    // The clock of the rate limit takes some milliseconds to calibrate itself. Meanwhile the ledger is read.
    let _ = std::thread::Builder::new().spawn(DefaultClock::default);
    block_on(serve_until_signal(config, opened, lost_lines))?
}

/// Forbids core dumps, and forbids other processes of this user to read the memory of this process. The memory has every secret.
fn keep_secrets_in_memory() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        tracing::warn!(%error, "a core dump would have every secret: set `ulimit -c 0`");
    }
}

/// Whether a directory cannot be used because the setting is wrong. A full disk is no wrong setting: it may work at the next start. A disk
/// that was made read-only waits for the operator, too.
fn is_wrong_setting(cause: ErrorKind) -> bool {
    use ErrorKind::{AlreadyExists, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(cause, AlreadyExists | NotADirectory | NotFound | PermissionDenied | ReadOnlyFilesystem)
}

async fn serve_until_signal(
    config: &Config,
    opened: Option<Opened>,
    lost_lines: LostLines,
) -> Result<ExitCode, Failure> {
    // Treat `ulimit -f` as a full disk: log, retry. By default the signal ends the process at the next write of the ledger. tokio replaces a
    // signal's default for the life of the process, also after the listener is dropped.
    drop(signal(SignalKind::from_raw(SIGXFSZ))?);
    let storage = config.budget.state_dir.as_deref().map(FileStorage::open).transpose();
    let store = storage.and_then(|storage| storage.map(Store::open).transpose());
    let store = store.map_err(|error| {
        // Another start would find the same.
        let is_of_settings = match &error {
            OpenError::Directory { error, .. } => is_wrong_setting(error.kind()),
            OpenError::Untrusted { .. }
            | OpenError::Damaged { .. }
            | OpenError::OtherFormat { .. }
            | OpenError::Moved(_) => true,
            _ => false,
        };
        Failure::new(&error, is_of_settings)
    })?;
    // Install the handlers before anything listens, so that no early signal has its default action.
    let mut signals = vec![signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    if !ignores_hangup() {
        signals.push(signal(SignalKind::hangup())?);
    }
    let shutdown = Shutdown::default();
    let watching = tokio::spawn(watch(signals, shutdown.clone()));
    if let Some(database) = &config.database {
        let listener = listen(config).await?;
        let replica = Box::pin(serve_as_replica(config, database, listener, shutdown, lost_lines));
        let ended = replica.await;
        watching.abort();
        return ended;
    }
    let app = app::build(config, Arc::new(SystemClock), store, lost_lines)?;
    let (listener, greeting) = match opened {
        Some((listener, greeting)) => (TcpListener::from_std(listener)?, Some(greeting)),
        None => (listen(config).await?, None),
    };
    startup::report(config, listener.local_addr()?, Some(&app.account.snapshot()));
    tell_systemd();
    if let Some(greeting) = greeting {
        // It contains the operator's token. Standard output is the log, which may go to a file or a collector.
        let _ = writeln!(std::io::stderr(), "{greeting}");
    }
    let routes = router::build(&app);
    let ended = listen::run(listener, app, routes, shutdown).await;
    watching.abort();
    Ok(exit_code(ended))
}

/// Tells systemd that the service listens, and then again and again that its tasks run (`Type=notify`, `WatchdogSec`). Does nothing if
/// systemd has not asked for it.
fn tell_systemd() {
    let tell = |state| {
        if let Err(error) = sd_notify::notify(&[state]) {
            tracing::warn!(%error, "systemd was not told that the service runs");
        }
    };
    tell(NotifyState::Ready);
    if let Some(longest) = sd_notify::watchdog_enabled() {
        tokio::spawn(async move {
            let mut next = tokio::time::interval(longest / 3);
            loop {
                next.tick().await;
                tell(NotifyState::Watchdog);
            }
        });
    }
}

/// Serves as one of several replicas on one database.
async fn serve_as_replica(
    config: &Config,
    database: &DatabaseConfig,
    listener: TcpListener,
    shutdown: Shutdown,
    lost_lines: LostLines,
) -> Result<ExitCode, Failure> {
    let address = listener.local_addr()?;
    let clock = Arc::new(SystemClock);
    let settings = app::settings_digest(config);
    let electorate = Standby::new(database, address.port(), settings, clock.clone());
    startup::report(config, address, None);
    tell_systemd();
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

/// Binds the address. `::` accepts IPv4 too, whatever the system's default is, and means `0.0.0.0` where IPv6 is off.
async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    if address.ip() != Ipv6Addr::UNSPECIFIED {
        return TcpListener::bind(address).await;
    }
    let Ok(socket) = TcpSocket::new_v6() else {
        return TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await;
    };
    set_ipv6_v6only(&socket, false)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn listen(config: &Config) -> Result<TcpListener, String> {
    let address = SocketAddr::new(config.server.host, config.server.port);
    bind(address).await.map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::AddrInUse => ". Set PORT to another port, or stop the process that uses it",
            ErrorKind::PermissionDenied => ". Set PORT to a port above 1023",
            ErrorKind::AddrNotAvailable => ". Set HOST to an address of this machine",
            _ => "",
        };
        format!("cannot listen on {}:{} (HOST, PORT): {error}{remedy}", address.ip(), address.port())
    })
}

/// The first signal starts the shutdown, the second signal ends the process at once.
async fn watch(mut signals: Vec<Signal>, shutdown: Shutdown) {
    for stage in [shutdown.soft, shutdown.hard] {
        select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
        stage.cancel();
    }
}

/// Whether the process was started by `nohup`: then the end of its terminal must not end it.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The lowest bit is that of the first signal, SIGHUP.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

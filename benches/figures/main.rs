//! The figures of docs/PERFORMANCE.md: starts the broker as a process, loads it from the same machine, and prints a table.
//! `cargo bench` measures all of them, `cargo bench -- ladder start` only these. `ROUNDS` (9) is how often each is measured, and
//! `TURN_BROKER_BIN` names another program. The load of a machine changes more slowly than a round. So what is compared is measured in
//! turns, and a ratio is one within a round.

#![expect(clippy::disallowed_methods, reason = "it measures other processes, so it reads the clock")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints its result")]
#![expect(clippy::unwrap_used, reason = "it ends at the first surprise")]

mod floor;
mod load;
mod million;
mod old_ledger;
mod replicas;
mod response;
mod server;

#[path = "../../tests/it/support/held_port.rs"]
mod held_port;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/support/postgres.rs"]
mod postgres;

use std::process::Command;

use chrono::Datelike;
use load::{Load, load, open_socket};
use response::{body, get};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use server::{BARE_BYTES, CLOUDFLARE, Server, directory, program};
use tempfile::TempDir;
use turn_base::clock::{Clock, SystemClock};

/// As in the broker.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CALLERS: u32 = 64;
/// The mints of a round with all callers: about a second.
const MINTS: u32 = 20_000;
const LIVE_GRANTS: u32 = 400_000;
const CONNECTIONS: u32 = 100_000;
const SOCKETS: u16 = 4_096;
const MINT: &str = "/api/turn-credentials";
const STATUS: &str = "/api/bandwidth-status";
const FIGURES: [Figure; 10] = [
    ("ladder", ladder),
    ("callers", callers),
    ("live", live),
    ("memory", memory),
    ("start", start),
    ("million", million::million),
    ("status", status),
    ("size", size),
    ("replicas", replicas::replicas),
    ("takeover", million::takeover),
];

/// Its name, and what measures it in so many rounds.
type Figure = (&'static str, fn(usize));
/// What is measured, target and unit.
type Row = [&'static str; 3];

fn main() {
    if let Ok(bytes) = std::env::var(BARE_BYTES) {
        let [port, state] = ["PORT", "STATE_DIR"].map(|name| std::env::var(name).unwrap());
        return floor::serve(port.parse().unwrap(), &state, bytes.parse().unwrap());
    }
    // Cargo adds `--bench`.
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let is_figure = |name: &String| FIGURES.iter().any(|(figure, _)| figure == name);
    assert!(arguments.iter().all(is_figure), "the figures are {:?}", FIGURES.map(|(name, _)| name));
    let rounds = std::env::var("ROUNDS").map_or(9, |text| text.parse().expect("ROUNDS is a number"));
    println!("{}, {rounds} rounds.\n\n| figure | target | measured |\n|---|---|---|", machine());
    for (name, measure) in FIGURES {
        if arguments.is_empty() || arguments.iter().any(|argument| argument == name) {
            eprintln!("{name}");
            measure(rounds);
        }
    }
}

/// The version of the program, and what it runs on.
fn machine() -> String {
    let version =
        String::from_utf8(Command::new(program()).arg("--version").output().unwrap().stdout).unwrap();
    let [processors, load] =
        ["/proc/cpuinfo", "/proc/loadavg"].map(|file| std::fs::read_to_string(file).unwrap());
    let models: Vec<_> = processors.lines().filter_map(|line| line.strip_prefix("model name\t: ")).collect();
    let (version, load) = (version.trim(), load.split(' ').next().unwrap());
    format!("{version}, cores: {}, load average before the run {load}", models.join(", "))
}

/// Measures some rounds, and prints a row for each value: the median of the rounds, with the lowest and the highest.
fn print<R: AsRef<[f64]>>(rounds: usize, rows: impl AsRef<[Row]>, mut round: impl FnMut() -> R) {
    let measured: Vec<_> = (0..rounds).map(|_| round()).collect();
    for (column, [figure, target, unit]) in rows.as_ref().iter().enumerate() {
        let mut values: Vec<_> = measured.iter().map(|values| values.as_ref()[column]).collect();
        values.sort_by(f64::total_cmp);
        let [low, median, high] = [0, rounds / 2, rounds - 1].map(|at| three_digits(values[at]));
        let spread = if low == high { String::new() } else { format!(" ({low}–{high})") };
        println!("| {figure} | {target} | {median} {unit}{spread} |");
    }
}

fn three_digits(value: f64) -> String {
    let decimals = if value >= 100.0 { 0 } else { 1 + usize::from(value < 10.0) };
    format!("{value:.decimals$}")
}

fn mint(server: &Server, callers: u32, count: u32) -> Load {
    mint_with(server, callers, count, |_| get(MINT))
}

/// Mints, and checks that each response had a credential: one without is a 200, too.
fn mint_with(server: &Server, callers: u32, count: u32, request: impl Fn(u32) -> String + Sync) -> Load {
    let before = issued(server);
    let load = load(server, callers, count, request);
    assert_eq!(issued(server) - before, u64::from(count), "some responses had no credential");
    load
}

fn issued(server: &Server) -> u64 {
    let status: serde_json::Value = body(server.address, STATUS).unwrap().parse().unwrap();
    status["grants"]["issued"].as_u64().unwrap()
}

/// A round at a new broker with an empty ledger on disk.
fn fresh<T>(measure: impl FnOnce(&Server) -> T) -> T {
    let state = directory();
    let server = Server::durable(state.path());
    mint(&server, CALLERS, MINTS / 40);
    measure(&server)
}

/// Each rung does the work of the one before it, and more. The floor does only what a durable mint needs.
fn ladder(rounds: usize) {
    let rows = [
        ["bare axum route", "", "µs"],
        ["`/health`", "", "µs"],
        ["identify, limit", "", "µs"],
        ["reserve, sign, JSON", "", "µs"],
        ["writer, redb", "", "µs"],
        ["durable mint", "", "µs"],
        ["floor", "", "µs"],
        ["mint ÷ floor: CPU", "≤ 1.15 ×", "×"],
        ["mint ÷ floor: mints/s", "≥ 0.95 ×", "×"],
        ["mint ÷ `/health`: CPU", "≤ 3.1 ×", "×"],
        ["mint ÷ `/health`: mints/s", "≥ 0.4 ×", "×"],
        ["durable mints: p99", "≤ 4 ms", "ms"],
    ];
    print(rounds, rows, || {
        let [on_disk, of_floor, in_memory] = [directory(), directory(), TempDir::new_in("/dev/shm").unwrap()];
        let (full, floor) = (Server::durable(on_disk.path()), Server::floor(of_floor.path(), 64));
        let rungs = [
            (&floor, STATUS),
            (&full, "/health"),
            (&Server::broker(&[("TURN_ENABLED", "false")]), MINT),
            (&Server::broker(&[]), MINT),
            (&Server::durable(in_memory.path()), MINT),
            (&full, MINT),
            (&floor, MINT),
        ];
        let loads = rungs.map(|(server, path)| {
            load(server, CALLERS, MINTS / 40, |_| get(path));
            load(server, CALLERS, MINTS, |_| get(path))
        });
        assert_eq!(issued(&full), u64::from(MINTS / 40 + MINTS), "some responses had no credential");
        let cpu = loads.each_ref().map(|load| load.cpu);
        let [_, health, .., full, floor] = loads;
        let [to_floor, to_health] = [floor, health].map(|than| [full.cpu / than.cpu, full.rate / than.rate]);
        [&cpu[..], &to_floor, &to_health, &[full.p99]].concat()
    });
}

fn callers(rounds: usize) {
    let rows = [
        ["durable mints, 1 caller: p50", "≤ 0.30 ms", "ms"],
        ["the same: 4 callers", "≤ 0.42 ms", "ms"],
        ["the same: 16 callers", "≤ 0.65 ms", "ms"],
    ];
    print(rounds, rows, || [1, 4, 16].map(|callers| fresh(|server| mint(server, callers, MINTS / 4).p50)));
}

fn live(rounds: usize) {
    fresh(|server| {
        let before = server.memory("VmRSS:");
        mint(server, CALLERS, LIVE_GRANTS);
        let each = (server.memory("VmRSS:") - before) * 1e6 / f64::from(LIVE_GRANTS);
        let row = ["resident memory of a live grant, of 400,000", "≤ 220 bytes", "bytes"];
        print(1, [row], || [each]);
        let ratio = ["a mint beside 400,000 live grants: CPU ÷ a new broker", "≤ 1.15 ×", "×"];
        print(rounds, [ratio], || {
            let cpu = |server: &Server| mint(server, CALLERS, MINTS).cpu;
            [cpu(server) / fresh(cpu)]
        });
    });
}

fn memory(_: usize) {
    let idle = Server::broker(&CLOUDFLARE);
    let idle = ["VmRSS:", "RssAnon:"].map(|kind| idle.memory(kind));
    let mut settings =
        vec![("REPORTER_TOKEN", "bench-reporter-token-0123456789ab"), ("HEARTBEAT_SECONDS", "3600")];
    settings.extend(CLOUDFLARE);
    let server = Server::broker(&settings);
    load(&server, CALLERS, CONNECTIONS, |number| {
        // An id is as long as those of crypto.randomUUID().
        let body = format!(r#"{{"connectionId":"00000000-0000-4000-8000-{number:012}"}}"#);
        let head = "POST /api/connections HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer bench-reporter-token-0123456789ab";
        format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    });
    let rows = [
        ["resident memory: idle", "≤ 20 MB", "MB"],
        ["the same: of no file", "≤ 8 MB", "MB"],
        ["the same: 100,000 live connections", "≤ 55 MB", "MB"],
        ["the same: 4,096 signaling sockets", "≤ 60 MB", "MB"],
    ];
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let signaling = Server::broker(&[("SIGNALING", "yjs")]);
    let _sockets: Vec<_> = (0..SOCKETS).map(|number| open_socket(&signaling, number)).collect();
    print(1, rows, || [idle[0], idle[1], server.memory("VmRSS:"), signaling.memory("VmRSS:")]);
}

fn start(rounds: usize) {
    let old = directory();
    old_ledger::write(old.path());
    let row = ["start with a month-old ledger", "≤ 40 ms", "ms"];
    print(rounds, [row], || [Server::start_of(old.path())]);
}

fn status(rounds: usize) {
    // The last day of a period, and 16 owners of counts that are idle.
    let tomorrow = SystemClock.now().to_utc().date_naive().succ_opt().unwrap().day().to_string();
    let relays: Vec<_> = (1..=16).map(|nth| format!("turn:relay-{nth}.example")).collect();
    let broker = Server::broker(&[("BILLING_DAY", &tomorrow), ("COTURN_URLS", &relays.join(","))]);
    let state = directory();
    let bare = Server::floor(state.path(), body(broker.address, STATUS).unwrap().len());
    let row = ["status, default log: requests/s ÷ axum route", "≥ 0.75 ×", "×"];
    print(rounds, [row], || {
        let [broker, bare] = [&broker, &bare].map(|server| load(server, CALLERS, MINTS, |_| get(STATUS)));
        [broker.rate / bare.rate]
    });
}

fn size(_: usize) {
    let bytes = u32::try_from(std::fs::metadata(program()).unwrap().len()).unwrap();
    print(1, [["size of the program", "≤ 17 MB", "MB"]], || [f64::from(bytes) / 1e6]);
}

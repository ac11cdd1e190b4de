//! Tests with a real coturn: the broker reads its CLI, the bytes equal those of coturn's log, and a cut ends the traffic of a
//! grant. tests/coturn/run.sh creates the network and runs this. The calls are those of coturn's own test client.

#![expect(clippy::print_stdout, reason = "its figures are read by people")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use secrecy::SecretString;
use turn_base::clock::{Clock, SystemClock};
use turn_broker::config::CoturnCliConfig;
use turn_broker::ice::rest::{RestSecret, RestServer};
use turn_broker::ice::url::IceUrl;
use turn_broker::meter::coturn::cli::CoturnCli;
use turn_ledger::{BitRate, GrantId, HIDDEN_PACKETS_MAX, Listing, SessionDelta, Sessions, to_cut};

pub(crate) const SECRET: &str = "real-coturn-secret";
pub(crate) const PASSWORD: &str = "real-coturn-password";
const ESTIMATED_RATE: BitRate = BitRate::new(2_000_000);
const LISTING_INTERVAL: Duration = Duration::from_millis(500);
/// The payload of a packet, and the bytes that coturn counts for it: channel data adds four.
const PAYLOAD: u64 = 1_000;
const COUNTED_PER_PACKET: u64 = PAYLOAD + 4;

/// A process. Dropping it ends it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) struct RealCoturn {
    directory: PathBuf,
    cli: CoturnCli,
    _process: Running,
}

impl RealCoturn {
    /// Starts coturn with additional settings, and with its files in this new directory.
    pub(crate) async fn start(directory: PathBuf, more: &[&str]) -> Self {
        fs::create_dir_all(&directory).unwrap();
        let path = |name: &str| directory.join(name).display().to_string();
        let settings = [
            "listening-ip=127.0.0.1",
            "relay-ip=127.0.0.1",
            "realm=relay.test",
            "fingerprint",
            "no-dtls",
            "use-auth-secret",
            "allow-loopback-peers",
            "verbose",
            "simple-log",
            "log-file=stdout",
            &format!("static-auth-secret={SECRET}"),
            &format!("cli-password={PASSWORD}"),
            &format!("userdb={}", path("coturn.db")),
            &format!("pidfile={}", path("coturn.pid")),
        ];
        let settings = [&settings[..], more].concat();
        fs::write(directory.join("coturn.conf"), settings.join("\n")).unwrap();
        let process = run(&directory, "coturn", "turnserver", &["-c", &path("coturn.conf")]);
        let config =
            CoturnCliConfig { address: "127.0.0.1:5766".to_owned(), password: SecretString::from(PASSWORD) };
        let coturn = Self { directory, cli: CoturnCli::new(&config), _process: process };
        coturn.until("coturn to listen", async || coturn.log().contains("UDP listener opened")).await;
        coturn.until("its command line", async || coturn.cli.sessions().await.is_ok()).await;
        coturn
    }

    /// A call of two clients over two allocations, with a credential of the broker's form.
    fn call(&self, grant: GrantId, packets: u32) -> Running {
        let url = IceUrl::parse("turn:127.0.0.1:3478").unwrap();
        let source = RestServer::new(vec![url], RestSecret::new(SecretString::from(SECRET)));
        let list = source.credential(&grant.to_string(), SystemClock.now().plus(Duration::from_secs(600)));
        let list = serde_json::to_value(list).unwrap();
        let text = |name: &str| list[0][name].as_str().unwrap().to_owned();
        let (packets, payload) = (packets.to_string(), PAYLOAD.to_string());
        let (username, credential) = (text("username"), text("credential"));
        let args = [
            "-y",
            "-c",
            "-m",
            "1",
            "-z",
            "2",
            "-n",
            &packets,
            "-l",
            &payload,
            "-u",
            &username,
            "-w",
            &credential,
            "127.0.0.1",
        ];
        run(&self.directory, &format!("client-{grant}"), "turnutils_uclient", &args)
    }

    async fn sessions(&self) -> Listing {
        self.cli.sessions().await.unwrap()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("coturn.log")).unwrap_or_default()
    }

    /// The `usage:` lines of this grant's client sockets, in log order: session, and bytes sent since the previous line.
    fn usage(&self, grant: GrantId) -> Vec<(String, u64)> {
        let user = format!(":{grant}>, rp=");
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains(": usage: ") && line.contains(&user));
        let read = |line: &str| {
            let session = line.split_once("session ")?.1.split_once(':')?.0;
            Some((session.to_owned(), line.rsplit_once("sb=")?.1.parse().ok()?))
        };
        lines.map(|line| read(line).unwrap()).collect()
    }

    async fn until(&self, what: &str, mut happens: impl AsyncFnMut() -> bool) {
        for _ in 0..600 {
            if happens().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("waited for {what}; coturn's log: {}", self.log());
    }
}

fn run(directory: &Path, name: &str, program: &str, args: &[&str]) -> Running {
    let log = File::create(directory.join(format!("{name}.log"))).unwrap();
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stderr(log.try_clone().unwrap())
        .stdout(log);
    Running(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}")))
}

#[expect(clippy::disallowed_methods, reason = "run.sh says where")]
pub(crate) fn work_directory() -> PathBuf {
    std::env::var("WORK_DIR").expect("run by tests/coturn/run.sh").into()
}

#[tokio::test]
#[ignore = "needs a coturn: tests/coturn/run.sh"]
async fn real_coturn_is_measured_and_cut() {
    let coturn = RealCoturn::start(work_directory().join("measured"), &["no-tls"]).await;
    measure(&coturn, GrantId::new([1; 16])).await;
    cut(&coturn, GrantId::new([2; 16])).await;
}

/// The listing agrees with the log so far, and the ledger counts all of it in the end.
async fn measure(coturn: &RealCoturn, grant: GrantId) {
    let mut client = coturn.call(grant, 8_000);
    let (mut book, mut booked, mut shown, mut logged_so_far) = (Sessions::default(), 0, 0, 0);
    let sent = |delta: SessionDelta| delta.added.values().map(|added| added.sent.get()).sum::<u64>();
    let (mut listings, mut listings_that_agree) = (0, 0);
    let logged = |coturn: &RealCoturn| coturn.usage(grant).iter().map(|(_, sent)| sent).sum::<u64>();
    coturn
        .until("the call to end", async || {
            let ended = client.0.try_wait().unwrap().is_some();
            let logged_before = logged(coturn);
            let listing = coturn.sessions().await;
            assert!(listing.is_complete);
            let ours = listing.sessions.iter().filter(|session| session.grant == Some(grant));
            let now: u64 = ours.map(|session| session.traffic.sent.get()).sum();
            if !ended && now > 5_000_000 {
                shown = now;
                logged_so_far = logged(coturn);
                listings += 1;
                let is_within = shown * 50 >= logged_before * 49 && shown * 50 <= logged_so_far * 51;
                listings_that_agree += u32::from(is_within);
            }
            booked += sent(book.take(&listing, SystemClock.now(), ESTIMATED_RATE));
            tokio::time::sleep(LISTING_INTERVAL).await;
            ended
        })
        .await;
    let sessions = 2;
    coturn
        .until("coturn's last log line of both sessions", async || {
            coturn.log().matches(&format!(":{grant}> realm <relay.test> origin <>, local")).count()
                >= sessions
        })
        .await;
    booked += sent(book.take(&coturn.sessions().await, SystemClock.now(), ESTIMATED_RATE));
    let logged = logged(coturn);
    println!("  egress to the two clients          bytes     share");
    for (who, bytes) in [
        ("log, at the last listing", logged_so_far),
        ("listing, the last one", shown),
        ("log, in all", logged),
        ("book, in all", booked),
    ] {
        println!(
            "  {who:28} {bytes:>11} {:>9}",
            format!("{}.{:02} %", bytes * 100 / logged, bytes * 10_000 / logged % 100)
        );
    }
    // The listing was read between two readings of the log. coturn does not write both at the same instant, and each update is a
    // megabyte.
    assert!(
        listings > 4 && listings_that_agree * 4 > listings * 3,
        "within 2 %: {listings_that_agree} of {listings} listings"
    );
    assert!(booked >= logged, "everything is counted: {booked} of {logged}");
    // For each session: the hidden bytes, and its rate up to the first listing without it.
    let most = logged + 4 * HIDDEN_PACKETS_MAX * COUNTED_PER_PACKET;
    assert!(booked <= most, "{booked}, and {most} at most");
}

/// A cut ends the flow of its grant at once, and no other.
async fn cut(coturn: &RealCoturn, grant: GrantId) {
    let bystander = GrantId::new([3; 16]);
    let calls = [coturn.call(grant, 100_000), coturn.call(bystander, 100_000)];
    let flowing = |listing: &Listing, grant| {
        listing
            .sessions
            .iter()
            .filter(|session| session.grant == Some(grant) && session.packets >= 2_048)
            .count()
    };
    coturn
        .until("both calls to flow", async || {
            let listing = coturn.sessions().await;
            flowing(&listing, grant) == 2 && flowing(&listing, bystander) == 2
        })
        .await;
    let listing = coturn.sessions().await;
    let ids = to_cut(&listing, |id, _| id == grant);
    assert!(ids.len() >= 2, "{listing:?}");
    assert_eq!(coturn.cli.cut(&ids).await.unwrap(), ids.len());
    coturn.until("the sessions to be gone", async || flowing(&coturn.sessions().await, grant) == 0).await;
    let at_the_cut = coturn.usage(grant);
    let before: u64 = coturn.usage(bystander).iter().map(|(_, sent)| sent).sum();
    coturn
        .until("the other call to go on", async || {
            let now: u64 = coturn.usage(bystander).iter().map(|(_, sent)| sent).sum();
            now > before + 4 * 2_048 * COUNTED_PER_PACKET
        })
        .await;
    assert_eq!(coturn.usage(grant), at_the_cut, "nothing flowed after the cut");
    assert_eq!(flowing(&coturn.sessions().await, bystander), 2);
    println!("  cut {} sessions, the other call's went on", ids.len());
    drop(calls);
}

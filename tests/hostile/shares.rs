//! Who fills a place that many share: names of a server key, one of its users, made-up tokens, slow bodies, addresses of one /48. Others are
//! served at the same time, each with what they are allowed.

use std::sync::atomic::Ordering;

use crate::client::Client;
use crate::honest::Tally;
use crate::support::prelude::*;
use crate::unfinished::{Counts, Load, keep};
use crate::{Form, Outcome, address, grouped, memory, program};

const KEY: &str = "key-of-the-hostile-server-0123456789";
const OTHER_KEY: &str = "key-of-another-server-01234567890123";
const KEYS: (&str, &str) =
    ("SERVER_KEYS", "one=key-of-the-hostile-server-0123456789,two=key-of-another-server-01234567890123");
const PROXIED: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.1");
/// Bodies of one forwarded client that may be coming.
const COMING_MAX: u64 = 512;
/// Questions in progress for one address.
const QUESTIONS_MAX: usize = 16;

attacks! { form:
    "names of one key, with USER_LIMIT_GB", "a quarter of the rows: newcomers of others get theirs" =>
        names(form);
    "one named user of a key", "a sixteenth of the key's rate" => one_user(form);
    "names of one key in strict mode", "half of what is left" => reserved(form);
    "made-up tokens of three addresses", "16 questions of each" => questions(form);
    "slow bodies of one forwarded address", "512 of 8,192" => bodies(form);
    "four /64s of one /48", "others there are served" => neighbours(form);
}

/// Mints of a key for one user after another. Returns how many were served.
async fn mint_for(client: &mut Client, key: &str, users: impl Iterator<Item = String>) -> u64 {
    let mut served = 0;
    for user in users {
        served += u64::from(client.mint(&format!("?user={user}"), key).await.is_some());
    }
    served
}

/// Ten users of another key, and ten pages.
async fn others(server: std::net::SocketAddr, honest: &mut Tally) {
    for n in 0..10 {
        let mut app_server = Client::new(server);
        honest
            .serve(async {
                mint_for(&mut app_server, OTHER_KEY, [format!("honest-{n}")].into_iter()).await == 1
            })
            .await;
        let mut page = Client::behind_proxy(server, &format!("203.0.113.{n}"));
        honest.serve(async { page.mint("", "").await.is_some() }).await;
    }
}

/// The table has 100,000 rows, a key a quarter of them, and its names without bytes leave first. The short form fills no quarter.
async fn names(form: Form) -> Outcome {
    let process = program(&[
        KEYS,
        PROXIED,
        ("USER_LIMIT_GB", "1"),
        ("GRANTS_MAX", "400000"),
        ("SERVER_KEY_REQUESTS", "1000000"),
    ]);
    let (server, of) = (address(&process), form.choose(200, 30_000));
    let minted = mint_for(&mut Client::new(server), KEY, (0..of).map(|n| format!("name-{n}"))).await;
    let mut honest = Tally::default();
    others(server, &mut honest).await;
    let effect = format!("{} of {} names get credentials", grouped(minted), grouped(of));
    Outcome { attempts: of, effect, honest, is_within: true }
}

/// The key may make 1,000 requests at once.
async fn one_user(form: Form) -> Outcome {
    let process = program(&[KEYS, PROXIED]);
    let (server, of) = (address(&process), form.choose(200, 5_000));
    let mut honest = Tally::default();
    let guest = (0..of).map(|_| "guest".to_owned());
    let minted = mint_for(&mut Client::new(server), KEY, guest).await;
    for n in 0..100 {
        let (mut client, user) = (Client::new(server), [format!("user-{n}")]);
        honest.serve(async { mint_for(&mut client, KEY, user.into_iter()).await == 1 }).await;
    }
    let effect = format!("gets {minted} of {} credentials", grouped(of));
    // One more each five seconds.
    Outcome { attempts: of, effect, honest, is_within: (62..=80).contains(&minted) }
}

async fn reserved(_: Form) -> Outcome {
    let cli = FakeCoturnCli::start().await;
    let (at, reports) = (cli.config().address, FakeCoturnReports::start(0));
    let [listen, password] = reports.settings();
    let process = program(&[
        KEYS,
        PROXIED,
        ("BUDGET_MODE", "strict"),
        ("COTURN_CLI", &at),
        ("COTURN_CLI_PASSWORD", PASSWORD),
        listen,
        password,
    ]);
    let (server, mut honest) = (address(&process), Tally::default());
    // The first listing shows that the command line answers.
    honest.serve(async { became_ready(server).await }).await;
    let mut client = Client::new(server);
    mint_for(&mut client, KEY, (0..60).map(|n| format!("name-{n}"))).await;
    let (_, status) = client.get("/api/bandwidth-status", "").await;
    let reserved: f64 = status["reservedGB"].as_str().unwrap().parse().unwrap();
    others(server, &mut honest).await;
    let effect = format!("reserves {reserved:.0} of 1,000 GB");
    Outcome { attempts: 60, effect, honest, is_within: (100.0..=500.0).contains(&reserved) }
}

async fn became_ready(server: std::net::SocketAddr) -> bool {
    // Each question has an address of its own, so no allowance ends the wait.
    for n in 0..200 {
        if Client::behind_proxy(server, &format!("198.18.{n}.1")).mint("?ttl=60", "").await.is_some() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    false
}

async fn questions(form: Form) -> Outcome {
    let each = form.choose(40, 120);
    let hanging = vec![Reply::Hang; 3 * QUESTIONS_MAX];
    let application = FakeWebhook::start(&[&hanging[..], &[Reply::Text(r#"{"user":"ann"}"#)]].concat()).await;
    let process = program(&[PROXIED, ("AUTH_WEBHOOK_URL", &application.url())]);
    let server = address(&process);
    let mut asking = JoinSet::new();
    for n in 0..3 * each {
        asking.spawn(async move {
            let mut client = Client::behind_proxy(server, &format!("203.0.113.{}", n % 3));
            client.get("/api/turn-credentials", &format!("made-up-{n}")).await.0
        });
    }
    application.wait_for(hanging.len()).await;
    let mut honest = Tally::default();
    let mut ann = Client::behind_proxy(server, "198.51.100.1");
    honest.serve(async { ann.get("/api/turn-credentials", "token-of-ann").await.0 == 200 }).await;
    let asked = application.history().len() - 1;
    asking.shutdown().await;
    let effect = format!("holds {asked} of 256 places");
    Outcome { attempts: u64::try_from(3 * each).unwrap(), effect, honest, is_within: asked <= hanging.len() }
}

async fn bodies(form: Form) -> Outcome {
    let process = program(&[PROXIED]);
    let (server, of) = (address(&process), form.choose(700, 9_000));
    let before = memory::handles(process.id()).unwrap();
    let (counts, bytes): (Arc<Counts>, Arc<[u8]>) = (Arc::default(), Load::Slow.bytes("").into());
    let mut held = JoinSet::new();
    for _ in 0..of {
        held.spawn(keep(server, [127, 0, 0, 1], Arc::clone(&bytes), Arc::clone(&counts)));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut honest = Tally::default();
    others_without_key(server, &mut honest).await;
    counts.is_ending.store(true, Ordering::Relaxed);
    // Ten sockets of the honest clients may still be open. A busy machine takes a while to close the others, but the time limit of bodies
    // must not do it.
    let (mut open, most) = (u64::MAX, COMING_MAX + 10);
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        open = u64::try_from(memory::handles(process.id()).unwrap().saturating_sub(before)).unwrap();
        if open <= most {
            break;
        }
    }
    let effect = format!("holds {} of {} sockets", grouped(open), grouped(of));
    let attempts = counts.opened.load(Ordering::Relaxed);
    Outcome { attempts, effect, honest, is_within: open <= most }
}

async fn others_without_key(server: std::net::SocketAddr, honest: &mut Tally) {
    for n in 0..10 {
        let mut page = Client::behind_proxy(server, &format!("198.51.100.{n}"));
        honest
            .serve(async {
                let grant = page.mint("", "").await.unwrap_or_default();
                page.post("/api/connections", &grant, &json!({ "connectionId": "c" })).await.0 == 201
            })
            .await;
    }
}

async fn neighbours(form: Form) -> Outcome {
    let process = program(&[PROXIED]);
    let (server, each) = (address(&process), form.choose(50, 2_000));
    let (mut minted, mut honest) = (0, Tally::default());
    for site in 0..4 {
        let mut phone = Client::behind_proxy(server, &format!("2001:db8:1:{site}::1"));
        for _ in 0..each {
            minted += u64::from(phone.mint("", "").await.is_some());
        }
    }
    for site in 16..36 {
        let mut stranger = Client::behind_proxy(server, &format!("2001:db8:1:{site:x}::1"));
        honest.serve(async { stranger.mint("", "").await.is_some() }).await;
    }
    let effect = format!("get {minted} of {} mints", grouped(4 * each));
    // Ten each at once, one more each 30 s.
    Outcome { attempts: 4 * each, effect, honest, is_within: minted <= 60 }
}

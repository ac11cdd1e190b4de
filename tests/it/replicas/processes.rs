//! Two real processes on one database: one is killed, paused or ended, and the other one takes over.

use super::store::replica;
use crate::doctor::doctor;
use crate::support::prelude::*;

/// The exit status of a replica that has lost its lead.
const LOST: i32 = 75;

/// A lease that no leader misses on a busy machine.
const LONG: &str = "60";
/// The shortest lease.
const SHORT: &str = "2";

fn start(database: &TestDatabase, url: &str, lease: &str) -> Process {
    let own = [
        ("DATABASE_URL", url),
        ("DATABASE_SCHEMA", database.schema.as_str()),
        ("LEASE_SECONDS", lease),
        ("OPERATOR_TOKEN", OPERATOR),
        ("RUST_LOG", "info"),
    ];
    Process::start(&[&own[..], &COTURN[..]].concat())
}

async fn leads(process: &Process) {
    eventually("it leads", async || process.get("/leader").await.status == 200).await;
}

/// Two replicas of which the first one leads and the second one can serve.
async fn pair(database: &TestDatabase, lease: &str) -> (Process, Process) {
    pair_of(database, &database.url(), lease).await
}

/// The same. The first one reaches the database at this URL.
async fn pair_of(database: &TestDatabase, url: &str, lease: &str) -> (Process, Process) {
    let first = start(database, url, lease);
    leads(&first).await;
    let second = start(database, &database.url(), lease);
    eventually("it forwards", async || second.get("/api/bandwidth-status").await.status == 200).await;
    (first, second)
}

/// Waits for a mint. A request waits for a leader, but on a busy machine the next one may come too late for it.
async fn mints(process: &Process) {
    eventually("it mints", async || process.mint().await.status == 200).await;
}

/// Mints so far. On a busy machine, some were written too late to be answered.
async fn issued(process: &Process) -> u64 {
    process.status().await["grants"]["issued"].as_u64().unwrap()
}

#[tokio::test]
async fn a_replica_has_one_connection_and_the_leader_two() {
    let Some(database) = TestDatabase::alone() else { return };
    let (_one, _two) = pair(&database, LONG).await;
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'turn-broker%'";
    eventually("they are three", async || database.number(open).await == 3).await;
}

#[tokio::test]
async fn a_leader_notes_which_replicas_it_reaches_and_doctor_names_a_closed_port() {
    let Some(database) = TestDatabase::new() else { return };
    let (_first, _second) = pair(&database, LONG).await;
    let reached = "SELECT count(*) FROM node WHERE reached";
    eventually("it reaches the standby", async || database.number(reached).await == 1).await;
    let closed =
        "INSERT INTO node VALUES ('http://127.0.0.1:1', '', '', clock_timestamp() + interval '1 hour', 0)";
    database.run(closed).await;
    let (url, schema) = (database.url(), database.schema.as_str());
    let own = [
        ("DATABASE_URL", url.as_str()),
        ("DATABASE_SCHEMA", schema),
        ("ADVERTISE_URL", "http://127.0.0.2:3001"),
    ];
    let found = doctor(&["--json"], &[&own[..], &COTURN[..]].concat()).await;
    assert!(found.text.contains("port 1 of 127.0.0.1 is closed for 127.0.0.2"), "{}", found.text);
}

#[tokio::test]
async fn what_a_killed_leader_has_answered_is_known_to_the_next_one() {
    let Some(database) = TestDatabase::new() else { return };
    let (first, second) = pair(&database, LONG).await;
    mints(&second).await;
    first.signal("-KILL");
    mints(&second).await;
    leads(&second).await;
    assert!(issued(&second).await >= 2);
    second.signal("-TERM");
    assert_eq!(second.finish().1, Some(0));
}

#[tokio::test]
async fn a_leader_that_was_paused_for_too_long_answers_no_mint_and_ends() {
    let Some(database) = TestDatabase::new() else { return };
    let (first, second) = pair(&database, SHORT).await;
    first.signal("-STOP");
    mints(&second).await;
    leads(&second).await;
    let before = issued(&second).await;
    first.signal("-CONT");
    let refused = first.request(Method::GET, "/api/turn-credentials").send().await;
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status() == 503));
    assert_eq!(first.finish().1, Some(LOST));
    assert_eq!(issued(&second).await, before);
}

/// The leader asks less and less often while the database is down, so a standby reaches it first.
#[tokio::test]
async fn after_a_restart_of_the_database_the_same_leader_goes_on() {
    let Some(database) = TestDatabase::alone() else { return };
    let way = Proxy::start(database.address()).await;
    let (first, second) = pair_of(&database, &url_at(way.port), LONG).await;
    way.harm_all(Harm::Cut);
    database.restart(2).await;
    let looked = "SELECT count(*) FROM node WHERE seen_at > pg_postmaster_start_time()";
    eventually("the standby looks", async || database.number(looked).await > 0).await;
    let seen = replica(&database.config(), 1).observe().await.unwrap();
    assert_eq!((seen.is_held, seen.has_session, seen.has_written), (true, false, false), "nobody knows");
    way.harm_all(Harm::None);
    eventually("it can write", async || first.get("/ready").await.status == 200).await;
    mints(&second).await;
    assert_eq!(database.number("SELECT epoch FROM shard").await, 1);
}

/// As on machines of which each reaches the database at its own 127.0.0.1.
#[tokio::test]
async fn two_replicas_with_one_address_say_which_setting_is_wrong() {
    let Some(database) = TestDatabase::new() else { return };
    let (schema, url) = (database.schema.as_str(), database.url());
    let one_address = ("ADVERTISE_URL", "http://127.0.0.1:3001");
    let own =
        [("DATABASE_URL", url.as_str()), ("DATABASE_SCHEMA", schema), ("LEASE_SECONDS", SHORT), one_address];
    let settings = [&own[..], &[("RUST_LOG", "info"), ("OPERATOR_TOKEN", OPERATOR)], &COTURN[..]].concat();
    let first = Process::start(&settings);
    leads(&first).await;
    let mut second = Process::start(&settings);
    let says_so = async || {
        let answer = second.operator("/ready").await;
        let text = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        answer.error() == (503, "NO_LEADER")
            && text.starts_with("Set ADVERTISE_URL")
            && text.contains(one_address.1)
    };
    eventually("it says so", says_so).await;
    assert_eq!(first.get("/api/bandwidth-status").await.status, 200, "the leader serves");
    let of_leader = async || {
        let answer = first.operator("/ready").await;
        answer.status == 200 && answer.json()["warning"].as_str().unwrap_or_default().contains(one_address.1)
    };
    eventually("the leader says so, too", of_leader).await;
    let found = doctor(&["--json"], &[&own[..], &COTURN[..]].concat()).await;
    assert!(found.states("advertise-url").contains(&"fail".to_owned()), "{}", found.text);
    assert!(second.read_until("Set ADVERTISE_URL").contains(one_address.1));
}

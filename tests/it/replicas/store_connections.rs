//! How the database is reached: TLS, poolers, and what a replica is told of the address of others.

use crate::support::prelude::*;

use turn_broker::store::writer::Store;

use super::store::{NOON, batch_at, blocking, lead, loaded, replica, stored};

async fn error_with(database: &TestDatabase, settings: &[(&str, &str)]) -> Option<String> {
    replica(&database.config_with(settings), 1).observe().await.err().map(|error| error.to_string())
}

#[tokio::test]
async fn the_certificate_and_its_name_are_verified_unless_the_url_turns_tls_off() {
    let Some(database) = TestDatabase::new() else { return };
    let (authority, port) = (database.authority(), database.address().1);
    let url = |host: &str, query: &str| format!("postgres://turn@{host}:{port}/postgres{query}");
    let (named, by_address) = (url("localhost", ""), url("127.0.0.1", ""));
    let trusted = ("CA_FILE", authority.to_str().unwrap());
    assert_eq!(error_with(&database, &[("DATABASE_URL", &named), trusted]).await, None);
    let tls = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl";
    let mut secure = replica(&database.config_with(&[("DATABASE_URL", &named), trusted]), 1);
    secure.observe().await.unwrap();
    assert!(database.number(tls).await > 0);
    for (settings, expected) in [
        (vec![("DATABASE_URL", named.as_str())], "certificate"),
        (vec![("DATABASE_URL", &by_address), trusted], "certificate"),
        (vec![("DATABASE_URL", &url("localhost", "?sslmode=prefer"))], "certificate"),
    ] {
        let error = error_with(&database, &settings).await.unwrap();
        assert!(error.contains(expected), "{settings:?}: {error}");
    }
    assert_eq!(error_with(&database, &[("DATABASE_URL", &url("127.0.0.1", "?sslmode=disable"))]).await, None);
}

#[tokio::test]
async fn the_proof_of_the_password_can_be_bound_to_the_tls_connection() {
    let Some(database) = TestDatabase::new() else { return };
    database.run("CREATE ROLE with_password SUPERUSER LOGIN PASSWORD 'hush'").await;
    let port = database.address().1;
    let url = format!("postgres://with_password:hush@localhost:{port}/postgres?channel_binding=require");
    let authority = database.authority();
    let settings = [("DATABASE_URL", url.as_str()), ("CA_FILE", authority.to_str().unwrap())];
    assert_eq!(error_with(&database, &settings).await, None);
}

#[tokio::test]
async fn a_replica_behind_a_pooler_that_shares_sessions_ends_and_says_what_to_do() {
    let Some(database) = TestDatabase::new() else { return };
    for pooling in [Pooling::Transaction, Pooling::Statement] {
        let url = url_at(Pooler::start(database.address(), pooling).await.port);
        let own = [("DATABASE_URL", url.as_str()), ("DATABASE_SCHEMA", database.schema.as_str())];
        let mut process = Process::start(&[&own[..], &COTURN[..]].concat());
        eventually("it ends", async || process.has_ended()).await;
        let (_, told, code) = process.finish_apart();
        assert_eq!(code, Some(1), "{pooling:?}: {told}");
        assert!(told.starts_with("turn-broker: Connect to PostgreSQL directly"), "{told}");
        assert!(told.contains("a pooler in transaction or statement mode"), "{told}");
    }
}

#[tokio::test]
async fn no_error_shows_the_password() {
    let Some(database) = TestDatabase::new() else { return };
    let port = database.address().1;
    for url in [
        "postgres://turn:hush-hush@127.0.0.1:1/postgres?sslmode=disable".to_owned(),
        format!("postgres://nobody:hush-hush@127.0.0.1:{port}/postgres?sslmode=disable"),
        format!("postgres://turn:hush-hush@127.0.0.1:{port}/nowhere?sslmode=disable"),
    ] {
        let mut replica = replica(&database.config_at(&url), 1);
        let error = replica.observe().await.unwrap_err();
        let shown = format!("{error} {error:?} {replica:?}");
        assert!(!shown.contains("hush"), "{shown}");
    }
}

#[tokio::test]
async fn a_look_that_gets_no_answer_ends_and_the_next_one_connects_again() {
    let Some(database) = TestDatabase::new() else { return };
    let proxy = Proxy::start(database.address()).await;
    let mut replica = replica(&database.config_at(&url_at(proxy.port)), 1);
    assert_eq!(replica.observe().await.unwrap().connection, 0);
    assert_eq!(replica.observe().await.unwrap().connection, 0);
    proxy.harm_open(Harm::Pause);
    assert!(replica.observe().await.unwrap_err().to_string().contains("4 s"));
    assert_eq!(replica.observe().await.unwrap().connection, 1, "so that it knows what it may have missed");
    // A caller that waits for less time than the deadline gives up in the middle.
    proxy.harm_open(Harm::Pause);
    assert!(tokio::time::timeout(std::time::Duration::ZERO, replica.observe()).await.is_err());
    replica.observe().await.unwrap();
}

/// A machine that is lost answers nothing, not even a refusal.
#[tokio::test]
async fn a_lost_machine_does_not_hide_the_next_one_of_the_url() {
    let Some(database) = TestDatabase::new() else { return };
    // A queue of connections that is full.
    let lost = tokio::net::TcpSocket::new_v4().unwrap();
    lost.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let lost = lost.listen(1).unwrap();
    let address = lost.local_addr().unwrap();
    let mut queued = tokio::task::JoinSet::new();
    for _ in 0..8 {
        queued.spawn(tokio::net::TcpStream::connect(address));
    }
    // One more than the length of the queue.
    let mut waiting = vec![];
    for _ in 0..2 {
        waiting.push(queued.join_next().await);
    }
    // The first look makes the tables.
    replica(&database.config(), 1).observe().await.unwrap();
    let (lost, port) = (address.port(), database.address().1);
    let url = format!("postgres://turn@127.0.0.1:{lost},127.0.0.1:{port}/postgres?sslmode=disable");
    let mut replica = replica(&database.config_at(&url), 1);
    Box::pin(finished("the look", replica.observe())).await.unwrap();
}

/// Half a second without a session costs the lead, and an idle leader writes once a second.
#[tokio::test]
async fn an_idle_leader_whose_session_breaks_has_another_one_without_a_write() {
    let Some(database) = TestDatabase::new() else { return };
    let (mut one, mut two) = (replica(&database.config(), 1), replica(&database.config(), 2));
    let storage = lead(&mut one).await;
    let (store, _) = blocking(move || Store::open(storage).unwrap()).await;
    let before = two.observe().await.unwrap();
    assert!(before.has_session);
    database.run("SELECT pg_terminate_backend(pid) FROM shard").await;
    eventually("it has another one", async || {
        let seen = two.observe().await.unwrap();
        seen.has_session && seen.seq == before.seq + 1
    })
    .await;
    assert!(!store.is_failing());
}

#[tokio::test]
async fn a_replica_states_its_address_or_that_of_its_settings() {
    let Some(database) = TestDatabase::new() else { return };
    let mut by_itself = replica(&database.config(), 3_001);
    assert_eq!(by_itself.url(), "");
    by_itself.observe().await.unwrap();
    assert_eq!(by_itself.url(), "http://127.0.0.1:3001");
    let url = database.url();
    let config = database.config_with(&[("DATABASE_URL", &url), ("ADVERTISE_URL", "http://10.0.0.7:80")]);
    assert_eq!(replica(&config, 3_001).url(), "http://10.0.0.7");
}

/// One that has started again at its address is alone, although the process before it was seen shortly ago.
#[tokio::test]
async fn two_replicas_at_one_address_see_each_other_and_one_that_starts_again_does_not() {
    let Some(database) = TestDatabase::new() else { return };
    let url = database.url();
    let settings = [("DATABASE_URL", &*url), ("ADVERTISE_URL", "http://10.0.0.7"), ("LEASE_SECONDS", "2")];
    let config = database.config_with(&settings);
    let (mut one, mut again) = (replica(&config, 1), replica(&config, 1));
    for _ in 0..2 {
        one.observe().await.unwrap();
        again.observe().await.unwrap();
        assert!(!one.has_twin() && !again.has_twin());
    }
    let mut other = replica(&database.config_with(&[("DATABASE_URL", &*url), ("LEASE_SECONDS", "2")]), 1);
    eventually("each sees the other", async || {
        one.observe().await.unwrap();
        again.observe().await.unwrap();
        other.observe().await.unwrap();
        one.has_twin() && again.has_twin()
    })
    .await;
    assert!(!other.has_twin());
    drop(one);
    eventually("it is alone", async || {
        again.observe().await.unwrap();
        !again.has_twin()
    })
    .await;
}

/// A write that reads a whole table becomes slower with each row.
#[tokio::test]
async fn a_write_finds_its_rows_by_their_keys() {
    const WRITES: i64 = 32;
    let Some(database) = TestDatabase::new() else { return };
    let (storage, _) = loaded(lead(&mut replica(&database.config(), 1)).await).await;
    let storage = stored(storage, (0..WRITES).map(|minute| batch_at(NOON + minute))).await;
    blocking(move || drop(storage)).await;
    let of = async |what: &str| {
        let table = "FROM pg_stat_user_tables WHERE schemaname = current_schema() AND relname = 'item'";
        database.number(&format!("SELECT {what} {table}")).await
    };
    // A session states its counts at its end. Making the index is one scan.
    eventually("its counts are known", async || of("n_tup_ins").await >= WRITES).await;
    let scans = of("seq_scan").await;
    assert!(scans < WRITES / 2, "{scans} scans of the table in {WRITES} writes");
}

#[tokio::test]
async fn a_server_without_fsync_is_refused_unless_other_machines_have_each_commit() {
    let Some(database) = TestDatabase::alone() else { return };
    let mut one = replica(&database.config(), 1);
    let seen = one.observe().await.unwrap();
    let error = async |url: &str| {
        replica(&database.config_at(url), 1).stand(&seen).await.err().map(|error| error.to_string())
    };
    for setting in ["fsync = off", "synchronous_standby_names = 'walproposer'"] {
        database.run(&format!("ALTER SYSTEM SET {setting}")).await;
    }
    database.run("SELECT pg_reload_conf()").await;
    let is_off = async || database.number("SELECT (current_setting('fsync') = 'off')::int").await == 1;
    eventually("it is off", is_off).await;
    assert!(error(&database.url()).await.unwrap().starts_with("Set fsync"));
    // No standby of this name is there, so that no commit ends here.
    let neon = format!("{}&options=-c%20neon.timeline_id%3D7", database.url());
    assert!(error(&neon).await.unwrap().contains("has not answered"));
}

//! `turn-broker doctor` with a database: it says what is wrong with it, and changes nothing.

use crate::doctor::{Examined, doctor};
use crate::support::prelude::*;

async fn examined(database: &TestDatabase, settings: &[(&str, &str)]) -> Examined {
    let schema = ("DATABASE_SCHEMA", database.schema.as_str());
    doctor(&["--json"], &[&[schema][..], settings].concat()).await
}

#[tokio::test]
async fn a_sound_database_is_ok_and_is_not_changed() {
    let Some(database) = TestDatabase::new() else { return };
    let broker = TestBroker::start(&[]).await;
    let advertised = format!("http://{}", broker.address);
    let (url, port) = (database.url(), broker.address.port().to_string());
    let by_default = examined(&database, &[("DATABASE_URL", &url), ("PORT", &port)]).await;
    assert_eq!(by_default.states("advertise-url"), ["ok"], "{}", by_default.text);
    let found = examined(&database, &[("DATABASE_URL", &url), ("ADVERTISE_URL", &advertised)]).await;
    assert_eq!(found.states("database"), ["ok", "ok", "ok"], "{}", found.text);
    for words in ["PostgreSQL 1", "a commit takes", "no standby of the database"] {
        assert!(found.text.contains(words), "{words}: {}", found.text);
    }
    let clock = found.of("clock");
    assert!(
        clock.iter().any(|found| found["state"] == "ok" && found["seen"] == "within 5 s of the database")
    );
    assert_eq!(found.states("advertise-url"), ["ok"]);
    assert!(found.of("state").is_empty(), "there is no STATE_DIR");
    let schemas = format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{}'", database.schema);
    assert_eq!(database.number(&schemas).await, 0);
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_a_failure_with_a_remedy() {
    let Some(database) = TestDatabase::new() else { return };
    let pooler = Pooler::start(database.address(), Pooling::Transaction).await;
    let secure = database.url().replace("?sslmode=disable", "");
    for (url, seen) in [
        (url_at(1), "Connection refused"),
        (secure, "certificate"),
        (url_at(pooler.port), "a pooler in transaction or statement mode"),
    ] {
        let found =
            examined(&database, &[("DATABASE_URL", &url), ("ADVERTISE_URL", "http://127.0.0.1:1")]).await;
        found.assert_only("database", "fail", seen, "");
        assert_eq!(found.states("advertise-url"), ["warn"]);
        assert_eq!(found.exit, Some(1));
    }
}

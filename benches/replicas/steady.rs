//! A long time at a steady rate on `PostgreSQL`: what grows, what vacuum removes, and how long a mint takes.

use std::time::Duration;

use crate::Programs;
use crate::cluster::Cluster;
use crate::figures::{Load, load};
use crate::postgres::TestDatabase;

/// Mints a second.
const RATE: u32 = 1_000;
/// The time between two rows of the table.
const SPAN: Duration = Duration::from_secs(600);
/// What the tables and the log of the database have. A row that was replaced or removed is dead until vacuum removes it.
const SIZES: &str = "SELECT \
    (sum(pg_total_relation_size(relid)) FILTER (WHERE relname = 'item'))::bigint, \
    (sum(pg_total_relation_size(relid)) FILTER (WHERE relname <> 'item'))::bigint, \
    sum(n_dead_tup)::bigint, sum(autovacuum_count)::bigint, \
    (pg_current_wal_insert_lsn() - '0/0')::bigint, (SELECT count(*) FROM item) \
    FROM pg_stat_user_tables WHERE schemaname = current_schema()";

/// Mints at [`RATE`] for so many seconds. A credential lives for ten minutes, so most grants end during the run.
pub(crate) async fn print(programs: &Programs, seconds: u64) {
    let database = TestDatabase::alone().expect("PostgreSQL");
    let settings = [("TURN_TTL_SECONDS", "600"), ("TURN_EXPIRY_TAIL_SECONDS", "0")];
    let cluster = Cluster::start_with(&programs.broker, &database, 1, false, &settings).await;
    let client = database.client().await;
    println!(
        "| after | mints | failed | p50, p99, p99.9 of these minutes | rows, with index | other tables | rows stored | dead rows | vacuums | log written in these minutes | broker |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let (mut written, mut minted) = (0, 0);
    let spans = seconds.div_ceil(SPAN.as_secs()).max(1);
    for span in 1..=spans {
        let seconds = SPAN.as_secs().min(seconds);
        let count = RATE * u32::try_from(seconds).unwrap();
        let (program, address) = (programs.load.clone(), cluster.address(0));
        let plan = Load { callers: 64, count, rate: RATE };
        let speed = tokio::task::spawn_blocking(move || load(&program, address, plan)).await.unwrap();
        minted += u64::from(count);
        let row = client.query_one(SIZES, &[]).await.unwrap();
        let [rows, others, dead, vacuums, log, stored] =
            [0, 1, 2, 3, 4, 5].map(|column| row.get::<_, i64>(column));
        println!(
            "| {} min | {minted} | {} | {:.2}, {:.2}, {:.2} ms | {} MB | {:.1} MB | {stored} | {dead} | {vacuums} | {} MB | {} MB |",
            span * seconds / 60,
            speed.failed,
            speed.p50,
            speed.p99,
            speed.p999,
            rows / 1_000_000,
            f64::from(i32::try_from(others / 1_000).unwrap()) / 1e3,
            (log - std::mem::replace(&mut written, log)) / 1_000_000,
            cluster.resident_mb(0),
        );
    }
}

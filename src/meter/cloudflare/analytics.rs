//! The client of Cloudflare's GraphQL analytics, which count relayed bytes. One query is one request and ends within
//! [`DEADLINE`]: with sums of bytes, or with an [`AnalyticsError`] that contains nothing of the response body. A doubtful
//! response is an error, never a smaller count. docs/PROVIDER.md describes the API.

mod answer;
pub mod by_grant;
mod error;

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::SecondsFormat;
use reqwest::{Method, StatusCode};

use crate::config::{AnalyticsConfig, Config};
use crate::meter::prelude::*;
use turn_base::http_client::{Api, body, date};

pub use error::AnalyticsError;

/// The time limit of one query: connecting, response and body.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// The pause that Cloudflare requires after [`AnalyticsError::RateLimited`].
pub const RATE_LIMIT_REST: Duration = Duration::from_secs(5 * 60);
/// By how much Cloudflare's time may seem late: it is sent in whole seconds, and takes time to arrive.
const CLOCK_TOLERATED: Duration = Duration::from_secs(5);
/// The longest response to a query of sums. One with one group for each selection has 0.3 KiB.
const BODY_MAX: usize = 64 * 1024;
/// How long a field that Cloudflare has refused is left out of queries.
const REFUSED_FOR: Duration = Duration::from_secs(3_600);
/// The most groups that the API returns for one selection. Without dimensions it returns one group; if there are more, all count.
const GROUPS_MAX: u32 = 10_000;
/// The filter of a span of time.
const SPAN: &str = "datetimeMinute_gt: $after, datetimeMinute_lt: $before";

/// The analytics of one account.
pub struct CloudflareAnalytics {
    api: Api,
    account_id: String,
    keys: Vec<OwnKey>,
    counted: Counted,
    /// The end of the span for which Cloudflare last refused to count by the app of the SFU, in milliseconds. No document says that
    /// Cloudflare can count by app.
    apps_refused_at: AtomicI64,
}

/// Which directions count, and which bytes of the SFU are ours.
#[derive(Clone, Debug)]
pub struct Counted {
    /// The directions that count.
    pub billed: BilledDirections,
    /// The app whose sessions of the SFU go through this service. With an app, a count without the SFU's bytes is an error: it would
    /// replace an estimate by zero.
    pub sfu_app: Option<String>,
}

impl Counted {
    /// As configured.
    pub fn of(config: &Config) -> Self {
        let sfu_app = config.signaling.sfu.as_ref().map(|sfu| sfu.app_id.clone());
        Self { billed: config.usage.billed.of(IceSource::Cloudflare), sfu_app }
    }
}

/// Cloudflare's count for a span of time, in the billed directions. It is sampled, so the same query may return more or
/// less another time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageCount {
    /// Bytes relayed with our TURN keys, or with every TURN key of the account if ours are not known.
    pub own: ByteCount,
    /// The bytes of each of our TURN keys, by the digest of its id. Empty if our keys are not known.
    pub by_key: BTreeMap<IdDigest, ByteCount>,
    /// Bytes of our app of the SFU; zero without one.
    pub sfu: ByteCount,
    /// Bytes of other TURN keys and apps, which share the account's free volume.
    pub other: ByteCount,
}

impl UsageCount {
    /// All billed bytes.
    pub fn total(&self) -> ByteCount {
        self.own.plus(self.sfu).plus(self.other)
    }
}

impl CloudflareAnalytics {
    /// `client`: one of [`turn_base::http_client::http_client`], which follows no redirects; its time limits are replaced
    /// except for connecting. `keys`: our TURN keys.
    pub fn new(client: HttpClient, config: &AnalyticsConfig, keys: Vec<OwnKey>, counted: Counted) -> Self {
        let api = Api::new(client, &config.base, &["client", "v4", "graphql"], &config.token);
        let account_id = config.account_id.clone();
        Self { api, account_id, keys, counted, apps_refused_at: AtomicI64::new(i64::MIN) }
    }

    /// The bytes relayed in a span of whole minutes, the cells in which Cloudflare counts. A span that ended less than its `age` ago by
    /// Cloudflare's clock is an error, because its newest minutes may still be filling. If Cloudflare refuses the query, asks again without
    /// the app of the SFU, which is then left out for [`REFUSED_FOR`].
    pub async fn count(&self, span: Span) -> Result<UsageCount, AnalyticsError> {
        let Span { from, until, .. } = span;
        debug_assert!(
            from == Minute::of(from).start() && until == Minute::of(until).start(),
            "whole minutes"
        );
        let refused_until =
            Timestamp::from_millis(self.apps_refused_at.load(Ordering::Relaxed)).plus(REFUSED_FOR);
        let by_app = self.counted.sfu_app.is_some() && refused_until <= until;
        match self.count_once(span, by_app).await {
            Err(AnalyticsError::QueryRefused) if by_app => {
                let counted = self.count_once(span, false).await?;
                self.apps_refused_at.store(until.as_millis(), Ordering::Relaxed);
                Ok(counted)
            }
            counted => counted,
        }
    }

    async fn count_once(&self, span: Span, by_app: bool) -> Result<UsageCount, AnalyticsError> {
        let question = question(&self.account_id, &self.keys, by_app, span.from, span.until);
        let response = self.ask(DEADLINE, &question, BODY_MAX).await?;
        let counted = answer::parse(response.status, &response.body, &self.keys, &self.counted)?;
        response.check_age(span)?;
        Ok(counted)
    }

    /// Whether our TURN keys are known, so that bytes of other keys do not count as ours.
    pub fn knows_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Asks within `deadline`. The body of an error response only says which error it is, so a body that cannot be read counts as empty.
    async fn ask(&self, deadline: Duration, question: &Value, most: usize) -> Result<RawResponse, CallError> {
        let call = self.api.call(Method::POST, &[]).timeout(deadline).json(question).build()?;
        let response = self.api.client.execute(call).await?;
        let (status, at) = (response.status(), date(response.headers()));
        let received = body(most, response).await;
        let body = if status == StatusCode::OK { received? } else { received.unwrap_or_default() };
        Ok(RawResponse { status, at, body })
    }
}

/// A raw response.
struct RawResponse {
    status: StatusCode,
    /// The time by Cloudflare's clock.
    at: Option<Timestamp>,
    body: Vec<u8>,
}

impl RawResponse {
    /// Refuses a response to a query about a span, unless the span ended at least its `age` ago by Cloudflare's clock.
    fn check_age(&self, span: Span) -> Result<(), AnalyticsError> {
        let settles_at = span.until.plus(span.age);
        let has_settled = self.at.is_some_and(|at| settles_at <= at.plus(CLOCK_TOLERATED));
        if has_settled { Ok(()) } else { Err(AnalyticsError::Unsettled) }
    }
}

/// The filter of our own keys in a query. Empty if our keys are not known. One key has the filter of Cloudflare's examples.
#[derive(Default)]
struct KeyFilter {
    /// The declaration of its variable.
    declared: &'static str,
    /// What follows another filter.
    filter: &'static str,
    /// What groups the bytes by key, if there are several keys.
    dimensions: &'static str,
}

impl KeyFilter {
    /// Puts the keys into the variables.
    fn of(keys: &[OwnKey], variables: &mut Value) -> Self {
        let ids: Vec<&str> = keys.iter().map(|key| &*key.id).collect();
        match ids.as_slice() {
            [] => Self::default(),
            [id] => {
                variables["keyId"] = json!(id);
                Self { declared: ", $keyId: string!", filter: ", keyId: $keyId", dimensions: "" }
            }
            ids => {
                variables["keyIds"] = json!(ids);
                let (declared, filter) = (", $keyIds: [string!]!", ", keyId_in: $keyIds");
                Self { declared, filter, dimensions: "dimensions { keyId } " }
            }
        }
    }
}

/// The request body: one query that selects the bytes of all TURN keys, of the SFU (by app if wanted), and of our own keys if they are
/// known.
///
/// The time filters are those of Cloudflare's examples. A cell has the time of the start of its minute, so "after one second
/// before `from`" selects the cell at `from` and none before it.
fn question(account_id: &str, keys: &[OwnKey], by_app: bool, from: Timestamp, until: Timestamp) -> Value {
    let groups = |name: &str, filter: &str, dimensions: &str| {
        format!(
            "{name}(limit: {GROUPS_MAX}, filter: {{{filter}}}) {{ {dimensions}sum {{ egressBytes ingressBytes }} }}"
        )
    };
    let all = groups("callsTurnUsageAdaptiveGroups", SPAN, "");
    let sfu = groups("callsUsageAdaptiveGroups", SPAN, if by_app { "dimensions { appId } " } else { "" });
    let mut variables = variables(account_id, from, until);
    let KeyFilter { declared, filter, dimensions } = KeyFilter::of(keys, &mut variables);
    let own = if keys.is_empty() {
        String::new()
    } else {
        groups("ownKey: callsTurnUsageAdaptiveGroups", &format!("{SPAN}{filter}"), dimensions)
    };
    let query = format!(
        "query RelayedBytes($accountTag: string!, $after: Time!, $before: Time!{declared}) \
         {{ viewer {{ accounts(filter: {{accountTag: $accountTag}}) {{ {all} {sfu} {own} }} }} }}"
    );
    json!({ "query": query, "variables": variables })
}

/// The variables that every query has.
fn variables(account_id: &str, from: Timestamp, until: Timestamp) -> Value {
    json!({
        "accountTag": account_id,
        "after": wire(from.minus(Duration::from_secs(1))),
        "before": wire(until),
    })
}

/// RFC 3339 in whole seconds, as in Cloudflare's examples.
fn wire(at: Timestamp) -> String {
    at.to_utc().to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use url::Url;

    use super::*;
    use turn_base::http_client::Network;

    const NOON: Timestamp = Timestamp::from_millis(1_736_942_400_000);
    const TOKEN: &str = "analytics-fixture-token";

    fn at(base: &str) -> CloudflareAnalytics {
        let config = AnalyticsConfig {
            account_id: "account".into(),
            token: TOKEN.into(),
            base: Url::parse(base).unwrap(),
            lag: Duration::ZERO,
            interval: Duration::from_secs(60),
        };
        let client = HttpClient::new(&Network::DIRECT).unwrap();
        let counted = Counted { billed: BilledDirections::Egress, sfu_app: None };
        CloudflareAnalytics::new(client, &config, keys(&["key"]), counted)
    }

    fn keys(ids: &[&str]) -> Vec<OwnKey> {
        ids.iter().map(|id| OwnKey::of(id)).collect()
    }

    #[test]
    fn the_span_includes_the_minute_at_its_beginning_and_excludes_the_one_at_its_end() {
        let question = question("account", &keys(&["key"]), false, NOON, NOON.plus(Duration::from_secs(60)));
        let expected = json!({
            "accountTag": "account",
            "keyId": "key",
            "after": "2025-01-15T11:59:59Z",
            "before": "2025-01-15T12:01:00Z",
        });
        assert_eq!(question["variables"], expected);
    }

    #[test]
    fn without_a_key_the_query_has_no_key_filter() {
        let with = question("account", &keys(&["key"]), false, NOON, NOON);
        let without = question("account", &[], false, NOON, NOON);
        assert!(with["query"].as_str().unwrap().contains("ownKey: callsTurnUsageAdaptiveGroups("));
        assert!(!without.to_string().to_lowercase().contains("key"), "{without}");
    }

    #[test]
    fn several_keys_are_one_filter_and_are_counted_apart() {
        let question = question("account", &keys(&["a", "b"]), false, NOON, NOON);
        assert_eq!(question["variables"]["keyIds"], json!(["a", "b"]));
        let query = question["query"].as_str().unwrap();
        for part in ["$keyIds: [string!]!", "keyId_in: $keyIds}) { dimensions { keyId } sum"] {
            assert!(query.contains(part), "{part} is missing in {query}");
        }
    }

    #[test]
    fn ids_are_variables_and_cannot_change_the_query() {
        let nasty = r#""}) { x } #"#;
        let (question, plain) = (
            question(nasty, &keys(&[nasty]), false, NOON, NOON),
            question("a", &keys(&["k"]), false, NOON, NOON),
        );
        assert_eq!(question["query"], plain["query"]);
    }

    #[tokio::test]
    async fn a_query_ends_at_the_deadline() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let analytics = at(&format!("http://{}", silent.local_addr().unwrap()));
        let short = Duration::from_millis(20);
        let error = analytics.ask(short, &json!({}), BODY_MAX).await.err().unwrap();
        assert_eq!(error.outcome(), "timeout");
        assert_eq!(DEADLINE, Duration::from_secs(10));
    }
}

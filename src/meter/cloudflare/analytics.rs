//! Cloudflare's own count of relayed bytes, by its GraphQL analytics. One question is one request, and it ends within
//! [`DEADLINE`]: with two sums, or with an [`AnalyticsError`] that names the fault and holds nothing of the answer's body.
//! What is doubtful is a failure, never a smaller count. The facts about the API are in docs/PROVIDER.md.

mod answer;
mod error;

use std::fmt;
use std::time::Duration;

use chrono::SecondsFormat;
use reqwest::header::{AUTHORIZATION, DATE, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use url::Url;

use crate::config::AnalyticsConfig;
use crate::http_client::{bearer, body_up_to};
use turn_ledger::connection::BilledDirections;
use turn_ledger::minute::Minute;
use turn_ledger::units::{ByteCount, Timestamp};

pub use error::{AnalyticsError, BadBody};

/// For one question in all: connecting, the answer, its body.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// How long Cloudflare wants to be left alone after [`AnalyticsError::RateLimited`].
pub const RATE_LIMIT_REST: Duration = Duration::from_secs(5 * 60);
/// Cloudflare's clock may be so far behind ours, since it says whole seconds and takes its time.
const CLOCK_TOLERATED: Duration = Duration::from_secs(5);
/// Longest answer that is read. One of one group for each selection has 0.3 KiB.
const BODY_MAX: usize = 64 * 1024;
/// The most groups that the API gives for one selection. Without dimensions it gives one; should there ever be more, all
/// of them count.
const GROUPS_MAX: u32 = 10_000;

/// An account's analytics, and the way there.
pub struct CloudflareAnalytics {
    client: Client,
    endpoint: Url,
    authorization: HeaderValue,
    account_id: String,
    key_id: Option<String>,
    billed: BilledDirections,
}

/// What Cloudflare counted in a span of time, in the billed directions. Sampled, so two answers to the same question may
/// differ, either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageCount {
    /// Relayed with our TURN key; by every TURN key of the account when it is not known which one is ours.
    pub own: ByteCount,
    /// What else counts against the account's free volume: other TURN keys, and the SFU.
    pub other: ByteCount,
}

impl CloudflareAnalytics {
    /// `client` follows no redirects and names itself, as [`crate::http_client::http_client`] does; its own time limits
    /// are replaced, but for the one on connecting. `key_id` is the TURN key whose bytes are ours. `None` when the
    /// base is no base or the token no header value, which the configuration rules out.
    #[must_use]
    pub fn new(
        client: Client,
        config: &AnalyticsConfig,
        key_id: Option<&str>,
        billed: BilledDirections,
    ) -> Option<Self> {
        let mut endpoint = config.base.clone();
        endpoint.path_segments_mut().ok()?.pop_if_empty().extend(["client", "v4", "graphql"]);
        let authorization = bearer(&config.token)?;
        let account_id = config.account_id.clone();
        let key_id = key_id.map(str::to_owned);
        Some(Self { client, endpoint, authorization, account_id, key_id, billed })
    }

    /// What was relayed in `[from, until)`. Both are whole minutes, the cells in which Cloudflare counts, and `from` is the
    /// earlier one. The newest minutes may still be filling; minutes that have not begun by Cloudflare's clock are counted
    /// by nobody, and asking for them is a failure.
    pub async fn count(&self, from: Timestamp, until: Timestamp) -> Result<UsageCount, AnalyticsError> {
        debug_assert!(
            from == Minute::of(from).start() && until == Minute::of(until).start(),
            "whole minutes"
        );
        self.count_by(DEADLINE, from, until).await
    }

    async fn count_by(
        &self,
        deadline: Duration,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<UsageCount, AnalyticsError> {
        let question = question(&self.account_id, self.key_id.as_deref(), from, until);
        let asked = tokio::time::timeout(deadline, self.ask(deadline, &question));
        let Said { status, at, body } = asked.await.unwrap_or(Err(AnalyticsError::Timeout))?;
        let counted = answer::parse(status, &body, self.billed)?;
        match at {
            Some(at) if at.plus(CLOCK_TOLERATED) < until => Err(AnalyticsError::ClockAhead),
            _ => Ok(counted),
        }
    }

    /// The body of an error only tells one error from another: none is as good.
    async fn ask(&self, deadline: Duration, question: &Value) -> Result<Said, AnalyticsError> {
        let request = self
            .client
            .post(self.endpoint.clone())
            .header(AUTHORIZATION, self.authorization.clone())
            .timeout(deadline)
            .json(question);
        let response = request.send().await.map_err(AnalyticsError::of_exchange)?;
        let at = date(response.headers());
        match response.status() {
            StatusCode::OK => Ok(Said { status: StatusCode::OK, at, body: read(response).await? }),
            status => Ok(Said { status, at, body: read(response).await.unwrap_or_default() }),
        }
    }
}

/// An answer as it came.
struct Said {
    status: StatusCode,
    /// By Cloudflare's clock.
    at: Option<Timestamp>,
    body: Vec<u8>,
}

/// The header `Date`: `Wed, 15 Jan 2025 12:00:00 GMT`.
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?;
    chrono::DateTime::parse_from_rfc2822(text).ok().map(|at| at.to_utc().into())
}

impl fmt::Debug for CloudflareAnalytics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudflareAnalytics")
            .field("endpoint", &self.endpoint.as_str())
            .finish_non_exhaustive()
    }
}

async fn read(response: Response) -> Result<Vec<u8>, AnalyticsError> {
    let body = body_up_to(BODY_MAX, response).await.map_err(AnalyticsError::of_exchange)?;
    body.ok_or(AnalyticsError::BadBody(BadBody::TooLong))
}

/// The request's body: one query that selects all TURN keys, the SFU, and once more our own key where it is known.
///
/// The time filters are the two that Cloudflare's examples show. A cell bears the begin of its minute, so "after a second
/// before `from`" takes the cell at `from` and none before it.
fn question(account_id: &str, key_id: Option<&str>, from: Timestamp, until: Timestamp) -> Value {
    let span = "datetimeMinute_gt: $after, datetimeMinute_lt: $before";
    let groups = |name: &str, filter: &str| {
        format!("{name}(limit: {GROUPS_MAX}, filter: {{{filter}}}) {{ sum {{ egressBytes ingressBytes }} }}")
    };
    let all = groups("callsTurnUsageAdaptiveGroups", span);
    let sfu = groups("callsUsageAdaptiveGroups", span);
    let mut variables = json!({
        "accountTag": account_id,
        "after": wire(Timestamp::from_millis(from.as_millis().saturating_sub(1_000))),
        "before": wire(until),
    });
    let (declared, own) = match key_id {
        None => ("", String::new()),
        Some(key_id) => {
            variables["keyId"] = key_id.into();
            let own = groups("ownKey: callsTurnUsageAdaptiveGroups", &format!("{span}, keyId: $keyId"));
            (", $keyId: string!", own)
        }
    };
    let query = format!(
        "query RelayedBytes($accountTag: string!, $after: Time!, $before: Time!{declared}) \
         {{ viewer {{ accounts(filter: {{accountTag: $accountTag}}) {{ {all} {sfu} {own} }} }} }}"
    );
    json!({ "query": query, "variables": variables })
}

/// RFC 3339 in whole seconds, as in Cloudflare's examples.
fn wire(at: Timestamp) -> String {
    at.to_utc().to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::http_client::http_client;

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
        let client = http_client().unwrap();
        CloudflareAnalytics::new(client, &config, Some("key"), BilledDirections::Egress).unwrap()
    }

    #[test]
    fn cloudflares_clock_is_read_where_it_is_told() {
        let told = |text: &'static str| date(&HeaderMap::from_iter([(DATE, HeaderValue::from_static(text))]));
        assert_eq!(told("Wed, 15 Jan 2025 12:00:00 GMT"), Some(NOON));
        assert_eq!((told("yesterday"), date(&HeaderMap::new())), (None, None));
    }

    #[test]
    fn the_minute_at_the_begin_is_asked_for_and_the_one_at_the_end_is_not() {
        let question = question("account", Some("key"), NOON, NOON.plus(Duration::from_secs(60)));
        let expected = json!({
            "accountTag": "account",
            "keyId": "key",
            "after": "2025-01-15T11:59:59Z",
            "before": "2025-01-15T12:01:00Z",
        });
        assert_eq!(question["variables"], expected);
    }

    #[test]
    fn without_a_key_nothing_is_asked_about_one() {
        let with = question("account", Some("key"), NOON, NOON);
        let without = question("account", None, NOON, NOON);
        assert!(with["query"].as_str().unwrap().contains("ownKey: callsTurnUsageAdaptiveGroups("));
        assert!(!without.to_string().to_lowercase().contains("key"), "{without}");
    }

    #[test]
    fn ids_are_variables_and_cannot_change_the_query() {
        let nasty = r#""}) { x } #"#;
        let (question, plain) =
            (question(nasty, Some(nasty), NOON, NOON), question("a", Some("k"), NOON, NOON));
        assert_eq!(question["query"], plain["query"]);
    }

    #[test]
    fn a_base_with_a_path_keeps_it_and_debug_shows_no_token() {
        let analytics = at("https://proxy.example/cf/");
        assert_eq!(analytics.endpoint.as_str(), "https://proxy.example/cf/client/v4/graphql");
        assert!(!format!("{analytics:?}").contains(TOKEN));
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_given_up_at_the_deadline() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let analytics = at(&format!("http://{}", silent.local_addr().unwrap()));
        let short = Duration::from_millis(20);
        let error = analytics.count_by(short, NOON, NOON.plus(Duration::from_secs(60))).await.unwrap_err();
        assert_eq!(error.outcome(), "timeout");
        assert_eq!(DEADLINE, Duration::from_secs(10));
    }
}

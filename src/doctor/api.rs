//! The checks of an API, or of the receiver of alerts. One request without a body tests its name, the connection and TLS, and the header
//! `Date` of the response tests this machine's clock. The status of the response does not matter.

use std::time::Duration;

use reqwest::Client;
use url::Url;

use super::finding::{Check, Finding, Remedy};
use super::tls::{host_of, of_rustls};
use crate::clock::Clock;
use crate::http_client::date;
use crate::telemetry::cause::innermost;
use turn_ledger::Timestamp;

/// Above this, times in responses are visibly wrong.
const WARN_ABOVE: Duration = Duration::from_secs(5);
/// Above this, coturn credentials expire early or late, and signatures are refused.
const FAIL_ABOVE: Duration = Duration::from_secs(60);
/// A date is truncated to the second. In milliseconds.
const HALF_SECOND: u64 = 500;

/// A server that the service connects to.
pub(super) struct Endpoint<'a> {
    /// The check that this is part of.
    pub(super) check: Check,
    pub(super) url: &'a Url,
    /// The variable that sets its URL.
    pub(super) variable: &'static str,
}

/// Connects as the service would. The second finding is about this machine's clock, if the response has a date.
pub(super) async fn check(
    endpoint: &Endpoint<'_>,
    client: &Client,
    clock: &dyn Clock,
) -> (Finding, Option<Finding>) {
    let Endpoint { check, url, variable } = *endpoint;
    let (host, began, before) = (host_of(url), clock.instant(), clock.now());
    let mut root = url.clone();
    // A path may do something, and the path of a webhook is a secret.
    root.set_path("/");
    root.set_query(None);
    let answer = client.head(root).send().await;
    let took = clock.instant().saturating_duration_since(began);
    match answer {
        Ok(answer) => {
            let ours = before.plus_millis(clock.now().millis_since(before) / 2);
            let skew =
                date(answer.headers()).map(|theirs| judge(host, theirs.plus_millis(HALF_SECOND), ours));
            let is_tls = url.scheme() == "https";
            let seen =
                if is_tls { "it answers over TLS" } else { "it answers; the URL is http, without TLS" };
            (Finding::ok(check, host, seen).after(took), skew)
        }
        Err(error) => (failed(check, host, &error, variable).after(took), None),
    }
}

fn failed(check: Check, host: &str, error: &reqwest::Error, variable: &str) -> Finding {
    if let Some(fault) = of_rustls(error) {
        let remedy = format!(
            "bypass a proxy that intercepts TLS, or set {variable} to the URL of a proxy that forwards requests; check \
             the clock; only authorities that are built into the program are trusted"
        );
        return Finding::fail(check, host, fault, Remedy::sure(remedy));
    }
    let seen = match innermost(error) {
        _ if error.is_timeout() => "no answer in time".to_owned(),
        Some(cause) => format!("no connection: {cause}"),
        None => "no connection".to_owned(),
    };
    let remedy = format!(
        "check the spelling of {host} and this machine's DNS, allow connections from here to it (firewall, route), and check \
         {variable}; HTTPS_PROXY is ignored"
    );
    Finding::fail(check, host, seen, Remedy::sure(remedy))
}

fn judge(host: &str, theirs: Timestamp, ours: Timestamp) -> Finding {
    let (ahead, behind) = (ours.since(theirs), theirs.since(ours));
    let (off, word) = if ahead >= behind { (ahead, "ahead of") } else { (behind, "behind") };
    if off <= WARN_ABOVE {
        return Finding::ok(Check::Clock, "", format!("within {} s of {host}", WARN_ABOVE.as_secs()));
    }
    let seen = format!("this machine's clock is {} s {word} {host}", off.as_secs());
    let remedy = "set the clock by NTP (systemd-timesyncd, chrony), then restart the service: it accepts a clock that \
                  jumps ahead, and keeps the later time when the clock is set back";
    if off <= FAIL_ABOVE {
        return Finding::warn(Check::Clock, "", seen, remedy);
    }
    Finding::fail(Check::Clock, "", seen, remedy)
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    const NOON: Timestamp = Timestamp::from_millis(1_736_942_400_000);

    #[test]
    fn up_to_five_seconds_are_ok_up_to_a_minute_a_warning_and_more_a_failure() {
        let at = |millis: i64| Timestamp::from_millis(NOON.as_millis() + millis);
        for (millis, state) in [
            (0, State::Ok),
            (5_000, State::Ok),
            (5_001, State::Warn),
            (60_000, State::Warn),
            (60_001, State::Fail),
        ] {
            for (ours, word) in [(at(millis), "ahead of"), (at(-millis), "behind")] {
                let found = judge("a.example", NOON, ours);
                assert_eq!(found.state, state, "{millis}");
                assert!(state == State::Ok || found.seen.contains(word), "{found:?}");
            }
        }
    }
}

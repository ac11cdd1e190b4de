//! Connections: one HTTP request to each API. The request tests the name of the API's host, the connection and TLS. The header `Date` of the response tests this machine's clock.

use turn_base::http_client::date;

use super::prelude::*;

/// If the clock is wrong by more than this, times in responses are visibly wrong.
const WARN_ABOVE: Duration = Duration::from_secs(5);
/// If the clock is wrong by more than this, coturn credentials expire early or late, and signatures are refused.
const FAIL_ABOVE: Duration = Duration::from_secs(60);
/// Half a second, in milliseconds: the mean of what a `Date` loses, because it is truncated to the second.
const HALF_SECOND: u64 = 500;

/// Connects to an API as the service would. `variable`: the setting with the URL of the API. Also returns the verdict about this machine's
/// clock, if the response has a date.
pub(super) async fn api(
    url: &Url,
    variable: &str,
    client: &HttpClient,
    clock: &dyn Clock,
) -> (Verdict, Option<Verdict>) {
    let (host, before) = (url.host_str().unwrap_or_default(), clock.now());
    let mut root = url.clone();
    // A path may do something, and the path of a webhook is a secret.
    root.set_path("/");
    root.set_query(None);
    let asked = async { client.execute(client.request(Method::HEAD, root).build()?).await };
    match asked.await {
        Ok(answer) => {
            // The server read its clock about halfway between request and response.
            let ours = before.plus_millis(clock.now().millis_since(before) / 2);
            let theirs = date(answer.headers());
            let skew = theirs.map(|theirs| judge_clock(host, theirs.plus_millis(HALF_SECOND), ours));
            let seen =
                if url.scheme() == "https" { "it answers over TLS" } else { "it answers, without TLS" };
            (ok(seen), skew)
        }
        Err(error) => {
            let remedy = format!(
                "check {variable}, DNS, and what is between here and {host}: a firewall, HTTPS_PROXY, or a proxy that \
                 intercepts TLS, whose authority belongs in CA_FILE"
            );
            (fail(error.to_string(), remedy), None)
        }
    }
}

/// `theirs`: the time of the clock of `host` at the instant at which this machine's clock had `ours`.
pub(super) fn judge_clock(host: &str, theirs: Timestamp, ours: Timestamp) -> Verdict {
    let (ahead, behind) = (ours.since(theirs), theirs.since(ours));
    let (off, word) = if ahead >= behind { (ahead, "ahead of") } else { (behind, "behind") };
    let seen = format!("this machine's clock is {} s {word} {host}", off.as_secs());
    let remedy = "set the clock by NTP (systemd-timesyncd, chrony), then restart the service";
    match off {
        _ if off <= WARN_ABOVE => ok(format!("within {} s of {host}", WARN_ABOVE.as_secs())),
        _ if off <= FAIL_ABOVE => warn(seen, remedy),
        _ => fail(seen, remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::super::CheckState;
    use super::*;

    const NOON: Timestamp = Timestamp::from_millis(1_736_942_400_000);

    #[test]
    fn up_to_five_seconds_are_ok_up_to_a_minute_a_warning_and_more_a_failure() {
        let at = |millis: i64| Timestamp::from_millis(NOON.as_millis() + millis);
        for (millis, state) in [
            (0, CheckState::Ok),
            (5_000, CheckState::Ok),
            (5_001, CheckState::Warn),
            (60_000, CheckState::Warn),
            (60_001, CheckState::Fail),
        ] {
            for (ours, word) in [(at(millis), "ahead of"), (at(-millis), "behind")] {
                let found = judge_clock("a.example", NOON, ours);
                assert_eq!(found.state, state, "{millis}");
                assert!(state == CheckState::Ok || found.seen.contains(word), "{found:?}");
            }
        }
    }
}

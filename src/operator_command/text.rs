//! What a person reads about a response of the broker. Pure. If a field is missing, or null where the broker always has a
//! value, the response is that of another program.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use turn_ledger::ByteCount;

/// A field as [visible] text; `None` if it is missing or null. `path`: a JSON pointer.
fn shown(body: &Value, path: &str) -> Option<String> {
    match body.pointer(path)? {
        Value::Null => None,
        Value::String(text) => Some(visible(text)),
        other => Some(visible(&other.to_string())),
    }
}

/// Outside text with its hidden characters escaped, so that it is shown as it is and acts on no terminal.
fn visible(text: &str) -> String {
    let escaped = |c: char| if is_hidden(c) { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// Whether a character is a control character or line break, or has the Unicode property `Default_Ignorable_Code_Point`: it is not
/// shown, or it changes the direction of others.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// A field in bytes as GB.
fn gb(body: &Value, path: &str) -> Option<String> {
    Some(ByteCount::new(body.pointer(path)?.as_u64()?).gb_four_decimals())
}

/// The state of the budget, a line each. `None` if the body is not a status.
pub(super) fn summary(status: &Value) -> Option<String> {
    let is = |name: &str| status[name].as_bool();
    let hints = status["hints"].as_array()?;
    let minting = if status["minting"]["on"].as_bool()? {
        "on".to_owned()
    } else {
        format!("off, {}: {}", shown(status, "/minting/code")?, shown(status, "/minting/message")?)
    };
    let as_of = shown(status, "/asOf").map(|as_of| format!(", counted up to {as_of}")).unwrap_or_default();
    let limit_at =
        shown(status, "/limitReachedAt").map(|at| format!(": the limit at {at}")).unwrap_or_default();
    let likely = shown(status, "/likelyOvershootGB")
        .map(|likely| format!(" ({likely} GB at the rate that was counted)"))
        .unwrap_or_default();
    let holds = if is("boundHolds")? { "" } else { ", which is not certain now: see the hints" };
    let ledger = if is("durable")? { "on disk" } else { "lost at a restart" };
    let mut text = format!(
        "Minting      {minting}\n\
         Used         {used} of {limit} GB ({percent} %), {source}{as_of}\n\
         Remaining    {remaining} GB until {reset}\n\
         Reserved     {reserved} GB; usage can pass the limit by {bound} GB at most{likely}{holds}\n\
         Rate         {rate} GB an hour (five minutes up to {until}){limit_at}\n\
         Grants       {issued} issued, {reported} reported, {live} live, {relaying} relaying\n\
         Connections  {open} open\n\
         Ledger       {ledger}",
        used = shown(status, "/bandwidthUsedGB")?,
        limit = shown(status, "/bandwidthLimitGB")?,
        percent = shown(status, "/percentage")?,
        source = shown(status, "/source")?,
        remaining = shown(status, "/remainingGB")?,
        reset = shown(status, "/resetDate")?,
        reserved = shown(status, "/reservedGB")?,
        bound = shown(status, "/overshootBoundGB")?,
        issued = shown(status, "/grants/issued")?,
        reported = shown(status, "/grants/reported")?,
        live = shown(status, "/grants/live")?,
        relaying = shown(status, "/grants/relaying")?,
        rate = shown(status, "/rateGBPerHour")?,
        until = shown(status, "/rateUntil")?,
        open = shown(status, "/activeConnections")?,
    );
    for drained in status["draining"].as_array().into_iter().flatten() {
        let sessions =
            shown(drained, "/sessions").map_or("sessions not listed".to_owned(), |n| n + " sessions");
        let _ = write!(text, "\nDraining     {}: {sessions}", shown(drained, "/relay")?);
    }
    for hint in hints {
        // Writing to a string does not fail.
        let _ = write!(text, "\nHint         {}: {}", shown(hint, "/code")?, shown(hint, "/message")?);
    }
    Some(text)
}

/// Who spends most, a line each. `None` if the body is not a page of spenders.
pub(super) fn spenders(page: &Value) -> Option<String> {
    let (by, as_of) = (shown(page, "/by")?, shown(page, "/asOf")?);
    let spenders = page["spenders"].as_array()?;
    let period = format!("the period that began in {}", shown(page, "/period")?);
    // Of a count, fewer minutes can be known than of reports.
    let seconds = page["seconds"].as_u64().filter(|_| !page["countedUntil"].is_null());
    let time = match (shown(page, "/since"), seconds) {
        (Some(since), Some(seconds)) if since != format!("{}m", seconds / 60) => {
            format!("{seconds} s of the last {since}")
        }
        (since, _) => since.map_or(period, |since| format!("the last {since}")),
    };
    let counted = |until| format!("; by the count up to {until} where that is more");
    let counted = shown(page, "/countedUntil").map(counted).unwrap_or_default();
    let mut text = format!(
        "Spent in {time} by {by}, as of {as_of}{counted}\n{:>12}  {:8}  grants  usable  {by}",
        "GB", "evidence"
    );
    for row in spenders {
        let key = shown(row, "/key").unwrap_or_else(|| format!("(no {by})"));
        let (bytes, evidence) = (gb(row, "/bytes")?, shown(row, "/evidence")?);
        let (grants, usable) = (shown(row, "/grants")?, shown(row, "/usable")?);
        // Writing to a string does not fail.
        let _ = write!(text, "\n{bytes:>12}  {evidence:8}  {grants:>6}  {usable:>6}  {key}");
    }
    if spenders.is_empty() {
        text.push_str("\nNo usage is known.");
    }
    if shown(page, "/next").is_some() {
        text.push_str("\nThere are more: see GET /api/spenders.");
    }
    if page["unknownBytes"].as_u64()? > 0 {
        let unknown = gb(page, "/unknownBytes")?;
        let _ = write!(text, "\n{unknown} GB are under identifiers that this ledger does not know.");
    }
    text.push_str(&blocked(&page["blocked"])?);
    Some(text)
}

/// The line about who is blocked; empty if nobody is. `None` if `body` is not a broker's.
fn blocked(body: &Value) -> Option<String> {
    let (count, listed) = (body["count"].as_u64()?, body["blocks"].as_array()?);
    if count == 0 {
        return Some(String::new());
    }
    let more = if count > u64::try_from(listed.len()).ok()? { ", …" } else { "" };
    let text_of = |one: &Value| {
        let until = shown(one, "/until").map(|until| format!(" until {until}")).unwrap_or_default();
        Some(format!("{} {}{until}", shown(one, "/by")?, shown(one, "/key")?))
    };
    let names = listed.iter().filter_map(text_of).collect::<Vec<_>>().join(", ");
    Some(format!("\nBlocked ({count}): {names}{more}"))
}

/// The live credentials, a line each. `None` if the body is not a page of grants.
pub(super) fn grants(page: &Value) -> Option<String> {
    let grants = page["grants"].as_array()?;
    if grants.is_empty() {
        return Some("No credential is live.".to_owned());
    }
    let mut text = format!("{:>12}  {:8}  {:22}  {:24}  of", "GB", "evidence", "credential", "expires");
    for grant in grants {
        let fields =
            [("user", "/user"), ("label", "/label"), ("address", "/address"), ("revoked", "/revokedAt")];
        let known =
            fields.into_iter().filter_map(|(name, path)| Some(format!("{name} {}", shown(grant, path)?)));
        let of = known.collect::<Vec<_>>().join(", ");
        let (bytes, evidence) = (gb(grant, "/bytes")?, shown(grant, "/evidence")?);
        let (id, expires) = (shown(grant, "/id")?, shown(grant, "/expiresAt")?);
        // Writing to a string does not fail.
        let _ = write!(text, "\n{bytes:>12}  {evidence:8}  {id:22}  {expires:24}  {of}");
    }
    if shown(page, "/next").is_some() {
        text.push_str("\nThere are more: see GET /api/grants.");
    }
    Some(text)
}

/// The result of revoking one credential. `None` if the body is not such a result.
pub(super) fn revocation(body: &Value) -> Option<String> {
    Some(format!("{} is revoked. {}", shown(body, "/grant")?, shown(body, "/message")?))
}

/// The message of a result. `None` if the body lacks the other field that such a result has.
pub(super) fn message(body: &Value, field: &str) -> Option<String> {
    body.get(field)?;
    shown(body, "/message")
}

/// What an error response says, and what to do. `None` if the body is not a broker's.
pub(super) fn failure(status: u16, body: &Value) -> Option<String> {
    let (code, error, id) = (shown(body, "/code")?, shown(body, "/error")?, shown(body, "/requestId")?);
    let remedy = match code.as_str() {
        "UNAUTHORIZED" => "Set OPERATOR_TOKEN to the token of that service.".to_owned(),
        "MISDIRECTED_REQUEST" => "Give an address with --url whose host is in ALLOWED_HOSTS.".to_owned(),
        _ => shown(body, "/message").unwrap_or_default(),
    };
    let text = format!("the broker responded {status} {code}: {error}. {remedy}");
    Some(format!("{} (request {id})", text.trim_end()))
}

pub(super) fn saved(path: &Path, bytes: u64) -> String {
    format!(
        "{} has {bytes} bytes. It contains the key of grant tokens and the secrets of created TURN keys: keep it as safe as the ledger.",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status() -> serde_json::Value {
        json!({
            "bandwidthUsedGB": "45.23", "bandwidthLimitGB": 1000, "percentage": 4.52, "remainingGB": "954.77",
            "resetDate": "2025-02-01T00:00:00.000Z", "activeConnections": 3, "status": "OK",
            "source": "measured+estimate", "asOf": "2025-01-15T11:50:00.000Z", "reservedGB": "12.00",
            "overshootBoundGB": "4.00", "likelyOvershootGB": "0.00", "boundHolds": true, "durable": true,
            "grants": {"issued": 120, "live": 7, "relaying": 2, "reported": 80}, "hints": [], "more": 1,
            "rateGBPerHour": "0.40", "rateUntil": "2025-01-15T11:50:00.000Z", "limitReachedAt": "2025-01-29T18:00:00.000Z", "minting": {"on": true}
        })
    }

    #[test]
    fn a_status_is_a_few_lines() {
        assert_eq!(
            summary(&status()).unwrap(),
            "Minting      on\n\
             Used         45.23 of 1000 GB (4.52 %), measured+estimate, counted up to 2025-01-15T11:50:00.000Z\n\
             Remaining    954.77 GB until 2025-02-01T00:00:00.000Z\n\
             Reserved     12.00 GB; usage can pass the limit by 4.00 GB at most (0.00 GB at the rate that was counted)\n\
             Rate         0.40 GB an hour (five minutes up to 2025-01-15T11:50:00.000Z): the limit at 2025-01-29T18:00:00.000Z\n\
             Grants       120 issued, 80 reported, 7 live, 2 relaying\n\
             Connections  3 open\n\
             Ledger       on disk"
        );
    }

    #[test]
    fn a_status_names_what_is_not_normal() {
        let mut body = status();
        body["minting"] = json!({"on": false, "code": "FROZEN", "message": "Minting is stopped."});
        body["durable"] = false.into();
        body["boundHolds"] = false.into();
        body["asOf"] = serde_json::Value::Null;
        body["draining"] = json!([{"relay": "a.test", "sessions": 0}, {"relay": "b.test", "sessions": null}]);
        body["hints"] = json!([{"code": "NO_REPORTS", "message": "no client\u{1b}[2J\nreports"}]);
        let text = summary(&body).unwrap();
        for expected in [
            "Minting      off, FROZEN: Minting is stopped.\n",
            "by 4.00 GB at most (0.00 GB at the rate that was counted), which is not certain now: see the hints",
            "Ledger       lost at a restart",
            "Draining     a.test: 0 sessions\nDraining     b.test: sessions not listed",
            "Hint         NO_REPORTS: no client\\u{1b}[2J\\u{a}reports",
        ] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }

    #[test]
    fn hidden_characters_of_outside_text_are_escaped_and_others_are_kept() {
        for kept in ["ann@example.com", "Zoë 李 שלום", "e\u{301}", "😀", "a b", r"a\u{1b}"] {
            assert_eq!(visible(kept), kept);
        }
        let hidden = "\0\n\u{7f}\u{85}\u{ad}\u{61c}\u{200b}\u{200d}\u{200e}\u{202a}\u{202e}\u{2028}\u{2066}\u{2069}\
                      \u{3164}\u{fe0f}\u{feff}\u{e0041}";
        for hidden in hidden.chars() {
            let expected = format!("a{}b", hidden.escape_unicode());
            assert_eq!(visible(&format!("a{hidden}b")), expected);
        }
    }

    #[test]
    fn spenders_are_a_table() {
        let row = |key: Option<&str>, bytes: u64| {
            json!({"key": key, "bytes": bytes, "measuredBytes": bytes, "claimedBytes": 0, "evidence": "measured",
                "grants": 2, "live": 2, "usable": 1, "firstSeen": "", "lastSeen": ""})
        };
        let body = json!({"by": "user", "period": "2025-01", "asOf": "2025-01-15T12:00:00.000Z", "unknownBytes": 1_000_000,
            "blocked": {"count": 0, "blocks": []},
            "spenders": [row(Some("ann\u{1b}"), 1_500_000_000), row(None, 7)], "next": "x"});
        assert_eq!(
            spenders(&body).unwrap(),
            "Spent in the period that began in 2025-01 by user, as of 2025-01-15T12:00:00.000Z\n\
             \x20         GB  evidence  grants  usable  user\n\
             \x20     1.5000  measured       2       1  ann\\u{1b}\n\
             \x20     0.0000  measured       2       1  (no user)\n\
             There are more: see GET /api/spenders.\n\
             0.0010 GB are under identifiers that this ledger does not know."
        );
        let now = json!({"by": "user", "period": "2025-01", "since": "5m", "asOf": "2025-01-15T12:00:00.000Z", "countedUntil": "2025-01-15T11:50:00.000Z", "unknownBytes": 0,
            "blocked": {"count": 0, "blocks": []}, "spenders": [], "next": null});
        let first = spenders(&now).unwrap().lines().next().unwrap().to_owned();
        assert_eq!(
            first,
            "Spent in the last 5m by user, as of 2025-01-15T12:00:00.000Z; by the count up to 2025-01-15T11:50:00.000Z where that is more"
        );
        let part = json!({"by": "user", "period": "2025-01", "since": "15m", "seconds": 240, "asOf": "t", "countedUntil": "u", "unknownBytes": 0,
            "blocked": {"count": 0, "blocks": []}, "spenders": [], "next": null});
        assert!(spenders(&part).unwrap().starts_with("Spent in 240 s of the last 15m by user"));
        assert!(spenders(&json!({})).is_none());
    }

    #[test]
    fn blocked_spenders_end_the_list() {
        let last = |count: usize| {
            let blocks = json!([{"by": "user", "key": "bob\u{202e}", "until": null}, {"by": "address", "key": "2001:db8::/64", "until": "2025"}]);
            let body = json!({"by": "label", "period": "2025-01", "asOf": "", "unknownBytes": 0, "spenders": [], "next": null,
                "blocked": {"count": count, "blocks": blocks}});
            spenders(&body).unwrap().lines().last().unwrap().to_owned()
        };
        let blocks = "user bob\\u{202e}, address 2001:db8::/64 until 2025";
        assert_eq!(last(2), format!("Blocked (2): {blocks}"));
        assert_eq!(last(70), format!("Blocked (70): {blocks}, …"));
        assert_eq!(last(0), "No usage is known.");
    }

    #[test]
    fn live_credentials_are_a_table() {
        let grant = json!({"id": "nT3k1s0wQ2Gv8Zb5yXhJ4A", "user": "ann", "label": null, "address": "192.0.2.7",
            "expiresAt": "2025-01-16T11:00:00.000Z", "revokedAt": "2025-01-15T11:30:00.000Z",
            "bytes": 1_200_000_000_u64, "evidence": "claimed", "more": 1});
        let body = json!({"grants": [grant], "next": "x"});
        assert_eq!(
            grants(&body).unwrap(),
            "          GB  evidence  credential              expires                   of\n\
             \x20     1.2000  claimed   nT3k1s0wQ2Gv8Zb5yXhJ4A  2025-01-16T11:00:00.000Z  user ann, address 192.0.2.7, revoked 2025-01-15T11:30:00.000Z\n\
             There are more: see GET /api/grants."
        );
        assert_eq!(grants(&json!({"grants": [], "next": null})).unwrap(), "No credential is live.");
        assert!(grants(&json!({})).is_none());
    }

    #[test]
    fn an_error_says_what_to_do() {
        let said = |code: &str, message: &str| {
            let body = json!({"error": "Refused", "message": message, "code": code, "requestId": "r-1"});
            failure(401, &body).unwrap()
        };
        assert_eq!(
            said("UNAUTHORIZED", "Send it."),
            "the broker responded 401 UNAUTHORIZED: Refused. Set OPERATOR_TOKEN to the token of that service. (request r-1)"
        );
        assert!(said("MISDIRECTED_REQUEST", "Use it.").contains("--url"));
        assert!(said("OVERLOADED", "Try again.").contains("Refused. Try again. (request"));
        assert!(said("INTERNAL", "").ends_with("Refused. (request r-1)"));
    }

    #[test]
    fn another_program_is_not_a_broker() {
        for body in [json!([]), json!({}), json!({"error": "x"})] {
            assert!(summary(&body).is_none() && failure(404, &body).is_none(), "{body}");
        }
    }
}

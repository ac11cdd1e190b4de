//! What a person reads about a response of the broker. Pure.

use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Number, json};

use crate::amounts::Shown;
use turn_ledger::ByteCount;

/// The parts of `GET /api/bandwidth-status` that are shown.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(rename = "bandwidthUsedGB")]
    used: String,
    #[serde(rename = "bandwidthLimitGB")]
    limit: Number,
    percentage: Number,
    #[serde(rename = "remainingGB")]
    remaining: String,
    #[serde(rename = "reservedGB")]
    reserved: String,
    #[serde(rename = "overshootBoundGB")]
    bound: String,
    bound_holds: bool,
    reset_date: String,
    active_connections: u64,
    #[serde(rename = "status")]
    budget: String,
    source: String,
    as_of: Option<String>,
    grants: Grants,
    durable: bool,
    frozen: bool,
    hints: Vec<Hint>,
}

#[derive(Deserialize)]
struct Grants {
    issued: u64,
    live: u64,
    reported: u64,
}

#[derive(Deserialize)]
struct Hint {
    code: String,
    message: String,
}

/// An error response.
#[derive(Deserialize)]
struct Failure {
    error: String,
    #[serde(default)]
    message: String,
    code: String,
    #[serde(rename = "requestId")]
    request_id: String,
}

/// The state of the budget, a line each. `None` if the body is not a status.
pub(super) fn summary(body: &[u8]) -> Option<String> {
    let status: Status = serde_json::from_slice(body).ok()?;
    let Status { used, limit, percentage, remaining, reserved, bound, reset_date, source, .. } = &status;
    let has_hint = |wanted: &str| status.hints.iter().any(|Hint { code, .. }| code == wanted);
    let minting = match status.budget.as_str() {
        _ if status.frozen => "stopped by the operator",
        _ if has_hint("DISABLED") => "off (TURN_ENABLED)",
        "LIMIT_EXCEEDED" => "no metered credentials, because the limit is reached",
        _ if has_hint("PROMISED_IN_FULL") => "no metered credentials, because the limit is reserved in full",
        _ => "on",
    };
    let as_of = status.as_of.as_ref().map(|as_of| format!(", counted up to {as_of}")).unwrap_or_default();
    let holds = if status.bound_holds { "" } else { ", which is not certain now: see the hints" };
    let Grants { issued, live, reported } = status.grants;
    let ledger = if status.durable { "on disk" } else { "in memory only" };
    let mut text = format!(
        "Minting      {minting}\n\
         Used         {used} of {limit} GB ({percentage} %), {source}{as_of}\n\
         Remaining    {remaining} GB until {reset_date}\n\
         Reserved     {reserved} GB; usage can pass the limit by {bound} GB at most{holds}\n\
         Grants       {issued} issued, {reported} reported, {live} live\n\
         Connections  {} open\n\
         Ledger       {ledger}",
        status.active_connections
    );
    for Hint { code, message } in &status.hints {
        // Writing to a string does not fail.
        let _ = write!(text, "\nHint         {code}: {message}");
    }
    Some(plain(&text))
}

/// The part of `GET /api/overview` that is shown.
#[derive(Deserialize)]
struct Overview {
    provider: Option<Provider>,
}

#[derive(Deserialize)]
struct Provider {
    rotation: Option<Rotation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rotation {
    key: Option<String>,
    since: Option<String>,
    every_seconds: u64,
    state: String,
    failures: u32,
    retired: usize,
}

/// The rotation of the TURN key, a line. `None` if the key is not rotated.
pub(super) fn rotation(body: &[u8]) -> Option<String> {
    let Overview { provider } = serde_json::from_slice(body).ok()?;
    let Rotation { key, since, every_seconds, state, failures, retired } = provider?.rotation?;
    let key = key.as_deref().unwrap_or("the key of the settings");
    let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
    let days = every_seconds / 86_400;
    let failures = if failures > 0 { format!(", {failures} failed calls in a row") } else { String::new() };
    let line = format!(
        "Key rotation {state}{failures}; {key} mints{since}, replaced every {days} d; {retired} to be deleted"
    );
    Some(plain(&line))
}

/// A page of `GET /api/spenders`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpenderPage {
    by: String,
    as_of: String,
    unknown_bytes: u64,
    blocked_users: BlockedUsers,
    spenders: Vec<Spender>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct BlockedUsers {
    count: usize,
    names: Vec<String>,
}

#[derive(Deserialize)]
struct Spender {
    key: Option<String>,
    bytes: u64,
    evidence: String,
    grants: u64,
    usable: u64,
}

/// Who spends most, a line each. `None` if the body is not a page of spenders.
pub(super) fn spenders(body: &[u8]) -> Option<String> {
    let SpenderPage { by, as_of, unknown_bytes, blocked_users, spenders, next } =
        serde_json::from_slice(body).ok()?;
    let gb = |bytes| ByteCount::new(bytes).gb_four_decimals();
    let mut text = format!(
        "Spent in this period by {by}, as of {as_of}\n{:>12}  {:8}  grants  usable  {by}",
        "GB", "evidence"
    );
    for Spender { key, bytes, evidence, grants, usable } in &spenders {
        let key = key.clone().unwrap_or_else(|| format!("(no {by})"));
        // Writing to a string does not fail.
        let _ = write!(text, "\n{:>12}  {evidence:8}  {grants:>6}  {usable:>6}  {key}", gb(*bytes));
    }
    if spenders.is_empty() {
        let _ = write!(text, "\nNobody has spent anything.");
    }
    if next.is_some() {
        let _ = write!(text, "\nThere are more: see GET /api/spenders.");
    }
    if unknown_bytes > 0 {
        let _ =
            write!(text, "\n{} GB are under identifiers that this ledger does not know.", gb(unknown_bytes));
    }
    if by == "user" && blocked_users.count > 0 {
        let BlockedUsers { count, names } = blocked_users;
        let more = if count > names.len() { ", …" } else { "" };
        let _ = write!(text, "\nBlocked users ({count}): {}{more}", names.join(", "));
    }
    Some(plain(&text))
}

/// A page of `GET /api/grants`.
#[derive(Deserialize)]
struct GrantPage {
    grants: Vec<Grant>,
    next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Grant {
    id: String,
    user: Option<String>,
    label: Option<String>,
    address: Option<String>,
    expires_at: String,
    revoked_at: Option<String>,
    bytes: u64,
    evidence: String,
}

/// The live credentials, a line each. `None` if the body is not a page of grants.
pub(super) fn grants(body: &[u8]) -> Option<String> {
    let GrantPage { grants, next } = serde_json::from_slice(body).ok()?;
    if grants.is_empty() {
        return Some("No credential is live.".to_owned());
    }
    let mut text = format!("{:>12}  {:8}  {:22}  {:24}  of", "GB", "evidence", "credential", "expires");
    for Grant { id, user, label, address, expires_at, revoked_at, bytes, evidence } in grants {
        let of = [("user", user), ("label", label), ("address", address)];
        let of = of.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?)));
        let of = of.chain(revoked_at.map(|at| format!("revoked {at}"))).collect::<Vec<_>>().join(", ");
        let gb = ByteCount::new(bytes).gb_four_decimals();
        // Writing to a string does not fail.
        let _ = write!(text, "\n{gb:>12}  {evidence:8}  {id:22}  {expires_at:24}  {of}");
    }
    if next.is_some() {
        let _ = write!(text, "\nThere are more: see GET /api/grants.");
    }
    Some(plain(&text))
}

#[derive(Deserialize)]
struct Revocation {
    grant: String,
    message: String,
}

/// The result of a revocation. `None` if the body is not one.
pub(super) fn revocation(body: &[u8]) -> Option<String> {
    let Revocation { grant, message } = serde_json::from_slice(body).ok()?;
    Some(plain(&format!("{grant} is revoked. {message}")))
}

#[derive(Deserialize)]
struct UserAction {
    #[serde(rename = "user")]
    _user: String,
    message: String,
}

/// The result of blocking a user, allowing one again, or revoking the user's credentials. `None` if the body is not one.
pub(super) fn user_action(body: &[u8]) -> Option<String> {
    let UserAction { message, .. } = serde_json::from_slice(body).ok()?;
    Some(plain(&message))
}

/// What an error response says, and what to do. `None` if the body is not a broker's.
pub(super) fn failure(status: u16, body: &[u8]) -> Option<String> {
    let Failure { error, message, code, request_id } = serde_json::from_slice(body).ok()?;
    let remedy = match code.as_str() {
        "UNAUTHORIZED" => "Set OPERATOR_TOKEN to the token of that service.",
        "MISDIRECTED_REQUEST" => "Give an address with --url whose host is in ALLOWED_HOSTS.",
        _ => &message,
    };
    let text = format!("the broker responded {status} {code}: {error}. {remedy}");
    Some(plain(&format!("{} (request {request_id})", text.trim_end())))
}

pub(super) fn saved(path: &Path, bytes: u64) -> String {
    format!(
        "{} has {bytes} bytes. It contains the key of grant tokens and the secrets of created TURN keys: keep it as safe as the ledger.",
        path.display()
    )
}

pub(super) fn saved_json(path: &Path, bytes: u64) -> String {
    json!({ "file": path.to_string_lossy(), "bytes": bytes }).to_string()
}

/// Without control characters, which would act on a terminal. Keeps line breaks.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || *c == '\n').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> serde_json::Value {
        json!({
            "bandwidthUsedGB": "45.23", "bandwidthLimitGB": 1000, "percentage": 4.52, "remainingGB": "954.77",
            "resetDate": "2025-02-01T00:00:00.000Z", "activeConnections": 3, "status": "OK",
            "source": "measured+estimate", "asOf": "2025-01-15T11:50:00.000Z", "reservedGB": "12.00",
            "overshootBoundGB": "0.00", "boundHolds": true, "durable": true, "frozen": false,
            "grants": {"issued": 120, "live": 7, "reported": 80}, "hints": [], "more": 1
        })
    }

    #[test]
    fn a_status_is_a_few_lines() {
        assert_eq!(
            summary(status().to_string().as_bytes()).unwrap(),
            "Minting      on\n\
             Used         45.23 of 1000 GB (4.52 %), measured+estimate, counted up to 2025-01-15T11:50:00.000Z\n\
             Remaining    954.77 GB until 2025-02-01T00:00:00.000Z\n\
             Reserved     12.00 GB; usage can pass the limit by 0.00 GB at most\n\
             Grants       120 issued, 80 reported, 7 live\n\
             Connections  3 open\n\
             Ledger       on disk"
        );
    }

    #[test]
    fn what_is_not_normal_is_said() {
        let mut body = status();
        body["frozen"] = true.into();
        body["durable"] = false.into();
        body["boundHolds"] = false.into();
        body["asOf"] = serde_json::Value::Null;
        body["hints"] = json!([{"code": "NO_REPORTS", "message": "no client reports\u{1b}[2J"}]);
        let text = summary(body.to_string().as_bytes()).unwrap();
        for expected in [
            "Minting      stopped by the operator",
            "by 0.00 GB at most, which is not certain now: see the hints",
            "Ledger       in memory only",
            "Hint         NO_REPORTS: no client reports[2J",
        ] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }

    #[test]
    fn the_first_line_says_why_nobody_gets_metered_credentials() {
        let first = |status_is: &str, hint: &str| {
            let mut body = status();
            body["status"] = status_is.into();
            body["hints"] = json!([{"code": hint, "message": ""}]);
            summary(body.to_string().as_bytes()).unwrap().lines().next().unwrap().to_owned()
        };
        assert_eq!(first("OK", "NO_REPORTS"), "Minting      on");
        assert!(first("LIMIT_EXCEEDED", "NO_REPORTS").ends_with("because the limit is reached"));
        assert!(first("OK", "PROMISED_IN_FULL").ends_with("because the limit is reserved in full"));
        assert!(first("OK", "DISABLED").ends_with("off (TURN_ENABLED)"));
    }

    #[test]
    fn the_rotation_of_the_key_is_one_line() {
        let line = |rotation: serde_json::Value| {
            rotation_of(&json!({"provider": {"rotation": rotation, "breaker": "closed"}, "more": 1}))
        };
        let waiting = json!({"key": "auto-3", "since": "2025-01-14T12:00:00.000Z", "ageSeconds": 86_400,
            "everySeconds": 2_592_000, "state": "waiting", "failures": 0, "retired": 1});
        let expected = "Key rotation waiting; auto-3 mints since 2025-01-14T12:00:00.000Z, replaced every 30 d; 1 to be deleted";
        assert_eq!(line(waiting).as_deref(), Some(expected));
        let failing = json!({"key": null, "since": null, "ageSeconds": null, "everySeconds": 86_400,
            "state": "failing", "failures": 4, "retired": 0});
        let expected = "Key rotation failing, 4 failed calls in a row; the key of the settings mints, replaced every 1 d; 0 to be deleted";
        assert_eq!(line(failing).as_deref(), Some(expected));
        assert_eq!(line(serde_json::Value::Null), None);
        assert_eq!(rotation_of(&json!({"provider": null})), None);
    }

    fn rotation_of(body: &serde_json::Value) -> Option<String> {
        rotation(body.to_string().as_bytes())
    }

    #[test]
    fn spenders_are_a_table() {
        let row = |key: Option<&str>, bytes: u64| {
            json!({"key": key, "bytes": bytes, "measuredBytes": bytes, "claimedBytes": 0, "evidence": "measured",
                "grants": 2, "live": 2, "usable": 1, "firstSeen": "", "lastSeen": ""})
        };
        let body = json!({"by": "user", "asOf": "2025-01-15T12:00:00.000Z", "unknownBytes": 1_000_000,
            "blockedUsers": {"count": 0, "names": []},
            "spenders": [row(Some("ann\u{1b}"), 1_500_000_000), row(None, 7)], "next": "x"});
        assert_eq!(
            spenders(body.to_string().as_bytes()).unwrap(),
            "Spent in this period by user, as of 2025-01-15T12:00:00.000Z\n\
             \x20         GB  evidence  grants  usable  user\n\
             \x20     1.5000  measured       2       1  ann\n\
             \x20     0.0000  measured       2       1  (no user)\n\
             There are more: see GET /api/spenders.\n\
             0.0010 GB are under identifiers that this ledger does not know."
        );
        assert!(spenders(b"{}").is_none());
    }

    #[test]
    fn blocked_users_are_named_beside_the_users() {
        let last = |by: &str, count: usize, names: &[&str]| {
            let body = json!({"by": by, "asOf": "", "unknownBytes": 0, "spenders": [], "next": null,
                "blockedUsers": {"count": count, "names": names}});
            spenders(body.to_string().as_bytes()).unwrap().lines().last().unwrap().to_owned()
        };
        assert_eq!(last("user", 2, &["ann", "bob\u{1b}"]), "Blocked users (2): ann, bob");
        assert_eq!(last("user", 70, &["ann"]), "Blocked users (70): ann, …");
        assert_eq!(last("user", 0, &[]), "Nobody has spent anything.");
        assert_eq!(last("label", 2, &["ann", "bob"]), "Nobody has spent anything.");
    }

    #[test]
    fn live_credentials_are_a_table() {
        let grant = json!({"id": "nT3k1s0wQ2Gv8Zb5yXhJ4A", "user": "ann", "label": null, "address": "192.0.2.7",
            "expiresAt": "2025-01-16T11:00:00.000Z", "revokedAt": "2025-01-15T11:30:00.000Z",
            "bytes": 1_200_000_000_u64, "evidence": "claimed", "more": 1});
        let body = json!({"grants": [grant], "next": "x"}).to_string();
        assert_eq!(
            grants(body.as_bytes()).unwrap(),
            "          GB  evidence  credential              expires                   of\n\
             \x20     1.2000  claimed   nT3k1s0wQ2Gv8Zb5yXhJ4A  2025-01-16T11:00:00.000Z  user ann, address 192.0.2.7, revoked 2025-01-15T11:30:00.000Z\n\
             There are more: see GET /api/grants."
        );
        assert_eq!(grants(br#"{"grants": [], "next": null}"#).unwrap(), "No credential is live.");
        assert!(grants(b"{}").is_none());
    }

    #[test]
    fn the_result_of_an_action_says_what_is_left() {
        let revoked = br#"{"user": "ann", "message": "Live credentials of ann: 3, all revoked."}"#;
        assert_eq!(user_action(revoked).unwrap(), "Live credentials of ann: 3, all revoked.");
        let revoked = br#"{"grant": "id-1", "message": "The provider has revoked the credential."}"#;
        assert_eq!(revocation(revoked).unwrap(), "id-1 is revoked. The provider has revoked the credential.");
    }

    #[test]
    fn an_error_says_what_to_do() {
        let said = |code: &str, message: &str| {
            let body = json!({"error": "Refused", "message": message, "code": code, "requestId": "r-1"});
            failure(401, body.to_string().as_bytes()).unwrap()
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
        for body in ["", "[]", "{}", "<html>", r#"{"error":"x"}"#] {
            assert!(summary(body.as_bytes()).is_none() && failure(404, body.as_bytes()).is_none(), "{body}");
        }
    }
}

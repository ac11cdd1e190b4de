//! `AUTH_WEBHOOK_URL`: the application itself says whose a token is, for sign-ins without JWT such as game tickets and PHP sessions.
//!
//! An answer is kept for the time that it states, so a caller costs the application one question. A refusal is not kept. A question first
//! takes one from the rate of its client address, and then a place among the questions in progress, of which an address has a share. So
//! nobody floods the application through this service, or keeps the sign-ins of other addresses from it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use parking_lot::Mutex;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use turn_base::{
    ApiError, CallError, Clock, Code, HttpClient, Throttle, Verified, WebClient, WebhookUrl, post_webhook,
};
use turn_ledger::{ClientKey, Label, Timestamp, USER_FORM, User};
use turn_limits::{Bounds, MemoryQuota, PerHolder, Rate, SHARES};

/// The most answers that are kept. A caller whose answer is not kept costs a question each time.
const KNOWN_MAX: usize = 10_000;
/// The most of one user: for each of its devices, a token and the one before.
const KNOWN_PER_USER_MAX: usize = 16;
/// How long an answer that states no life is kept.
const TTL_DEFAULT: Duration = Duration::from_secs(300);
/// The longest time for which an answer is kept.
const TTL_MAX: Duration = Duration::from_secs(86_400);
/// How many questions the tokens of one client address may cause.
const ASKED: Rate = Rate::per_second(120, 2);
/// Client addresses with a row of their own.
const CLIENTS_MAX: usize = 8_192;
/// The most questions in progress.
pub const ASKING_MAX: usize = 256;
/// The questions in progress of one client address, and of all together.
const ASKING: Bounds = Bounds { client_max: ASKING_MAX / SHARES, all_max: ASKING_MAX };
/// After this time a client may ask again, if its question had no usable answer.
const PAUSE: Duration = Duration::from_secs(10);

/// The application, and what it has answered.
pub(super) struct Application {
    client: HttpClient,
    url: WebhookUrl,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    /// What each client address may still ask.
    allowances: Mutex<PerHolder>,
    /// Counts one for each question in progress.
    asking: MemoryQuota,
    log: Throttle,
}

/// The answers by the digest of their token.
type Known = HashMap<[u8; 32], Verified>;

#[derive(Serialize)]
struct Question<'a> {
    token: &'a str,
    address: IpAddr,
    origin: Option<&'a str>,
}

#[derive(Deserialize)]
struct Answer {
    user: String,
    label: Option<String>,
    ttl: Option<u64>,
}

impl Application {
    pub(super) fn new(client: HttpClient, url: WebhookUrl, clock: Arc<dyn Clock>) -> Self {
        Self {
            client,
            url,
            clock,
            known: Mutex::default(),
            allowances: Mutex::new(PerHolder::new(ASKED, CLIENTS_MAX)),
            asking: MemoryQuota::new(0, ASKING),
            log: Throttle::default(),
        }
    }

    /// Whose token it is: from a kept answer, or from the application. Keeps the application's answer.
    pub(super) async fn user_of(&self, token: &str, web_client: &WebClient) -> Result<Verified, ApiError> {
        let (digest, now) = (Sha256::digest(token).into(), self.clock.now());
        let kept = self.known.lock().get(&digest).filter(|answer| answer.until > now).cloned();
        if let Some(verified) = kept {
            return Ok(verified);
        }
        let client = ClientKey::of(web_client.address);
        self.charge(client)?;
        let mut place = self.asking.open(client);
        if !place.try_resize(1) {
            return Err(ApiError::overloaded());
        }
        let answered = self.ask(token, web_client).await;
        let verified = answered.and_then(|body| parse(&body, now)).map_err(|why| self.failed(&why))?;
        keep(&mut self.known.lock(), digest, &verified, now);
        Ok(verified)
    }

    /// How many questions wait for an answer, and the most.
    pub(super) fn asking(&self) -> (usize, usize) {
        self.asking.kept()
    }

    /// Takes one from the questions that a client may still cause. First removes the clients whose allowance is full again.
    fn charge(&self, client: ClientKey) -> Result<(), ApiError> {
        let (mut allowances, now) = (self.allowances.lock(), self.clock.since_boot());
        allowances.sweep(now);
        let message = "Try again later. Too many new tokens come from this address.";
        allowances
            .take(client, 1, now)
            .map_err(|spent| ApiError::too_many("Too many new tokens", message, spent.next))
    }

    async fn ask(&self, token: &str, web_client: &WebClient) -> Result<Vec<u8>, CallError> {
        let question = Question { token, address: web_client.address, origin: web_client.origin.as_deref() };
        let body = serde_json::to_string(&question).unwrap_or_default();
        post_webhook(&self.client, &self.url, HeaderMap::new(), body, |status| status == StatusCode::OK).await
    }

    /// The error for a caller whose question had no usable answer. Logs `why`, unless the application refuses the token.
    fn failed(&self, why: &CallError) -> ApiError {
        // A redirect leads to the application's page to sign in.
        if matches!(why.status(), Some(401 | 403 | 302 | 303)) {
            return ApiError::new(Code::InvalidToken, "Invalid token")
                .message("Sign in again and send a new token: the application refuses this one.");
        }
        if let Some(held_back) = self.log.pass(self.clock.instant()) {
            let remedy = "check AUTH_WEBHOOK_URL, and the log of your application";
            tracing::warn!(
                host = self.url.host(),
                held_back,
                remedy,
                "the application did not say whose a token is: {why}"
            );
        }
        ApiError::new(Code::Overloaded, "Sign-in unreachable")
            .message("Try again in 10 seconds. The operator checks AUTH_WEBHOOK_URL: it does not answer as it should.")
            .retry_in(PAUSE)
    }
}

/// Reads the answer to a question that was asked `at`.
fn parse(body: &[u8], at: Timestamp) -> Result<Verified, CallError> {
    let unusable = |what: &str| CallError::Unusable(what.to_owned());
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| unusable("it is not JSON with `user`, and perhaps `label` and `ttl`"))?;
    let user = User::new(&answer.user).ok_or_else(|| unusable(&format!("`user` is not {USER_FORM}")))?;
    // A label is for sums alone, so one that is none keeps nobody out.
    let label = answer.label.and_then(|label| Label::new(&label));
    let life = answer.ttl.map_or(TTL_DEFAULT, Duration::from_secs).min(TTL_MAX);
    Ok(Verified { user, until: at.plus(life), room: None, label })
}

/// Keeps an answer, if there is room once the expired answers are removed. Of a user with many, the one that ends first makes room.
fn keep(known: &mut Known, digest: [u8; 32], verified: &Verified, now: Timestamp) {
    if known.len() >= KNOWN_MAX {
        known.retain(|_, answer| answer.until > now);
    }
    let of_user = known.iter().filter(|(_, answer)| answer.user == verified.user);
    let mut ends: Vec<_> = of_user.map(|(digest, answer)| (answer.until, *digest)).collect();
    ends.sort_unstable();
    if let [(_, first), ..] = ends[..]
        && ends.len() >= KNOWN_PER_USER_MAX
    {
        known.remove(&first);
    }
    if known.len() < KNOWN_MAX {
        known.insert(digest, verified.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_a_user_and_lives_at_most_a_day() {
        let at = Timestamp::default();
        let read = |body: &str| parse(body.as_bytes(), at).map(|read| (read.user, read.label, read.until));
        let ann = || User::new("ann").unwrap();
        let seconds = |seconds| at.plus(Duration::from_secs(seconds));
        let full = read(r#"{"user": "ann", "label": "room-1", "ttl": 60, "more": 1}"#).unwrap();
        assert_eq!(full, (ann(), Label::new("room-1"), seconds(60)));
        for none in ["", "My room"] {
            let body = format!(r#"{{"user": "ann", "label": "{none}"}}"#);
            assert_eq!(read(&body).unwrap(), (ann(), None, seconds(300)));
        }
        assert_eq!(read(r#"{"user": "ann", "ttl": 1000000}"#).unwrap().2, seconds(86_400));
        for bad in ["", "{}", r#"{"user": ""}"#, r#"{"user": 7}"#, r#"{"user": "a", "ttl": -1}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn kept_answers_are_bounded_and_expired_ones_make_room() {
        let mut known = Known::new();
        let at = |seconds| Timestamp::default().plus(Duration::from_secs(seconds));
        let of = |user: usize, seconds: u64| {
            let body = format!(r#"{{"user": "user-{user}", "ttl": 60}}"#);
            parse(body.as_bytes(), at(seconds)).unwrap()
        };
        let digest = |number: usize| Sha256::digest(number.to_be_bytes()).into();
        for number in 0..KNOWN_MAX {
            keep(&mut known, digest(number), &of(number, 0), at(59));
        }
        let late = of(KNOWN_MAX, 100);
        keep(&mut known, digest(KNOWN_MAX), &late, at(59));
        assert!(known.len() == KNOWN_MAX && !known.contains_key(&digest(KNOWN_MAX)));
        keep(&mut known, digest(KNOWN_MAX), &late, at(60));
        assert_eq!(known.len(), 1);
        // A user has a share: the newest answers.
        for number in 0..100 {
            keep(&mut known, digest(number), &of(7, u64::try_from(number).unwrap()), at(0));
        }
        assert_eq!(known.len(), 1 + KNOWN_PER_USER_MAX);
        assert!(known.contains_key(&digest(99)) && !known.contains_key(&digest(83)));
    }
}

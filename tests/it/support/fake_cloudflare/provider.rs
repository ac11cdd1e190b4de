//! The fake provider without faults: the paths, keys, tokens and lifetimes that it accepts, and its responses.
//!
//! Invariants: a credential is generated only for a request that the live service would accept. Error bodies are plain text,
//! because those of the live service are undocumented.

use std::collections::BTreeMap;

use hyper::StatusCode;

use super::analytics;
use super::faults::{Fault, REDIRECT_TARGET};
use super::history::{History, Recorded};
use super::shapes::{Credential, Shape};

/// Seconds: 48 hours.
const TTL_MAX: u64 = 172_800;

/// The settings of correct responses. Every key and token is accepted until one is required.
#[derive(Clone, Default)]
pub(super) struct Provider {
    pub(super) shape: Shape,
    pub(super) key_id: Option<String>,
    pub(super) token: Option<String>,
    /// Keys beside the required one, each with its own token.
    pub(super) keys: BTreeMap<String, String>,
    /// URLs that replace the provider's own. The response then has one entry, without STUN.
    pub(super) relays: Option<Vec<String>>,
}

/// A response before it is sent.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    /// One further header.
    pub(super) header: Option<(&'static str, &'static str)>,
    pub(super) body: String,
}

/// The target of a request, by method and path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    Mint {
        key_id: &'a str,
    },
    Revoke {
        key_id: &'a str,
        username: &'a str,
    },
    Analytics,
    TurnKeys,
    /// A question for nothing but the header `Date`. It takes no fault of the plan and is not in the history.
    Clock,
    AfterRedirect,
    Unknown,
}

impl<'a> Target<'a> {
    pub(super) fn of(method: &str, path: &'a str) -> Self {
        if path == REDIRECT_TARGET {
            return Self::AfterRedirect;
        }
        let segments = path.strip_prefix("/v1/turn/keys/").unwrap_or_default().split('/').collect::<Vec<_>>();
        match (method, &segments[..]) {
            ("HEAD", _) if path == "/" => Self::Clock,
            ("POST", _) if path == analytics::PATH => Self::Analytics,
            _ if path.starts_with("/client/v4/accounts/") && path.contains("/calls/turn_keys") => {
                Self::TurnKeys
            }
            ("POST", &[key_id, "credentials", "generate-ice-servers"]) => Self::Mint { key_id },
            ("POST", &[key_id, "credentials", username, "revoke"]) => Self::Revoke { key_id, username },
            _ => Self::Unknown,
        }
    }

    pub(super) fn key_id(self) -> Option<&'a str> {
        match self {
            Self::Mint { key_id } | Self::Revoke { key_id, .. } => Some(key_id),
            Self::Analytics | Self::TurnKeys | Self::Clock | Self::AfterRedirect | Self::Unknown => None,
        }
    }
}

impl Provider {
    /// The correct response. Generates the credential for a valid mint.
    pub(super) fn answer(&self, request: &Recorded, history: &History) -> Answer {
        let target = Target::of(&request.method, &request.path);
        if let Some(refusal) = self.refusal(target, request) {
            return Answer::error(refusal);
        }
        match target {
            Target::Mint { .. } => self.mint(request, history),
            Target::Revoke { username, .. } if history.revoke(username) => {
                Answer::text(StatusCode::NO_CONTENT, "")
            }
            Target::AfterRedirect => trap(),
            Target::Revoke { .. }
            | Target::Analytics
            | Target::TurnKeys
            | Target::Clock
            | Target::Unknown => Answer::error(StatusCode::NOT_FOUND),
        }
    }

    /// The correct response to a probe. Its credential is not in the history.
    pub(super) fn answer_probe(&self, request: &Recorded) -> Answer {
        self.answer(request, &History::default())
    }

    /// A wrong key gives 404, even with a valid token, because the live service looks up the token by its key.
    /// A wrong token gives 401.
    fn refusal(&self, target: Target<'_>, request: &Recorded) -> Option<StatusCode> {
        let key_id = target.key_id()?;
        let sent = request.authorization.as_deref().and_then(|value| value.strip_prefix("Bearer "));
        if let Some(token) = self.keys.get(key_id) {
            return (sent != Some(token)).then_some(StatusCode::UNAUTHORIZED);
        }
        if self.key_id.as_deref().is_some_and(|right| right != key_id) {
            return Some(StatusCode::NOT_FOUND);
        }
        let token_is_wrong = self.token.as_deref().is_some_and(|right| sent != Some(right));
        token_is_wrong.then_some(StatusCode::UNAUTHORIZED)
    }

    fn mint(&self, request: &Recorded, history: &History) -> Answer {
        if !request.ttl.is_some_and(|ttl| (1..=TTL_MAX).contains(&ttl)) {
            return Answer::error(StatusCode::BAD_REQUEST);
        }
        let credential = Credential::random();
        let body = match &self.relays {
            None => self.shape.body(&credential),
            Some(urls) => serde_json::json!({ "iceServers": [credential.entry(urls)] }),
        };
        let answer = Answer::json(StatusCode::CREATED, body.to_string());
        history.record_credential(credential);
        answer
    }
}

/// The response to a question for the clock: the live service has nothing at its root.
pub(super) fn clock() -> Answer {
    Answer::text(StatusCode::NOT_FOUND, "")
}

/// Looks like a correct response, so that a client that follows a redirect is detected.
fn trap() -> Answer {
    let planted =
        Credential { username: "followed-a-redirect".into(), credential: "followed-a-redirect".into() };
    Answer::json(StatusCode::OK, Shape::Current.body(&planted).to_string())
}

impl Answer {
    pub(super) fn text(status: StatusCode, body: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", header: None, body: body.to_owned() }
    }

    /// An error response, invented by the fake.
    pub(super) fn error(status: StatusCode) -> Self {
        Self::text(status, &format!("{status}: {}\n", Fault::BODY_MARK))
    }

    /// Truncates the body to half. The response is valid HTTP but invalid JSON.
    pub(super) fn with_half_a_body(mut self) -> Self {
        self.body.truncate(self.body.len() / 2);
        self
    }

    /// Replaces status 201 by 200. An error stays as it is.
    pub(super) fn with_200_for_201(mut self) -> Self {
        if self.status == StatusCode::CREATED {
            self.status = StatusCode::OK;
        }
        self
    }

    pub(super) fn json(status: StatusCode, body: String) -> Self {
        Self { status, content_type: "application/json", header: None, body }
    }
}

//! The REST API for TURN keys: `GET`, `POST` and `DELETE` on `/client/v4/accounts/{account}/calls/turn_keys`.
//!
//! Invariants: a created key mints at once, with the secret that only the response to its creation has. A deleted key does
//! not mint any more.

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::Core;
use super::faults::Fault;
use super::history::Recorded;
use super::provider::{Answer, Provider};

/// Codes of the API's errors.
const UNKNOWN_KEY: u32 = 20_008;
const INVALID_NAME: u32 = 20_007;
const AUTHENTICATION: u32 = 10_000;

/// The keys' names and the access check.
#[derive(Default)]
pub(super) struct TurnKeys {
    token: Option<String>,
    /// Names by id.
    names: BTreeMap<String, String>,
    made: u32,
}

/// The control side: `fake.turn_keys()`.
pub(crate) struct Control<'a>(pub(super) &'a Core);

impl Control<'_> {
    /// Accepts only this bearer token.
    pub(crate) fn require_token(&self, token: &str) {
        self.0.settings().turn_keys.token = Some(token.to_owned());
    }

    /// The names of all created keys that exist, by id.
    pub(crate) fn names(&self) -> BTreeMap<String, String> {
        self.0.settings().turn_keys.names.clone()
    }
}

impl TurnKeys {
    /// The response to a request, whose path may end with the id of a key.
    pub(super) fn answer(&mut self, request: &Recorded, provider: &mut Provider) -> Answer {
        let id = request.path.rsplit('/').next().filter(|last| *last != "turn_keys");
        let sent = request.authorization.as_deref().and_then(|value| value.strip_prefix("Bearer "));
        if sent.is_none() || self.token.as_deref().is_some_and(|right| sent != Some(right)) {
            return refusal(StatusCode::FORBIDDEN, AUTHENTICATION, "Authentication error");
        }
        match (request.method.as_str(), id) {
            ("GET", None) => {
                let key = |(id, name): (&String, &String)| json!({ "uid": id, "name": name });
                success(StatusCode::OK, &self.names.iter().map(key).collect())
            }
            ("POST", None) => match request.body["name"].as_str().filter(|name| !name.is_empty()) {
                Some(name) => self.create(name, provider),
                None => refusal(StatusCode::BAD_REQUEST, INVALID_NAME, "invalid name"),
            },
            ("DELETE", Some(id)) if self.remove(id, provider) => {
                success(StatusCode::OK, &json!({ "uid": id }))
            }
            _ => refusal(StatusCode::NOT_FOUND, UNKNOWN_KEY, "unknown key"),
        }
    }

    fn create(&mut self, name: &str, provider: &mut Provider) -> Answer {
        self.made += 1;
        let (id, secret) = (format!("{:032x}", self.made), format!("secret-of-created-key-{}", self.made));
        self.names.insert(id.clone(), name.to_owned());
        provider.key_id.get_or_insert_default();
        provider.keys.insert(id.clone(), secret.clone());
        success(StatusCode::CREATED, &json!({ "uid": id, "name": name, "key": secret }))
    }

    fn remove(&mut self, id: &str, provider: &mut Provider) -> bool {
        provider.keys.remove(id);
        self.names.remove(id).is_some()
    }
}

fn success(status: StatusCode, result: &Value) -> Answer {
    let body = json!({ "success": true, "errors": [], "messages": [], "result": result });
    Answer::json(status, body.to_string())
}

fn refusal(status: StatusCode, code: u32, message: &str) -> Answer {
    let message = format!("{message} {}", Fault::BODY_MARK);
    let body = json!({ "success": false, "errors": [{ "code": code, "message": message }], "result": null });
    Answer::json(status, body.to_string())
}

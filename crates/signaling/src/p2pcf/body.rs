//! The body of a POST. Its fields are checked once, in the order of the reference server, so each mistake gets the same text as
//! there. A value of a wrong type gets the text of its field.

use std::net::IpAddr;

use base64::engine::general_purpose::STANDARD;
use serde_json::value::to_raw_value;
use serde_json::{Map, Number, Value};

use super::Refusal;
use crate::prelude::*;

/// The length of a room's name, in characters.
const ROOM_MIN: usize = 4;
const ROOM_MAX: usize = 64;
/// The longest context id, session id and client id, in UTF-16 code units, as JavaScript counts them.
const ID_MAX: usize = 64;
/// The lifetimes that a page may ask for, in milliseconds.
const LIFETIME_MIN_MS: f64 = 1_000.0;
const LIFETIME_MAX_MS: f64 = 86_400_000.0;
/// The longest lifetime that an entry gets.
const LIFETIME_MAX: Duration = Duration::from_secs(15 * 60);
/// How far a page's clock may be off, in milliseconds.
const SKEW_MAX_MS: f64 = 600_000.0;
/// A SHA-256 fingerprint in base64, in characters.
const DTLS_CHARS: usize = 44;
/// A page has at most one reflexive address for each network and address family.
const IPS_MAX: usize = 16;
/// One package for each other entry of a room.
const PACKAGES_MAX: usize = 64;
/// The most bytes of packages from one page to another. One package has about 2 KiB, and a page keeps those of one minute, in
/// which it tries four times. This bounds the answer to one poll.
const PACKAGES_TO_ONE_MAX: usize = 32 * 1024;

/// What a body asks for.
pub enum Operation {
    /// Lists the room.
    Read {
        /// The room.
        room: Arc<str>,
        /// The context id of the page, which does not see its own entry.
        context: Option<String>,
    },
    /// Lists the room for a page that has published its entry before.
    Poll {
        /// What the page says about itself.
        own: Own,
    },
    /// Stores the page's entry.
    Publish {
        /// What the page says about itself.
        own: Own,
        /// What it tells others.
        packages: Vec<Package>,
    },
    /// Removes the page's entry.
    Delete {
        /// What the page says about itself.
        own: Own,
        /// The delete key.
        key: String,
    },
}

/// What a page says about itself.
#[derive(Clone)]
pub struct Own {
    pub(super) room: Arc<str>,
    pub(super) context: Arc<str>,
    pub(super) session: Arc<str>,
    /// When the page last changed something, by its own clock. Compared only for equality.
    pub(super) changed_at: Number,
    pub(super) lifetime: Duration,
    /// What the others see: the six values of `d`, and `t`.
    pub(super) listed: Box<RawValue>,
}

/// What a page tells one other page.
pub struct Package {
    /// The session of the other page.
    pub(super) to: Arc<str>,
    pub(super) json: Box<RawValue>,
}

impl Operation {
    /// Parses the body of a POST that is not a delete.
    pub fn post(body: &[u8], wall: Timestamp) -> Result<Self, Refusal> {
        let mut fields = Fields::parse(body)?;
        let room = fields.room()?;
        let Some(data) = fields.take("d") else {
            let context = fields.take("k").and_then(string);
            return Ok(Self::Read { room, context });
        };
        let own = fields.own(room, data, wall)?;
        let Some(packages) = fields.take("p") else { return Ok(Self::Poll { own }) };
        let packages = parse_packages(packages, &own.session).ok_or(Refusal::invalid("Bad packages"))?;
        Ok(Self::Publish { own, packages })
    }

    /// Parses the body of a delete.
    pub fn delete(body: &[u8], wall: Timestamp) -> Result<Self, Refusal> {
        let mut fields = Fields::parse(body)?;
        let key = fields.take("dk").and_then(string).filter(|key| !key.is_empty());
        let key = key.ok_or(Refusal::invalid("Missing delete key"))?;
        let room = fields.room()?;
        let data = fields.take("d").ok_or(Refusal::invalid("Bad data length"))?;
        Ok(Self::Delete { own: fields.own(room, data, wall)?, key })
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn parse(body: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(body).map(Self).map_err(|_| Refusal::invalid("Bad JSON"))
    }

    /// The value of a field. `null` counts as absent.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    fn room(&mut self) -> Result<Arc<str>, Refusal> {
        match self.0.remove("r") {
            Some(Value::String(room)) if is_room(&room) => Ok(room.into()),
            Some(Value::String(room)) => Err(Refusal::bad_room(&room)),
            Some(other) => Err(Refusal::bad_room(&other)),
            None => Err(Refusal::bad_room(&"undefined")),
        }
    }

    fn own(&mut self, room: Arc<str>, data: Value, wall: Timestamp) -> Result<Own, Refusal> {
        let lifetime =
            self.take("x").as_ref().and_then(lifetime).ok_or(Refusal::invalid("Bad expiration"))?;
        let changed_at = self.take("t").and_then(|t| changed_at(t, wall)).ok_or(Refusal::Timestamp)?;
        let context = self.take("k").and_then(id).ok_or(Refusal::invalid("Bad context id"))?;
        let Value::Array(values) = data else { return Err(Refusal::invalid("Bad data length")) };
        let data: [Value; 6] = values.try_into().map_err(|_| Refusal::invalid("Bad data length"))?;
        let session = check_data(&data)?;
        let [session_id, client, is_symmetric, dtls, started_at, ips] = data;
        let listed = (session_id, client, is_symmetric, dtls, started_at, ips, &changed_at);
        let listed = to_raw_value(&listed).map_err(|_| Refusal::invalid("Bad JSON"))?;
        Ok(Own { room, context, session, changed_at, lifetime, listed })
    }
}

/// Checks the six values of `d`. Returns the session id.
fn check_data(
    [session, client, is_symmetric, dtls, started_at, ips]: &[Value; 6],
) -> Result<Arc<str>, Refusal> {
    let session = session.as_str().filter(|text| is_id(text)).ok_or(Refusal::invalid("Bad session id"))?;
    client.as_str().filter(|text| is_id(text)).ok_or(Refusal::invalid("Bad client id"))?;
    is_symmetric.as_bool().ok_or(Refusal::invalid("Bad is symmetric"))?;
    let dtls = dtls
        .as_str()
        .filter(|text| text.chars().count() == DTLS_CHARS)
        .ok_or(Refusal::invalid("Bad dtls"))?;
    started_at.as_f64().filter(|millis| *millis != 0.0).ok_or(Refusal::invalid("Bad joined at timestamp"))?;
    ips.as_array().filter(|ips| are_ips(ips)).ok_or(Refusal::invalid("Bad reflexive IPs"))?;
    STANDARD.decode(dtls).map_err(|_| Refusal::invalid("Bad base64 encoding"))?;
    Ok(session.into())
}

/// The packages of a page. Each names its receiver, and this page as its sender.
fn parse_packages(value: Value, sender: &str) -> Option<Vec<Package>> {
    let Value::Array(values) = value else { return None };
    if values.len() > PACKAGES_MAX {
        return None;
    }
    let packages = values.iter().map(|value| parse_package(value, sender)).collect::<Option<Vec<_>>>()?;
    let mut bytes_to = BTreeMap::<&str, usize>::new();
    for package in &packages {
        *bytes_to.entry(&package.to).or_default() += package.json.get().len();
    }
    let is_short = bytes_to.values().all(|bytes| *bytes <= PACKAGES_TO_ONE_MAX);
    if is_short { Some(packages) } else { None }
}

fn parse_package(value: &Value, sender: &str) -> Option<Package> {
    let [Value::String(to), Value::String(from), ..] = value.as_array()?.as_slice() else { return None };
    if !is_id(to) || from != sender {
        return None;
    }
    Some(Package { to: to.as_str().into(), json: to_raw_value(value).ok()? })
}

fn is_room(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    (ROOM_MIN..=ROOM_MAX).contains(&text.len()) && text.bytes().all(is_allowed)
}

fn is_id(text: &str) -> bool {
    (1..=ID_MAX).contains(&text.encode_utf16().count())
}

fn id(value: Value) -> Option<Arc<str>> {
    string(value).filter(|text| is_id(text)).map(Arc::from)
}

fn string(value: Value) -> Option<String> {
    if let Value::String(text) = value { Some(text) } else { None }
}

fn lifetime(value: &Value) -> Option<Duration> {
    let millis = value.as_f64().filter(|millis| (LIFETIME_MIN_MS..=LIFETIME_MAX_MS).contains(millis))?;
    Some(Duration::try_from_secs_f64(millis / 1_000.0).ok()?.min(LIFETIME_MAX))
}

fn changed_at(value: Value, wall: Timestamp) -> Option<Number> {
    let Value::Number(changed_at) = value else { return None };
    let wall = Duration::from_millis(u64::try_from(wall.as_millis()).ok()?);
    let skew = changed_at.as_f64()? - wall.as_secs_f64() * 1_000.0;
    (skew.abs() <= SKEW_MAX_MS).then_some(changed_at)
}

fn are_ips(values: &[Value]) -> bool {
    let is_ip = |value: &Value| value.as_str().is_some_and(|text| text.parse::<IpAddr>().is_ok());
    values.len() <= IPS_MAX && values.iter().all(is_ip)
}

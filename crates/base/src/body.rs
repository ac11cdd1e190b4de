//! Request bodies: JSON of at most 16 KiB that arrives before the request's deadline, in a bounded number of parts. The bytes are copied
//! into one buffer as they arrive, because each part needs more memory than its bytes. The content type is ignored, because a beacon can
//! only send text/plain. Some routes take longer bodies. The memory of bodies has a bound for each client and one for all clients together.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::request::Parts;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use turn_budget::ClientKey;
use turn_limits::{Bounds, Held, MemoryQuota, MemoryUse};

use crate::clock;
use crate::error::ApiError;
use crate::request::client_addr::ClientAddr;

/// The longest time from a request's first byte to its last.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest body that is read, except on the routes with a limit of their own. Bytes.
pub const BODY_MAX: usize = 16 * 1024;
/// The part of each body that counts against no bound on memory, so that long bodies of others never keep a short report out. Bytes.
pub const BODY_OWN: usize = 1_024;
/// The part of a body that must have arrived before its announced length has an effect on memory. Bytes.
const BELIEVED_FROM: usize = 32 * 1024;
/// When to try again after too many requests without their whole body.
const RETRY_IN: Duration = Duration::from_secs(1);
/// The most parts (chunks, or reads from the socket) in which a body may arrive.
pub const PARTS_MAX: usize = 1_024;

/// When a request's body must have arrived, and whether this process still waits for it. An extension of the request.
#[derive(Clone, Debug)]
pub struct BodyProgress {
    deadline: Instant,
    has_arrived: Arc<AtomicBool>,
}

impl BodyProgress {
    /// `has_arrived` is shared with the connection, which counts as idle while it waits for a body.
    pub fn new(deadline: Instant, has_arrived: Arc<AtomicBool>) -> Self {
        Self { deadline, has_arrived }
    }

    /// Notes that the whole body is here, or that nobody waits for it any more.
    pub fn arrived(&self) {
        self.has_arrived.store(true, Ordering::Relaxed);
    }
}

/// The bodies of all requests, by client. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Bodies {
    /// The memory of bodies, without the first [`BODY_OWN`] bytes of each.
    pub long: MemoryQuota,
    /// Those that are still coming.
    pub coming: Coming,
}

impl Bodies {
    /// No bodies. `bounds`: of their memory.
    pub fn new(bounds: Bounds) -> Self {
        Self { long: MemoryQuota::new(BODY_OWN, bounds), coming: Coming::default() }
    }
}

/// The request with its whole body, of at most `bytes_max` bytes, and what counts the memory of that body. Until the body has arrived, the
/// request occupies only its socket and the buffer of its body.
pub async fn gather(bodies: &Bodies, request: Request, bytes_max: usize) -> Gathered<Request> {
    let (parts, body) = request.into_parts();
    let (bytes, memory) = read(bodies, &parts, body, bytes_max).await?;
    Ok((Request::from_parts(parts, Body::from(bytes)), memory))
}

/// Parses a gathered body. An empty body is `{}`.
pub async fn read_json<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, BODY_MAX).await.map_err(|_| ApiError::payload_too_large(BODY_MAX))?;
    parse_json(&bytes).map_err(|error| match parts.headers.get(CONTENT_ENCODING) {
        Some(_) => ApiError::invalid("Send a JSON object without Content-Encoding."),
        None => error,
    })
}

/// Parses a JSON object. An empty text is `{}`.
pub fn parse_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, ApiError> {
    let text = match text.trim_ascii() {
        b"" => b"{}",
        text if text.starts_with(b"{") => text,
        // serde would read an array as the fields in order.
        _ => return Err(ApiError::invalid("Send a JSON object.")),
    };
    let mut json = serde_json::Deserializer::from_slice(text);
    let parsed = serde_path_to_error::deserialize(&mut json);
    let value =
        parsed.map_err(|error| ApiError::invalid(describe(&error.path().to_string(), error.inner())))?;
    json.end().map_err(|error| ApiError::invalid(describe("", &error)))?;
    Ok(value)
}

/// A body, or the request with it, and what counts its memory until it is dropped: `None` for an empty body, and for one whose client is not
/// known.
pub type Gathered<T> = Result<(T, Option<MemoryUse>), ApiError>;

/// The whole body of the request with these parts, of at most `bytes_max` bytes.
pub async fn read(bodies: &Bodies, parts: &Parts, body: Body, bytes_max: usize) -> Gathered<Bytes> {
    if body.is_end_stream() {
        return Ok((Bytes::new(), None));
    }
    let announced = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(ApiError::payload_too_large(bytes_max));
    }
    let progress = parts.extensions.get::<BodyProgress>();
    let deadline = progress.map_or_else(|| clock::deadline(REQUEST_TIMEOUT), |progress| progress.deadline);
    let client = parts.extensions.get::<ClientAddr>().map(|client| ClientKey::of(client.0));
    let memory = client.map(|client| bodies.long.open(client));
    let coming = client.map(|client| bodies.coming.begin(client));
    let must_end = async {
        match &coming {
            Some(coming) => coming.must_end().await,
            None => pending().await,
        }
    };
    let collected = tokio::select! {
        collected = timeout_at(deadline, collect(body, bytes_max, announced, memory)) => {
            collected.unwrap_or_else(|_| {
                let seconds = REQUEST_TIMEOUT.as_secs();
                Err(ApiError::invalid(format!("Send the whole request within {seconds} s.")))
            })
        }
        () = must_end => Err(ApiError::too_many(
            "Too many unfinished requests",
            "Send whole requests: too many bodies from this address are still coming.",
            RETRY_IN,
        )),
    };
    if let Some(progress) = progress {
        progress.arrived();
    }
    collected
}

/// Copies the body into one buffer, which grows with the bytes that arrive.
async fn collect(
    mut body: Body,
    bytes_max: usize,
    announced: Option<usize>,
    mut memory: Option<MemoryUse>,
) -> Gathered<Bytes> {
    let mut bytes = Vec::new();
    let mut parts = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::invalid("Send the body again: it could not be read."))?;
        // Trailers are not data.
        let part = frame.into_data().unwrap_or_default();
        let length = bytes.len() + part.len();
        if length > bytes_max {
            return Err(ApiError::payload_too_large(bytes_max));
        }
        if memory.as_mut().is_some_and(|memory| !memory.try_resize(length)) {
            return Err(ApiError::overloaded());
        }
        bytes.reserve_exact(capacity(bytes.capacity(), length, bytes_max, announced) - bytes.len());
        parts += 1;
        if parts > PARTS_MAX {
            return Err(ApiError::invalid(format!("Send the body in at most {PARTS_MAX} chunks.")));
        }
        bytes.extend_from_slice(&part);
    }
    Ok((bytes.into(), memory))
}

/// The new capacity of a buffer that had the capacity `before` and must hold `length` bytes in all. A long buffer takes its announced
/// length at once: each time that a buffer grows, the allocator keeps the old piece of memory for a while. A part of a buffer to which
/// nothing is written occupies no memory.
fn capacity(before: usize, length: usize, bytes_max: usize, announced: Option<usize>) -> usize {
    if length <= before {
        return before;
    }
    let believed = announced.filter(|announced| length > BELIEVED_FROM && *announced >= length);
    believed.unwrap_or((2 * before).min(bytes_max)).max(length)
}

/// Says what to do about wrong JSON, and where it is wrong. `field`: the path of the wrong field.
fn describe(field: &str, error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    if error.classify() != serde_json::error::Category::Data {
        return format!("Send JSON: this is none (line {line}, column {column}).");
    }
    let said = error.to_string();
    let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(said, _)| said);
    format!("{} (line {line}, column {column}).", remedy(field, said))
}

/// What to do about an error of serde. Quotes nothing that was sent, which may be a token. What follows the last "expected" is a text of
/// ours or of serde.
pub(crate) fn remedy(field: &str, said: &str) -> String {
    // The name that follows is one of ours.
    let name_after = |words: &str| said.strip_prefix(words)?.split('`').next();
    if let Some(missing) = name_after("missing field `") {
        return format!("Set `{missing}`");
    }
    if let Some(twice) = name_after("duplicate field `") {
        return format!("Send `{twice}` once");
    }
    match said.rsplit_once(", expected ") {
        Some((_, known)) if said.starts_with("unknown field ") => format!("Use no other name than {known}"),
        Some((_, expected)) => format!("Set `{field}` to {}", in_json(expected)),
        None => format!("Correct `{field}`: it has the wrong type"),
    }
}

/// The JSON name of a type that serde calls by its Rust name.
fn in_json(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "f32" | "f64" => "a number",
        name if name.starts_with("struct ") => "an object",
        other => other,
    }
}

// The requests whose body is still coming, by client. Behind a proxy, one client could otherwise hold all sockets to the proxy with
// bodies that come slowly.

/// The most such requests of one client: a sixteenth of `SOCKETS_MAX`. An IPv6 /48 has four times as many.
pub const COMING_PER_CLIENT_MAX: usize = 512;

/// The requests. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Coming(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    begun: u64,
    /// The requests of each share by number, so in the order in which they began.
    rows: Held<BTreeMap<u64, Row>>,
}

#[derive(Clone, Debug)]
struct Row {
    client: ClientKey,
    ended: Arc<Notify>,
}

/// One request. Dropping it frees its place.
#[derive(Debug)]
pub struct ComingBody {
    coming: Coming,
    number: u64,
    row: Row,
}

impl Coming {
    /// A body of a client begins to come. In a full share of the client, the oldest request ends.
    pub fn begin(&self, client: ClientKey) -> ComingBody {
        let row = Row { client, ended: Arc::default() };
        let mut table = self.0.lock();
        table.begun += 1;
        let number = table.begun;
        while let Some((oldest, row)) = table.oldest_of_full(client) {
            table.remove(oldest, row.client);
            row.ended.notify_one();
        }
        table.rows.change(client, |rows| rows.insert(number, row.clone()).is_none());
        ComingBody { coming: self.clone(), number, row }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        let table = self.0.lock();
        table.rows.iter().filter(|(share, _)| share.factor() == 1).map(|(_, rows)| rows.len()).sum()
    }
}

impl Table {
    /// The oldest request in a full share of a client. `None` if all its shares have room.
    fn oldest_of_full(&self, client: ClientKey) -> Option<(u64, Row)> {
        let is_full = |rows: &BTreeMap<u64, Row>, factor| rows.len() >= COMING_PER_CLIENT_MAX * factor;
        let full = self.rows.full(client, is_full)?;
        self.rows.get(&full)?.first_key_value().map(|(number, row)| (*number, row.clone()))
    }

    fn remove(&mut self, number: u64, client: ClientKey) {
        self.rows.change(client, |rows| {
            rows.remove(&number);
            !rows.is_empty()
        });
    }
}

impl ComingBody {
    /// Returns once the request must end, to make room for a newer one.
    pub async fn must_end(&self) {
        self.row.ended.notified().await;
    }
}

impl Drop for ComingBody {
    fn drop(&mut self) {
        self.coming.0.lock().remove(self.number, self.row.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_a_few_times_and_a_long_one_once() {
        let grow = |announced: Option<usize>| {
            let (mut before, mut sizes) = (0, vec![]);
            for length in (8_000..=1_000_000).step_by(8_000) {
                let size = capacity(before, length, 1_000_000, announced);
                assert!((length..=1_000_000).contains(&size));
                if size != before {
                    sizes.push(size);
                }
                before = size;
            }
            sizes
        };
        assert_eq!(grow(Some(1_000_000)), [8_000, 16_000, 32_000, 1_000_000]);
        assert_eq!(grow(None).len(), 8, "chunked");
        assert_eq!(grow(Some(40_000))[..5], [8_000, 16_000, 32_000, 40_000, 80_000], "more than it said");
        // Nothing is allocated for what may not come.
        assert_eq!(capacity(0, 300, BODY_MAX, Some(BODY_MAX)), 300);
    }

    #[derive(serde::Deserialize)]
    struct Order {
        limit: u64,
    }

    #[test]
    fn a_field_that_is_missing_repeated_or_of_another_type_is_named() {
        for (text, said) in [
            ("{}", "Set `limit` (line 1, column 2)."),
            (r#"{"limit":1,"limit":2}"#, "Send `limit` once (line 1, column 18)."),
            (r#"{"limit":-1}"#, "Set `limit` to a whole number, 0 or more (line 1, column 11)."),
        ] {
            let refused = parse_json::<Order>(text.as_bytes()).map(|order| order.limit).unwrap_err();
            assert_eq!(refused.body.message.as_deref(), Some(said), "{text}");
        }
    }
}

#[cfg(test)]
mod coming_tests {
    use super::*;

    fn client(text: &str) -> ClientKey {
        ClientKey::of(text.parse().unwrap())
    }

    async fn has_ended(body: &ComingBody) -> bool {
        tokio::time::timeout(std::time::Duration::ZERO, body.must_end()).await.is_ok()
    }

    #[tokio::test]
    async fn at_a_full_share_the_oldest_request_ends_and_other_clients_keep_theirs() {
        let coming = Coming::default();
        let other = coming.begin(client("192.0.2.2"));
        let mut bodies: Vec<_> =
            (0..COMING_PER_CLIENT_MAX).map(|_| coming.begin(client("192.0.2.1"))).collect();
        assert!(!has_ended(&bodies[0]).await);
        bodies.push(coming.begin(client("192.0.2.1")));
        assert!(has_ended(&bodies[0]).await && !has_ended(&bodies[1]).await && !has_ended(&other).await);
        bodies.truncate(2);
        bodies.push(coming.begin(client("192.0.2.1")));
        assert!(!has_ended(&bodies[1]).await, "what is over has left its place");
        assert_eq!(coming.count(), 3);
        drop((bodies, other));
        assert!(coming.0.lock().rows.is_empty());
    }

    #[tokio::test]
    async fn a_48_has_four_shares_and_its_oldest_request_ends() {
        let coming = Coming::default();
        let bodies: Vec<_> = (0..4 * COMING_PER_CLIENT_MAX)
            .map(|n| coming.begin(client(&format!("2001:db8:1:{:x}::1", n % 8))))
            .collect();
        assert!(!has_ended(&bodies[0]).await);
        let _newest = coming.begin(client("2001:db8:1:ff::1"));
        assert!(has_ended(&bodies[0]).await && !has_ended(&bodies[1]).await);
    }
}

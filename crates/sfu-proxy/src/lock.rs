//! The cookies of the proxy. Each is signed, and expires.
//!
//! The lock binds a session to the browser that opened it, because session ids are not secret. It has the name that partytracks' own server
//! gives it. The other cookie holds the ICE servers that a browser got: partytracks asks for them again with each attempt to open a session.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use turn_ledger::GrantId;

use super::session_id::SessionId;
use turn_signaling::signing::{self, SigningKey};

/// How long a lock is valid, which is the longest life of a session: 48 h, as Cloudflare's longest credential.
pub(crate) const LIFE: Duration = Duration::from_secs(48 * 3_600);
/// For how long a browser gets the same ICE servers again. partytracks tries again after 10 s at most, so an outage of the SFU costs
/// each browser one credential a minute.
pub(crate) const SERVERS_LIFE: Duration = Duration::from_secs(60);
/// The name of the cookie with ICE servers.
const SERVERS_NAME: &str = "partytracks-ice-servers";
/// The name of a lock, before the id of its session.
const NAME: &str = "partytracks-session-";
/// Locks of more bytes together are removed from a browser. A request's headers have 16 KiB, of which an application's
/// own cookies take a part.
pub(crate) const LOCKS_BYTES_MAX: usize = 6 * 1024;

/// The keys that sign the cookies.
#[derive(Clone, Debug)]
pub(crate) struct CookieKeys {
    locks: SigningKey,
    servers: SigningKey,
}

/// A lock that a browser has sent. Those that are kept longest are the largest.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Lock<'a> {
    /// Whether it is valid, and something is open in its session.
    is_needed: bool,
    /// In seconds since 1970. `None` if it is not valid.
    expires: Option<u64>,
    name: &'a str,
    /// Of its name and its value, in bytes.
    length: usize,
}

/// What a cookie with ICE servers holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GivenServers {
    /// The grant of their credential.
    pub grant: GrantId,
    /// The servers.
    pub ice_servers: Value,
    /// When the cookie expires, in seconds since 1970.
    pub expires: u64,
}

impl CookieKeys {
    /// Keys that are derived from a secret of the service.
    pub(crate) fn derived_from(secret: &[u8]) -> Self {
        let key = |purpose: &[u8]| SigningKey::derived(secret, purpose);
        Self { locks: key(b"turn-broker sfu lock"), servers: key(b"turn-broker sfu ice servers") }
    }

    /// The value of `Set-Cookie` for a new session. `prefix`: the path that the cookie is for. `wall`: the time since 1970.
    pub(crate) fn lock(&self, session: &SessionId, prefix: &str, wall: Duration) -> String {
        let expires = wall.saturating_add(LIFE).as_secs();
        set_cookie(
            &format!("{NAME}{session}"),
            &self.locks.sign(&format!("{session}.{expires}")),
            prefix,
            LIFE,
        )
    }

    /// The value of `Set-Cookie` for ICE servers that a browser gets.
    pub(crate) fn servers_cookie(&self, given: &GivenServers, prefix: &str) -> String {
        let given = serde_json::to_vec(given).unwrap_or_default();
        set_cookie(SERVERS_NAME, &self.servers.sign(&URL_SAFE_NO_PAD.encode(given)), prefix, SERVERS_LIFE)
    }

    /// The values of `Set-Cookie` that remove locks from a browser: those that are not valid, and of those that have more than
    /// [`LOCKS_BYTES_MAX`] together first those of sessions in which nothing is open, the oldest first. A browser sends all of them with
    /// each request, and a request's headers have a limit.
    pub(crate) fn removed<'a>(
        &self,
        cookies: impl Iterator<Item = &'a str>,
        prefix: &str,
        has_open: impl Fn(&SessionId) -> bool,
    ) -> Vec<String> {
        let locks = signing::cookies(cookies).filter_map(|(name, value)| {
            let session = name.strip_prefix(NAME)?;
            let expires = self.expires(session, value);
            let is_needed = expires.is_some() && SessionId::new(session).is_some_and(|id| has_open(&id));
            Some(Lock { is_needed, expires, name, length: name.len().saturating_add(value.len()) })
        });
        let mut locks: Vec<_> = locks.collect();
        locks.sort_unstable_by(|a, b| b.cmp(a));
        let mut left = LOCKS_BYTES_MAX;
        locks.retain(|lock| {
            left = left.saturating_sub(lock.length);
            left == 0 || lock.expires.is_none()
        });
        locks.iter().map(|lock| set_cookie(lock.name, "", prefix, Duration::ZERO)).collect()
    }

    /// The ICE servers among the cookies of a request.
    pub(crate) fn servers<'a>(
        &self,
        cookies: impl Iterator<Item = &'a str>,
        wall: Duration,
    ) -> Option<GivenServers> {
        let mut values = signing::cookies(cookies).filter(|(name, _)| *name == SERVERS_NAME);
        values.find_map(|(_, value)| {
            let given = URL_SAFE_NO_PAD.decode(self.servers.signed(value)?).ok()?;
            let given: GivenServers = serde_json::from_slice(&given).ok()?;
            (given.expires > wall.as_secs()).then_some(given)
        })
    }

    /// Whether the lock of a session is among the cookies of a request. A browser can hold several of one session, for paths that contain
    /// each other. `cookies`: the values of `Cookie`.
    pub(crate) fn unlocks<'a>(
        &self,
        session: &SessionId,
        cookies: impl Iterator<Item = &'a str>,
        wall: Duration,
    ) -> bool {
        signing::cookies(cookies).any(|(name, value)| {
            name.strip_prefix(NAME) == Some(session.as_str())
                && self.expires(session.as_str(), value).is_some_and(|expires| expires > wall.as_secs())
        })
    }

    /// When a lock of this session expires; `None` if it is not valid.
    fn expires(&self, session: &str, value: &str) -> Option<u64> {
        let (of, expires) = self.locks.signed(value)?.split_once('.')?;
        if of == session { expires.parse().ok() } else { None }
    }
}

fn set_cookie(name: &str, value: &str, prefix: &str, life: Duration) -> String {
    let life = life.as_secs();
    format!("{name}={value}; Max-Age={life}; HttpOnly; Secure; SameSite=Strict; Path={prefix};")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const NOON: Duration = Duration::from_secs(1_736_942_400);

    fn keys() -> CookieKeys {
        CookieKeys::derived_from(b"secret")
    }

    fn session(text: &str) -> SessionId {
        SessionId::new(text).unwrap()
    }

    /// The pair of a `Set-Cookie`, as a browser sends it back.
    fn pair(cookie: &str) -> String {
        cookie.split(';').next().unwrap().to_owned()
    }

    fn lock(of: &str) -> String {
        pair(&keys().lock(&session(of), "/partytracks", NOON))
    }

    fn unlocks(cookie: &str, of: &str, wall: Duration) -> bool {
        keys().unlocks(&session(of), std::iter::once(cookie), wall)
    }

    #[test]
    fn the_lock_has_the_name_and_attributes_of_partytracks() {
        let cookie = keys().lock(&session("s1"), "/api/calls", NOON);
        assert!(cookie.starts_with("partytracks-session-s1=s1.1737115200."), "{cookie}");
        assert!(cookie.ends_with("; HttpOnly; Secure; SameSite=Strict; Path=/api/calls;"), "{cookie}");
    }

    #[test]
    fn a_lock_opens_its_own_session_until_it_expires() {
        let of_s1 = lock("s1");
        assert!(unlocks(&of_s1, "s1", NOON) && unlocks(&format!("a=b; {of_s1}; c"), "s1", NOON));
        let last_second = NOON + Duration::from_secs(48 * 3_600 - 1);
        assert!(unlocks(&of_s1, "s1", last_second));
        assert!(!unlocks(&of_s1, "s1", NOON + LIFE));
        assert!(!unlocks(&of_s1, "s2", NOON) && !unlocks("", "s1", NOON));
        assert!(!unlocks(&of_s1.replace("session-s1=", "session-s2="), "s2", NOON), "of another session");
        let other = CookieKeys::derived_from(b"other").lock(&session("s1"), "/", NOON);
        assert!(!unlocks(&pair(&other), "s1", NOON), "of another key");
    }

    #[test]
    fn the_oldest_locks_of_sessions_with_nothing_open_and_those_that_are_not_valid_are_removed() {
        let lock_at = |n: u64| {
            let made_at = NOON + Duration::from_secs(n);
            pair(&keys().lock(&session(&format!("s{n}")), "/", made_at))
        };
        let many: Vec<_> = (0..120).map(lock_at).collect();
        let is_open = Cell::new("");
        let removed = |cookies: &[String]| {
            let cookies = cookies.iter().map(String::as_str);
            let removed = keys().removed(cookies, "/p", |session| is_open.get() == session.as_str());
            removed.into_iter().map(|set| set.split_once('=').unwrap().0.to_owned()).collect::<Vec<_>>()
        };
        let gone = removed(&many);
        let kept: usize =
            many.iter().rev().take(many.len() - gone.len()).map(|pair| pair.len() - "=".len()).sum();
        assert!((LOCKS_BYTES_MAX - 300..LOCKS_BYTES_MAX).contains(&kept), "{kept}");
        assert!(
            gone.iter().all(|name| name[NAME.len() + 1..].parse::<usize>().unwrap() < gone.len()),
            "{gone:?}"
        );
        is_open.set("s0");
        let gone = removed(&many);
        assert!(gone.contains(&format!("{NAME}s1")) && !gone.contains(&format!("{NAME}s0")), "{gone:?}");
        for session in ["x", "s0"] {
            let foreign = format!("{NAME}{session}=forged; other=1");
            assert_eq!(removed(&[foreign, lock_at(1)]), [format!("{NAME}{session}")]);
        }
    }

    #[test]
    fn ice_servers_come_back_until_they_expire_and_are_no_lock() {
        let given = GivenServers {
            grant: GrantId::new([7; 16]),
            ice_servers: serde_json::json!([{ "urls": "turn:turn.example" }]),
            expires: NOON.as_secs() + 60,
        };
        let set = keys().servers_cookie(&given, "/partytracks");
        assert!(set.ends_with("; HttpOnly; Secure; SameSite=Strict; Path=/partytracks;"), "{set}");
        let set = pair(&set);
        let servers = |cookie: &str, wall| keys().servers(std::iter::once(cookie), wall);
        assert_eq!(servers(&set, NOON + Duration::from_secs(59)), Some(given));
        assert_eq!(servers(&set, NOON + SERVERS_LIFE), None);
        assert_eq!(CookieKeys::derived_from(b"other").servers(std::iter::once(&*set), NOON), None);
        let lock = lock("s1").replace("partytracks-session-s1=", "partytracks-ice-servers=");
        assert_eq!(servers(&lock, NOON), None);
    }

    #[test]
    fn of_several_cookies_one_must_be_valid() {
        assert!(unlocks(&format!("partytracks-session-s1=old; {}", lock("s1")), "s1", NOON));
    }
}

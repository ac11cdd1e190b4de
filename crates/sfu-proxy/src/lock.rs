//! The cookies of the proxy, each a JWT with HS256. The algorithm is not read from the token.
//!
//! The lock binds a session to the browser that opened it, because session ids are not secret. It has the name and the form
//! of the lock of partytracks' own server, but it also expires. The other cookie holds the ICE servers that a browser got: partytracks asks
//! for them again with each attempt to open a session.

use std::cmp::Reverse;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;

use crate::prelude::*;
use turn_signaling::{SigningKey, signing};

/// How long a lock is valid, which is the longest life of a session: 48 h, as Cloudflare's longest credential.
pub(crate) const LIFE: Duration = Duration::from_secs(48 * 3_600);
/// For how long a browser gets the same ICE servers again. partytracks tries again after 10 s at most, so an outage of the SFU costs
/// each browser one credential a minute.
pub(crate) const SERVERS_LIFE: Duration = Duration::from_secs(60);
/// The name of the cookie with ICE servers.
const SERVERS_NAME: &str = "partytracks-ice-servers";
/// The name of a lock, before the id of its session.
const NAME: &str = "partytracks-session-";
/// The most bytes that the locks of a browser have together: the broker removes the others. A request's headers have 16 KiB, of which an
/// application's own cookies take a part.
pub(crate) const LOCKS_BYTES_MAX: usize = 6 * 1024;
/// The longest cookie that is read, in bytes.
const TOKEN_MAX: usize = 2_048;
/// The only header of our tokens: `{"typ":"JWT","alg":"HS256"}`.
const HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;
/// Separates this key from other keys that are derived from the same secret.
const USE: &[u8] = b"turn-broker sfu lock";

/// The key that signs the cookies.
#[derive(Clone, Debug)]
pub(crate) struct LockKey(SigningKey);

/// A lock that a browser has sent.
struct Lock<'a> {
    /// Whether our key has signed it, and something is open in its session.
    is_needed: bool,
    /// When it was made, in seconds since 1970. `None` if our key has not signed it.
    made_at: Option<u64>,
    name: &'a str,
    /// The length of its name and its value, in bytes.
    length: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    session_id: String,
    /// When it was made, in seconds since 1970.
    iat: u64,
    /// When it expires.
    exp: u64,
}

/// The claims of a cookie with ICE servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GivenServers {
    /// The grant of their credential.
    pub grant: GrantId,
    /// The servers.
    pub ice_servers: Value,
    /// When the cookie expires, in seconds since 1970.
    pub exp: u64,
}

impl LockKey {
    /// The key for locks, derived from a secret of the service.
    pub(crate) fn derived_from(secret: &[u8]) -> Self {
        Self(SigningKey::derived(secret, USE))
    }

    /// The value of `Set-Cookie` with the lock of a new session. `prefix`: the path that the cookie is for. `wall`: the time since 1970.
    pub(crate) fn cookie(&self, session: &SessionId, prefix: &str, wall: Duration) -> String {
        let claims = Claims {
            session_id: session.as_str().to_owned(),
            iat: wall.as_secs(),
            exp: wall.saturating_add(LIFE).as_secs(),
        };
        self.set_cookie(&format!("{NAME}{}", session.as_str()), &claims, prefix, LIFE)
    }

    /// The value of `Set-Cookie` for ICE servers that a browser gets.
    pub(crate) fn servers_cookie(&self, given: &GivenServers, prefix: &str) -> String {
        self.set_cookie(SERVERS_NAME, given, prefix, SERVERS_LIFE)
    }

    /// The values of `Set-Cookie` that remove locks from a browser: all locks that our key has not signed, and as many others as are beyond
    /// [`LOCKS_BYTES_MAX`] together. The locks of sessions in which nothing is open go first, then the oldest. A browser sends all its
    /// locks with each request, and a request's headers have a limit.
    pub(crate) fn removed(
        &self,
        cookies: &[&str],
        prefix: &str,
        has_open: impl Fn(&SessionId) -> bool,
    ) -> Vec<String> {
        let locks = signing::cookies(cookies.iter().copied()).filter_map(|(name, token)| {
            let session = name.strip_prefix(NAME)?;
            let made_at = self.verified::<Claims>(token).map(|claims| claims.iat);
            let is_needed = made_at.is_some() && SessionId::new(session).is_some_and(|id| has_open(&id));
            Some(Lock { is_needed, made_at, name, length: name.len().saturating_add(token.len()) })
        });
        let mut locks: Vec<_> = locks.collect();
        // The locks to keep come first; the others then stay in the list. Name and length only make the order certain.
        locks.sort_unstable_by_key(|lock| Reverse((lock.is_needed, lock.made_at, lock.name, lock.length)));
        let mut left = LOCKS_BYTES_MAX;
        locks.retain(|lock| {
            left = left.saturating_sub(lock.length);
            left == 0 || lock.made_at.is_none()
        });
        let remove =
            |name: &str| format!("{name}=; Max-Age=0; HttpOnly; Secure; SameSite=Strict; Path={prefix};");
        locks.iter().map(|lock| remove(lock.name)).collect()
    }

    /// The ICE servers among the cookies of a request.
    pub(crate) fn servers(&self, cookies: &[&str], wall: Duration) -> Option<GivenServers> {
        let mut tokens = signing::cookies(cookies.iter().copied()).filter(|(name, _)| *name == SERVERS_NAME);
        tokens.find_map(|(_, token)| {
            self.verified::<GivenServers>(token).filter(|given| given.exp > wall.as_secs())
        })
    }

    /// The sessions whose valid locks are among the cookies of a request. A session can come twice: with earlier settings its lock may
    /// have got another path. `cookies`: the values of `Cookie`. `wall`: the time since 1970.
    pub(crate) fn unlocked(&self, cookies: &[&str], wall: Duration) -> impl Iterator<Item = SessionId> {
        signing::cookies(cookies.iter().copied()).filter_map(move |(name, token)| {
            let session = SessionId::new(name.strip_prefix(NAME)?)?;
            let claims: Claims = self.verified(token)?;
            let is_valid = claims.session_id == session.as_str() && claims.exp > wall.as_secs();
            is_valid.then_some(session)
        })
    }

    /// The claims of a token that this key has signed. The two kinds of claims have different members, so neither is read as the other.
    fn verified<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        if token.len() > TOKEN_MAX {
            return None;
        }
        let (_, claims) = self.0.signed(token)?.split_once('.')?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }

    fn set_cookie(&self, name: &str, claims: &impl Serialize, prefix: &str, life: Duration) -> String {
        let claims = serde_json::to_vec(claims).unwrap_or_default();
        let (header, claims) = (URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims));
        let token = self.0.sign(&format!("{header}.{claims}"));
        let life = life.as_secs();
        format!("{name}={token}; Max-Age={life}; HttpOnly; Secure; SameSite=Strict; Path={prefix};")
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const NOON: Duration = Duration::from_secs(1_736_942_400);

    fn key() -> LockKey {
        LockKey::derived_from(b"secret")
    }

    fn session(text: &str) -> SessionId {
        SessionId::new(text).unwrap()
    }

    /// The pair of a `Set-Cookie`, as a browser sends it back.
    fn pair(cookie: &str) -> String {
        cookie.split(';').next().unwrap().to_owned()
    }

    fn cookie() -> String {
        pair(&key().cookie(&session("s1"), "/partytracks", NOON))
    }

    fn unlocks(cookie: &str, of: &str, wall: Duration) -> bool {
        key().unlocked(&[cookie], wall).any(|unlocked| unlocked == session(of))
    }

    #[test]
    fn the_cookie_has_the_name_and_attributes_of_partytracks() {
        let cookie = key().cookie(&session("s1"), "/api/calls", NOON);
        assert!(cookie.starts_with("partytracks-session-s1=eyJ"), "{cookie}");
        assert!(cookie.ends_with("; HttpOnly; Secure; SameSite=Strict; Path=/api/calls;"), "{cookie}");
        let token = pair(&cookie).split_once('=').unwrap().1.to_owned();
        let part = |n| URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap();
        assert_eq!(part(0), br#"{"typ":"JWT","alg":"HS256"}"#);
        assert_eq!(part(1), br#"{"sessionId":"s1","iat":1736942400,"exp":1737115200}"#);
    }

    #[test]
    fn a_lock_opens_its_own_session_until_it_expires() {
        assert!(unlocks(&cookie(), "s1", NOON) && unlocks(&format!("a=b; {}; c", cookie()), "s1", NOON));
        let last_second = NOON + Duration::from_secs(48 * 3_600 - 1);
        assert!(unlocks(&cookie(), "s1", last_second));
        assert!(!unlocks(&cookie(), "s1", NOON + LIFE));
        assert!(!unlocks(&cookie(), "s2", NOON) && !unlocks("", "s1", NOON));
        let other = LockKey::derived_from(b"other").cookie(&session("s1"), "/", NOON);
        assert!(!unlocks(&pair(&other), "s1", NOON), "of another key");
    }

    #[test]
    fn the_algorithm_of_the_token_is_not_read() {
        let cookie = cookie();
        let claims = cookie.split('.').nth(1).unwrap();
        for header in [r#"{"alg":"none"}"#, r#"{"typ":"JWT","alg":"RS256"}"#] {
            let header = URL_SAFE_NO_PAD.encode(header);
            for signature in ["", "AA", cookie.split('.').nth(2).unwrap()] {
                let forged = format!("partytracks-session-s1={header}.{claims}.{signature}");
                assert!(!unlocks(&forged, "s1", NOON));
            }
        }
    }

    #[test]
    fn the_sessions_of_all_valid_locks_are_known() {
        let lock = |name: &str| pair(&key().cookie(&session(name), "/", NOON));
        let forged = lock("s3").replace("session-s3=", "session-s4=");
        let lines =
            [format!("a=b; {}", lock("s1")), format!("{}; {forged}; partytracks-session-=x", lock("s2"))];
        let lines = lines.each_ref().map(String::as_str);
        assert_eq!(key().unlocked(&lines, NOON).collect::<Vec<_>>(), [session("s1"), session("s2")]);
        assert_eq!(key().unlocked(&lines, NOON + LIFE).count(), 0, "they have expired");
    }

    #[test]
    fn the_oldest_locks_of_sessions_with_nothing_open_and_those_that_are_not_valid_are_removed() {
        let lock = |n: u64| {
            let made_at = NOON + Duration::from_secs(n);
            pair(&key().cookie(&session(&format!("s{n}")), "/", made_at))
        };
        let many: Vec<_> = (0..60).map(lock).collect();
        let is_open = Cell::new("");
        let removed = |cookies: &[String]| {
            let cookies: Vec<_> = cookies.iter().map(String::as_str).collect();
            let removed = key().removed(&cookies, "/p", |session| is_open.get() == session.as_str());
            removed.into_iter().map(|set| set.split_once('=').unwrap().0.to_owned()).collect::<Vec<_>>()
        };
        let gone = removed(&many);
        let kept: usize = many.iter().rev().take(60 - gone.len()).map(|pair| pair.len() - "=".len()).sum();
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
            assert_eq!(removed(&[foreign, lock(1)]), [format!("{NAME}{session}")]);
        }
    }

    #[test]
    fn ice_servers_come_back_until_they_expire_and_are_no_lock() {
        let given = GivenServers {
            grant: GrantId::new([7; 16]),
            ice_servers: serde_json::json!([{ "urls": "turn:turn.example" }]),
            exp: NOON.as_secs() + 60,
        };
        let set = key().servers_cookie(&given, "/partytracks");
        assert!(set.ends_with("; HttpOnly; Secure; SameSite=Strict; Path=/partytracks;"), "{set}");
        let set = pair(&set);
        let servers = |cookie: &str, wall| key().servers(&[cookie], wall);
        assert_eq!(servers(&set, NOON + Duration::from_secs(59)), Some(given));
        assert_eq!(servers(&set, NOON + SERVERS_LIFE), None);
        assert_eq!(LockKey::derived_from(b"other").servers(&[&*set], NOON), None);
        let (_, token) = set.split_once('=').unwrap();
        assert!(!unlocks(&format!("partytracks-session-s1={token}"), "s1", NOON));
        let lock = cookie().replace("partytracks-session-s1=", "partytracks-ice-servers=");
        assert_eq!(servers(&lock, NOON), None);
    }

    #[test]
    fn one_valid_lock_among_several_cookies_is_enough() {
        let both = format!("partytracks-session-s1=old; {}", cookie());
        assert!(unlocks(&both, "s1", NOON));
        let long = format!("partytracks-session-s1={}", "a.".repeat(TOKEN_MAX));
        assert!(!unlocks(&long, "s1", NOON));
    }
}

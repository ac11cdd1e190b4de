//! The proxy of Cloudflare's SFU. The pure table decides. A request that it admits is sent in a task of its own, so its result is
//! known even if the client has gone. What changes in the sessions reaches the ledger under the table's lock, in order.

use parking_lot::Mutex;
use turn_base::{Bodies, Clock, HttpClient};
use turn_budget::Label;
use turn_signaling::{Call, CallName};

use super::fault::{TEXT, text_of_refusal};
use super::lock::{LIFE, SERVERS_LIFE};
use super::track::kbps;
use crate::prelude::*;

/// A credential is handed out again only in the first part of its life: the life divided by this number.
const FIRST_PART: u32 = 4;

/// What the service gives to the proxy.
pub struct Service {
    /// The broker.
    pub broker: Arc<dyn SfuBroker>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The bodies of all requests.
    pub bodies: Bodies,
    /// The ICE servers of a response without a credential.
    pub stun: Value,
    /// The life of a credential for a call.
    pub ttl: Duration,
}

/// The proxy, with the table of its sessions.
pub struct SfuProxy {
    pub(crate) config: SfuConfig,
    pub(crate) lock_key: LockKey,
    pub(crate) upstream: Upstream,
    sessions: Mutex<Sessions>,
    pub(crate) service: Service,
}

/// A new session, as a client asks for it.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Who asks.
    pub owner: Caller,
    /// The room that the session will belong to.
    pub room: Option<Arc<str>>,
    /// The path that the lock is for: the prefix of the request's path.
    pub prefix: Arc<str>,
    /// The application's text for the session.
    pub label: Option<Label>,
    /// The origin of the page.
    pub origin: Option<Arc<str>>,
    /// The values of `Set-Cookie` that remove locks from the browser: see [`SfuProxy::removed_locks`].
    pub removed: Vec<String>,
}

impl SfuProxy {
    /// `secret`: the key of the ledger, so that locks outlive a restart. `books`: the time of the books. `open`: the sessions that
    /// were open before a restart.
    pub fn new(
        config: SfuConfig,
        video: VideoRates,
        secret: &[u8],
        client: HttpClient,
        (books, open): (Timestamp, Vec<(Arc<str>, SfuSession)>),
        service: Service,
    ) -> Self {
        let terms =
            SfuTerms { video, client_kbps: kbps(config.client_rate), look_interval: config.look_interval };
        let proxy = Self {
            lock_key: LockKey::derived_from(secret),
            upstream: Upstream::new(&config, client),
            sessions: Mutex::new(Sessions::new(terms)),
            config,
            service,
        };
        // The watch looks at these sessions as soon as it begins.
        let open = open.into_iter().filter_map(|(id, row)| OpenedSession::of_row(&id, row, books));
        proxy.with(|sessions, now| open.for_each(|session| sessions.restore(&session, now)));
        proxy
    }

    /// Opens a session.
    pub async fn open(self: &Arc<Self>, opening: Opening, mut passed: ForwardedRequest) -> Returned {
        passed.body = request::new_session(&passed.body)?.body.into();
        let holder = opening.owner.holder();
        self.with(|sessions, now| sessions.reserve(&holder, now))?;
        let place = ReservedPlace { proxy: Arc::clone(self), holder: Some(holder) };
        let opened = async move { place.open(opening, passed).await };
        // A panic has been logged by the hook.
        tokio::spawn(opened).await.unwrap_or(Err(SfuFault::UNREACHABLE))
    }

    /// Checks that the caller may use a session: the caller's browser has the session's lock or, without locks, the caller owns the
    /// session. The user who opened the session must not be blocked.
    pub fn authorize(&self, id: &SessionId, caller: &Caller, cookies: &[&str]) -> SfuResult<()> {
        let is_unlocked =
            self.lock_key.unlocked(cookies, self.service.clock.since_1970()).any(|unlocked| unlocked == *id);
        if self.config.is_locked && !is_unlocked {
            return Err(SfuFault::NO_COOKIE);
        }
        // The owner's user, not the caller's: a request with a lock needs no token.
        let chain = |one, other| self.service.broker.are_of_one_chain(one, other);
        let user = self.with(|sessions, _| sessions.check_owner(id, caller, is_unlocked, chain))?;
        let is_blocked = self.service.broker.block_of(caller.address, user.as_ref()).is_some();
        if is_blocked { Err(SfuFault::BLOCKED) } else { Ok(()) }
    }

    /// The values of `Set-Cookie` that remove invalid and superfluous locks from a browser: see `LockKey::removed`.
    pub fn removed_locks(&self, cookies: &[&str], prefix: &str) -> Vec<String> {
        let has_open = |id: &_| self.with(|sessions, _| sessions.has_open(id));
        self.lock_key.removed(cookies, prefix, has_open)
    }

    /// The room of the caller's sessions that are in a call: those that the cookies unlock and, without locks, those that the caller may
    /// have opened. `None` if there is no such room, or more than one.
    pub fn room_of(&self, caller: &Caller, cookies: &[&str]) -> Option<Arc<str>> {
        let unlocked: Vec<_> = self.lock_key.unlocked(cookies, self.service.clock.since_1970()).collect();
        self.with(|sessions, _| {
            let own = (!self.config.is_locked).then(|| sessions.of_caller(caller));
            sessions.only_room(unlocked.iter().chain(own.into_iter().flatten()))
        })
    }

    /// How many sessions are in the table, and how many tracks and data channels they are charged for.
    pub fn counts(&self) -> (usize, usize) {
        self.with(|sessions, _| (sessions.count(), sessions.charged()))
    }

    /// The running calls.
    pub fn calls(&self) -> BTreeMap<CallName, Call> {
        self.with(|sessions, now| sessions.calls(now, self.service.clock.now()))
    }

    /// How many sessions are charged now: each counts as an open connection.
    pub fn pulling(&self) -> usize {
        self.with(|sessions, _| sessions.pulling())
    }

    /// Ends all sessions of a room: no page may use them, and their tracks are closed by force within seconds. Returns how many there are.
    pub fn end_room(&self, room: &str) -> usize {
        self.with(|sessions, now| sessions.end_room(room, now))
    }

    /// Ends the sessions of the holders that `is_meant` accepts: their tracks are closed by force within seconds.
    pub fn end_sessions_of(&self, is_meant: impl Fn(&Holder) -> bool) {
        self.with(|sessions, now| sessions.end_where(|session| is_meant(&session.holder()), now));
    }

    /// The ICE servers that this browser got for the same spender a moment ago. `None` if it got none, if their credential was revoked, and
    /// while nothing would be minted.
    pub fn given_servers(&self, cookies: &[&str], spender: Option<&Spender>) -> Option<Value> {
        let given = self.lock_key.servers(cookies, self.service.clock.since_1970())?;
        self.service.broker.may_reuse(given.grant, spender).then_some(given.ice_servers)
    }

    /// The cookie with ICE servers that a browser gets, for [`Self::given_servers`].
    pub fn servers_cookie(&self, grant: GrantId, ice_servers: Value, prefix: &str) -> Option<HeaderValue> {
        let life = SERVERS_LIFE.min(self.service.ttl / FIRST_PART);
        let exp = self.service.clock.since_1970().saturating_add(life).as_secs();
        secret_header(&self.lock_key.servers_cookie(&GivenServers { grant, ice_servers, exp }, prefix))
    }

    /// Runs `change` under the lock. What it changes is reported to the ledger before the lock is released.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Sessions, Duration) -> T) -> T {
        // After a panic the table can still serve: each look corrects the counts.
        let mut sessions = self.sessions.lock();
        let now = self.service.clock.since_boot();
        let result = change(&mut sessions, now);
        for (id, is_found) in std::mem::take(&mut sessions.changed) {
            let row = |books| sessions.row(&id, now, books);
            // What the ledger could not take is reported again.
            if !self.service.broker.remember(&id.text(), &row, is_found) {
                sessions.report(&id, false);
            }
        }
        result
    }
}

/// A place for a session that is being opened. It is released unless the session begins.
struct ReservedPlace {
    proxy: Arc<SfuProxy>,
    holder: Option<Holder>,
}

impl ReservedPlace {
    /// Asks the SFU for the session. If the SFU has created it, puts it in the table and gives the browser its lock.
    async fn open(mut self, opening: Opening, passed: ForwardedRequest) -> Returned {
        let mut returned = self.proxy.upstream.open(passed).await?;
        let Some(id) = returned.answered().and_then(|answered| answered.session) else {
            return Ok(as_text(returned));
        };
        let Opening { owner, room, prefix, label, origin, removed } = opening;
        if self.proxy.config.is_locked {
            let cookie = self.proxy.lock_key.cookie(&id, &prefix, self.proxy.service.clock.since_1970());
            for cookie in removed.iter().chain([&cookie]).filter_map(|text| secret_header(text)) {
                returned.headers.append(SET_COOKIE, cookie);
            }
        }
        // From here on `Sessions::begin` releases the place.
        self.holder = None;
        let call = room.as_ref().map(|room| turn_budget::Call::of(ProtocolName::Sfu.as_str(), room));
        let user = owner.user.clone();
        let spender = Spender { user, label, origin, call, server: None, signed_in_until: None }.known();
        let session = OpenedSession { id, room, owner, spender, life: LIFE, taken: Taken::default() };
        self.proxy.with(|sessions, now| sessions.begin(&session, now));
        Ok(returned)
    }
}

impl Drop for ReservedPlace {
    fn drop(&mut self) {
        if let Some(holder) = &self.holder {
            self.proxy.with(|sessions, _| sessions.release(holder));
        }
    }
}

/// The value of a header that no log shows.
fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The response to a client whose request has opened no session: text, because partytracks would take JSON for a session. A body that is no
/// JSON stays as it is.
fn as_text(mut returned: SfuResponse) -> SfuResponse {
    if let Some(text) = text_of_refusal(returned.status.as_u16(), &returned.body) {
        returned.headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
        returned.body = text.into();
    }
    returned
}

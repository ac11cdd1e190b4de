//! What the books are expected to say after each operation of a simulated broker, by the account of [`super::model`].

use turn_ledger::{
    ByteCount, Day, DayCount, GrantCounts, GrantId, Hold, IceSource, Listing, MINT_SLACK, Moment, Reading,
    ReadingOutcome, Requester, Snapshot, Timestamp,
};

use super::broker::Broker;
use super::disk::Disk;
use super::minting::InFlight;
use super::model::Model;
use super::model::figures::Span;
use super::settings::{ONE, SOURCE, millis};

/// Room for one credential.
pub(super) struct Reserved {
    pub(super) hold: Hold,
    /// The latest time at which the credential expires, in the books' time.
    pub(super) expires_by: Timestamp,
    /// How far the wall clock was ahead, in milliseconds.
    pub(super) ahead: u64,
}

impl<D: Disk> Broker<D> {
    /// The later of the books' time and the wall clock, in milliseconds since 1970.
    pub(super) fn latest(&self) -> i64 {
        self.books.now().max(self.books.moment().wall).as_millis()
    }

    /// How long a credential of a source that is made now relays after its expiry, in milliseconds.
    pub(super) fn tail_of(&self, source: IceSource) -> u64 {
        let is_cut = source == IceSource::Coturn && self.settings.cuts() && self.model.is_cut(self.latest());
        if is_cut { self.settings.short_tail() } else { millis(self.settings.tail(source)) }
    }

    /// What a credential relays in a minute at most, by the settings.
    fn bytes_per_minute(&self) -> u64 {
        self.settings.mbps * 7_500_000
    }

    /// Whether sessions of a source are ended here.
    pub(super) fn is_cut_here(&self, source: IceSource) -> bool {
        source == IceSource::Relay || (source == IceSource::Coturn && self.settings.cuts())
    }

    /// A hold, which covers the whole time in which its credential may be used.
    pub(super) fn reserved(
        &mut self,
        hold: Hold,
        before: &Snapshot,
        source: IceSource,
        requester: &Requester,
    ) -> Reserved {
        let (now, ahead) = (before.figures.now, millis(before.clock_ahead));
        let expires_by = now.plus(hold.life()).plus(MINT_SLACK).plus_millis(ahead);
        let live = |id: &GrantId| self.books.grants().get(*id).is_some();
        let renewed = requester.renews.filter(live);
        let is_cut_here = self.is_cut_here(source);
        let tail = self.tail_of(source);
        let rate = self.bytes_per_minute();
        let is_rate = |per_minute: u64| {
            per_minute == rate || (per_minute > rate && !before.measured.assumption_holds())
        };
        let time = hold.promised();
        let problem =
            self.model.differs_from_hold(&time, now, expires_by, tail, source, renewed, is_cut_here);
        let problem = problem.or_else(|| {
            (!is_rate(time.per_minute)).then(|| format!("{} bytes are promised in a minute", time.per_minute))
        });
        self.model.expect(problem.is_none(), || problem.unwrap_or_default());
        Reserved { hold, expires_by, ahead }
    }

    /// Time has passed in the books.
    pub(super) fn note_cutting(&mut self) {
        if self.settings.cuts() {
            let (now, latest) = (self.books.now().as_millis(), self.latest());
            let (tail, rate) = (millis(self.settings.tail(IceSource::Coturn)), self.bytes_per_minute());
            let books = &self.books;
            let has_row = |id| books.grants().iter().any(|(it, _)| *it == id);
            self.model.note_cutting(now, latest, tail, rate, has_row);
        }
    }

    /// The books have taken a listing of coturn.
    pub(super) fn note_listing(&mut self, is_complete: bool, listed: &[(GrantId, i64)], asked_at: Timestamp) {
        let is_complete = is_complete && !self.books.moment().in_doubt;
        let (now, latest) = (self.books.now().as_millis(), self.latest());
        // A coturn that mints no more is listed as long as its command line is connected.
        let short = self.settings.cuts().then(|| self.settings.short_tail());
        self.model.list((asked_at.as_millis(), now), latest, is_complete, listed, short);
    }

    /// The books have moved from one time to another. `past`: what they said before.
    pub(super) fn note_time(&mut self, moment: &Moment, before: i64, past: &Snapshot) {
        let period = self.books.ledger().period();
        self.model.advance(moment, before, self.books.now().as_millis(), period);
        self.model.now.renew_sessions(&self.books, before);
        // What pages took while nobody watched is in no promise, and what a reporter says neither.
        let is_known = self.pages.is_empty() && !self.has_reporter && !self.may_break;
        if is_known && past.figures.period.end == period.start {
            let is_exact =
                past.figures.used == past.measured.bytes && self.books.connections().open_count() == 0;
            let most = match is_exact && past.open_connections == 0 {
                true => past.figures.used,
                false if self.settings.strict => {
                    past.figures.committed.plus(past.figures.margin).plus(self.late(past))
                }
                // In estimate mode, what is reported can be more than what is promised.
                false => ByteCount::new(u64::MAX),
            };
            let wrong = Model::check_past(&self.books, past, most);
            self.model.expect(wrong.is_none(), || wrong.unwrap_or_default());
        }
    }

    /// The most that open connections are charged for the time before a reset after it: one heartbeat each, which nothing limits.
    fn late(&self, past: &Snapshot) -> ByteCount {
        let heartbeat = self.settings.estimated_rate().over_millis((self.settings.heartbeat * 1_000).into());
        let open = u128::try_from(past.open_connections).unwrap_or(u128::MAX);
        ByteCount::saturating(heartbeat.saturating_mul(open))
    }

    /// The tail of a source while its sessions are not cut, in milliseconds.
    pub(super) fn long_tail(&self, source: IceSource) -> u64 {
        let is_configured = self.settings.sources.contains(&source) || source == IceSource::Cloudflare;
        millis(if is_configured { self.settings.tail(source) } else { source.expiry_tail() })
    }

    /// Whether room is taken for each user.
    fn is_limited(&self) -> bool {
        self.settings.strict && self.settings.user_limit.is_some()
    }

    /// A provider has counted what each grant relayed.
    pub(super) fn note_grant_counts(&mut self, counts: &GrantCounts) {
        let start = self.books.ledger().period().start;
        self.model.count(IceSource::Cloudflare, counts, start, self.is_limited());
    }

    /// What is reserved for credentials of a source that are being made.
    pub(super) fn held_of(&self, of: IceSource) -> Vec<Span> {
        let held = self.in_flight.iter().filter_map(InFlight::held).filter(|(source, _)| *source == of);
        held.map(|(_, time)| Span::from(time)).collect()
    }

    /// A listing of coturn arrives. Returns what its days must say afterwards.
    pub(super) fn expect_listing(&mut self, listing: &Listing, asked_at: Timestamp) -> Vec<(Day, DayCount)> {
        let is_complete = listing.is_complete && !self.books.moment().in_doubt;
        let listed = self.model.take_listing(listing, is_complete, asked_at.as_millis(), self.is_limited());
        let held = self.held_of(IceSource::Coturn);
        let expected =
            |carried| self.model.expect_carried(&self.books, (IceSource::Coturn, asked_at), &held, carried);
        listed.carried.map(expected).unwrap_or_default()
    }

    /// The most that was promised for the time that a reading counts newly.
    pub(super) fn promised_since(&self, reading: &Reading) -> u64 {
        self.model.promised_since(&self.books, reading, &self.held_of(SOURCE))
    }

    /// Takes a reading of Cloudflare's count.
    pub(super) fn take_reading(&mut self, reading: &Reading) -> ReadingOutcome {
        let held = self.held_of(SOURCE);
        let (limit, sampling) = (self.limit.get(), self.settings.sampling);
        let expected = self.model.expect_reading(&self.books, reading, &held, limit, sampling);
        let outcome = self.books.ledger_mut().take_reading(SOURCE, reading);
        self.model.note_reading(&self.books, reading, &expected, outcome, &held);
        outcome
    }

    /// What the books say of coturn's sessions and of the tails.
    fn check_tails(&self) -> Option<String> {
        let (ledger, is_cut) =
            (self.books.ledger(), self.settings.cuts() && self.model.is_cut(self.latest()));
        if ledger.is_cut(IceSource::Coturn) != is_cut {
            return Some(format!("coturn's sessions are cut: {is_cut}"));
        }
        self.settings.sources.iter().find_map(|source| {
            let expected = [self.tail_of(*source), self.long_tail(*source)];
            let found = [ledger.tail(*source), ledger.long_tail(*source)].map(millis);
            (found != expected).then(|| format!("the tails of {source} are {found:?}, not {expected:?}"))
        })
    }

    /// A process has started with the stored books.
    pub(super) fn start_model(&mut self) {
        self.model.rules = self.settings.rules();
        let has_relay = self.settings.sources.contains(&IceSource::Relay);
        self.model.crash(has_relay, self.is_limited(), self.books.now().as_millis());
        let (moment, period) = (self.books.moment(), self.books.ledger().period());
        let before = self.model.now.time;
        self.model.advance(&moment, 0, self.books.now().as_millis(), period);
        self.model.now.renew_sessions(&self.books, before);
        self.note_cutting();
        if self.model.now.is_copy {
            self.lack_grants();
        }
        let configured = |source| self.settings.sources.contains(&source) || source == IceSource::Cloudflare;
        let tail = |source| {
            if configured(source) { self.tail_of(source) } else { millis(source.expiry_tail()) }
        };
        let sources = [IceSource::Cloudflare, IceSource::Coturn, IceSource::Relay];
        let tails = sources.map(|source| (source, tail(source)));
        let (now, rate) = (self.books.now().as_millis(), self.bytes_per_minute());
        let books = &self.books;
        let has_row = |id| books.grants().iter().any(|(it, _)| *it == id);
        self.model.extend_tails(now, &tails, rate, has_row);
        self.model.restart_trial(&self.books, self.settings.sampling);
        let wrong = self.model.check_counts(&self.books, self.settings.sampling);
        self.model.expect(wrong.is_none(), || wrong.unwrap_or_default());
    }

    /// Compares the rows of the books with the account.
    pub(super) fn check_rows(&mut self, is_tidy: bool) {
        let differs = self.model.check_rows(&self.books, is_tidy, self.is_limited());
        self.model.expect(differs.is_none(), || differs.unwrap_or_default());
    }

    /// What the books say wrong after a step.
    pub(super) fn differs(&mut self, snapshot: &Snapshot) -> Option<String> {
        self.check_rows(false);
        let held: Vec<_> = self.in_flight.iter().filter_map(InFlight::held).collect();
        let figures = self.model.check_figures(&self.books, snapshot, &held);
        let sessions = self.model.check_sessions(&self.books);
        let standing = self.model.check_standing(&self.books, snapshot);
        let users = if self.settings.users_max < 3 { None } else { self.check_users() };
        let tails = self.check_tails();
        let is_full = self.is_promised_in_full(snapshot);
        let wrong = (snapshot.promised_in_full != is_full).then(|| format!("all is promised: {is_full}"));
        let claims = self.model.check_connections(&self.books);
        let rate = self.model.check_trial(&self.books);
        let ends = self.model.check_ends(&self.books, snapshot.figures.is_spent());
        self.model
            .wrong
            .take()
            .or(rate)
            .or(sessions)
            .or(ends)
            .or(claims)
            .or(figures)
            .or(standing)
            .or(users)
            .or(tails)
            .or(wrong)
    }

    fn check_users(&mut self) -> Option<String> {
        let held = self.in_flight.iter().filter_map(|made| {
            let (source, time) = made.held()?;
            Some((source, made.requester.user().and_then(|user| user.as_str().parse().ok()), time))
        });
        let held: Vec<_> = held.collect();
        // What pages take is counted by time.
        let is_exact = self.pages.is_empty() && !self.may_break;
        let sampling = is_exact.then_some(self.settings.sampling);
        let unknown = self.books.snapshot().unknown_bytes.get();
        if sampling.is_some() && self.settings.sources == ONE && unknown != self.model.unknown() {
            return Some(format!("{unknown} bytes are unknown, not {}", self.model.unknown()));
        }
        let is_limited = self.is_limited();
        self.model.check_users(&mut self.books, &held, sampling, is_limited)
    }
}

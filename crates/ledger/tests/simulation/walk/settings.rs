//! The settings of a simulated broker, and how it opens its books with them.

use super::prelude::*;

use super::limits::SERVERS;
use super::world::RELAYS;

/// The settings, and how the world behaves.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Settings {
    pub(crate) strict: bool,
    /// The configured limit in bytes.
    pub(crate) limit: u64,
    pub(crate) billing_day: u32,
    /// The configured tail in seconds; `None`: that of the source.
    pub(crate) tail: Option<u64>,
    /// The highest rate that a grant is assumed to relay at.
    pub(crate) mbps: u64,
    /// The rate that is assumed at Cloudflare because it was seen, in bytes per millisecond; zero if none.
    pub(crate) seen_rate: u64,
    /// How much of the true bytes the provider's count may miss, in percent.
    pub(crate) sampling: u32,
    /// `ICE_SOURCES`.
    pub(crate) sources: &'static [IceSource],
    /// Whether coturn's command line is configured.
    pub(crate) cli: bool,
    /// How many coturns there are: one without a name, or [`RELAYS`]. The last one has a longer tail.
    pub(crate) relays: usize,
    /// `USER_LIMIT_GB` in bytes. With a limit, every credential has a user.
    pub(crate) user_limit: Option<u64>,
    /// `SERVER_KEY_LIMITS` in bytes, of each of two server keys. With a limit, a server key asks for every credential.
    pub(crate) server_limit: Option<u64>,
    /// `GRANT_LIMIT_GB` in bytes.
    pub(crate) grant_limit: Option<u64>,
    /// `AT_LIMIT=revoke`.
    pub(crate) at_limit: bool,
    /// Whether a client that renews relays with both credentials at the full rate. The limit of a user holds, the budget may not.
    pub(crate) relays_with_both: bool,
    /// Whether clients have addresses.
    pub(crate) has_addresses: bool,
    /// The most grants and connections in the tables.
    pub(crate) rows_max: usize,
    /// The most users in the table.
    pub(crate) users_max: usize,
    /// `RESERVED_PERCENT_PER_CLIENT`.
    pub(crate) percent: u32,
    /// `ESTIMATED_MBPS_PER_CONNECTION`.
    pub(crate) estimated_mbps: u64,
    /// `HEARTBEAT_SECONDS`.
    pub(crate) heartbeat: u64,
    /// `BILLED_DIRECTIONS`: whether both directions are billed.
    pub(crate) bills_both: bool,
    /// How many ended grants are kept. Few, so that their shares move into the sums.
    pub(crate) ended_max: usize,
    /// The most rows that one step changes.
    pub(crate) rows_at_once: usize,
    /// Whether the SFU is used.
    pub(crate) sfu: bool,
    /// Whether something else than the listing comes first after a pause or a start.
    pub(crate) unlisted: bool,
    /// `ANALYTICS_LAG_SECONDS` in milliseconds. The provider counts the bytes of each grant half of it late.
    pub(crate) lag: u64,
    /// How far the provider's clock is ahead, in milliseconds. Nobody says so while it is less than two minutes.
    pub(crate) provider_ahead: i64,
    /// `RELAY_PROBE`.
    pub(crate) probes: bool,
    /// Whether the analytics are those of another account: they answer zero for ever.
    pub(crate) counts_nothing: bool,
    /// The TURN keys at Cloudflare.
    pub(crate) keys: Keys,
    /// Some clients relay faster than is assumed.
    pub(crate) is_fast: bool,
    /// Whether the provider answers a question about a chain only after the next operation.
    pub(crate) answers_late: bool,
    /// Whether the provider answers while the books' time is uncertain.
    pub(crate) tells_time: bool,
    /// Clients relay at different rates, and stay for different times, if this is not zero. Else all do the most that is assumed.
    pub(crate) clients: u64,
}

/// The TURN keys of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// One, whose counts are those of the account.
    One,
    /// Two, which are counted apart.
    Two,
    /// Two, of which the second one is in another account: the analytics count nothing of it.
    TwoAccounts,
}

/// Whose count has the bytes of a TURN key.
pub(crate) fn owner_of(key: TurnKey) -> CountOwner {
    CountOwner { source: SOURCE, issuer: Some(IdDigest::of(if key == TurnKey::First { "a" } else { "b" })) }
}

/// By how much longer the tail of the last of several coturns is.
const LONGER_TAIL: Duration = Duration::from_secs(60);

/// 1 Mbps.
const BYTES_PER_MILLI: u64 = 125;
pub(super) const DAY: u64 = 86_400_000;
/// How long relaying may outlive a grant that the broker ends: the value of the service.
const CUT_TAIL: Duration = Duration::from_secs(30);

/// One setting that is changed at a restart.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Strict(bool),
    BillingDay(u32),
    Tail(Option<u64>),
    Mbps(u64),
    Sampling(u32),
    Limit(u64),
    UserLimit(u64),
    Sources(&'static [IceSource]),
    Cli(bool),
    EstimatedMbps(u64),
    Heartbeat(u64),
    BillsBoth(bool),
    Percent(u32),
    Rows(usize),
    Ended(usize),
}

/// The sources of a scenario with coturn's command line.
pub(crate) const COTURN: &[IceSource] = &[IceSource::Coturn, IceSource::Cloudflare];
/// The sources of most scenarios.
pub(crate) const ONE: &[IceSource] = &[IceSource::Cloudflare];

impl Settings {
    /// Those of most scenarios. The limit is low enough to be reached.
    pub(crate) const DEFAULT: Self = Self {
        strict: false,
        limit: 10_000_000_000,
        billing_day: 1,
        tail: None,
        mbps: 2,
        seen_rate: 0,
        sampling: 5,
        sources: ONE,
        cli: false,
        relays: 1,
        user_limit: None,
        server_limit: None,
        grant_limit: None,
        at_limit: false,
        relays_with_both: false,
        has_addresses: false,
        rows_max: 100_000,
        users_max: 100_000,
        percent: 5,
        estimated_mbps: 2,
        heartbeat: 600,
        bills_both: false,
        ended_max: 5,
        rows_at_once: 250,
        sfu: false,
        unlisted: false,
        lag: 0,
        provider_ahead: 0,
        probes: false,
        counts_nothing: false,
        keys: Keys::One,
        is_fast: false,
        answers_late: false,
        tells_time: false,
        clients: 0,
    };
}

/// The source whose count is sampled and late.
pub(crate) const SOURCE: IceSource = IceSource::Cloudflare;

impl Settings {
    pub(crate) fn billing_day(&self) -> BillingDay {
        BillingDay::new(self.billing_day).unwrap_or_else(|| unreachable!("it is a day"))
    }

    /// Whether the provider is asked for the bytes of each grant.
    pub(super) fn counts_by_grant(&self) -> bool {
        self.user_limit.is_some() || self.server_limit.is_some()
    }

    pub(super) fn estimated_rate(&self) -> BitRate {
        BitRate::new(self.estimated_mbps * 1_000_000)
    }

    /// How long a holder relays after the expiry of a credential of this source.
    pub(crate) fn tail(&self, source: IceSource) -> Duration {
        self.tail.map_or(source.expiry_tail(), Duration::from_secs)
    }

    /// How long a session may go on after its credential, in milliseconds: until it is cut, where that is so.
    pub(super) fn tail_of_session(&self, source: IceSource) -> u64 {
        let tail = self.tail(source);
        millis(if self.cli && source == IceSource::Coturn { tail.min(CUT_TAIL) } else { tail })
    }

    /// What is assumed of a credential of this source. Those of a coturn that is cut are promised the long tail as soon as it is not.
    pub(crate) fn assumed(&self, source: IceSource) -> Relaying {
        let seen = if source == SOURCE { self.seen_rate } else { 0 };
        Relaying { rate: seen.max(self.mbps * BYTES_PER_MILLI), tail: millis(self.tail(source)) }
    }

    /// How the holder of a credential relays. `nth`: its number.
    pub(crate) fn client(&self, source: IceSource, nth: u64) -> Relaying {
        let Relaying { rate, tail } = Self { seen_rate: 0, ..*self }.assumed(source);
        // The relay ends every session at the expiry. A session that nobody cuts outlasts no tail: that is an assumption of the bound.
        let of_server = if source == IceSource::Relay { 0 } else { tail };
        if self.clients == 0 {
            return Relaying { rate, tail: of_server };
        }
        let mut dice = Dice::new(self.clients ^ nth.wrapping_mul(0x9e37_79b9));
        // What a relay that crashes has carried is computed from the assumed rate.
        let is_fast = self.is_fast && source == SOURCE;
        let fastest = if is_fast { dice.one_of(&[1, 2, 6]) * rate } else { rate };
        let rate = dice.one_of(&[rate, fastest, rate / 2, rate / 4]);
        let tail = dice.one_of(&[0, of_server / 2, of_server, of_server]);
        Relaying { rate, tail }
    }

    /// `ANALYTICS_LAG_SECONDS`.
    pub(super) fn lag(&self) -> Duration {
        Duration::from_millis(self.lag)
    }

    /// The books with these settings.
    pub(crate) fn open(&self, stored: Stored, moment: Moment) -> Books {
        let terms = Terms {
            ends_calls: true,
            limit: ByteCount::new(self.limit),
            billing_day: self.billing_day(),
            rates: Rates {
                estimated: self.estimated_rate(),
                liability: BitRate::new(self.mbps * 1_000_000),
                promises_cap_claims: self.strict,
            },
            mode: if self.strict { BudgetMode::Strict } else { BudgetMode::Estimate },
        };
        let rules = UsageRules {
            heartbeat: Duration::from_secs(self.heartbeat),
            billed: if self.bills_both { BilledDirections::Both } else { BilledDirections::Egress }.into(),
            estimated_rate: self.estimated_rate(),
        };
        // Cloudflare's count is read also while it does not mint.
        let is_only_read = !self.sources.contains(&SOURCE);
        let sources = self.sources.iter().chain(is_only_read.then_some(&SOURCE));
        let sources = sources.chain(self.sfu.then_some(&IceSource::Sfu));
        let sources = sources.flat_map(|source| self.owners_at(*source)).collect();
        let user_limit = self.user_limit.map(ByteCount::new);
        // The address of a walk stands for many callers.
        let address_limit = Some(ByteCount::ZERO);
        let (users_max, ended_max) = (self.users_max, self.ended_max);
        let grant_limit = self.grant_limit.map(ByteCount::new);
        let spenders = SpenderTerms {
            user_limit,
            grant_limit,
            address_limit,
            users_max,
            ended_max,
            ..SpenderTerms::default()
        };
        let of_server = |limit| (0..SERVERS).map(move |server| (server_named(server), ByteCount::new(limit)));
        let client = ClientTerms { reserved_percent: self.percent, ..ClientTerms::default() };
        let (connections, grants, rows_at_once) = (self.rows_max, self.rows_max, self.rows_at_once);
        let bounds = Bounds { connections, grants, client, spenders, rows_at_once };
        let setup = Setup {
            terms,
            sources,
            unseen: vec![],
            server_limits: self.server_limit.into_iter().flat_map(of_server).collect(),
            rules,
            bounds,
            default_source: self.sources[0],
            turn_keys: vec![],
            tariff: Tariff::default(),
        };
        setup.open(Some(stored), moment)
    }

    /// The keys of some scenarios. They come from dice of their own, so that the operations stay the same.
    pub(super) fn draw_keys(&mut self, seed: u64) {
        let mut dice = Dice::new(seed ^ 0x006b_6579);
        if dice.below(8) == 0 && !self.counts_nothing {
            self.keys = dice.one_of(&[Keys::Two, Keys::TwoAccounts]);
            self.probes |= self.keys == Keys::TwoAccounts;
        }
    }

    /// Whether the provider counts nothing of some credentials, for ever.
    pub(super) fn leaves_out(&self) -> bool {
        self.counts_nothing || self.keys == Keys::TwoAccounts
    }

    /// Whose count has the bytes of a coturn.
    pub(crate) fn relay(&self, relay: usize) -> CountOwner {
        let issuer = (self.relays > 1).then(|| IdDigest::of(["ra", "rb", "rc"][relay]));
        CountOwner { source: IceSource::Coturn, issuer }
    }

    /// Several coturns in half of the scenarios with coturn's command line. They come from dice of their own, so that the operations stay the
    /// same.
    pub(super) fn draw_relays(&mut self, seed: u64) {
        if self.cli && Dice::new(seed ^ 0x0066_6c65_6574).below(2) == 0 {
            self.relays = RELAYS;
        }
    }

    /// The terms of each owner of counts at a source.
    fn owners_at(&self, source: IceSource) -> Vec<SourceTerms> {
        let terms = self.terms_of(source);
        if source == IceSource::Coturn && self.relays > 1 {
            let of_relay = |relay| {
                let longer = if relay + 1 == self.relays { LONGER_TAIL } else { Duration::ZERO };
                let cut_tail = terms.cut_tail.map(|tail| tail + longer);
                SourceTerms { owner: self.relay(relay), cut_tail, ..terms }
            };
            let rest = SourceTerms { cut_tail: None, ..terms };
            return (0..self.relays).map(of_relay).chain([rest]).collect();
        }
        if source != SOURCE || self.keys == Keys::One {
            return vec![terms];
        }
        let of_keys =
            [TurnKey::First, TurnKey::Second].map(|key| SourceTerms { owner: owner_of(key), ..terms });
        of_keys.into_iter().chain([SourceTerms { proof: ProofRule::Unneeded, ..terms }]).collect()
    }

    fn terms_of(&self, source: IceSource) -> SourceTerms {
        let sampling = if source.is_counted_by_provider() { self.sampling } else { 0 };
        let cuts = source == IceSource::Coturn && self.cli;
        let cut_tail = cuts.then(|| self.tail.map_or(CUT_TAIL, Duration::from_secs));
        let is_read = source != IceSource::Coturn || self.cli;
        let tail = if source == IceSource::Sfu { source.expiry_tail() } else { self.tail(source) };
        let proof = match source {
            SOURCE if self.probes => ProofRule::Probe,
            SOURCE => ProofRule::Missing,
            IceSource::Sfu => ProofRule::Bytes,
            _ => ProofRule::Unneeded,
        };
        let owner = source.into();
        SourceTerms { owner, tail, cut_tail, limit: None, sampling, is_read, proof, counted_in: None }
    }

    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Strict(strict) => self.strict = strict,
            Change::BillingDay(day) => self.billing_day = day,
            Change::Tail(tail) => self.tail = tail,
            Change::Mbps(mbps) => self.mbps = mbps,
            Change::Sampling(sampling) => self.sampling = sampling,
            Change::Limit(limit) => self.limit = limit,
            // A limit is changed, never set or removed: the world notes the bytes of users from the start.
            Change::UserLimit(limit) => self.user_limit = self.user_limit.map(|_| limit),
            Change::Sources(sources) => self.sources = sources,
            Change::Cli(cli) => self.cli = cli,
            Change::EstimatedMbps(mbps) => self.estimated_mbps = mbps,
            Change::Heartbeat(seconds) => self.heartbeat = seconds,
            Change::BillsBoth(bills_both) => self.bills_both = bills_both,
            Change::Percent(percent) => self.percent = percent,
            Change::Rows(rows) => self.rows_max = rows,
            Change::Ended(rows) => self.ended_max = rows,
        }
    }
}

/// In milliseconds.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

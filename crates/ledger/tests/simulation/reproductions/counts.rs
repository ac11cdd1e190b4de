//! What a provider or coturn counts late, sampled, or under another key.

use super::prelude::*;

/// coturn was asked before a reset and answered after it. What it had carried was used, but not measured.
#[test]
fn a_listing_that_is_on_its_way_over_a_reset_is_measured() {
    let settings =
        Settings { sources: &[IceSource::Coturn, IceSource::Cloudflare], cli: true, clients: 3, ..ESTIMATE };
    let mut ops = vec![Join { life: 600 }];
    ops.extend(
        [30_506, 17_088, 17_088, 17_088, 43_481, 17_088, 63_758].map(|millis| Wait { millis, share: 256 }),
    );
    ops.extend([Coturn(Cli::Late), Wait { millis: 91_111, share: 235 }, Join { life: 3_600 }]);
    check(&Scenario { settings, before_reset: 300_000, ops });
}

/// The first count by grant came when grants had left the full history, and what they had relayed was unknown.
#[test]
fn grants_wait_for_the_first_count_by_grant() {
    let minted = [(60, 3_970), (3_600, 525), (3_600, 265), (60, 2_574)];
    let mint = |(life, delay)| Mint { life, delay };
    let mut ops: Vec<_> = minted.map(mint).into();
    ops.push(CrashAfterCommit { life: 60 });
    ops.extend([(60, 1_857), (86_400, 3_118)].map(mint));
    ops.extend([Wait { millis: 194_521_823, share: 256 }, Read { back: 1_097_877, missed: 0 }]);
    let settings = Settings { limit: 100_000_000_000, sources: &[IceSource::Cloudflare], ..ESTIMATE };
    let settings = Settings { user_limit: Some(2_600_000_000), percent: 100, clients: 1, ..settings };
    check(&Scenario { settings, before_reset: 20 * DAY, ops });
}

/// The provider counted nothing at all, and the days after a credential had ended were believed without a probe. They proved the days before.
#[test]
fn an_empty_count_of_a_day_without_credentials_proves_no_other_day() {
    let settings = Settings { limit: 100_000_000_000, sources: &[IceSource::Cloudflare], ..STRICT };
    let settings = Settings { percent: 100, has_addresses: true, probes: true, ..settings };
    let settings = Settings { counts_nothing: true, clients: 3, ..settings };
    let ops = vec![
        Change(BillingDay(29)),
        Mint { life: 172_800, delay: 1_369 },
        Wait { millis: 719_726_539, share: 256 },
        ReadAhead { millis: 813_629 },
        Read { back: 1_329_536, missed: 24 },
        Flush,
    ];
    check(&Scenario { settings, before_reset: 4 * HOUR, ops });
}

/// The last day of a period was counted after the reset. Its empty count was believed, and another billing day put that day into the
/// period again.
#[test]
fn an_empty_count_of_a_day_before_the_reset_is_not_believed() {
    let settings = Settings { probes: true, counts_nothing: true, ..STRICT };
    let ops = vec![
        Mint { life: 3_600, delay: 0 },
        Wait { millis: 4 * HOUR + MINUTE, share: 256 },
        Read { back: 5 * MINUTE, missed: 0 },
        Change(BillingDay(28)),
    ];
    check(&Scenario { settings, before_reset: 4 * HOUR, ops });
}

/// The margin of sampling was a share of the bytes that flowed, and these were counted lower than what sampling may miss.
#[test]
fn what_sampling_missed_of_another_key_is_no_excess() {
    let ops = vec![
        Wait { millis: 3_119_586_436, share: 256 },
        Mint { life: 300, delay: 2_012 },
        Wait { millis: 8_125, share: 182 },
        ReplaceKey,
        Mint { life: 86_400, delay: 1_190 },
        Wait { millis: 11_014_988, share: 256 },
        Read { back: 252_219, missed: 24 },
        Wait { millis: 1_314_033_676, share: 256 },
        Read { back: 1_034_571, missed: 50 },
        ReadAhead { millis: 1_559_318 },
    ];
    check(&Scenario { settings: ESTIMATE, before_reset: 4 * HOUR, ops });
}

/// Nothing proved the counts of two days, so what was promised for them stayed, beside the bytes that these counts had.
#[test]
fn bytes_of_a_day_that_nothing_proves_are_a_part_of_what_was_promised_for_it() {
    let settings = Settings { unlisted: true, lag: 0, provider_ahead: 118_000, probes: true, ..ESTIMATE };
    let settings =
        Settings { tells_time: true, limit: 100_000_000_000, percent: 100, clients: 1, ..settings };
    let ops = vec![
        Mint { life: 172_800, delay: 3_046 },
        Wait { millis: 1_083_215_738, share: 256 },
        ReplaceKey,
        Mint { life: 86_400, delay: 1_537 },
        Change(Strict(true)),
        Read { back: 1_589_169, missed: 4 },
        KeyReturns,
    ];
    check(&Scenario { settings, before_reset: 5 * MINUTE, ops });
}

/// Nothing proved a count of the second of two keys, so what was promised stayed.
#[test]
fn what_nothing_proves_of_one_of_two_keys_stays_promised() {
    let settings =
        Settings { lag: 600_000, provider_ahead: -118_000, probes: true, unlisted: true, ..STRICT };
    let settings = Settings { keys: Keys::Two, billing_day: 15, tells_time: true, clients: 2, ..settings };
    let ops = vec![
        Pause { millis: 26_888_968, share: 152 },
        Wait { millis: 6_271_577_001, share: 256 },
        MintFromPool { life: 86_400, age: 4_142 },
        Read { back: 1_284_053, missed: 47 },
    ];
    let settings = Settings { limit: 100_000_000_000, percent: 100, ..settings };
    check(&Scenario { settings, before_reset: 5 * MINUTE, ops });
}

/// The margin of sampling was a share of the bytes under the new key only, and what the old one relayed was counted anew.
#[test]
fn what_sampling_missed_before_the_key_was_replaced_is_no_excess() {
    let ops = vec![
        Mint { life: 86_400, delay: 2_844 },
        Pause { millis: 253_063_894, share: 225 },
        Read { back: 891_442, missed: 24 },
        ReadAhead { millis: 1_513_528 },
        ReplaceKey,
        ReadAhead { millis: 1_952_722 },
    ];
    check(&Scenario { settings: ESTIMATE, before_reset: 5 * MINUTE, ops });
}

/// The same after several replaced keys: the bytes that flowed were fewer than the bytes that had been counted.
#[test]
fn what_sampling_missed_before_two_replaced_keys_is_no_excess() {
    let ops = vec![
        Mint { life: 86_400, delay: 2_841 },
        Wait { millis: 12_978_559, share: 256 },
        Pause { millis: 2_916_131, share: 239 },
        Wait { millis: 116_601, share: 19 },
        Wait { millis: 12_105_900, share: 256 },
        ReplaceKey,
        Wait { millis: 48_373, share: 56 },
        Mint { life: 86_400, delay: 1_995 },
        Pause { millis: 101_104_926, share: 216 },
        ReplaceKey,
        Mint { life: 300, delay: 1_316 },
        ReadAhead { millis: 3_273_193 },
        Wait { millis: 3_892_998, share: 256 },
        Wait { millis: 5_735_605, share: 256 },
        Read { back: 371_145, missed: 39 },
        Wait { millis: 76_616, share: 16 },
        ReadAhead { millis: 581_435 },
        ReplaceKey,
        ReadAhead { millis: 5_643_195 },
    ];
    check(&Scenario { settings: ESTIMATE, before_reset: 4 * HOUR, ops });
}

/// A client relayed twice as fast as was promised, and the count missed so much that it did not show.
#[test]
fn what_sampling_missed_of_a_client_that_was_too_fast_is_within_the_margin() {
    let settings = Settings { limit: 1_000_000_000_000_000, billing_day: 30, ..STRICT };
    let settings = Settings { user_limit: Some(3_000_000_000), percent: 100, is_fast: true, ..settings };
    let settings = Settings { clients: 3, ..settings };
    let ops = vec![
        Wait { millis: 44 * MINUTE, share: 256 },
        Mint { life: 300, delay: 1_759 },
        Wait { millis: 17 * MINUTE, share: 256 },
        Read { back: 0, missed: 0 },
        Mint { life: 300, delay: 2_614 },
        ReplaceKey,
        Wait { millis: 17 * DAY, share: 256 },
        Read { back: 9 * MINUTE, missed: 48 },
    ];
    check(&Scenario { settings, before_reset: 5 * MINUTE, ops });
}

/// Three pulls at the SFU relayed more than a tenth of the limit before a count. No promise of Cloudflare's TURN explained that.
#[test]
fn what_the_sfu_was_promised_explains_a_count_of_cloudflare() {
    let pull = |nth, more, is_answered| Pull { nth, more, is_answered };
    let ops = vec![
        OpenPage,
        pull(13_276_692_791_088_906_948, 922_260_049_394_474_054, false),
        pull(9_926_419_307_257_773_453, 1_998_238_988_615_452_823, false),
        pull(512_658_478_708_404_278, 12_853_175_081_194_828_282, true),
        Wait { millis: 516_170, share: 233 },
        Wait { millis: 11_455_188, share: 256 },
        Read { back: 0, missed: 0 },
    ];
    let settings = Settings { limit: 100_000_000_000, sources: &[IceSource::Cloudflare], ..STRICT };
    let settings = Settings { percent: 100, rows_max: 12, sfu: true, ..settings };
    check(&Scenario { settings, before_reset: 20 * DAY, ops });
}

/// The relay was not read for 39 days, in which its grants were forgotten.
#[test]
fn the_relay_is_read_before_its_grants_are_forgotten() {
    let settings = Settings { limit: 100_000_000_000, ..ESTIMATE };
    let settings = Settings { sources: &[IceSource::Cloudflare, IceSource::Relay], percent: 100, ..settings };
    let settings = Settings { probes: true, ..settings };
    let ops = vec![
        From { nth: 1 },
        Join { life: 172_800 },
        Wait { millis: 3_420_342_575, share: 256 },
        ReadRelay { is_slow: true },
    ];
    check(&Scenario { settings, before_reset: 5 * MINUTE, ops });
}

/// One of several clients relayed faster than is assumed. All together did not, so only a count showed that more was used than promised.
#[test]
fn the_count_of_a_fast_client_among_slow_ones_raises_what_is_committed() {
    let mint = |life, delay| Mint { life, delay };
    let mut ops: Vec<_> = [(172_800, 3_498), (3_600, 0), (172_800, 3_091)].map(|(a, b)| mint(a, b)).into();
    ops.extend([Reserve { life: 300, is_renewal: false }, Commit]);
    ops.extend([(300, 3_700), (3_600, 3_684), (86_400, 1_022)].map(|(a, b)| mint(a, b)));
    ops.extend([From { nth: 1 }, mint(300, 1_887), RenewWhenDue { nth: 0, life: 300, delay: 0 }]);
    ops.extend([(172_800, 15_127), (86_400, 8_344)].map(|(life, age)| MintFromPool { life, age }));
    ops.extend([CrashAfterCommit { life: 172_800 }, ReadAhead { millis: 1_091_556 }]);
    let settings = Settings { limit: 10_000_000_000, ..STRICT };
    let settings = Settings { sources: &[IceSource::Relay, IceSource::Cloudflare], rows_max: 12, ..settings };
    let settings = Settings { sfu: true, lag: 600_000, is_fast: true, clients: 4, ..settings };
    check(&Scenario { settings, before_reset: 5 * MINUTE, ops });
}

/// The process crashed before the end of a credential was written, and the next count missed more than the last one.
#[test]
fn a_count_that_does_not_grow_ends_no_credential() {
    let settings = Settings {
        limit: 100_000_000_000,
        billing_day: 29,
        sources: &[IceSource::Cloudflare],
        user_limit: Some(4_600_000_000),
        server_limit: Some(2_300_000_000),
        grant_limit: Some(1_000_000_000),
        at_limit: true,
        has_addresses: true,
        percent: 100,
        sfu: true,
        unlisted: true,
        clients: 2,
        ..ESTIMATE
    };
    let ops = vec![
        Mint { life: 86_400, delay: 926 },
        Wait { millis: 9_638_111, share: 256 },
        Read { back: 173_118, missed: 1 },
        CrashAfterCommit { life: 60 },
        Read { back: 98_454, missed: 49 },
    ];
    check(&Scenario { settings, before_reset: 4 * HOUR, ops });
}

/// Some listings of coturn did not show all sessions. The next complete one raised what is committed, and no time without a listing excused it.
#[test]
fn the_first_complete_listing_after_others_follows_a_gap() {
    let wait = |millis| Wait { millis, share: 256 };
    let mint = |life, delay| Mint { life, delay };
    let beat = Beat { nth: 17_105_170_371_949_069_899, bytes: None, relayed: Some(false) };
    let mut ops = vec![beat, Change(Limit(3_000_000_000)), mint(300, 3_100), wait(225_000)];
    ops.extend([Coturn(Cli::Partial), mint(3_600, 2_802)]);
    ops.extend([1_883_639, 2_152_414, 2_858_224, 3_294_251].map(wait));
    ops.extend([Coturn(Cli::Works), wait(6_000)]);
    let settings = Settings { limit: 1_000_000, billing_day: 15, sources: COTURN, cli: true, ..STRICT };
    let settings = Settings { unlisted: true, probes: true, clients: 2, ..settings };
    check(&Scenario { settings, before_reset: 20 * DAY, ops });
}

/// The process crashed between two parts of a count of fast clients, before they were asked for alone.
#[test]
fn a_crash_between_two_parts_of_a_count_forgets_whom_it_suspects() {
    let wait = |millis| Wait { millis, share: 256 };
    let short = Join { life: 3_600 };
    let mut ops = vec![
        Join { life: 172_800 },
        Change(Sources(&[IceSource::Cloudflare, IceSource::Relay, IceSource::Coturn])),
        short,
        MintFromPool { life: 172_800, age: 7_301 },
        short,
        MintUnwritten { life: 3_600, written: Written::No },
        short,
        CrashAfterCommit { life: 86_400 },
    ];
    ops.extend([1_244_715, 2_690_937].map(wait));
    ops.push(Join { life: 172_800 });
    ops.extend([1_384_018, 1_106_866].map(wait));
    ops.extend([Wait { millis: 65_156, share: 61 }, Pause { millis: 49_789, share: 22 }]);
    ops.push(Read { back: 1_710_000, missed: 29 });
    let settings = Settings {
        limit: 100_000_000_000,
        billing_day: 15,
        sources: COTURN,
        cli: true,
        user_limit: Some(2_300_000_000),
        server_limit: Some(2_600_000_000),
        has_addresses: true,
        rows_max: 12,
        percent: 100,
        sfu: true,
        unlisted: true,
        lag: 600_000,
        probes: true,
        is_fast: true,
        tells_time: true,
        clients: 4,
        ..ESTIMATE
    };
    check(&Scenario { settings, before_reset: 4 * HOUR, ops });
}

/// A user's bytes of a key that nobody counts, in the hour after a reset that nobody watched.
#[test]
fn counts_by_grant_release_nothing_of_a_key_whose_counts_of_the_new_period_are_missing() {
    let settings = Settings {
        limit: 100_000_000_000,
        user_limit: Some(4_720_000_000),
        grant_limit: Some(300_000_000),
        percent: 100,
        lag: 600_000,
        provider_ahead: -118_000,
        probes: true,
        keys: Keys::TwoAccounts,
        tells_time: true,
        clients: 1,
        ..STRICT
    };
    let ops = vec![
        MintUnwritten { life: 86_400, written: Written::No },
        Mint { life: 3_600, delay: 3_438 },
        Pause { millis: 149_701_825, share: 160 },
        Read { back: 1_578_718, missed: 42 },
    ];
    check(&Scenario { settings, before_reset: 300_000, ops });
}

/// A renewal was minted with another TURN key. It relied on the minutes of the grant before it, which the count of the first key released
/// while nobody counted the second one.
#[test]
fn a_renewal_with_another_turn_key_is_promised_in_all_its_minutes() {
    let ops = vec![
        Mint { life: 3_600, delay: 260 },
        RenewWhenDue { nth: 8_701_942_455_924_552_179, life: 86_400, delay: 1_555 },
        From { nth: 1 },
        RenewWhenDue { nth: 0, life: 300, delay: 0 },
        Wait { millis: 1_077_714, share: 256 },
        Wait { millis: 811_561, share: 223 },
        Pause { millis: 7_712_050, share: 167 },
        Read { back: 10_717, missed: 5 },
    ];
    let settings = Settings {
        limit: 100_000_000_000,
        sources: &[IceSource::Relay, IceSource::Cloudflare],
        grant_limit: Some(1_000_000_000),
        at_limit: true,
        percent: 100,
        provider_ahead: 118_000,
        probes: true,
        keys: Keys::TwoAccounts,
        clients: 0,
        ..STRICT
    };
    check(&Scenario { settings, before_reset: 300_000, ops });
}

/// The count of the first key was final for the first minutes of a credential of the second one, whose own count had ended less than an
/// hour before. The user was charged nothing for them.
#[test]
fn a_final_count_by_grant_charges_a_user_for_minutes_that_the_key_itself_has_not_counted() {
    let ops = vec![
        Wait { millis: 5_835_270, share: 256 },
        Mint { life: 300, delay: 2_762 },
        Wait { millis: 9_975_065, share: 256 },
        Wait { millis: 3_285_186_330, share: 256 },
        MintFromPool { life: 60, age: 1 },
        MintFromPool { life: 3_600, age: 228 },
        Read { back: 1_681_422, missed: 16 },
        Mint { life: 172_800, delay: 1_994 },
        RenewWhenDue { nth: 11_015_787_553_653_412_740, life: 300, delay: 3_230 },
        Read { back: 293_233, missed: 16 },
        Wait { millis: 77_875, share: 44 },
        Wait { millis: 9_919_881, share: 256 },
    ];
    let settings = Settings {
        limit: 100_000_000_000,
        user_limit: Some(2_660_000_000),
        server_limit: Some(4_720_000_000),
        grant_limit: Some(1_000_000_000),
        percent: 100,
        provider_ahead: 118_000,
        probes: true,
        keys: Keys::TwoAccounts,
        clients: 3,
        ..STRICT
    };
    check(&Scenario { settings, before_reset: 4 * HOUR, ops });
}

/// A crash lost a rate that had been raised, and the excess that the disk has was compared with it.
#[test]
fn a_crash_forgets_a_raised_rate_but_not_what_had_exceeded_the_earlier_one() {
    let ops = vec![
        Mint { life: 86_400, delay: 0 },
        Wait { millis: 12 * HOUR, share: 256 },
        Change(Mbps(8)),
        Mint { life: 3_600, delay: 0 },
        Read { back: 0, missed: 1 },
        Wait { millis: HOUR, share: 256 },
        Read { back: 0, missed: 1 },
        CrashAfterCommit { life: 172_800 },
    ];
    let settings = Settings {
        limit: 1_000_000_000_000,
        sources: &[IceSource::Cloudflare],
        user_limit: Some(100_000_000_000),
        rows_max: 12,
        users_max: 2,
        percent: 100,
        sampling: 5,
        lag: 600_000,
        provider_ahead: -118_000,
        is_fast: true,
        clients: 151,
        ..ESTIMATE
    };
    check(&Scenario { settings, before_reset: 20 * DAY, ops });
}

/// A listing came late, and what a program with the secret may have relayed since the one before is assumed. The simulation excused this in the
/// step of a listing only.
pub(super) fn sessions_that_nothing_promises() -> Scenario {
    let settings = Settings {
        limit: 0,
        billing_day: 2,
        sources: &[IceSource::Coturn, IceSource::Cloudflare],
        cli: true,
        relays: 3,
        has_addresses: true,
        rows_max: 12,
        percent: 5,
        rows_at_once: 3,
        sfu: true,
        unlisted: true,
        lag: 600_000,
        probes: true,
        keys: Keys::TwoAccounts,
        tells_time: false,
        clients: 1,
        ..STRICT
    };
    let ops = vec![Coturn(Cli::Slow), Foreign { user: 1, steps: 31 }, Read { back: 1_427_221, missed: 45 }];
    Scenario { settings, before_reset: 20 * DAY, ops }
}

#[test]
fn what_is_assumed_of_sessions_that_nothing_promises_is_in_no_bound_of_strict_mode() {
    check(&sessions_that_nothing_promises());
}

/// The oracle expected the right count, but a right answer that is a little lower than the wrong one before it is taken for noise.
#[test]
fn a_right_answer_within_the_margin_below_a_wrong_one_changes_nothing() {
    let ops = vec![
        Mint { life: 3_600, delay: 0 },
        Wait { millis: HOUR / 2, share: 256 },
        Read { back: 0, missed: 0 },
        ReadWrong { percent: 200 },
        Wait { millis: HOUR / 2 - 30_000, share: 256 },
    ];
    check(&Scenario { settings: Settings { lag: 0, ..STRICT }, before_reset: 20 * DAY, ops });
}

/// The oracle counted what a fast client relayed under a grant that a restored copy lacks as an excess of the ledger's rows.
#[test]
fn a_fast_grant_that_a_restored_copy_lacks_is_said_by_the_lack_alone() {
    let settings = Settings {
        grant_limit: Some(50_000_000),
        sources: &[IceSource::Cloudflare, IceSource::Relay],
        server_limit: Some(2_660_000_000),
        has_addresses: true,
        percent: 100,
        limit: 1_000_000_000_000,
        is_fast: true,
        tells_time: true,
        clients: 2,
        ..Settings::DEFAULT
    };
    let ops = vec![
        Mint { life: 3_600, delay: 0 },
        Copy,
        Mint { life: 172_800, delay: 0 },
        Restore,
        Wait { millis: 12 * HOUR, share: 256 },
        Wait { millis: 19 * HOUR, share: 256 },
        Read { back: 0, missed: 1 },
    ];
    check(&Scenario { settings, before_reset: 4 * HOUR, ops });
}

//! The sums of a period as CSV, for a tool that reads bills: those columns of FOCUS 1.2 that can be filled, which are not all that it
//! demands, and ours, which begin with `x_`. Tests: below, and `tests/it/spenders.rs`.
//! Each row has a share of the period's cost by its bytes, so no row gets the free bytes alone. The rows add up to the bytes and the cost.

use serde_json::json;

use crate::config::Config;
use turn_ledger::{ByteCount, Money, Period, SpenderKey, SpenderKind, SpenderSums, Sums, Timestamp, shares};

/// The characters with which a formula begins, also in their full-width forms.
const FORMULA: [char; 11] =
    ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
/// Most rows with a key.
const ROWS_MAX: usize = 10_000;

const HEAD: &str = "BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ProviderName,ServiceName,\
                    SubAccountId,Tags,ConsumedQuantity,ConsumedUnit,BilledCost,BillingCurrency,\
                    x_By,x_Bytes,x_MeasuredBytes,x_ClaimedBytes,x_Evidence,x_MarginPercent,x_Grants\r\n";

/// The sums of a period by a kind of spender. `used`: all bytes of the period, what they cost, and in which currency. `rows`: most bytes first.
pub(super) fn of(
    config: &Config,
    kind: SpenderKind,
    period: Period,
    (used, cost, currency): (ByteCount, Money, &str),
    rows: &[SpenderSums],
) -> String {
    let rows = largest(rows, ROWS_MAX);
    let costs = shares(cost, rows.iter().map(|(_, sums)| sums.bytes()), used);
    let (start, end) = (instant(period.start), instant(period.end));
    let margin = if config.meter.analytics.is_some() { config.meter.sampling_percent } else { 0 };
    let beginning = format!("{start},{end},{start},{end},Usage,turn-broker,TURN relay");
    let mut csv = HEAD.to_owned();
    for ((key, sums), cost) in rows.iter().zip(costs) {
        let name = no_formula(&key.as_ref().map(SpenderKey::to_string).unwrap_or_default());
        let tags = if key.is_some() { json!({ kind.name(): name }) } else { json!({}) };
        let (bytes, measured, claimed) = (sums.bytes().get(), sums.measured().get(), sums.claimed().get());
        let quantity = format!("{}.{:09}", bytes / 1_000_000_000, bytes % 1_000_000_000);
        let cells = [
            beginning.clone(),
            quoted(&name),
            quoted(&tags.to_string()),
            quantity,
            "GB".to_owned(),
            format!("{:.6}", cost.as_units()),
            currency.to_owned(),
            kind.name().to_owned(),
            bytes.to_string(),
            measured.to_string(),
            claimed.to_string(),
            super::evidence(sums.measured(), sums.claimed()).to_owned(),
            margin.to_string(),
            sums.grants().to_string(),
        ];
        csv += &cells.join(",");
        csv += "\r\n";
    }
    csv
}

/// The first `most` rows with a key. Then all other rows as one row without a key, unless their sum is zero.
fn largest(rows: &[SpenderSums], most: usize) -> Vec<(Option<SpenderKey>, Sums)> {
    let (mut found, mut rest) = (vec![], Sums::default());
    for SpenderSums { key, sums, .. } in rows {
        if key.is_some() && found.len() < most {
            found.push((key.clone(), *sums));
        } else {
            rest.add(sums);
        }
    }
    if rest != Sums::default() {
        found.push((None, rest));
    }
    found
}

/// `2025-01-01T00:00:00Z`, the form of FOCUS.
fn instant(at: Timestamp) -> String {
    at.to_utc().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A text from outside with a mark before all that a spreadsheet would run as a formula: at the beginning and, because a spreadsheet may
/// separate cells by other characters than commas, behind each separator and quote.
fn no_formula(text: &str) -> String {
    let mut marked = if text.contains(';') { "'".to_owned() } else { String::new() };
    let mut begins_cell = marked.is_empty();
    for c in text.chars() {
        if begins_cell && FORMULA.contains(&c) {
            marked.push('\'');
        }
        marked.push(c);
        begins_cell = matches!(c, ';' | ',' | '"' | '\'' | '\t' | '\r' | '\n');
    }
    marked
}

/// A cell with a text.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_no_formula_and_ends_where_it_should() {
        for (name, marked) in [
            ("=HYPERLINK(\"x\")", "'=HYPERLINK(\"x\")"),
            ("x;=cmd|' /C calc'!A0", "'x;'=cmd|' /C calc'!A0"),
            ("=1;-2", "'=1;'-2"),
            ("\tx", "'\tx"),
            ("\u{ff1d}1+1", "'\u{ff1d}1+1"),
            ("ann-marie@b.example", "ann-marie@b.example"),
        ] {
            assert_eq!(no_formula(name), marked);
        }
        assert_eq!(quoted("a,b\"c"), "\"a,b\"\"c\"");
    }

    #[test]
    fn rows_past_the_bound_become_one_row() {
        let row = |name: Option<&str>, bytes| SpenderSums {
            key: name.map(|name| SpenderKey::parse(SpenderKind::User, name).unwrap()),
            sums: Sums::of_grant([bytes, 0, 0].map(ByteCount::new), [Timestamp::default(); 2]),
            ..SpenderSums::default()
        };
        let rows = [row(Some("ann"), 9), row(None, 8), row(Some("bob"), 7), row(Some("eve"), 6)];
        let found: Vec<_> =
            largest(&rows, 2).iter().map(|(key, sums)| (key.is_some(), sums.bytes().get())).collect();
        assert_eq!(found, [(true, 9), (true, 7), (false, 14)]);
    }
}

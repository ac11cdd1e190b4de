//! The JSON body of an alert: one message for chats, and every figure for programs. Its size is bounded, because the texts, the
//! names of spenders and the link are.

use serde_json::{Value, json};

use crate::alert::{Alert, AlertCost, Forecast, SpenderNow, TopSpender};
use crate::config::PublicUrl;
use crate::json::plain_number;
use crate::rate::PresentRate;
use turn_ledger::{ByteCount, SpenderKind};

/// The form of a body that a receiver understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Slack shows `text`, Discord shows `content`; both ignore unknown fields. Programs read the others.
    Common,
    /// Google Chat shows `text`, and refuses unknown fields.
    GoogleChat,
    /// A workflow of Teams shows the cards among `attachments`, and ignores the rest.
    Teams,
}

impl Form {
    /// The form for the receiver at a path, such as `/v1/spaces/AAA/messages` or `/workflows/AAA/triggers/manual/paths/invoke`.
    pub(super) fn of(path: &str) -> Self {
        match path.split('/').collect::<Vec<_>>()[..] {
            ["", "v1", "spaces", _, "messages"] => Self::GoogleChat,
            [.., "workflows", _, "triggers", _, "paths", "invoke"] => Self::Teams,
            _ => Self::Common,
        }
    }
}

/// The body, the same for every attempt.
pub(super) fn of(alert: &Alert, public_url: Option<&PublicUrl>, form: Form) -> Value {
    let link = public_url.map(|url| url.dashboard(&alert.section()));
    let (text, budget) = (alert.text(link.as_deref()), &alert.budget);
    match form {
        Form::Common => {}
        Form::GoogleChat => return json!({ "text": text }),
        Form::Teams => {
            let card = json!({ "type": "AdaptiveCard", "version": "1.4", "body": [{ "type": "TextBlock", "text": text, "wrap": true }] });
            let content_type = "application/vnd.microsoft.card.adaptive";
            return json!({ "type": "message", "attachments": [{ "contentType": content_type, "content": card }] });
        }
    }
    // `rate` and `cost` are as in `GET /api/overview`, as far as they have the same fields.
    let rate = alert.rate.map(|PresentRate { rate, limit_at, .. }| {
        json!({ "mbps": plain_number((rate.as_mbps() * 1_000.0).round() / 1_000.0), "limitAt": limit_at })
    });
    let cost = alert.spending.cost.as_ref().map(|AlertCost { currency, so_far, forecast }| {
        let at_end = |Forecast { used, cost }: &Forecast| json!({ "usedBytes": used.get(), "cost": cost.to_string() });
        json!({ "currency": currency, "soFar": so_far.to_string(), "forecast": forecast.as_ref().map(at_end) })
    });
    let share = |spender: &TopSpender| {
        let percentage = plain_number(alert.share_of(spender));
        json!({ "key": spender.key, "bytes": spender.bytes.get(), "percentage": percentage })
    };
    let now = alert.spending.now.as_ref().map(|SpenderNow { by, spender, all, .. }| {
        let percentage = plain_number(spender.bytes.percent_of(*all));
        json!({ "by": by.name(), "key": spender.key, "percentage": percentage })
    });
    json!({
        "text": text,
        "content": text,
        // Discord's own name and form: it keeps the text from mentioning users.
        "allowed_mentions": { "parse": [] },
        "event": alert.kind.name(),
        "id": alert.id,
        "at": alert.at,
        "severity": alert.severity().name(),
        "service": "turn-broker",
        "what": alert.what,
        "callers": alert.callers,
        "firstStep": alert.first_step(),
        // Its commands, for a shell; null without a spender to end.
        "command": alert.command(),
        // Where the operator acts; null without `PUBLIC_URL`.
        "link": link,
        "usedGB": budget.used.gb_nearest(),
        "limitGB": plain_number(budget.limit.as_gb()),
        "percentage": plain_number(budget.used.percent_of(budget.limit)),
        "overshootBoundGB": budget.overshoot_bound.gb_up(),
        // Null without a count.
        "likelyOvershootGB": budget.likely_overshoot.map(ByteCount::gb_up),
        "resetDate": budget.reset,
        // Null in an alert that is not about the limit.
        "rate": rate,
        // What the spenders are; null if none is known.
        "spendersBy": alert.spending.by.map(SpenderKind::name),
        "spenders": alert.spending.top.iter().map(share).collect::<Vec<_>>(),
        // Who spends most of what flows now; null if nothing flows, or nobody is known.
        "spenderNow": now,
        // Null in an alert that is not about the limit.
        "cost": cost,
    })
}

// Sizes in the units of the dashboard: GB, or MB and kB where two decimals of a GB say nothing.

/// From here on, two decimals of a GB are enough.
const GB_FROM: u64 = 95_000_000;
const GB: u64 = 1_000_000_000;

/// `12.30 GB`, `41.0 MB`, `37.5 kB`.
pub(super) fn size(bytes: ByteCount) -> String {
    match bytes.get() {
        0 | GB_FROM.. => format!("{} GB", bytes.gb_nearest()),
        1_000_000.. => format!("{:.1} MB", bytes.as_gb() * 1e3),
        _ => format!("{:.1} kB", bytes.as_gb() * 1e6),
    }
}

/// A size rounded up: `12.30 GB`, `41.1 MB`. Never in kB.
pub(super) fn size_up(bytes: ByteCount) -> String {
    match bytes.get() {
        0 | GB_FROM.. => format!("{} GB", bytes.gb_up()),
        _ => format!("{:.1} MB", (bytes.as_gb() * 1e4).ceil() / 10.0),
    }
}

/// `812.34 of 1000 GB`, and `41.0 of 250 MB` where both are less than 1 GB.
pub(super) fn size_of(used: ByteCount, limit: ByteCount) -> String {
    if used.max(limit).get() >= GB {
        return format!("{} of {} GB", used.gb_nearest(), limit.as_gb());
    }
    format!("{:.1} of {} MB", used.as_gb() * 1e3, (limit.as_gb() * 1e6).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_budget_is_in_mb() {
        let bytes = ByteCount::new;
        let sizes = [0, 37_500, 3_500_000, 94_999_999, 95_000_000, 1_234_500_000_000].map(|n| size(bytes(n)));
        assert_eq!(sizes, ["0.00 GB", "37.5 kB", "3.5 MB", "95.0 MB", "0.10 GB", "1234.50 GB"]);
        assert_eq!([1, 4_010_001, 95_000_001].map(|n| size_up(bytes(n))), ["0.1 MB", "4.1 MB", "0.10 GB"]);
        assert_eq!(size_of(bytes(40_960_000), bytes(41_000_000)), "41.0 of 41 MB");
        assert_eq!(size_of(bytes(812_344_000_000), bytes(750_500_000_000)), "812.34 of 750.5 GB");
        assert_eq!(size_of(bytes(2_000_000_000), bytes(0)), "2.00 of 0 GB");
    }
}

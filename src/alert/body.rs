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

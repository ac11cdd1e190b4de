//! The message of an alert, with one line for each question of an operator: what happened, what it means for callers, what to
//! do first, who spends, what it costs, the worst case, the commands, and where to act. Names of spenders come from outside: what a
//! chat would read as markup, a mention or a link is replaced, in commands by escapes of the shell, and a long name is cut. So a name can
//! neither notify a channel nor become a link.

use std::collections::BTreeSet;
use std::time::Duration;

use super::body::{size, size_up};
use super::spending::{COUNTED_LATER, is_proven};
use super::{Alert, AlertCost, BudgetFigures, Forecast, SpenderNow, SpentGrant, TopSpender};
use crate::rate::PresentRate;
use turn_ledger::{Block, ByteCount, NamesPerson, Person, SpenderKey, SpenderKind, Timestamp};

/// The most characters of a spender's name in a message: a UUID has as many.
const NAME_CHARS_MAX: usize = 36;
/// What a name may have beside letters and digits.
const NAME_MARKS: &str = " .,:;_@/+=-|";
/// The longest name in a link, with escapes, and the longest lines that still get a command. So a message fits into a chat.
pub(super) const LINKED_MAX: usize = 80;
const LINES_MAX: usize = 1_670;

impl Alert {
    /// The message, in lines. `link`: where the operator acts.
    pub fn text(&self, link: Option<&str>) -> String {
        let mut lines = self.lines();
        lines.extend(link.map(str::to_owned));
        lines.join("\n")
    }

    /// The message in one line, for the log.
    pub fn log_text(&self) -> String {
        self.lines().join(" ")
    }

    /// A spender's share of the usage at that instant, in percent.
    pub fn share_of(&self, spender: &TopSpender) -> f64 {
        spender.bytes.percent_of(self.all_bytes())
    }

    /// The total of which the shares of the largest spenders are parts: at least their sum, because counts by grant can be a poll ahead of
    /// what is used.
    pub(super) fn all_bytes(&self) -> ByteCount {
        let top = self.spending.top.iter().map(|spender| spender.bytes);
        self.budget.used.max(top.fold(ByteCount::ZERO, ByteCount::plus))
    }

    /// The present rate, and when the limit is reached at it.
    fn pace(&self, PresentRate { rate, until, limit_at }: &PresentRate) -> String {
        let reached = match limit_at {
            Some(at) => {
                format!(", which reaches the limit in {}, at {}", span(at.since(self.at)), minute(*at))
            }
            None if self.budget.used >= self.budget.limit => String::new(),
            None => ", which does not reach the limit in this period".to_owned(),
        };
        let counted =
            if *until < self.at { format!(" (counted up to {})", minute(*until)) } else { String::new() };
        format!("Now: {:.1} Mbps{counted}{reached}.", rate.as_mbps())
    }

    /// The line about the largest spenders. `None` if the alert names none.
    fn spenders(&self) -> Option<String> {
        let kind = self.spending.by?;
        let plural = match kind {
            SpenderKind::Address => "addresses",
            SpenderKind::User => "users",
            SpenderKind::Label => "labels",
            SpenderKind::Origin => "origins",
            SpenderKind::Call => "calls",
            SpenderKind::Key => "server keys",
        };
        let named = self.spending.top.iter().map(|spender| {
            let (name, share) = (quoted(spender, kind), self.share_of(spender));
            format!("{name} {} ({share:.0} %)", size(spender.bytes))
        });
        Some(format!("Largest {plural}: {}.", named.collect::<Vec<_>>().join(", ")))
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("turn-broker: {}", self.what)];
        if !self.callers.is_empty() {
            lines.push(format!("Callers: {}", self.callers));
        }
        lines.push(format!("First: {}", self.first_step()));
        lines.extend(self.rate.as_ref().map(|rate| self.pace(rate)));
        // Unless the first step has named this spender.
        let is_other = |now: &&SpenderNow| self.culprit().is_none_or(|(_, of, _)| *of != now.spender);
        lines.extend(self.spending.now.as_ref().filter(is_other).map(mostly));
        lines.extend(self.spenders());
        lines.extend(self.spending.cost.as_ref().map(cost));
        let BudgetFigures { used, limit, uncut_overshoot, likely_overshoot, .. } = self.budget;
        if self.kind.is_about_usage() && uncut_overshoot > used.minus(limit) {
            let (worst, likely) = (size_up(uncut_overshoot), likely_overshoot.map(size_up));
            let likely =
                likely.map(|likely| format!("; at the highest hourly rate that was counted, {likely}"));
            lines.push(format!(
                "Worst case: credentials already issued can take usage {worst} past the limit{}.",
                likely.unwrap_or_default()
            ));
        }
        // Without a full stop, which would be pasted with it.
        let length: usize = lines.iter().map(|line| line.encode_utf16().count() + 1).sum();
        let command = self.command().filter(|command| length + command.len() <= LINES_MAX);
        lines.extend(command.map(|command| format!("Command: {command}")));
        lines
    }
}

impl NamesPerson for Alert {
    fn forget(&mut self, who: &mut Person) {
        let Self { spending, what, ends, id: _, kind: _, at: _, callers: _, budget: _, rate: _ } = self;
        let names: BTreeSet<_> = who.names.iter().map(ToString::to_string).collect();
        let now = spending.now.as_mut().map(|now| &mut now.spender);
        for spender in spending.top.iter_mut().chain(now) {
            if spender.key.as_ref().is_some_and(|key| names.contains(key)) {
                (spender.key, spender.block) = (None, None);
            }
        }
        ends.take_if(|(_, key)| names.contains(key));
        for name in names {
            *what = what.replace(&format!("\"{}\"", shown(&name)), "(removed)");
        }
    }
}

impl SpentGrant {
    /// What happened, in one sentence.
    pub(super) fn sentence(&self) -> String {
        let named = |key: &SpenderKey| format!("{} \"{}\"", key.kind().name(), shown(&key.to_string()));
        let who: Vec<_> = self.who.iter().map(named).collect();
        let who = if who.is_empty() { "a client without a name".to_owned() } else { who.join(", ") };
        let relayed = size(self.counted);
        let grant = self.grant;
        format!("The credential {grant} relayed {relayed}, more than GRANT_LIMIT_GB, and was revoked: {who}.")
    }
}

impl SpenderNow {
    /// The time of its bytes.
    pub(super) fn time(&self) -> String {
        let counted = self.counted_until.map(|until| format!(", as counted up to {}", minute(until)));
        format!("the last {} minutes{}", self.minutes, counted.unwrap_or_default())
    }
}

/// Who spends most now, and why no command ends this spender alone.
fn mostly(now @ SpenderNow { by, spender, all, .. }: &SpenderNow) -> String {
    let kind = if spender.key.is_some() { by.name() } else { "bytes" };
    let (name, part) = (quoted(spender, *by), spender.bytes.percent_of(*all));
    let note = if spender.key.is_some() && spender.is_ended() {
        format!(" Its credentials are revoked. {COUNTED_LATER}")
    } else if spender.key.is_some() && spender.is_large(*all) && !is_proven(*by) {
        let usable = spender.usable;
        format!(
            " Anybody can choose this {kind}: to revoke it ends {usable} credentials, those of honest callers too. Against one caller at many addresses, run turn-broker freeze, or lower RATE_LIMIT_REQUESTS."
        )
    } else {
        String::new()
    };
    format!("Now mostly: {kind} {name} ({part:.0} % in {}).{note}", now.time())
}

/// A name whose bytes are escaped that are not letters or digits.
pub(super) fn escaped(name: &str, escape: fn(u8) -> String) -> String {
    let shown = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { escape(byte) };
    name.bytes().map(shown).collect()
}

/// A name as one argument of a command line for each POSIX shell, which a chat shows as it is.
fn argument(name: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || ".:/_-".contains(c);
    if name.chars().all(is_safe) && shown(name) == name {
        return name.to_owned();
    }
    format!("\"$(printf '{}')\"", escaped(name, |byte| format!("\\{byte:03o}")))
}

/// The commands that block a spender and revoke all of its credentials.
pub(super) fn commands_ending(by: SpenderKind, key: &str) -> String {
    let (kind, name) = (by.name(), argument(key));
    let block = match by {
        SpenderKind::User if key.starts_with('-') => format!("-- {name}"),
        SpenderKind::User => name.clone(),
        SpenderKind::Address => format!("--address={name} --for 1h"),
        _ => format!("--{kind}={name}"),
    };
    format!("turn-broker block {block}; turn-broker revoke --{kind}={name}")
}

/// The name of a spender of this kind in quotes, or words for the bytes without a name.
pub(super) fn quoted(spender: &TopSpender, by: SpenderKind) -> String {
    let since =
        |block: Block| block.since.map(|since| format!(" since {}", minute(since))).unwrap_or_default();
    let mark = spender.block.map(|block| format!(" (blocked{})", since(block))).unwrap_or_default();
    let name = spender.key.as_ref().map(|key| format!("\"{}\"{mark}", shown(key)));
    name.unwrap_or_else(|| format!("without a known {}", by.name()))
}

/// `2025-02-01T00:00Z`: the dashboard shows it as the reader's time.
pub(super) fn minute(at: Timestamp) -> String {
    at.to_utc().format("%Y-%m-%dT%H:%MZ").to_string()
}

/// `17 s`, `12 min`, `3 h 20 min`, `9 d`.
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..90 => format!("{seconds} s"),
        seconds @ ..5_400 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        seconds => format!("{} d", seconds / 86_400),
    }
}

fn cost(AlertCost { currency, so_far, forecast }: &AlertCost) -> String {
    let at_end = forecast.as_ref().map(|Forecast { used, cost }| {
        format!(", {cost} {currency} ({}) at the end of the period at its average rate", size(*used))
    });
    format!("Cost: {so_far} {currency} so far{}.", at_end.unwrap_or_default())
}

/// A name that a chat shows as it is: without markup, mentions and links.
fn shown(name: &str) -> String {
    let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    let mut chars = name.chars();
    let plain = |c: char| if c.is_alphanumeric() || NAME_MARKS.contains(c) { c } else { '?' };
    let mut text: String = chars.by_ref().take(NAME_CHARS_MAX).map(plain).collect();
    for markup in ["://", "//", "||", "__"] {
        text = text.replace(markup, "?");
    }
    let mut text = without_mentions_and_domains(&text);
    if chars.next().is_some() {
        text.push('…');
    }
    text
}

/// An at sign would mention a user or a channel. Chats turn a dot before a letter, as in a domain, into a link also without `https://`.
fn without_mentions_and_domains(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '@' => text.push_str("[at]"),
            '.' if chars.peek().is_some_and(|next| next.is_alphabetic()) => text.push_str("[.]"),
            _ => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_without_markup_mentions_and_links() {
        for (name, expected) in [
            ("ann@example.com", "ann[at]example[.]com"),
            ("auth0|507f", "auth0|507f"),
            ("Zoë 😀", "Zoë ?"),
            ("https://app.example:8443", "app[.]example:8443"),
            ("2001:db8:1:2::/64", "2001:db8:1:2::/64"),
            ("203.0.113.9", "203.0.113.9"),
            ("<!channel>", "??channel?"),
            ("@channel", "[at]channel"),
            ("a@here@everyone", "a[at]here[at]everyone"),
            ("evil.example/pay", "evil[.]example/pay"),
            ("1.xn--evil-9za.com", "1[.]xn--evil-9za[.]com"),
            ("[pay](https://evil.example)", "?pay??https?evil[.]example?"),
            ("https://https://evil.example", "https?evil[.]example"),
            ("**a** ||b|| __c__ `d` ~e~ \"f\"", "??a?? ?b? ?c? ?d? ?e? ?f?"),
            ("a\u{202e}b", "a?b"),
        ] {
            assert_eq!(shown(name), expected, "{name}");
        }
    }

    #[test]
    fn the_commands_have_any_name_as_one_argument_that_no_chat_interprets() {
        for name in [
            "bob",
            "auth0|507f",
            "ann@example.com",
            "a'b\"c $(id) `id` \\",
            "-x",
            "--help",
            "Zoë 😀",
            "@here",
            "USER",
            &"ü".repeat(255),
        ] {
            let commands = commands_ending(SpenderKind::User, name);
            let markup = ['<', '>', '&', '@', '*', '`', '~', '|'];
            assert!(!commands.contains(markup) && !commands.contains(".com"), "{commands}");
            // What the shell passes on, an argument a line.
            let shell = [
                "-c",
                &format!(
                    "turn_broker() {{ printf '%s\\n' \"$@\"; }}; {}",
                    commands.replace("turn-broker", "turn_broker")
                ),
            ];
            let output = std::process::Command::new("sh").args(shell).output().unwrap();
            let dashes = if name.starts_with('-') { "--\n" } else { "" };
            let expected = format!("block\n{dashes}{name}\nrevoke\n--user={name}\n");
            assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
        }
        let of = commands_ending;
        assert_eq!(
            of(SpenderKind::User, "ann@example.com"),
            r#"turn-broker block "$(printf 'ann\100example\056com')"; turn-broker revoke --user="$(printf 'ann\100example\056com')""#
        );
        assert_eq!(
            of(SpenderKind::Address, "2001:db8::/64"),
            "turn-broker block --address=2001:db8::/64 --for 1h; turn-broker revoke --address=2001:db8::/64"
        );
        assert_eq!(of(SpenderKind::Key, "app"), "turn-broker block --key=app; turn-broker revoke --key=app");
    }

    #[test]
    fn a_long_name_is_cut() {
        assert_eq!(shown(&"ü".repeat(36)), "ü".repeat(36));
        assert_eq!(shown(&"ü".repeat(37)), format!("{}…", "ü".repeat(36)));
    }

    #[test]
    fn a_span_has_one_or_two_units() {
        let spans = [17, 89, 90, 5_399, 12_000, 172_800].map(|s| span(Duration::from_secs(s)));
        assert_eq!(spans, ["17 s", "89 s", "1 min", "89 min", "3 h 20 min", "2 d"]);
    }

    #[test]
    fn shares_are_parts_of_the_sum_of_the_spenders_if_that_is_more_than_what_is_used() {
        let spender = |gb: u64| TopSpender { key: None, bytes: ByteCount::new(gb), block: None, usable: 0 };
        let all = |used| {
            let budget = BudgetFigures { used: ByteCount::new(used), ..BudgetFigures::default() };
            let mut alert = Alert::test(Timestamp::default(), budget);
            alert.spending.top = vec![spender(8), spender(7)];
            alert.all_bytes().get()
        };
        assert_eq!([5, 20].map(all), [15, 20]);
    }
}

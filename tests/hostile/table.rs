//! The table of results. A row fails if the effect is above the allowance, or if an honest client was not served. The column
//! "before" comes from `before.tsv`, which this program wrote at the commit that the file names. No figure is typed by hand.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::client::Cost;
use crate::honest::Tally;

/// The file with the figures of an earlier version: form, attack, commit, effect, honest calls served, result.
const BEFORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile/before.tsv");
const TABLE_BEGIN: &str = "<!-- tests/hostile/run.sh writes from here -->\n";
const TABLE_END: &str = "<!-- to here -->\n";

/// How much of an attack is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Seconds, for the test command.
    Short,
    /// Hours of the books' time and large floods.
    Long,
}

impl Form {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "long",
        }
    }

    pub(crate) fn choose<T>(self, short: T, long: T) -> T {
        match self {
            Self::Short => short,
            Self::Long => long,
        }
    }
}

/// The result of an attack.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) attempts: u64,
    pub(crate) cost: Cost,
    pub(crate) effect: String,
    pub(crate) honest: Tally,
    /// Whether the effect is within the allowance.
    pub(crate) is_within: bool,
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) item: u8,
    pub(crate) attack: &'static str,
    pub(crate) allowance: &'static str,
    /// What happened, or why the attack could not be carried out.
    pub(crate) outcome: Result<Outcome, String>,
}

/// The figures of an earlier version.
#[derive(Debug)]
pub(crate) struct Before {
    commit: String,
    effect: String,
    honest: String,
    result: String,
}

impl Row {
    pub(crate) fn passes(&self) -> bool {
        self.outcome.as_ref().is_ok_and(|outcome| outcome.is_within && outcome.honest.is_complete())
    }

    fn result(&self) -> &'static str {
        if self.passes() { "PASS" } else { "FAIL" }
    }

    fn effect(&self) -> String {
        let text = match &self.outcome {
            Ok(outcome) => outcome.effect.clone(),
            Err(problem) => format!("not carried out: {problem}"),
        };
        text.replace(['\n', '\t', '|'], " ")
    }

    fn honest(&self) -> String {
        match &self.outcome {
            Ok(Outcome { honest: Tally { of: 0, .. }, .. }) | Err(_) => "-".to_owned(),
            Ok(Outcome { honest, .. }) => format!("{} of {}", grouped(honest.served), grouped(honest.of)),
        }
    }

    fn attempts(&self) -> String {
        self.outcome.as_ref().map_or("-".to_owned(), |outcome| grouped(outcome.attempts))
    }

    fn cost(&self) -> String {
        let Ok(Outcome { cost, .. }) = &self.outcome else { return "-".to_owned() };
        format!(
            "{} requests, {} sockets, {}",
            grouped(cost.requests),
            grouped(cost.sockets),
            size(cost.bytes)
        )
    }

    /// One line for the terminal, as soon as it is known.
    pub(crate) fn line(&self) -> String {
        let (item, attack, result) = (self.item, self.attack, self.result());
        format!("{result}  {item:>2} {attack}: {}; honest {}", self.effect(), self.honest())
    }

    /// The line of this row in `before.tsv`.
    pub(crate) fn as_before(&self, form: Form, commit: &str) -> String {
        let columns = [form.name(), self.attack, commit, &self.effect(), &self.honest(), self.result()];
        columns.join("\t") + "\n"
    }
}

/// The figures of an earlier version for each attack of this form.
pub(crate) fn before(form: Form) -> BTreeMap<String, Before> {
    let text = fs::read_to_string(BEFORE).unwrap_or_default();
    let columns = text.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    let rows = columns.filter_map(|columns| {
        let [name, attack, commit, effect, honest, result] = <[String; 6]>::try_from(columns).ok()?;
        (name == form.name()).then_some((attack, Before { commit, effect, honest, result }))
    });
    rows.collect()
}

/// The table in Markdown.
pub(crate) fn markdown(rows: &[Row], before: &BTreeMap<String, Before>) -> String {
    let mut text = String::from(
        "| item | attack | attempts | cost to the attacker | allowance | before | now | honest calls served, before | now | result |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let (effect, honest) = before.get(row.attack).map_or_else(
            || ("not measured".to_owned(), "-".to_owned()),
            |before| {
                (format!("{} ({}, {})", before.effect, before.result, before.commit), before.honest.clone())
            },
        );
        let columns = [
            row.item.to_string(),
            row.attack.to_owned(),
            row.attempts(),
            row.cost(),
            row.allowance.to_owned(),
            effect,
            row.effect(),
            honest,
            row.honest(),
            row.result().to_owned(),
        ];
        let _ = writeln!(text, "| {} |", columns.join(" | "));
    }
    text
}

/// Writes the table between the markers of a document.
pub(crate) fn write_into(document: &Path, table: &str) -> Result<(), String> {
    let page = fs::read_to_string(document).map_err(|error| error.to_string())?;
    let (head, rest) = page.split_once(TABLE_BEGIN).ok_or("the document has no marker for the begin")?;
    let (_, tail) = rest.split_once(TABLE_END).ok_or("the document has no marker for the end")?;
    let written = format!("{head}{TABLE_BEGIN}{table}{TABLE_END}{tail}");
    fs::write(document, written).map_err(|error| error.to_string())
}

/// Bytes with a unit.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        10_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

/// A number with commas between its thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length as a count.
pub(crate) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap()
}

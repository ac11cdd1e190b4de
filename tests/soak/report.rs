//! The result: a table, and whether every rule was kept.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::memory;
use crate::support::process::Process;

/// `/health` may take this long.
const HEALTH_MAX: Duration = Duration::from_millis(50);
/// The last third may use this much more memory and handles than the second, in percent.
const GROWTH_MAX_PERCENT: u64 = 10;

/// The figures of the broker at one instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    resident: u64,
    handles: u64,
    /// How long `/health` takes.
    health: Duration,
}

impl Sample {
    pub(crate) async fn take(broker: &Process) -> Result<Self, Box<dyn Error>> {
        let resident = memory::resident(broker.id())?;
        let handles = u64::try_from(memory::handles(broker.id())?)?;
        let begin = Instant::now();
        assert_eq!(broker.get("/health").await.status, 200);
        Ok(Self { resident, handles, health: begin.elapsed() })
    }
}

pub(crate) struct Report {
    pub(crate) minutes: u64,
    pub(crate) samples: Vec<Sample>,
    /// According to the status at the end.
    pub(crate) used_gb: String,
    pub(crate) tally: BTreeMap<String, u64>,
    /// What was refused although the rules allow it.
    pub(crate) refusals: Vec<String>,
    /// Each attack with its attempts.
    pub(crate) attacks: Vec<(&'static str, u64)>,
    /// The output of `ledger verify`.
    pub(crate) verified: Result<String, String>,
}

impl Report {
    /// Each rule, what was measured, and whether it was kept.
    fn rules(&self) -> Vec<(String, String, bool)> {
        let health = self.samples.iter().map(|sample| sample.health).max().unwrap_or_default();
        let (memory, memory_grew) = self.growth(|sample| sample.resident);
        let (handles, handles_grew) = self.growth(|sample| sample.handles);
        let limit = 100 + GROWTH_MAX_PERCENT;
        vec![
            (
                format!("`/health` within {} ms", HEALTH_MAX.as_millis()),
                format!("{:.1} ms at most", health.as_secs_f64() * 1e3),
                health <= HEALTH_MAX,
            ),
            (
                format!("highest memory of the last third ≤ {limit} % of the second's"),
                format!("{:.1} MB, then {:.1} MB", mb(memory.0), mb(memory.1)),
                !memory_grew,
            ),
            (
                "highest number of handles, the same".into(),
                format!("{}, then {}", handles.0, handles.1),
                !handles_grew,
            ),
            ("no honest mint refused that the rules allow".into(), self.refused(), self.refusals.is_empty()),
            (
                "`turn-broker ledger verify`".into(),
                self.verified.clone().unwrap_or_else(|text| text),
                self.verified.is_ok(),
            ),
        ]
    }

    fn refused(&self) -> String {
        match self.refusals.first() {
            None => "none".into(),
            Some(first) => format!("{}, the first: {first}", self.refusals.len()),
        }
    }

    /// The highest value of the second and of the last third of the run, and whether it grew too much.
    fn growth(&self, value: impl Fn(&Sample) -> u64) -> ((u64, u64), bool) {
        let third = self.samples.len() / 3;
        let highest = |samples: &[Sample]| samples.iter().map(&value).max().unwrap_or_default();
        let (before, after) = (highest(&self.samples[third..2 * third]), highest(&self.samples[2 * third..]));
        ((before, after), after * 100 > before * (100 + GROWTH_MAX_PERCENT))
    }

    pub(crate) fn is_good(&self) -> bool {
        self.rules().iter().all(|(_, _, kept)| *kept)
    }

    /// Each rule with its result, as Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text =
            format!("{} minutes.\n\n| rule | measured | kept |\n| --- | --- | --- |\n", self.minutes);
        for (rule, measured, kept) in self.rules() {
            let _ = writeln!(text, "| {rule} | {measured} | {} |", if kept { "yes" } else { "**no**" });
        }
        let _ = writeln!(text, "\nUsed at the end, with all that was claimed: {} GB.", self.used_gb);
        text
    }

    /// The calls of honest callers, and the attempts of each attack.
    pub(crate) fn counts(&self) -> String {
        let mut text = String::new();
        let attacks = self.attacks.iter().map(|(attack, count)| (*attack, count));
        for (what, count) in self.tally.iter().map(|(call, count)| (call.as_str(), count)).chain(attacks) {
            let _ = writeln!(text, "{what}: {count}");
        }
        text
    }
}

fn mb(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1_000).unwrap_or(u32::MAX)) / 1_000.0
}

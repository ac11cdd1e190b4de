//! The result: a table, a plot, and whether every rule was kept.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::broker::Broker;
use crate::faults::{Faults, Now};
use crate::honest::Tally;
use crate::memory;

/// `/health` may take this long.
const HEALTH_MAX: Duration = Duration::from_millis(50);
/// The last third may use this much more memory and handles than the second, in percent.
const GROWTH_MAX_PERCENT: u64 = 10;
/// The document's part between these lines is replaced.
const MARKS: (&str, &str) = ("<!-- soak: begin -->", "<!-- soak: end -->");

/// A figure of a sample.
type Value = fn(&Sample) -> f64;

/// The figures of the broker at one instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    at: Duration,
    resident: u64,
    handles: u64,
    health: Duration,
    used_gb: f64,
    minted: u64,
    now: Now,
}

impl Sample {
    pub(crate) async fn take(
        at: Duration,
        broker: &Broker,
        tally: &Tally,
        faults: &Faults,
    ) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            at,
            resident: memory::resident(broker.id())?,
            handles: u64::try_from(memory::handles(broker.id())?)?,
            health: broker.health().await?,
            used_gb: broker.used_gb().await?,
            minted: tally.counts().get("mint: minted").copied().unwrap_or_default(),
            now: faults.now(),
        })
    }
}

pub(crate) struct Report {
    pub(crate) minutes: u64,
    pub(crate) samples: Vec<Sample>,
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
        let used = self.samples.last().map_or(0.0, |sample| sample.used_gb);
        let _ = writeln!(text, "\nUsed at the end, with all that was claimed: {used:.2} GB.");
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

    /// Writes the table into PERFORMANCE.md and the plot beside it.
    pub(crate) fn write(&self, docs: &Path) -> Result<(), Box<dyn Error>> {
        std::fs::write(docs.join("soak.svg"), self.plot())?;
        let path = docs.join("PERFORMANCE.md");
        let document = std::fs::read_to_string(&path)?;
        let (before, rest) = document.split_once(MARKS.0).ok_or("the first mark is missing")?;
        let (_, after) = rest.split_once(MARKS.1).ok_or("the second mark is missing")?;
        let table = self.table();
        std::fs::write(&path, format!("{before}{}\n{table}{}{after}", MARKS.0, MARKS.1))?;
        Ok(())
    }

    /// Memory, handles, `/health` and honest mints over time, above the faults.
    fn plot(&self) -> String {
        let mut svg = String::from(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 460\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"800\" height=\"460\" fill=\"#fff\"/>\n",
        );
        let end = self.samples.last().map_or(1.0, |sample| sample.at.as_secs_f64());
        let x = |sample: &Sample| 150.0 + 630.0 * sample.at.as_secs_f64() / end;
        for sample in self.samples.iter().filter(|sample| sample.now != Now::Quiet) {
            let _ = writeln!(
                svg,
                "<rect x=\"{:.1}\" y=\"10\" width=\"{:.1}\" height=\"410\" fill=\"{}\"/>",
                x(sample),
                630.0 / f64::from(u32::try_from(self.samples.len()).unwrap_or(u32::MAX)) + 0.2,
                color(sample.now)
            );
        }
        let rows: [(&str, Value); 4] = [
            ("memory, MB", |sample| mb(sample.resident)),
            ("handles", |sample| f64::from(u32::try_from(sample.handles).unwrap_or(u32::MAX))),
            ("/health, ms", |sample| sample.health.as_secs_f64() * 1e3),
            ("honest mints", |sample| f64::from(u32::try_from(sample.minted).unwrap_or(u32::MAX))),
        ];
        for (nth, (name, value)) in (0_u8..).zip(rows) {
            let (top, height) = (20.0 + 100.0 * f64::from(nth), 80.0);
            let highest = self.samples.iter().map(value).fold(0.0, f64::max).max(1e-9);
            let points: Vec<String> = self
                .samples
                .iter()
                .map(|sample| {
                    format!("{:.1},{:.1}", x(sample), top + height * (1.0 - value(sample) / highest))
                })
                .collect();
            let _ = writeln!(svg, "<text x=\"10\" y=\"{}\">{name}</text>", top + 40.0);
            let _ =
                writeln!(svg, "<text x=\"10\" y=\"{}\" fill=\"#666\">0 to {highest:.0}</text>", top + 56.0);
            let _ =
                writeln!(svg, "<polyline fill=\"none\" stroke=\"#246\" points=\"{}\"/>", points.join(" "));
        }
        let mut left = 150.0;
        for (now, name) in [
            (Now::ProviderHangs, "provider hangs"),
            (Now::DiskFull, "disk full"),
            (Now::ClockAhead, "clock 2 h ahead"),
            (Now::ClockBehind, "clock 1 h behind"),
        ] {
            let _ = writeln!(
                svg,
                "<rect x=\"{left}\" y=\"432\" width=\"14\" height=\"14\" fill=\"{}\"/>",
                color(now)
            );
            let _ = writeln!(svg, "<text x=\"{}\" y=\"444\">{name}</text>", left + 20.0);
            left += 150.0;
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn color(now: Now) -> &'static str {
    match now {
        Now::Quiet => "#fff",
        Now::ProviderHangs => "#fde2c4",
        Now::DiskFull => "#f8caca",
        Now::ClockAhead => "#d5e3f7",
        Now::ClockBehind => "#dcd5f7",
    }
}

fn mb(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1_000).unwrap_or(u32::MAX)) / 1_000.0
}

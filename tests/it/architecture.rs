//! The test of docs/ARCHITECTURE.md: its tables name every module in the order of the layers, and its table of bounds has
//! the values of the code.

use std::collections::BTreeSet;
use std::fs;
use std::iter::Peekable;
use std::path::Path;
use std::time::Duration;
use std::vec::IntoIter;

use super::layers::{LAYERS, layer_of};

const PAGE: &str = include_str!("../../docs/ARCHITECTURE.md");
const SETTINGS: &str = include_str!("../../.env.example");

#[test]
fn the_table_of_parts_names_every_module_in_the_order_of_the_layers() {
    let (service, _) = section("Parts").split_once("The modules of `turn-signaling`").unwrap();
    let modules: Vec<_> = rows(service).flat_map(|(modules, _)| in_backticks(modules)).collect();
    let layers =
        modules.iter().map(|module| layer_of(module).unwrap_or_else(|| panic!("no module `{module}`")));
    assert!(layers.is_sorted(), "not in the order of the layers: {modules:?}");
    let expected: BTreeSet<_> = LAYERS.concat().into_iter().filter(|module| *module != "lib").collect();
    assert_eq!(BTreeSet::from_iter(modules), expected);
}

#[test]
fn the_tables_of_the_other_packages_are_complete() {
    let (_, packages) = section("Parts").split_once("The modules of `turn-signaling`").unwrap();
    let (signaling, packages) = packages.split_once("The modules of `turn-limits`").unwrap();
    let (limits, ledger) = packages.split_once("The modules of `turn-ledger`").unwrap();
    for (package, table) in [("turn_signaling", signaling), ("turn_limits", limits), ("turn_ledger", ledger)]
    {
        let listed: BTreeSet<_> = rows(table).flat_map(|(modules, _)| in_backticks(modules)).collect();
        let code = source_of(&format!("{package}::lib")).unwrap();
        let declared = code.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "));
        assert_eq!(listed, declared.map(|module| module.trim_end_matches(';')).collect(), "{package}");
    }
}

#[test]
fn the_table_of_bounds_has_the_values_of_the_code() {
    let table = section("Bounds");
    assert!(rows(table).count() > 0);
    let problems = problems(table, source_of);
    assert!(problems.is_empty(), "docs/ARCHITECTURE.md, Bounds:\n{}", problems.join("\n"));
}

#[test]
fn a_wrong_row_is_reported() {
    let code =
        "const BODY_MAX: usize = 16 * 1024;\nconst STRANGE: u64 = strange(3);\n    const INNER: u64 = 1;\n";
    let check = |bound: &str| {
        let table = format!("| what | bound |\n|---|---|\n| body | {bound} | 413 |\n");
        problems(&table, |module| (module == "http::body").then(|| code.to_owned())).pop()
    };
    assert_eq!(check("`BODY_MAX`, 16 KiB (`http::body`), or `RATE_LIMIT_REQUESTS`"), None);
    for (bound, problem) in [
        ("`BODY_MAX`, 17 KiB (`http::body`)", "`BODY_MAX` is Number(16384), the table says 17 KiB"),
        ("`BODY_MAX`, 16 s (`http::body`)", "`BODY_MAX` is Number(16384), the table says 16 s"),
        ("`BODY_MAX`, 16 kilo (`http::body`)", "`BODY_MAX`: the value `16 kilo` is not understood"),
        ("`BODY_MAX`, 16 KiB (`http`)", "`BODY_MAX`: there is no module `http`"),
        ("`BODY`, 16 KiB (`http::body`)", "`BODY`: the module has no such constant in one line"),
        ("`INNER`, 1 (`http::body`)", "`INNER`: the module has no such constant in one line"),
        ("`STRANGE`, 3 (`http::body`)", "`STRANGE`: this test does not know the form `strange`"),
        ("`BODY_MAX`, 16 KiB", "`BODY_MAX` is no setting; write `NAME`, value (`module`)"),
    ] {
        assert_eq!(check(bound), Some(format!("body: {problem}")), "{bound}");
    }
}

#[test]
fn every_form_of_an_initialiser_and_of_a_value_is_understood() {
    let seconds = |seconds| Value::Time(Duration::from_secs(seconds));
    for (initialiser, written, value) in [
        ("8_192", "8,192", Value::Number(8_192)),
        ("100", "100 characters", Value::Number(100)),
        ("4 << 20", "4 MiB", Value::Number(4_194_304)),
        ("32 * 1024", "32 KiB", Value::Number(32_768)),
        ("BitRate::new(100_000_000)", "100 Mbps", Value::Number(100_000_000)),
        ("Rate::per_second(64, 1)", "64, then 1 a second", Value::Rate { burst: 64, per_second: 1 }),
        ("Duration::from_millis(50)", "50 ms", Value::Time(Duration::from_millis(50))),
        ("Duration::from_secs(5 * 60)", "5 min", seconds(300)),
        ("Duration::from_secs(7 * 86_400)", "7 days", seconds(604_800)),
        ("Duration::from_secs(3_600 + OTHER.as_secs())", "3610 s", seconds(3_610)),
        ("OTHER", "10 s", seconds(10)),
    ] {
        let code = format!(
            "const OTHER: Duration = Duration::from_secs(10);\npub(super) const IT: T = {initialiser};"
        );
        assert_eq!(constant(&code, "IT"), Ok(value));
        assert_eq!(value_in_words(written), Some(value));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Number(u64),
    Time(Duration),
    Rate { burst: u64, per_second: u64 },
}

/// What is wrong with a table of bounds. `source_of` returns the source text of a module.
fn problems(table: &str, source_of: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let check = |(what, bound)| {
        let problems = problems_of(bound, &source_of);
        problems.into_iter().map(move |problem| format!("{what}: {problem}"))
    };
    rows(table).flat_map(check).collect()
}

/// Each name in capitals must be a setting, or a constant in the form `` `NAME`, value (`module`) ``.
fn problems_of(bound: &str, source_of: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let pieces: Vec<_> = bound.split('`').collect();
    let mut problems = Vec::new();
    for (at, name) in pieces.iter().enumerate().skip(1).step_by(2) {
        if !is_constant(name) || is_setting(name) {
            continue;
        }
        let written = pieces.get(at + 1).and_then(|text| text.strip_prefix(", ")?.strip_suffix(" ("));
        let Some((written, module)) = written.zip(pieces.get(at + 2)) else {
            problems.push(format!("`{name}` is no setting; write `NAME`, value (`module`)"));
            continue;
        };
        let compared = source_of(module)
            .ok_or_else(|| format!("there is no module `{module}`"))
            .and_then(|source| constant(&source, name))
            .and_then(|value| {
                let said = value_in_words(written);
                Ok((value, said.ok_or_else(|| format!("the value `{written}` is not understood"))?))
            });
        match compared {
            Ok((value, said)) if value == said => {}
            Ok((value, _)) => problems.push(format!("`{name}` is {value:?}, the table says {written}")),
            Err(problem) => problems.push(format!("`{name}`: {problem}")),
        }
    }
    problems
}

/// The value of a constant that a module declares at its top level.
fn constant(source: &str, name: &str) -> Result<Value, String> {
    let initialiser = source.lines().find_map(|line| {
        let (before, rest) = line.split_once("const ")?;
        let is_declared = ["", "pub ", "pub(super) ", "pub(crate) ", "export "].contains(&before);
        let rest = rest.strip_prefix(name).filter(|rest| is_declared && rest.starts_with([':', ' ']))?;
        rest.split_once("= ")?.1.strip_suffix(';')
    });
    let initialiser = initialiser.ok_or("the module has no such constant in one line")?;
    let spaced = ["<<", "+", "*", "(", ")", ",", "."]
        .iter()
        .fold(initialiser.to_owned(), |text, symbol| text.replace(symbol, &format!(" {symbol} ")));
    let tokens: Vec<_> = spaced.split_whitespace().map(str::to_owned).collect();
    let mut expression = Expression { source, tokens: tokens.into_iter().peekable() };
    let value = expression.value(&OPERATORS)?;
    match expression.tokens.next() {
        None => Ok(value),
        Some(rest) => Err(unknown(&rest)),
    }
}

/// The operators, those with the lowest precedence first.
const OPERATORS: [&str; 3] = ["<<", "+", "*"];

struct Expression<'a> {
    source: &'a str,
    tokens: Peekable<IntoIter<String>>,
}

impl Expression<'_> {
    fn value(&mut self, operators: &[&str]) -> Result<Value, String> {
        let Some((operator, tighter)) = operators.split_first() else { return self.term() };
        let mut left = self.value(tighter)?;
        while self.tokens.next_if(|token| token == operator).is_some() {
            let (Value::Number(a), Value::Number(b)) = (left, self.value(tighter)?) else {
                return Err(unknown(operator));
            };
            left = Value::Number(match *operator {
                "<<" => a << b,
                "+" => a + b,
                _ => a * b,
            });
        }
        Ok(left)
    }

    fn term(&mut self) -> Result<Value, String> {
        let token = self.tokens.next().ok_or("the initialiser has no end")?;
        match token.as_str() {
            "Duration::from_secs" => Ok(Value::Time(Duration::from_secs(self.argument()?))),
            "Duration::from_millis" => Ok(Value::Time(Duration::from_millis(self.argument()?))),
            "BitRate::new" => Ok(Value::Number(self.argument()?)),
            "Rate::per_second" => {
                let burst = self.number_between("(", ",")?;
                let per_second = self.number()?;
                self.expect(")")?;
                Ok(Value::Rate { burst, per_second })
            }
            name if is_constant(name) => self.reference(name),
            number => number.replace('_', "").parse().map(Value::Number).map_err(|_| unknown(number)),
        }
    }

    /// Another constant of the module, or its seconds.
    fn reference(&mut self, name: &str) -> Result<Value, String> {
        let value = constant(self.source, name)?;
        if self.tokens.next_if_eq(".").is_none() {
            return Ok(value);
        }
        for token in ["as_secs", "(", ")"] {
            self.expect(token)?;
        }
        match value {
            Value::Time(time) => Ok(Value::Number(time.as_secs())),
            Value::Number(_) | Value::Rate { .. } => Err(unknown("as_secs")),
        }
    }

    fn argument(&mut self) -> Result<u64, String> {
        self.number_between("(", ")")
    }

    fn number_between(&mut self, before: &str, after: &str) -> Result<u64, String> {
        self.expect(before)?;
        let number = self.number()?;
        self.expect(after)?;
        Ok(number)
    }

    fn number(&mut self) -> Result<u64, String> {
        match self.value(&OPERATORS)? {
            Value::Number(number) => Ok(number),
            other => Err(unknown(&format!("{other:?}"))),
        }
    }

    fn expect(&mut self, expected: &str) -> Result<(), String> {
        let token = self.tokens.next().unwrap_or_default();
        if token == expected { Ok(()) } else { Err(unknown(&token)) }
    }
}

fn unknown(form: &str) -> String {
    format!("this test does not know the form `{form}`")
}

/// A value as the table states it: `10 s`, `32 KiB`, `8,192`, `64, then 1 a second`.
fn value_in_words(text: &str) -> Option<Value> {
    let number = |text: &str| text.replace(',', "").parse::<u64>().ok();
    if let Some((burst, rate)) = text.split_once(", then ") {
        let per_second = number(rate.strip_suffix(" a second")?)?;
        return Some(Value::Rate { burst: number(burst)?, per_second });
    }
    let (amount, unit) = text.split_once(' ').unwrap_or((text, ""));
    let amount = number(amount)?;
    match unit {
        "" | "characters" | "bytes" | "minutes" => Some(Value::Number(amount)),
        "KiB" => Some(Value::Number(amount << 10)),
        "MiB" => Some(Value::Number(amount << 20)),
        "Mbps" => Some(Value::Number(amount * 1_000_000)),
        "ms" => Some(Value::Time(Duration::from_millis(amount))),
        "s" => Some(Value::Time(Duration::from_secs(amount))),
        "min" => Some(Value::Time(Duration::from_secs(amount * 60))),
        "days" => Some(Value::Time(Duration::from_secs(amount * 86_400))),
        _ => None,
    }
}

fn is_constant(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

fn is_setting(name: &str) -> bool {
    let names = SETTINGS.lines().filter_map(|line| line.trim_start_matches("# ").split_once('='));
    names.into_iter().any(|(setting, _)| setting == name)
}

/// The source text of a module, or of a file for browsers.
fn source_of(module: &str) -> Option<String> {
    let (folder, path) = match module.split_once("::") {
        Some(("turn_ledger", path)) => ("crates/ledger/src", path),
        Some(("turn_limits", path)) => ("crates/limits/src", path),
        Some(("turn_signaling", path)) => ("crates/signaling/src", path),
        _ => ("src", module),
    };
    let below = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let path = path.replace("::", "/");
    let files = [format!("{path}.rs"), format!("{path}/mod.rs"), path];
    files.iter().find_map(|file| fs::read_to_string(below.join(file)).ok())
}

/// A section of the page, up to the next heading of its level.
fn section(name: &str) -> &'static str {
    let sections = PAGE.split("\n## ");
    let found = sections.filter_map(|section| section.strip_prefix(name)).find(|text| text.starts_with('\n'));
    found.unwrap_or_else(|| panic!("docs/ARCHITECTURE.md has no section {name}"))
}

/// The first two cells of each row of the tables in a text.
fn rows(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().filter(|line| line.starts_with('|'));
    let cells = lines.filter_map(|line| line.trim_matches('|').split_once('|'));
    let rows = cells.map(|(first, rest)| (first.trim(), rest.split('|').next().unwrap_or(rest).trim()));
    rows.filter(|(first, _)| !first.starts_with("---"))
}

fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

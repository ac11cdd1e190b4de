//! What an operator has ordered, and what the ledger lacks, in the words of the log, the hints and the command line.

use crate::amounts::Shown;
use turn_ledger::{ByteCount, LackCause, Snapshot};

/// The operator's overrides; `None` without one.
pub fn overrides(snapshot: &Snapshot) -> Option<String> {
    in_words(snapshot.figures.limit, snapshot.configured_limit, snapshot.frozen)
}

fn in_words(limit: ByteCount, configured: ByteCount, frozen: bool) -> Option<String> {
    let frozen = frozen.then(|| "nothing is minted".to_owned());
    let limited = (limit != configured).then(|| {
        let [limit, configured] = [limit, configured].map(Shown::as_gb);
        format!("a limit of {limit} GB instead of {configured}")
    });
    let all: Vec<String> = limited.into_iter().chain(frozen).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// That the ledger lacks credentials, until when, and what to do, with the code of the hint; `None` if it lacks none. `in_database`: whether
/// replicas share the ledger.
pub fn lacks(snapshot: &Snapshot, in_database: bool) -> Option<(&'static str, String)> {
    if !snapshot.lacks_grants() {
        return None;
    }
    let until = snapshot.lacks_until;
    if snapshot.lack_cause == LackCause::New {
        return Some((
            "LEDGER_NEW",
            format!(
                "the ledger is new, but before it began Cloudflare counted bytes under its TURN keys: credentials that it does not know may relay, and the bound is unreliable until {until}, when the longest of them has ended. If the ledger was lost, keep the volume of STATE_DIR. Wait, or replace the TURN key to end them now."
            ),
        ));
    }
    let (code, cause) = if in_database {
        ("LEDGER_LOST_WRITES", "the database has lost writes or was restored from a copy")
    } else {
        ("LEDGER_RESTORED", "it was restored from a copy")
    };
    Some((
        code,
        format!(
            "the ledger lacks credentials, because {cause}, because a page has one that it does not know, or because a tail became longer after they had left the table: the bound is unreliable until {until}, when the longest of them has ended. Wait, or replace the TURN key or secret to end them now."
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_overrides_and_not_configured_values() {
        let [five, ten] = [5, 10].map(|gb| ByteCount::new(gb * 1_000_000_000));
        assert_eq!(in_words(ten, ten, false), None);
        assert_eq!(in_words(five, ten, false).as_deref(), Some("a limit of 5 GB instead of 10"));
        assert_eq!(in_words(ten, ten, true).as_deref(), Some("nothing is minted"));
        assert_eq!(
            in_words(five, ten, true).as_deref(),
            Some("a limit of 5 GB instead of 10; nothing is minted")
        );
    }
}

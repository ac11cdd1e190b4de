//! The operator's overrides, in the words of the log and the command line.

use turn_ledger::{ByteCount, Snapshot};

/// The operator's overrides; `None` without one.
pub fn overrides(snapshot: &Snapshot) -> Option<String> {
    in_words(snapshot.figures.limit, snapshot.configured_limit, snapshot.frozen)
}

fn in_words(limit: ByteCount, configured: ByteCount, frozen: bool) -> Option<String> {
    let frozen = frozen.then(|| "nothing is minted".to_owned());
    let limited = (limit != configured).then(|| {
        let [limit, configured] = [limit, configured].map(ByteCount::as_gb);
        format!("a limit of {limit} GB instead of {configured}")
    });
    let all: Vec<String> = limited.into_iter().chain(frozen).collect();
    (!all.is_empty()).then(|| all.join("; "))
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

//! The live grants by the first minute in which they may have ended. Tests: below.
//! A grant can be here more than once, and after it has ended: who takes it looks at its row.

use std::collections::BTreeMap;

use crate::token::GrantId;
use crate::units::slot::Minute;

/// See the module's description. Lists, because they take the least memory.
#[derive(Debug, Default)]
pub(super) struct Due(BTreeMap<Minute, Vec<GrantId>>);

impl Due {
    pub(super) fn insert(&mut self, minute: Minute, id: GrantId) {
        self.0.entry(minute).or_default().push(id);
    }

    /// Takes a grant back that was added lately, so it is near the end of its list.
    pub(super) fn remove(&mut self, minute: Minute, id: GrantId) {
        if let Some(ids) = self.0.get_mut(&minute)
            && let Some(place) = ids.iter().rposition(|of| *of == id)
        {
            ids.swap_remove(place);
        }
    }

    /// Takes one that is due in this minute or before.
    pub(super) fn take(&mut self, minute: Minute) -> Option<GrantId> {
        loop {
            let mut first = self.0.first_entry().filter(|first| *first.key() <= minute)?;
            if let Some(id) = first.get_mut().pop() {
                return Some(id);
            }
            first.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_taken_once_for_each_time_that_it_was_added() {
        let (minute, id) = (Minute::new, |id| GrantId::new([id; 16]));
        let mut due = Due::default();
        for (at, of) in [(3, 1), (2, 2), (3, 3), (3, 1), (5, 4)] {
            due.insert(minute(at), id(of));
        }
        due.remove(minute(3), id(3));
        due.remove(minute(4), id(1));
        let mut taken: Vec<_> = std::iter::from_fn(|| due.take(minute(4))).collect();
        taken.sort_unstable();
        assert_eq!(taken, [id(1), id(1), id(2)]);
        assert_eq!((due.take(minute(5)), due.take(minute(5))), (Some(id(4)), None));
        assert!(due.0.is_empty());
    }
}

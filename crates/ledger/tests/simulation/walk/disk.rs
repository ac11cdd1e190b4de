//! A disk as it should be: it keeps what it is given, whole and for ever, and gives it back. What is still under way when the process
//! dies is lost.

use std::collections::BTreeMap;

use turn_ledger::changes::{BooksChanges, Recovered};

/// Where the books of a walk are stored.
pub(crate) trait Disk {
    /// Stores changes, all or none.
    fn write(&mut self, changes: BooksChanges);
    /// Everything that is stored.
    fn read(&self) -> Recovered;
}

/// A disk in memory.
pub(crate) struct MemoryDisk {
    content: Recovered,
}

impl MemoryDisk {
    /// An empty ledger.
    pub(crate) fn new() -> Self {
        Self { content: Recovered { key: Some([0; 64]), ..Recovered::default() } }
    }
}

impl Disk for MemoryDisk {
    fn write(&mut self, changes: BooksChanges) {
        let content = &mut self.content;
        for lane in changes.lanes {
            let stored = content.lanes.entry(lane.source).or_default();
            for (minute, change) in lane.marks {
                let mark = stored.marks.entry(minute).or_default();
                mark.live += change.live;
                mark.unreported += change.unreported;
            }
            stored.flows.extend(lane.flows);
            stored.previous = lane.previous.or(stored.previous);
            stored.reading = lane.reading.or(stored.reading);
        }
        let mut connections: BTreeMap<_, _> =
            content.connections.drain(..).map(|stored| (stored.name(), stored)).collect();
        replace(&mut connections, changes.table.connections);
        content.connections = connections.into_values().collect();
        let mut grants: BTreeMap<_, _> = content.grants.drain(..).collect();
        replace(&mut grants, changes.table.grants);
        content.grants = grants.into_iter().collect();
        let mut renewals: BTreeMap<_, _> = content.renewals.drain(..).collect();
        replace(&mut renewals, changes.renewals);
        content.renewals = renewals.into_iter().collect();
        let mut issued: BTreeMap<_, _> = content.issued.drain(..).collect();
        replace(&mut issued, changes.issued);
        content.issued = issued.into_iter().collect();
        content.coturn = changes.coturn.unwrap_or(std::mem::take(&mut content.coturn));
        content.alerts = changes.alerts.unwrap_or(std::mem::take(&mut content.alerts));
        content.overrides = changes.overrides.unwrap_or(content.overrides);
        content.counts = Some(changes.counts);
        content.now = changes.now.or(content.now);
    }

    fn read(&self) -> Recovered {
        self.content.clone()
    }
}

fn replace<K: Ord, V>(rows: &mut BTreeMap<K, V>, changes: Vec<(K, Option<V>)>) {
    for (key, row) in changes {
        match row {
            Some(row) => drop(rows.insert(key, row)),
            None => drop(rows.remove(&key)),
        }
    }
}

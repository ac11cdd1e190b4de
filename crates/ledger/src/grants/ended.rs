//! Grants that have ended. They are kept until the period ends, for their bytes only. Their number is bounded; the grant that
//! ended first is dropped first.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::{HashMap, VecDeque};

use super::GrantRow;
use crate::token::GrantId;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct EndedGrants {
    rows: HashMap<GrantId, GrantRow>,
    /// In the order in which they have ended.
    order: VecDeque<GrantId>,
}

impl EndedGrants {
    pub(super) fn get(&self, id: GrantId) -> Option<&GrantRow> {
        self.rows.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: GrantId) -> Option<&mut GrantRow> {
        self.rows.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&GrantId, &GrantRow)> {
        self.rows.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn push(&mut self, id: GrantId, row: GrantRow) {
        if self.rows.insert(id, row).is_none() {
            self.order.push_back(id);
        }
    }

    /// The grant that ended first, if there are more than `most`.
    pub(super) fn beyond(&self, most: usize) -> Option<GrantId> {
        self.order.front().copied().filter(|_| self.rows.len() > most)
    }

    /// Removes the grant that ended first.
    pub(super) fn pop(&mut self) -> Option<GrantRow> {
        let id = self.order.pop_front()?;
        self.rows.remove(&id)
    }

    /// Removes all of them.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = GrantId> {
        self.order.clear();
        std::mem::take(&mut self.rows).into_keys()
    }

    /// The grants as stored. They are put in the order of their ends.
    pub(super) fn restore(rows: HashMap<GrantId, GrantRow>) -> Self {
        let mut order: Vec<_> = rows.iter().map(|(id, row)| (row.ends_in(), *id)).collect();
        order.sort_unstable();
        Self { rows, order: order.into_iter().map(|(_, id)| id).collect() }
    }
}

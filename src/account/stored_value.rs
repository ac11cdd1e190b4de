//! A value beside the books that is stored as a whole after each change.

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct StoredValue<T> {
    value: T,
    has_changed: bool,
}

impl<T: Clone + PartialEq> StoredValue<T> {
    /// The value as it is stored.
    pub(super) fn new(value: T) -> Self {
        Self { value, has_changed: false }
    }

    pub(super) fn get(&self) -> &T {
        &self.value
    }

    /// Changes the value. It is stored again only if the change made a difference.
    pub(super) fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let before = self.value.clone();
        let result = change(&mut self.value);
        self.has_changed |= self.value != before;
        result
    }

    /// The value, if it has changed since the last call.
    pub(super) fn take_change(&mut self) -> Option<T> {
        std::mem::take(&mut self.has_changed).then(|| self.value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_taken_once_after_a_change_and_never_without_one() {
        let mut stored = StoredValue::new(1);
        stored.change(|value| *value = 1);
        assert_eq!(stored.take_change(), None);
        assert_eq!(stored.change(|value| std::mem::replace(value, 2)), 1);
        stored.change(|_| ());
        assert_eq!((stored.take_change(), stored.take_change()), (Some(2), None));
    }
}

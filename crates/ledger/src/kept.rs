//! A small value that is stored whole, and only when it has changed.

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Kept<T> {
    value: T,
    is_unstored: bool,
}

impl<T: Clone> Kept<T> {
    /// As it was stored.
    pub(crate) fn restore(value: T) -> Self {
        Self { value, is_unstored: false }
    }

    pub(crate) fn get(&self) -> &T {
        &self.value
    }

    /// For a value that is large and changes with every look: it counts as changed.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.is_unstored = true;
        &mut self.value
    }

    /// The value, if it has changed since the last call.
    pub(crate) fn take_unstored(&mut self) -> Option<T> {
        std::mem::take(&mut self.is_unstored).then(|| self.value.clone())
    }
}

impl<T: Clone + PartialEq> Kept<T> {
    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let before = self.value.clone();
        let result = change(&mut self.value);
        self.is_unstored |= self.value != before;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_is_told_and_only_once() {
        let mut kept = Kept::restore(1);
        kept.change(|value| *value = 1);
        assert_eq!(kept.take_unstored(), None);
        kept.change(|value| *value = 2);
        kept.change(|value| *value += 0);
        assert_eq!((kept.take_unstored(), kept.take_unstored()), (Some(2), None));
    }
}

//! Who has filled a queue.

use crate::prelude::*;

/// The sender of most of a queue, and the sum of its weights. `parts`: the sender and the weight of each part of the queue. A weight is the
/// bytes of the part and what storing it takes.
pub fn largest_sender<'q>(parts: impl Iterator<Item = (&'q Holder, usize)>) -> Option<(&'q Holder, usize)> {
    let mut sums = HashMap::<_, usize>::new();
    for (sender, weight) in parts {
        *sums.entry(sender).or_default() += weight;
    }
    sums.into_iter().max_by_key(|(_, weight)| *weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::client_of;

    #[test]
    fn the_parts_of_a_sender_add_up() {
        let senders = [1, 2].map(|n| Holder::from(client_of(n)));
        let parts =
            [(0, 3), (1, 4), (0, 2)].map(|(sender, weight): (usize, usize)| (&senders[sender], weight));
        assert_eq!(largest_sender(parts.into_iter()), Some((&senders[0], 5)));
        assert_eq!(largest_sender(parts[..0].iter().copied()), None);
    }
}

//! The tables by client address and by user. IPv4, IPv6 and the IPv6 /48s have tables of their own, so none of them takes rows
//! from another.

use std::time::Duration;

use turn_budget::{GROUP_FACTOR, USERS_FACTOR};

use crate::bucket::{Bucket, Rate, Spent};
use crate::holder::Holder;
use crate::prefix::Prefix;
use crate::table::{Row, Table, Visit};

/// A row for each client address, and one for each IPv6 /48.
#[derive(Clone, Debug)]
pub struct PerAddress<T> {
    ipv4: Table<Prefix, T>,
    ipv6: Table<Prefix, T>,
    groups: Table<Prefix, T>,
}

impl<T: Row> PerAddress<T> {
    /// An empty table. IPv4, IPv6 and the /48s each have half of `rows_max` rows.
    pub fn new(rows_max: usize) -> Self {
        let table = || Table::new(rows_max.div_ceil(2));
        Self { ipv4: table(), ipv6: table(), groups: table() }
    }

    /// Calls `call` for the row of a client, and then for that of the /48 around it, unless the first call fails. So a client whose own
    /// allowance is used up takes nothing from its neighbours. Returns what the call for the client returns, or the error of either call.
    pub fn try_each<R, E>(
        &mut self,
        client: impl Into<Prefix>,
        now: Duration,
        mut call: impl FnMut(Visit<'_, T>) -> Result<R, E>,
    ) -> Result<R, E> {
        let client = client.into();
        let clients = if client.is_ipv4() { &mut self.ipv4 } else { &mut self.ipv6 };
        let of_client = call(clients.visit(client, 1, now))?;
        if let Some(group) = client.group() {
            call(self.groups.visit(group, GROUP_FACTOR, now))?;
        }
        Ok(of_client)
    }

    /// Removes idle rows.
    pub fn sweep(&mut self, now: Duration) {
        for table in [&mut self.ipv4, &mut self.ipv6, &mut self.groups] {
            table.sweep(now);
        }
    }

    /// How many clients have a row of their own, and the most: of IPv4 or of IPv6, whichever has more.
    pub fn rows(&self) -> (usize, usize) {
        (self.ipv4.len().max(self.ipv6.len()), self.ipv4.rows_max)
    }

    /// Whether no client has a row of its own.
    pub fn is_empty(&self) -> bool {
        self.rows().0 == 0
    }
}

/// A row for each user. The key is a hash, so it has a fixed size. A server key that names users
/// has at most as many rows as are free. When no row is free, further users share a few.
#[derive(Clone, Debug)]
pub struct PerUser<T>(Table<(u64, u64), T>);

impl<T: Row> PerUser<T> {
    /// An empty table of at most `rows_max` rows.
    pub fn new(rows_max: usize) -> Self {
        Self(Table::new(rows_max))
    }

    /// The row of a user: its own, or one that it shares with others. `by`: the number of the server key that names
    /// the user, from 1; 0 for a user who has signed in. The same name of another key is another user.
    pub fn visit(&mut self, by: u64, user: &str, now: Duration) -> Visit<'_, T> {
        let hash = self.0.hash(user);
        self.0.visit((by, hash), 1, now)
    }

    /// Removes idle rows.
    pub fn sweep(&mut self, now: Duration) {
        self.0.sweep(now);
    }
}

/// A bucket of one rate for each share of a [`Holder`].
#[derive(Clone, Debug)]
pub struct PerHolder {
    rate: Rate,
    clients: PerAddress<Bucket>,
    clients_of_users: PerAddress<Bucket>,
    users: PerUser<Bucket>,
}

impl PerHolder {
    /// `rows_max`: how many clients can have a row of their own, half of them for each address family. There are as many
    /// rows for users, and as many for the clients of users.
    pub fn new(rate: Rate, rows_max: usize) -> Self {
        Self {
            rate,
            clients: PerAddress::new(rows_max),
            clients_of_users: PerAddress::new(rows_max),
            users: PerUser::new(rows_max),
        }
    }

    /// Takes `count` units from the bucket of each share, the holder's own first, until one has too few. So a holder whose own bucket
    /// is empty takes nothing from its neighbours. On an error, what was taken from earlier buckets stays taken.
    pub fn take(&mut self, holder: impl Into<Holder>, count: u32, now: Duration) -> Result<(), Spent> {
        let (holder, rate) = (holder.into(), self.rate);
        let take = |row: &mut Bucket, factor| row.take_several(count, rate.times(factor), now);
        let Some(user) = holder.user() else {
            return self.clients.try_each(holder.client(), now, |visit| take(visit.row, visit.factor));
        };
        take(self.users.visit(0, user.as_str(), now).row, 1)?;
        self.clients_of_users.try_each(holder.client(), now, |visit| {
            take(visit.row, visit.factor.saturating_mul(USERS_FACTOR))
        })
    }

    /// Removes rows whose bucket is full.
    pub fn sweep(&mut self, now: Duration) {
        self.clients.sweep(now);
        self.clients_of_users.sweep(now);
        self.users.sweep(now);
    }

    /// Whether no client has a row of its own.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.clients_of_users.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_budget::{ClientKey, User};

    const RATE: Rate = Rate { burst: 20, each: Duration::from_secs(3) };
    const NOW: Duration = Duration::from_secs(1_000);

    fn per_holder() -> PerHolder {
        PerHolder::new(RATE, 1_000)
    }

    fn take(table: &mut PerHolder, client: &str, now: Duration) -> Result<(), Spent> {
        table.take(ClientKey::of(client.parse().unwrap()), 1, now)
    }

    #[test]
    fn each_client_has_a_bucket() {
        let mut table = per_holder();
        for _ in 0..20 {
            assert_eq!(take(&mut table, "203.0.113.1", NOW), Ok(()));
        }
        let later = NOW + Duration::from_secs(1);
        let spent = Spent { next: Duration::from_secs(2), full: Duration::from_secs(59) };
        assert_eq!(take(&mut table, "203.0.113.1", later), Err(spent));
        assert_eq!(take(&mut table, "203.0.113.2", later), Ok(()), "another client");
        assert_eq!(take(&mut table, "203.0.113.1", later + spent.next), Ok(()));
    }

    #[test]
    fn a_48_has_four_times_as_much_and_loses_nothing_to_a_client_that_is_over_its_own_rate() {
        let mut table = per_holder();
        for _ in 0..200 {
            let _ = take(&mut table, "2001:db8:1:1::1", NOW);
        }
        for n in 0..60 {
            assert_eq!(take(&mut table, &format!("2001:db8:1:{:x}::1", 16 + n), NOW), Ok(()));
        }
        assert!(take(&mut table, "2001:db8:1:ff::1", NOW).is_err());
        assert_eq!(take(&mut table, "2001:db8:2:1::1", NOW), Ok(()));
    }

    #[test]
    fn a_full_bucket_is_forgotten() {
        let mut table = per_holder();
        let _ = take(&mut table, "203.0.113.1", NOW);
        table.sweep(NOW + Duration::from_secs(2));
        assert!(!table.is_empty());
        table.sweep(NOW + Duration::from_secs(3));
        assert!(table.is_empty());
    }

    #[test]
    fn a_user_has_one_bucket_on_all_addresses_and_the_users_of_one_address_share_ten_times_as_much() {
        let mut table = per_holder();
        let at = |last: u8| ClientKey::V4([192, 0, 2, last].into());
        let mut take =
            |last, name: &str, count| table.take(Holder::new(at(last), User::new(name)), count, NOW).is_ok();
        assert!(take(1, "ann", 12) && take(2, "ann", 8) && !take(3, "ann", 1));
        assert!((0..9).all(|n| take(1, &n.to_string(), 20)), "with ann's 12 the address has taken 192");
        assert!(take(1, "bob", 8) && !take(1, "eve", 1) && take(2, "eve", 19));
        assert!(take(1, "", 20), "without a user, the address has a bucket of its own");
    }

    #[test]
    fn a_user_keeps_its_row_and_a_full_table_lets_others_share_some() {
        let mut table = PerUser::<Bucket>::new(2);
        assert!(
            table.visit(0, "ann", NOW).row.take(RATE, NOW) && table.visit(0, "bob", NOW).row.take(RATE, NOW)
        );
        assert!((0..10_000).all(|n| table.visit(0, &format!("user-{n}"), NOW).is_shared));
        assert!(!table.visit(0, "ann", NOW).is_shared);
        // The buckets of ann and bob are full.
        assert!(!table.visit(0, "eve", NOW + Duration::from_secs(3)).is_shared);
    }

    #[test]
    fn who_names_very_many_users_leaves_rows_for_those_of_others() {
        let mut table = PerUser::<Bucket>::new(100);
        for n in 0..10_000 {
            assert!(table.visit(1, &format!("user-{n}"), NOW).row.take(RATE, NOW) || n >= 50);
        }
        assert!(!table.visit(1, "user-49", NOW).is_shared && table.visit(1, "user-50", NOW).is_shared);
        assert!((0..25).all(|n| {
            let visit = table.visit(2, &format!("user-{n}"), NOW);
            !visit.is_shared && visit.row.take(RATE, NOW)
        }));
    }
}

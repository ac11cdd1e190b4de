//! Sessions of programs that know coturn's secret and ask nobody for credentials. They are no part of the world: nothing is promised for
//! them, so they add to what is used and committed what the listings show, and change nothing else.

use super::prelude::*;

use super::coturn::STEP_BYTES;

/// coturn numbers the sessions of its second relay thread from here.
const FIRST: u64 = 2_000_000_000_000_000;

/// A session of another program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Foreign {
    relay: usize,
    number: u64,
    user: u64,
    /// How often coturn has shown more bytes.
    steps: u64,
}

impl Foreign {
    fn user(&self) -> User {
        User::new(&format!("talk-{}", self.user)).unwrap_or_else(|| unreachable!("it is a name"))
    }

    /// The name in its credential.
    fn name(&self) -> String {
        format!("1:{}", self.user().as_str())
    }

    fn grant(&self) -> GrantId {
        GrantId::of_foreign(&self.name())
    }
}

impl<D: Disk> Broker<D> {
    /// A user of another program has a session at the present coturn, which relays so much more.
    pub(super) fn relay_foreign(&mut self, user: u64, steps: u64) {
        let relay = self.at;
        let known = self.foreign.iter_mut().find(|of| of.relay == relay && of.user == user);
        if let Some(session) = known {
            session.steps += steps;
        } else {
            self.foreign_begun += 1;
            self.foreign.push(Foreign { relay, number: self.foreign_begun, user, steps });
        }
    }

    /// Those of a coturn end.
    pub(super) fn end_foreign(&mut self, relay: usize) {
        self.foreign.retain(|of| of.relay != relay);
    }

    /// What a coturn lists of them.
    pub(super) fn listed_foreign(&mut self, relay: usize) -> Vec<Session> {
        let listed = self.foreign.iter().filter(|of| of.relay == relay);
        self.signs.saw_foreign |= listed.clone().next().is_some();
        let session = |of: &Foreign| {
            let (user, grant) = (of.name(), of.grant());
            Session {
                id: SessionId::new(FIRST + of.number).expect("sessions are numbered from 1"),
                grant,
                user,
                expires_at: Some(Timestamp::from_millis(1_000)),
                age: None,
                packets: of.steps * (HIDDEN_PACKETS_MAX + 1),
                traffic: Traffic::new(0, of.steps * STEP_BYTES),
                reach: Reach::Bound,
            }
        };
        listed.map(session).collect()
    }

    /// They must end exactly if the budget is spent, the credential is revoked, or the user is blocked or has used what each user may.
    pub(super) fn cut_foreign(&mut self, relay: usize, dead: &[SessionId], cli: Cli) {
        let is_spent = self.books.budget().ends_calls(IceSource::Coturn);
        let is_dead = |of: &Foreign| dead.iter().any(|id| id.get() == FIRST + of.number);
        for of in self.foreign.clone().into_iter().filter(|of| of.relay == relay) {
            let user = of.user();
            let share = self.books.limit_share(&Limited::User(user.clone()));
            let is_over = share.is_some_and(|share| share.usage.is_spent());
            // By the operator, or because it has passed the limit of a credential.
            let is_revoked = self.books.grants().is_revoked(of.grant());
            let must_end = is_spent || is_over || is_revoked || self.is_blocked(&user);
            // A full table has no row of it, and so nobody whose limit it could be.
            let is_known = self.settings.rows_max > 12 && self.settings.users_max > 12;
            self.expect(!is_known || is_dead(&of) == must_end, || {
                format!("{of:?} must end: {must_end}, and is ended: {}; {share:?}", is_dead(&of))
            });
        }
        if cli != Cli::CutsNothing {
            self.foreign.retain(|of| of.relay != relay || !is_dead(of));
        }
    }
}

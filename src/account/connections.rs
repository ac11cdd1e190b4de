//! The account's interface for reports: connections are opened, report and are closed, with their metrics and the log line of each end.

use std::sync::Arc;

use super::{Account, RenewalRight};
use turn_ledger::{
    Books, Caller, ClientKey, Closed, Grant, GrantId, GrantRow, Label, Limited, OpenError, Opened, Outcome,
    Refusal, Report, ReportError, Spender, SpenderKey,
};

impl Account {
    /// Opens a connection. If the connection is already open, this counts as a report. `client`: where the request comes from.
    /// `relayed`: whether the client says that the connection goes through a relay. `by_reporter`: who spends, if the caller is an app
    /// server. If the user in it is blocked, no new connection is opened; an open one goes on.
    pub fn open(
        &self,
        caller: Caller<'_>,
        client: Option<ClientKey>,
        id: &str,
        relayed: Option<bool>,
        by_reporter: Spender,
    ) -> Result<Opened, OpenError> {
        let opened = self.change(|books| {
            let user = by_reporter.user.clone().map(SpenderKey::User);
            if user.is_some_and(|user| books.is_blocked(&user)) && !books.connections().has(caller, id) {
                return Err(OpenError::UserBlocked);
            }
            note_client(books, caller, client);
            let opened = books.open(caller, id, relayed);
            // An open connection keeps the spender for whom it was opened.
            if opened.as_ref().is_ok_and(|opened| opened.value == Opened::New) {
                books.report_spender(caller, id, by_reporter);
            }
            opened
        });
        let opened = opened.inspect_err(|why| {
            let full_table = match why {
                OpenError::TooManyOnGrant => "grant",
                OpenError::TooManyOnClient => "address",
                OpenError::TableFull => "table",
                OpenError::GrantExpired
                | OpenError::GrantRenewed
                | OpenError::GrantRevoked
                | OpenError::KeyLimitReached
                | OpenError::UserBlocked => return,
            };
            self.metrics.connections_refused.count([full_table]);
        });
        let opened = self.counted(opened?);
        if opened == Opened::New {
            self.metrics.connections_opened.inc();
        }
        Ok(opened)
    }

    /// The live grant whose credential has this user name, if this server key has minted it. In user names that the broker makes itself,
    /// the part after the last colon is the grant's id.
    pub fn minted_by(&self, server: &Label, username: &str) -> Option<GrantId> {
        self.read(|books| {
            let id_in_name = || username.rsplit_once(':')?.1.parse().ok();
            let id = books.grants().with_username(username).or_else(id_in_name)?;
            if Caller::Server(server).acts_for(id, books.grants().minted_by(id)) { Some(id) } else { None }
        })
    }

    /// Applies a connection's report. `client`: where the request comes from.
    pub fn heartbeat(
        &self,
        caller: Caller<'_>,
        client: Option<ClientKey>,
        id: &str,
        report: Report,
    ) -> Result<(), ReportError> {
        let taken = self.change(|books| {
            note_client(books, caller, client);
            books.heartbeat(caller, id, report)
        });
        taken.map(|outcome| self.counted(outcome))
    }

    /// Whether the relay of this grant ends its calls now: the limit is reached, or that of the relay.
    pub fn ends_calls_of(&self, grant: &Grant) -> bool {
        self.read(|books| {
            let owner = books.grants().get(grant.id).map(GrantRow::owner);
            let budget = books.budget();
            budget.ends_calls(grant.source) || owner.is_some_and(|owner| budget.ends_calls_of(owner))
        })
    }

    /// The refusal for a server key that has reached its limit. Counts the refusal in the metrics.
    pub fn refusal_of_key(&self, server: &Label) -> Refusal {
        self.metrics.key_refusals.inc();
        self.change(|books| {
            let limited = books.limit_share(&Limited::Server(server.clone())).map(|share| share.usage);
            let figures = books.budget().figures();
            Refusal { figures, awaits_reading: false, client_frees_at: None, limited }
        })
    }

    /// The result of a report. Counts it if it was clamped.
    fn counted<T>(&self, outcome: Outcome<T>) -> T {
        if outcome.clamped {
            self.metrics.claims_clamped.inc();
        }
        outcome.value
    }

    /// Applies a connection's last report and closes it. Closing one that is not open is no error.
    pub fn close(&self, caller: Caller<'_>, id: &str, last: Report) -> Result<(), ReportError> {
        let outcome = self.change(|books| books.close(caller, id, last))?;
        self.report_ends(self.counted(outcome));
        Ok(())
    }

    /// Logs the connections that were closed because they stopped reporting. The figures already include them.
    pub fn report_given_up(&self) {
        self.report_ends(self.change(Books::take_given_up));
    }

    /// Counts and logs connections that have ended.
    pub(super) fn report_ends(&self, ended: impl IntoIterator<Item = Closed>) {
        let used = self.read(|books| books.budget().figures().used);
        for closed in ended {
            self.metrics.connections_ended.count([if closed.given_up { "given_up" } else { "closed" }]);
            tracing::info!(
                connection.id = %closed.id,
                bytes = closed.charged.get(),
                given_up = closed.given_up,
                "[Bandwidth] Connection {} closed. Estimated usage: {} GB. Total this month: {} GB",
                closed.id,
                closed.charged.gb_four_decimals(),
                used.gb_nearest(),
            );
        }
    }

    // The account's interface for signaling: the connections of a call's members, and the revocation of their grants. Only
    // [`Account::recorded`] waits for the disk, so a ledger that cannot be written does not hold up a call.

    /// Reports that the connection of a member goes on, and opens it if it is not open. If the promise for the grant and its renewals ends
    /// before the next report, closes the connection, even if the call goes on: after the promise the grants can relay nothing.
    pub fn keep_member(&self, grant: GrantId, id: &str) {
        let member =
            self.change(|books| books.member_with(grant).map(|member| (member, is_promised(books, grant))));
        let Some((member, is_promised)) = member else { return };
        if !is_promised {
            return self.close_member(grant, id);
        }
        if matches!(self.heartbeat(member, None, id, Report::default()), Err(ReportError::Unknown)) {
            // If a table is full, the metrics count that.
            let _ = self.open(member, None, id, None, Spender::default());
        }
    }

    /// Takes the right to renew for a member whose client cannot take another credential. `None` if no renewal is due, or if the last grant
    /// of the chain that begins with `grant` is not live. The right and the row are of this last grant.
    pub fn take_member_renewal(self: &Arc<Self>, grant: GrantId) -> Option<(RenewalRight, GrantRow)> {
        let (last, row) = self.change(|books| {
            let last = books.grants().with_renewals(grant).last()?;
            Some((last, books.grants().get(last)?.clone()))
        })?;
        let GrantRow { source, issued_at, expires_at, .. } = row;
        let right = self.take_renewal(&Grant { id: last, source, issued_at, expires_at }, |_| true)?;
        Some((right, row))
    }

    /// Closes the connection of a member.
    pub fn close_member(&self, grant: GrantId, id: &str) {
        if let Some(member) = self.change(|books| books.member_with(grant)) {
            // A revoked grant has no connection left to close.
            let _ = self.close(member, id, Report::default());
        }
    }

    /// Revokes a credential with its renewals, and closes their connections. Takes effect at once; [`Self::recorded`] waits until it is on
    /// disk. Later `src/mint/ending.rs` asks the source to end the credentials. Returns how many credentials this has revoked: those that
    /// were metered, in use, and not revoked before.
    pub fn cut(&self, id: GrantId) -> usize {
        let not_revoked = |books: &Books| {
            let grants = books.grants();
            grants.with_renewals(id).filter(|id| !grants.is_revoked(*id)).collect()
        };
        self.revoke_found(not_revoked, Books::revoke_and_ask).len()
    }
}

fn note_client(books: &mut Books, caller: Caller<'_>, client: Option<ClientKey>) {
    if let Some(client) = client {
        books.note_client(caller, client);
    }
}

/// Whether the whole interval until the next report is promised for the grant or a renewal of it.
fn is_promised(books: &Books, grant: GrantId) -> bool {
    let chain = books.grants().with_renewals(grant);
    let until = chain.filter_map(|grant| books.grants().get(grant)?.alive_until()).max();
    until.is_some_and(|until| until.start() >= books.now().plus(books.connections().rules.heartbeat))
}

//! What each operation does to a simulated broker and to the world.

use super::prelude::*;

/// A client waits no longer for its renewal, in milliseconds.
const LONGEST_WAIT: u64 = 3_600_000;

/// The name of one of the two connections of a client.
fn connection(nth: u64) -> &'static str {
    if nth >> 32 & 1 == 0 { "c" } else { "d" }
}

impl<D: Disk> Broker<D> {
    #[expect(clippy::too_many_lines, reason = "one arm for each operation")]
    pub(crate) fn apply(&mut self, op: Op, world: &mut World) {
        let now = self.advance(world);
        match op {
            Op::Wait { millis, share } => {
                self.pass_watching(millis, share, world);
                self.advance(world);
                // The flush of every second.
                self.tidy();
            }
            // A second fault of a clock in doubt loses what the first one promised, so a scenario has none.
            Op::ClockBack { .. } if self.step > 0 => self.set_ahead(0, world),
            Op::ClockBack { .. } | Op::ClockGlitch { .. } | Op::ClockStep { .. } if self.is_in_doubt() => {}
            Op::ClockStep { millis } => {
                if self.offset == 0 {
                    self.set_ahead(millis, world);
                }
            }
            Op::Pause { millis, share } => {
                self.offset = 0;
                self.set_ahead(0, world);
                self.paused += millis;
                // The relay of this process was read a second before, and stands still with its machine.
                self.read_relay(world);
                let share = if self.settings.sources.contains(&IceSource::Relay) { 0 } else { share };
                self.excuse_unwatched(world);
                world.pass_without_broker(millis, share);
            }
            Op::ClockBack { millis } => {
                // The flush of every second: an accepted jump is stored.
                self.flush();
                self.offset += millis;
            }
            Op::ClockRight => self.offset = 0,
            Op::ClockGlitch { millis } => {
                self.offset -= millis;
                self.advance(world);
                self.offset += millis;
            }
            Op::Mint { life, delay } => self.mint_for_client(life, delay, world),
            Op::MintFromPool { life, age } => self.mint_from_pool(life, age, world),
            Op::Renew { nth, life, delay } => self.renew(nth, life, delay, world),
            Op::RenewWhenDue { nth, life, delay } => {
                let wait = self.held(nth).map_or(0, |held| held.grant.refresh_after().millis_since(now));
                if wait <= LONGEST_WAIT {
                    self.pass_watching(wait, 256, world);
                    self.advance(world);
                    // The flush of every second.
                    self.tidy();
                    self.renew(nth, life, delay, world);
                }
            }
            Op::Reserve { life, is_renewal } => self.begin_mint(life, is_renewal, world),
            Op::Commit => self.commit_oldest(),
            Op::Settle { written } => self.settle_oldest(written, world),
            Op::HangUp { nth, after } => {
                if let Some(held) = self.held(nth) {
                    world.leave(held.grant.source, held.number, world.now + after);
                }
            }
            Op::ComeBack { nth } => self.come_back(nth, world),
            Op::Block { user, is_blocked, revokes } => {
                let user = user_named(user);
                let spender = SpenderKey::User(user.clone());
                if is_blocked {
                    let _ = self.books.block(&spender, None);
                    if revokes {
                        self.revoke_user(&user);
                    }
                } else {
                    self.books.allow(&spender);
                    self.flush();
                }
            }
            Op::Freeze(is_frozen) => {
                self.books.override_freeze(is_frozen);
                self.flush();
            }
            Op::Copy => {
                self.flush();
                self.copy = self.disk.copy();
            }
            Op::Restore => self.restore_copy(world),
            Op::LoseLedger => self.lose_ledger(world),
            Op::MintFails { life } => self.fail_to_mint(life),
            Op::MintUnwritten { life, written } => {
                let handed_out = self.mint(life, written, None);
                debug_assert!(handed_out.is_none(), "a grant that was not recorded was handed out");
            }
            Op::CrashAfterCommit { life } => {
                if let Some(grant) = self.mint(life, Written::Yes, None) {
                    let held = self.hand_out(world, millis(MINT_SLACK), &grant);
                    self.grants.push(held);
                }
                self.restart(world);
            }
            Op::Open { nth, relayed } => {
                // Some are members of a call, which the broker's own signaling reports before they do.
                let is_member = self.settings.has_addresses && nth >> 33 & 1 == 1;
                match self.caller(nth) {
                    Some(Caller::Grant(grant)) if is_member => {
                        self.open(Caller::Member(grant), connection(nth), None);
                    }
                    Some(caller) => self.open(caller, connection(nth), relayed),
                    None => {}
                }
            }
            Op::Beat { nth, bytes, relayed } => {
                let report =
                    Report { bytes_received: bytes, bytes_sent: bytes.map(|bytes| bytes / 3), relayed };
                // Like the client of the service, which opens a connection again that was given up.
                if let Some(caller) = self.caller(nth)
                    && !self.beat(caller, connection(nth), report)
                {
                    self.open(caller, connection(nth), relayed);
                }
            }
            Op::Close { nth } => {
                if let Some(caller) = self.caller(nth) {
                    self.close(caller, connection(nth));
                }
            }
            Op::Revoke { nth } => {
                if let Some(Caller::Grant(grant)) = self.caller(nth) {
                    self.revoke(grant.id);
                }
            }
            Op::Limit { percent } => {
                self.limit = ByteCount::new(self.settings.limit / 100 * percent);
                self.books.override_limit(Some(self.limit));
                self.flush();
            }
            Op::LoseCounts { millis } => {
                world.lose(millis);
                self.may_break = true;
            }
            Op::ReplaceKey | Op::KeyReturns if self.settings.keys != Keys::One => {}
            Op::ReplaceKey => self.key_since = world.now,
            Op::KeyReturns => {
                self.key_since = 0;
                // A count of the future took time for bytes that come only now.
                self.may_break |= self.was_misled;
            }
            Op::Read { back, missed } => {
                self.read(world, back, missed);
                self.read_by_grant(world, back, missed);
            }
            Op::ReadLast { missed } => self.read_last(world, missed),
            Op::Late { millis } => {
                world.lateness = millis;
                self.was_misled |= millis > 0;
                // Bytes that come later than the longest lag are held against promises of other minutes.
                self.may_break |= millis > 3_600_000;
            }
            Op::ReadWrong { percent } => self.read_wrong(world, percent),
            Op::ReadAhead { millis } => self.read_ahead(world, millis),
            Op::Coturn(cli) => self.seen[self.at].cli = cli,
            Op::At { relay } => self.at = relay % self.settings.relays,
            Op::Die => {
                world.set_dead(self.at, true);
                self.end_foreign(self.at);
            }
            Op::Foreign { user, steps } => self.relay_foreign(user, steps),
            Op::Return => world.set_dead(self.at, false),
            Op::Down { millis, share } => {
                self.be_down(millis, share, world);
                self.restart(world);
                self.watch_sfu(world);
            }
            // The service refuses a relay of its own with replicas.
            Op::TakeOver { .. } if self.settings.sources.contains(&IceSource::Relay) => {}
            Op::TakeOver { lost, millis, share, behind } => {
                self.pass_watching(lost, share, world);
                self.advance(world);
                self.take_over_books(millis, share, behind, world);
            }
            Op::RestartCoturn => self.restart_coturn(world),
            Op::Reboot { millis, share, behind } => {
                self.set_ahead(0, world);
                self.be_down(millis, share, world);
                (self.boot, self.paused, self.offset) = (self.boot + 1, world.now, behind);
                // A new ledger knows no time before.
                self.off_until = Some(world.now).filter(|_| self.disk.read().now().is_some());
                // What is minted while the books are behind relays for longer than is promised.
                (self.lags, self.may_break) = (self.lags || behind > 0, self.may_break || behind > 0);
                let is_of_coturn = |held: &Held| held.grant.source == IceSource::Coturn;
                if behind > 0 && self.settings.cli && self.grants.iter().any(is_of_coturn) {
                    self.lost_until = self.settings.billing_day().period_at(self.present(world)).end;
                }
                self.restart(world);
            }
            Op::From { nth } => self.from = nth,
            Op::ReadRelay { is_slow } => self.look_at_relay(is_slow, world),
            Op::Join { life } => self.join_call(life, world),
            Op::Leave { nth } => self.leave_call(nth),
            Op::KeepCalls => self.keep_calls(),
            Op::Change(change) => self.change(change, world),
            Op::ReporterOpens { relayed } => {
                self.excuse(Excuse::Reporter);
                self.has_reporter = true;
                self.open(Caller::Reporter, "r", relayed);
            }
            Op::ReporterBeats { bytes } => {
                self.excuse(Excuse::Reporter);
                let report = Report { bytes_received: bytes, ..Report::default() };
                self.beat(Caller::Reporter, "r", report);
            }
            Op::ReporterVouches { nth, bytes, relayed } => {
                self.excuse(Excuse::Reporter);
                let report = Report { bytes_received: bytes, bytes_sent: None, relayed };
                self.has_vouched = true;
                self.beat(Caller::Reporter, connection(nth), report);
            }
            Op::ReporterCloses => {
                self.excuse(Excuse::Reporter);
                self.close(Caller::Reporter, "r");
            }
            Op::OpenPage => self.open_page(world),
            Op::Pull { nth, more, is_answered } => self.pull(nth, more, is_answered, world),
            Op::Stream { nth, active } => self.stream(nth, active, world),
            Op::CloseTracks { nth } => self.close_tracks(nth, world),
            Op::LeavePage { nth } => self.leave_page(nth, world),
            Op::SfuDown { millis } => self.sfu_down_until = world.now + millis,
            Op::Flush => self.tidy(),
            Op::Crash => self.restart(world),
        }
    }
}

//! `doctor --tail`: trials of the tail, shown step by step. They show until when a credential relays. Only the running service can say what
//! is billed, because it waits for the count.

use std::time::Duration;

use strum::IntoEnumIterator as _;

use super::Examination;
use super::provider::KeyClient;
use super::report::{Check, Verdict, ok, warn};
use crate::ice::tail_run::{Stepped, TTL, TailRun};
use turn_ledger::{CredentialEnd, IceSource};

/// The longest time for which a trial continues after the credential's end.
const TRIAL_MAX: Duration = IceSource::Cloudflare.expiry_tail();
/// The pause after which the trial checks again whether a step is due.
const PAUSE: Duration = Duration::from_millis(250);

impl Examination<'_, '_> {
    /// Makes the trials of all TURN keys, one after the other.
    pub(super) async fn tails(&mut self) {
        for key in self.keys.iter().filter(|key| key.api.source() == IceSource::Cloudflare) {
            for end in CredentialEnd::iter() {
                let verdict = self.tail(key, end).await;
                self.found(Check::Tail, &key.subject, verdict);
            }
        }
    }

    /// Makes one trial, and reports each of its steps. Returns the verdict about the tail.
    async fn tail(&mut self, key: &KeyClient, end: CredentialEnd) -> Verdict {
        let name: &str = end.into();
        let mut run = match TailRun::begin(&key.api, end, TTL, self.clock.now()).await {
            Ok(run) => run,
            Err(error) => {
                return warn(format!("no credential for the trial: {error}"), key.api.remedy(&error));
            }
        };
        loop {
            let now = self.clock.now();
            let seen = match run.step(run.next(now, TRIAL_MAX), &key.api, now).await {
                Stepped::Waited => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Stepped::Sent { came_back: true, .. } => "relays",
                Stepped::Sent { refused: true, .. } => "relays nothing: the credential is refused",
                Stepped::Sent { .. } => "relays nothing: no answer",
                Stepped::Revoked => "the credential is revoked",
                Stepped::Finished => break,
                Stepped::Failed => {
                    run.close().await;
                    return warn(
                        "the credential was not revoked",
                        "run doctor again, and compare its check `revoke`",
                    );
                }
            };
            let relative = run.trial.ended_at().map_or(String::new(), |end| {
                let (sign, span) = if now < end { ("-", end.since(now)) } else { ("+", now.since(end)) };
                format!(", {sign}{} s from the {name}", span.as_secs())
            });
            self.found(Check::Tail, &key.subject, ok(format!("{now}{relative}: {seen}")));
        }
        let shown = run.trial.judge(None, TRIAL_MAX);
        match (shown.tail, shown.refused_at) {
            _ if run.trial.relays_on(TRIAL_MAX) => {
                ok(format!("relays as long as was looked at after its {name}: {} s", TRIAL_MAX.as_secs()))
            }
            (Some(tail), Some(refused_at)) => {
                ok(format!("relays for {} s after its {name}; refused at {refused_at}", tail.as_secs()))
            }
            _ => warn(
                format!("nothing is known of what relays after its {name}: no answer"),
                "allow UDP from here to turn.cloudflare.com, and run doctor --tail again",
            ),
        }
    }
}

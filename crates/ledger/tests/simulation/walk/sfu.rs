//! Pages that take tracks from others through Cloudflare's SFU. Media flow to a page until it leaves or its session is closed, whatever
//! the broker knows of it: the SFU says so only when it is asked. It answers a pull, or the answer is lost.

use std::sync::Arc;

use turn_ledger::{ClientKey, GrantId, IceSource, SfuSession, Spender, Timestamp};

use super::broker::Broker;
use super::disk::Disk;
use super::minting::user_named;
use super::world::{Relaying, World};

const SFU: IceSource = IceSource::Sfu;
/// What is pulled is a multiple of this, in bytes per millisecond: 80 kbit/s, a track with sound.
pub(super) const SOUND: u64 = 10;
/// The same in kbit/s.
pub(super) const SOUND_KBPS: u32 = 80;
/// The service asks the SFU for the state of each session so often, and closes what must be closed more often.
const LOOK_INTERVAL: u64 = 30_000;
/// The life of a session.
const LIFE: u64 = 4 * 3_600_000;
/// What a page pulls at once: tracks with sound, of 2 Mbps with video, and both.
const PULLS: &[u32] = &[1, 2, 25, 26, 50, 100];

/// A page with its session, as it really is.
#[derive(Clone)]
pub(crate) struct Page {
    name: Arc<str>,
    /// Its holder in the world.
    number: u64,
    pub(super) user: Option<u64>,
    ends_at: Timestamp,
    /// What it takes as a multiple of [`SOUND`].
    tracks: u32,
    /// The part of it on which media flow.
    active: u32,
}

impl Page {
    pub(crate) fn grant(&self) -> GrantId {
        GrantId::of_session(&self.name)
    }
}

impl<D: Disk> Broker<D> {
    /// Lets time pass. The broker watches the sessions of the SFU meanwhile.
    pub(super) fn pass_watching(&mut self, millis: u64, share: u64, world: &mut World) {
        let end = world.now + millis;
        self.signs.went_on |= !self.settings.strict && self.has_pages(world);
        while self.has_pages(world) && world.now < end {
            self.pass(LOOK_INTERVAL.min(end - world.now), share, world);
            self.watch_sfu(world);
        }
        // A listing of coturn that arrives late takes time, too.
        self.pass(end.saturating_sub(world.now), share, world);
    }

    /// Whether media may flow to a page, or the broker takes it so.
    pub(super) fn has_pages(&self, world: &World) -> bool {
        self.pages.iter().any(|page| world.relays(SFU, page.number))
            || self.books.sfu_sessions().next().is_some()
    }

    /// Whether a session has ended that the books keep, with its promise, until they know how much time has passed.
    pub(super) fn waits_for_time(&self, world: &World) -> bool {
        let has_ended = |page: &&Page| !world.relays(SFU, page.number);
        !self.books.may_count()
            && self.pages.iter().filter(has_ended).any(|page| self.books.grants().get(page.grant()).is_some())
    }

    /// The session of a new page. It takes nothing yet.
    pub(super) fn open_page(&mut self, world: &mut World) {
        if !self.settings.sfu {
            return;
        }
        let nth = u64::try_from(self.pages.len()).unwrap_or(0);
        let name: Arc<str> = format!("page {nth}").into();
        let user = self.settings.user_limit.map(|_| nth % 3);
        let ends_at = self.books.now().plus_millis(LIFE);
        // The most that is assumed of a session changes with its tracks, so the world does not check it.
        let (none, any) = (Relaying { rate: 0, tail: 0 }, Relaying { rate: u64::MAX / 256, tail: 0 });
        let number = world.hand_out(SFU, GrantId::of_session(&name), u64::MAX / 4, none, any);
        self.pages.push(Page { name, number, user, ends_at, tracks: 0, active: 0 });
        self.look_at_page(self.pages.len() - 1, world);
    }

    /// A page asks for more tracks. The promise is on disk before the SFU is asked. Its answer may be lost.
    pub(super) fn pull(&mut self, nth: u64, more: u64, is_answered: bool, world: &World) {
        let Some(nth) = self.page(nth, world) else { return };
        let more = PULLS[usize::try_from(more).unwrap_or(0) % PULLS.len()];
        let name = Arc::clone(&self.pages[nth].name);
        let is_admitted = self.books.pull(&name, more * SOUND_KBPS).is_ok();
        if is_admitted {
            self.flush();
            self.pages[nth].tracks += more;
            if is_answered {
                self.look_at_page(nth, world);
            }
        }
    }

    /// Media begin or end to flow on the tracks of a page. The broker sees it at its next look.
    pub(super) fn stream(&mut self, nth: u64, active: u64, world: &mut World) {
        let Some(nth) = self.page(nth, world) else { return };
        let page = &mut self.pages[nth];
        page.active = u32::try_from(active % u64::from(page.tracks + 1)).unwrap_or(0);
        world.set_rate(SFU, page.number, SOUND * u64::from(page.active));
    }

    /// A page closes some of its tracks. The broker asks the SFU for it, so it knows.
    pub(super) fn close_tracks(&mut self, nth: u64, world: &mut World) {
        let Some(nth) = self.page(nth, world) else { return };
        let page = &mut self.pages[nth];
        page.tracks /= 2;
        page.active = page.active.min(page.tracks);
        world.set_rate(SFU, page.number, SOUND * u64::from(page.active));
        self.look_at_page(nth, world);
    }

    /// A page is gone. The broker sees it at its next look.
    pub(super) fn leave_page(&mut self, nth: u64, world: &mut World) {
        if let Some(nth) = self.page(nth, world) {
            world.end(SFU, self.pages[nth].number, None);
        }
    }

    /// All pages are gone.
    pub(super) fn leave_pages(&mut self, world: &mut World) {
        for page in &self.pages {
            world.end(SFU, page.number, None);
        }
        self.watch_sfu(world);
    }

    /// Closes the sessions that must be closed, and asks for the state of the others.
    pub(super) fn watch_sfu(&mut self, world: &mut World) {
        self.advance(world);
        let mut closing = self.books.sfu_sessions_to_close();
        let (now, known): (_, Vec<_>) = (self.books.now(), self.books.sfu_sessions().collect());
        let over = known.iter().filter(|(_, session)| session.ends_at <= now);
        closing.extend(over.map(|(name, _)| Arc::clone(name)));
        for page in self.pages.iter().filter(|page| closing.contains(&page.name)) {
            world.end(SFU, page.number, None);
        }
        for (name, _) in known {
            if let Some(nth) = self.pages.iter().position(|page| page.name == name) {
                self.look_at_page(nth, world);
            }
        }
    }

    /// Passes to the books what the SFU says of a page's session.
    fn look_at_page(&mut self, nth: usize, world: &World) {
        let page = &self.pages[nth];
        let session = world.relays(SFU, page.number).then(|| SfuSession {
            spender: Spender { user: page.user.map(user_named), ..Spender::default() }.known(),
            opened_by: None,
            client: client_of(nth),
            ends_at: page.ends_at,
            kbps: page.tracks * SOUND_KBPS,
            active_kbps: page.active * SOUND_KBPS,
        });
        self.books.set_sfu_session(&page.name, session.as_ref());
    }

    /// One of the two newest pages that have not left.
    fn page(&self, nth: u64, world: &World) -> Option<usize> {
        let open = self.pages.iter().enumerate().filter(|(_, page)| world.relays(SFU, page.number));
        let open: Vec<_> = open.map(|(nth, _)| nth).collect();
        let back = usize::try_from(nth % 2).unwrap_or(0).min(open.len().saturating_sub(1));
        open.into_iter().rev().nth(back)
    }
}

/// Pages have two addresses of their own.
fn client_of(nth: usize) -> ClientKey {
    ClientKey::V4([198, 51, 100, u8::from(nth.is_multiple_of(2))].into())
}

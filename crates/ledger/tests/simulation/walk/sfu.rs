//! Pages that take tracks from others through Cloudflare's SFU. Media flow to a page until it leaves or its tracks are closed, whatever
//! the broker knows of it: the SFU says so only when it is asked. It answers a pull, or the answer is lost; a pull comes into effect late,
//! and so does a close; for a while the SFU does not answer at all.

use super::prelude::*;

const SFU: IceSource = IceSource::Sfu;
/// What is pulled is a multiple of this, in bytes per millisecond: 80 kbit/s, a track with sound.
pub(super) const SOUND: u64 = 10;
/// The same in kbit/s.
pub(super) const SOUND_KBPS: u32 = 80;
/// The service looks at each session so often, and closes what must be closed more often. A pull comes into effect sooner, or never.
const LOOK_INTERVAL: u64 = 30_000;
/// The longest time between two readings of the relay.
const RELAY_UNREAD_MAX: u64 = 6 * 3_600_000;
/// After so many failed looks in a row a session is closed.
const FAILED_LOOKS_MAX: u32 = 3;
/// The life of a session.
const LIFE: u64 = 4 * 3_600_000;
/// What a page pulls at once: tracks with sound, of 2 Mbps with video, and both.
const PULLS: &[u32] = &[1, 2, 25, 26, 50, 100];
/// How late a pull comes into effect.
const LATE: &[u64] = &[0, 0, 12_000, 29_000];
/// How late a close does.
const CLOSED_AFTER: &[u64] = &[0, 20_000, 60_000];

/// A page with its session, as it really is, and as the broker knows it.
#[derive(Clone)]
pub(crate) struct Page {
    name: Arc<str>,
    /// Its holder in the world.
    number: u64,
    pub(super) user: Option<u64>,
    ends_at: Timestamp,
    tracks: Vec<Track>,
    /// The part of its tracks on which media flow, as a multiple of [`SOUND`].
    active: u32,
    /// What the row said of a session of before a restart, and from when on a look without tracks says that it is over.
    before: Option<(SfuSession, u64)>,
    failed_looks: u32,
}

/// What one pull takes. Times are in the world's milliseconds.
#[derive(Clone)]
struct Track {
    /// As a multiple of [`SOUND`].
    size: u32,
    begins: u64,
    ends: u64,
    has_begun: bool,
    /// From when on a look without it says that it is over.
    settles: u64,
    /// Whether the broker counts it, and whether the SFU has said that it is there.
    is_known: bool,
    is_confirmed: bool,
}

impl Page {
    pub(crate) fn grant(&self) -> GrantId {
        GrantId::of_session(&self.name)
    }

    /// What may flow now.
    fn size(&self, now: u64) -> u32 {
        self.tracks.iter().filter(|track| track.is_there(now)).map(|track| track.size).sum()
    }

    /// The next instant at which a track begins or ends.
    fn next_change(&self, now: u64) -> Option<u64> {
        let times = self.tracks.iter().flat_map(|track| [track.begins, track.ends]);
        times.filter(|at| *at > now && *at < u64::MAX).min()
    }

    /// Closes tracks at the SFU, as far as they are there.
    fn close(&mut self, most: usize, now: u64) {
        let late = CLOSED_AFTER[usize::try_from(self.number % 3).unwrap_or(0)];
        for track in self.tracks.iter_mut().filter(|track| track.is_there(now)).take(most) {
            track.ends = track.ends.min(now + late);
        }
    }
}

impl Track {
    fn is_there(&self, now: u64) -> bool {
        self.begins <= now && now < self.ends
    }
}

impl<D: Disk> Broker<D> {
    /// Lets time pass. The broker watches the sessions of the SFU meanwhile.
    pub(super) fn pass_watching(&mut self, millis: u64, share: u64, world: &mut World) {
        let end = world.now + millis;
        self.signs.went_on |= !self.settings.strict && self.has_pages(world);
        let mut look_at = world.now + LOOK_INTERVAL;
        while self.has_pages(world) && world.now < end {
            let change = self.pages.iter().filter_map(|page| page.next_change(world.now)).min();
            let until = change.unwrap_or(end).min(look_at).min(end);
            self.pass(until - world.now, share, world);
            self.follow_pages(world);
            if world.now >= look_at {
                self.watch_sfu(world);
                look_at = world.now + LOOK_INTERVAL;
            }
        }
        // The service reads its relay each second, so what has ended there is counted before its grant is forgotten.
        while self.settings.sources.contains(&IceSource::Relay) && world.now + RELAY_UNREAD_MAX < end {
            self.pass(RELAY_UNREAD_MAX, share, world);
            self.read_relay(world);
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

    /// A page to which more may flow than is promised for it. After a restored copy the books do not know all of them.
    pub(super) fn unpromised(&self, world: &World) -> Option<String> {
        let flows = |page: &&Page| world.relays(SFU, page.number) && page.size(world.now) > 0;
        let minute = Minute::of(self.books.now());
        self.pages.iter().filter(flows).filter(|_| !self.was_restored).find_map(|page| {
            let promised = self.books.grants().get(page.grant()).and_then(|row| row.promised);
            let per_minute = promised.filter(|time| time.until > minute).map_or(0, |time| time.per_minute);
            let size = u64::from(page.size(world.now)) * SOUND * 60_000;
            (size > per_minute).then(|| {
                format!("{size} bytes a minute may flow to {}, {per_minute} are promised", page.name)
            })
        })
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
        let (tracks, active, before, failed_looks) = (vec![], 0, None, 0);
        self.pages.push(Page { name, number, user, ends_at, tracks, active, before, failed_looks });
        self.tell(self.pages.len() - 1);
    }

    /// A page asks for more tracks. The promise is on disk before the SFU is asked. It may refuse, and its answer may be lost.
    pub(super) fn pull(&mut self, nth: u64, more: u64, is_answered: bool, world: &mut World) {
        let Some(nth) = self.page(nth, world).filter(|nth| self.pages[*nth].before.is_none()) else { return };
        let of = |choices: &[u64], bits: u64| choices[usize::try_from(bits).unwrap_or(0) % choices.len()];
        let size = PULLS[usize::try_from(more).unwrap_or(0) % PULLS.len()];
        let (late, is_refused) = (of(LATE, more >> 8 & 0xff), (more >> 16).is_multiple_of(8));
        let name = Arc::clone(&self.pages[nth].name);
        if self.books.pull(&name, size * SOUND_KBPS).is_ok() {
            self.flush();
            if !is_refused {
                let (begins, settles) = (world.now + late, world.now + LOOK_INTERVAL);
                let (ends, has_begun, is_known, is_confirmed) = (u64::MAX, false, true, is_answered);
                let track = Track { size, begins, ends, has_begun, settles, is_known, is_confirmed };
                self.pages[nth].tracks.push(track);
            }
        }
        self.follow_pages(world);
        if is_answered {
            self.tell(nth);
        }
    }

    /// Media begin or end to flow on the tracks of a page.
    pub(super) fn stream(&mut self, nth: u64, active: u64, world: &mut World) {
        let Some(nth) = self.page(nth, world) else { return };
        let size = u64::from(self.pages[nth].size(world.now));
        self.pages[nth].active = u32::try_from(active % (size + 1)).unwrap_or(0);
        self.follow_pages(world);
    }

    /// A page closes a track. The broker looks at once.
    pub(super) fn close_tracks(&mut self, nth: u64, world: &mut World) {
        let Some(nth) = self.page(nth, world) else { return };
        self.pages[nth].close(1, world.now);
        self.follow_pages(world);
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
        self.sfu_down_until = 0;
        self.watch_sfu(world);
    }

    /// A process has begun: it knows of each session what its row says.
    pub(super) fn take_over_pages(&mut self, world: &World) {
        let known: Vec<_> = self.books.sfu_sessions().collect();
        for page in &mut self.pages {
            let row = known.iter().find(|(name, _)| *name == page.name);
            page.before = row.map(|(_, session)| (session.clone(), world.now + LOOK_INTERVAL));
            page.failed_looks = 0;
        }
    }

    /// Closes the sessions that must be closed, and looks at all.
    pub(super) fn watch_sfu(&mut self, world: &mut World) {
        self.advance(world);
        self.follow_pages(world);
        let mut closing = self.books.sfu_sessions_to_close();
        let (now, known): (_, Vec<_>) = (self.books.now(), self.books.sfu_sessions().collect());
        let over = known.iter().filter(|(_, session)| session.ends_at <= now);
        closing.extend(over.map(|(name, _)| Arc::clone(name)));
        if world.now >= self.sfu_down_until {
            for page in self.pages.iter_mut().filter(|page| closing.contains(&page.name)) {
                page.close(usize::MAX, world.now);
            }
        }
        self.follow_pages(world);
        for (name, _) in known {
            if let Some(nth) = self.pages.iter().position(|page| page.name == name) {
                self.look_at_page(nth, world);
            }
        }
    }

    /// Tracks begin and end in the world. Media flow at once on one that begins.
    fn follow_pages(&mut self, world: &mut World) {
        let now = world.now;
        for page in &mut self.pages {
            for track in page.tracks.iter_mut().filter(|track| !track.has_begun && track.is_there(now)) {
                track.has_begun = true;
                page.active += track.size;
            }
            page.tracks.retain(|track| track.is_known || track.ends > now);
            page.active = page.active.min(page.size(now));
            world.set_rate(SFU, page.number, SOUND * u64::from(page.active));
        }
    }

    /// A look at a page's session.
    fn look_at_page(&mut self, nth: usize, world: &mut World) {
        let now = world.now;
        let is_over = self.pages[nth].ends_at <= self.books.now();
        let page = &mut self.pages[nth];
        if now < self.sfu_down_until {
            page.failed_looks += 1;
            if page.failed_looks >= FAILED_LOOKS_MAX {
                page.ends_at = page.ends_at.min(self.books.now());
            }
            return self.tell(nth);
        }
        page.failed_looks = 0;
        for track in &mut page.tracks {
            track.is_known &= track.settles > now || track.is_there(now);
            track.is_confirmed |= track.is_there(now);
        }
        let is_empty = page.tracks.iter().all(|track| !track.is_known);
        let has_settled = page.before.as_ref().is_some_and(|(_, settles)| *settles <= now);
        if is_empty && (is_over || has_settled) {
            world.end(SFU, page.number, None);
        }
        if world.relays(SFU, self.pages[nth].number) {
            self.tell(nth);
            self.books.extend_sfu_session(&Arc::clone(&self.pages[nth].name));
        } else {
            self.books.set_sfu_session(&Arc::clone(&self.pages[nth].name), None);
        }
    }

    /// Passes to the books what the broker knows of a page's session.
    fn tell(&mut self, nth: usize) {
        let page = &self.pages[nth];
        let sum = |is_meant: fn(&Track) -> bool| -> u32 {
            page.tracks.iter().filter(|track| track.is_known && is_meant(track)).map(|track| track.size).sum()
        };
        let session = SfuSession {
            spender: Spender { user: page.user.map(user_named), ..Spender::default() }.known(),
            opened_by: None,
            client: client_of(nth),
            ends_at: page.ends_at,
            kbps: sum(|_| true) * SOUND_KBPS,
            charged_kbps: sum(|track| track.is_confirmed) * SOUND_KBPS,
        };
        let before = page.before.clone().map(|(row, _)| SfuSession { ends_at: page.ends_at, ..row });
        self.books.set_sfu_session(&page.name, Some(&before.unwrap_or(session)));
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

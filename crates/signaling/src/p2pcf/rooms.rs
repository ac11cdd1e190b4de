//! The entries of all rooms. A room has one entry for each context id. Only the same context id replaces an entry, as a whole. No two
//! entries of a room have the same session. An entry ends when its page removes it or when it expires. A room exists while it has entries.
//! Each entry is one member of a call, from its `Joined` to its `Left`.

use std::cmp::Reverse;

use serde_json::Number;

use super::Refusal;
use super::body::{Own, Package};
use crate::prelude::*;

/// Entries of one room. Each page connects to each other page, so real rooms are far smaller.
const ROOM_ENTRIES_MAX: usize = 64;
/// How long an entry stays after its expiry. A page in the background runs its timers once a minute, so it can be that late
/// with publishing again.
const GRACE: Duration = Duration::from_secs(30);
/// The longest listing, in bytes. A page that enters a room of 30 gets a package of 3 KiB from each.
pub(super) const LISTING_MAX: usize = 256 * 1024;
/// What a listing has apart from entries and packages, with the longest delete key, in bytes.
const LISTING_FRAME: usize = 256;
/// What an entry counts as beside its texts, in bytes. That is more than its memory, so that one client cannot have many entries.
const ENTRY_OVERHEAD: usize = 8 * 1024;
/// What a package counts as beside its texts, in bytes: its memory.
const PACKAGE_OVERHEAD: usize = 128;

/// Bytes of the entries of one client address or user: the 256 pages of a large office, with 8 KiB each. An IPv6 /48 has four times as
/// many.
const PER_CLIENT_MAX: usize = 4 << 20;
const BOUNDS: Bounds = Bounds { client_max: PER_CLIENT_MAX, all_max: SHARES * PER_CLIENT_MAX };

#[derive(Default)]
pub(super) struct P2pcfRooms {
    by_name: HashMap<Arc<str>, BTreeMap<Arc<str>, Entry>>,
    /// When each entry is removed, by room and context.
    ends: Deadlines<(Arc<str>, Arc<str>)>,
    /// The bytes of each holder.
    held: Counts,
    last_member: u64,
    pub(super) actions: Actions,
}

struct Entry {
    session: Arc<str>,
    changed_at: Number,
    /// What the others see.
    listed: Box<RawValue>,
    packages: Vec<Package>,
    /// Whether the page has published it. Otherwise it was learned from a poll, and its packages are not known.
    is_published: bool,
    member: MemberId,
    /// Whose share it counts against.
    holder: Holder,
    bytes: usize,
    /// When it was stored: the page last changed it then.
    stored_at: Duration,
}

/// What a page sees of a room, as the body of the answer to a POST has it.
#[derive(Serialize)]
pub(super) struct Listing<'a> {
    /// The entries.
    pub(super) ps: Vec<&'a RawValue>,
    /// The packages for the page.
    pub(super) pk: Vec<&'a RawValue>,
    /// The delete key, after a publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dk: Option<String>,
    /// How many packages did not fit.
    #[serde(skip)]
    pub(super) left_out: usize,
}

impl P2pcfRooms {
    /// Removes the entry of this context and session. `false` if there is none.
    pub(super) fn delete(&mut self, own: &Own) -> bool {
        let is_found = self.entry(&own.room, &own.context).is_some_and(|entry| entry.session == own.session);
        is_found && self.remove(&own.room, &own.context, MediaAfter::Ends)
    }

    /// Removes the entries whose time is over. Their calls need no signaling, so they may go on.
    pub(super) fn expire(&mut self, now: Duration) {
        while let Some((room, context)) = self.ends.pop(now) {
            self.remove(&room, &context, MediaAfter::MayContinue);
        }
    }

    /// The entries of a room except the entry of `context`, and as many of their packages for `session` as fit. Entries that have changed
    /// last come first, and so do their packages.
    pub(super) fn list(&self, room: &str, context: Option<&str>, session: Option<&str>) -> Listing<'_> {
        let entries = self.by_name.get(room).into_iter().flatten();
        let mut others: Vec<_> =
            entries.filter(|(of, _)| Some(&***of) != context).map(|(_, entry)| entry).collect();
        others.sort_by_key(|entry| Reverse(entry.stored_at));
        let entries: Vec<_> = others.iter().map(|entry| &*entry.listed).collect();
        // With the comma that follows.
        let length_of = |json: &RawValue| json.get().len() + 1;
        let mut left = LISTING_MAX - LISTING_FRAME;
        left = left.saturating_sub(entries.iter().map(|json| length_of(json)).sum());
        let mut listing = Listing { ps: entries, pk: vec![], dk: None, left_out: 0 };
        let packages = others.iter().flat_map(|entry| &entry.packages);
        for package in packages.filter(|package| Some(&*package.to) == session) {
            if length_of(&package.json) <= left {
                left -= length_of(&package.json);
                listing.pk.push(&package.json);
            } else {
                listing.left_out += 1;
            }
        }
        listing
    }

    /// Whether another context of the room has this session. Everybody sees the sessions of a room, so they prove nothing.
    pub(super) fn has_session_of_another(&self, own: &Own) -> bool {
        let mut entries = self.by_name.get(&own.room).into_iter().flatten();
        entries.any(|(context, entry)| *context != own.context && entry.session == own.session)
    }

    fn entry(&self, room: &str, context: &str) -> Option<&Entry> {
        self.by_name.get(room)?.get(context)
    }

    /// Stores the entry of a page, in place of the one that its context has. `packages`: `None` for a page that polls. Then nothing is known
    /// of its packages, and an entry that is there stays. A page that has changed nothing since its last publish changes nothing, and an
    /// error does not either.
    pub(super) fn store(
        &mut self,
        own: Own,
        packages: Option<Vec<Package>>,
        sender: Holder,
        now: Duration,
    ) -> Result<(), Refusal> {
        let is_published = packages.is_some();
        let stays = |entry: &Entry| !is_published || entry.is_published && entry.changed_at == own.changed_at;
        if self.entry(&own.room, &own.context).is_some_and(stays) {
            return Ok(());
        }
        let Own { room, context, session, changed_at, lifetime, listed } = own;
        let packages = packages.unwrap_or_default();
        let bytes = bytes_of(&room, &context, &listed, &packages);
        let replaced = self.entry(&room, &context).map(|entry| (entry.holder.clone(), entry.bytes));
        if replaced.is_none() && self.by_name.get(&room).is_some_and(|room| room.len() >= ROOM_ENTRIES_MAX) {
            return Err(Refusal::RoomFull);
        }
        // The new entry may use the bytes of the one that it replaces.
        if let Some((holder, bytes)) = &replaced {
            self.held.remove(holder, *bytes);
        }
        if !self.held.fits(&sender, bytes, BOUNDS) {
            if let Some((holder, bytes)) = &replaced {
                self.held.add(holder, *bytes);
            }
            return Err(Refusal::TooManyEntries);
        }
        self.held.add(&sender, bytes);
        let before = self.by_name.get_mut(&room).and_then(|entries| entries.remove(&context));
        self.ends.set((Arc::clone(&room), Arc::clone(&context)), now + lifetime + GRACE);
        let member = self.member(&room, before.as_ref(), &session, sender.user());
        if self.begins_a_connection(&room, before.as_ref(), &packages) {
            self.actions.call(CallEvent::Connected { call: call(&room) });
        }
        let entry = Entry {
            session,
            changed_at,
            listed,
            packages,
            is_published,
            member,
            holder: sender,
            bytes,
            stored_at: now,
        };
        self.by_name.entry(room).or_default().insert(context, entry);
        Ok(())
    }

    /// The member that an entry stands for. A page that was loaded again has a new session, so it is a new member: the old one leaves.
    fn member(
        &mut self,
        room: &Arc<str>,
        before: Option<&Entry>,
        session: &str,
        user: Option<&User>,
    ) -> MemberId {
        if let Some(before) = before {
            if *before.session == *session {
                return before.member.clone();
            }
            let (member, media) = (before.member.clone(), MediaAfter::Ends);
            self.actions.call(CallEvent::Left { call: call(room), member, media });
        }
        self.last_member += 1;
        let member = MemberId(self.last_member.to_string().into());
        self.actions.call(CallEvent::Joined {
            call: call(room),
            member: member.clone(),
            user: user.cloned(),
            grant: None,
        });
        member
    }

    /// Whether a page now has a package for a session of the room for which it had none before.
    fn begins_a_connection(&self, room: &str, before: Option<&Entry>, packages: &[Package]) -> bool {
        let had =
            |to: &str| before.is_some_and(|entry| entry.packages.iter().any(|package| *package.to == *to));
        let mut live = self.by_name.get(room).into_iter().flat_map(BTreeMap::values);
        live.any(|entry| !had(&entry.session) && packages.iter().any(|package| package.to == entry.session))
    }

    fn remove(&mut self, room: &Arc<str>, context: &Arc<str>, media: MediaAfter) -> bool {
        let Some(entries) = self.by_name.get_mut(room) else { return false };
        let Some(entry) = entries.remove(context) else { return false };
        if entries.is_empty() {
            self.by_name.remove(room);
        }
        self.ends.clear(&(Arc::clone(room), Arc::clone(context)));
        self.held.remove(&entry.holder, entry.bytes);
        self.actions.call(CallEvent::Left { call: call(room), member: entry.member, media });
        true
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.ends.next().is_none() && self.held.is_empty()
    }
}

fn call(room: &Arc<str>) -> CallName {
    CallName { protocol: ProtocolName::P2pcf, room: Arc::clone(room) }
}

fn bytes_of(room: &str, context: &str, listed: &RawValue, packages: &[Package]) -> usize {
    let of_package = |package: &Package| PACKAGE_OVERHEAD + package.to.len() + package.json.get().len();
    let packages: usize = packages.iter().map(of_package).sum();
    ENTRY_OVERHEAD + room.len() + context.len() + listed.get().len() + packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_counts_as_at_least_the_memory_that_it_takes() {
        /// Bytes that a short text takes on the heap, with its allocation.
        const TEXT: usize = 64;
        let json = || RawValue::from_string("[]".to_owned()).unwrap();
        let package = || Package { to: "a".into(), json: json() };
        let bytes_with = |packages: usize| {
            bytes_of("r", "k", &json(), &(0..packages).map(|_| package()).collect::<Vec<_>>())
        };
        // The texts of its room, its context, its session and what is listed of it.
        assert!(bytes_with(0) >= size_of::<Entry>() + 4 * TEXT, "{}", size_of::<Entry>());
        assert!(bytes_with(64) - bytes_with(0) >= 64 * (size_of::<Package>() + TEXT));
    }
}

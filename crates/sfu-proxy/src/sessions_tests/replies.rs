//! A data channel on which others may reply brings its publisher something: one track more, once for each channel.

use super::*;

/// `a` sends the data channels 4 (`chat`) and 5 (`game`); `b` and `c` are in its room, `d` is in another one.
fn channels() -> Table {
    let mut table = Table::with(&[("a", "r"), ("b", "r"), ("c", "r"), ("d", "other")]);
    let answer = SfuAnswer { tracks: own_channels(), ..SfuAnswer::default() };
    let wanted = RequestedTracks { channels: 2, ..RequestedTracks::default() };
    let wanted = table.sessions.check_request(&id("a"), wanted).unwrap();
    table.sessions.answered(&id("a"), &wanted, &answer, table.now);
    table
}

fn own_channels() -> Vec<ConfirmedTrack> {
    let channel = |n, name: &str| {
        let local = entry(TrackId::Channel(n), Some(Direction::Local), true);
        ConfirmedTrack { name: Name::new(name), ..local }
    };
    vec![channel(4, "chat"), channel(5, "game")]
}

fn channel_of(from: &str, name: &str) -> Pull {
    Pull { session: id(from), name: Name::new(name), mid: None, kind: MediaKind::Data }
}

fn replies(channels: &[Pull]) -> RequestedTracks {
    RequestedTracks { pulled: channels.to_vec(), replies: channels.to_vec(), ..RequestedTracks::default() }
}

/// The answer that names this channel.
fn granted(name: &str) -> SfuAnswer {
    let of_publisher = entry(TrackId::Channel(9), Some(Direction::Remote), true);
    let channel = ConfirmedTrack { session: Some(id("a")), name: Name::new(name), ..of_publisher };
    SfuAnswer { tracks: vec![channel], ..SfuAnswer::default() }
}

impl Table {
    /// The channels for whose replies a session asks, as far as nobody may reply on them yet.
    fn new_replies(&self, by: &str, channels: &[Pull]) -> Result<Vec<Pull>, Fault> {
        self.sessions.check_update(&id(by), replies(channels)).map(|wanted| wanted.replies)
    }

    fn ask_for(&mut self, channels: &[Pull]) {
        for channel in channels {
            self.sessions.set_replies(channel, true, self.now);
        }
    }

    fn taken_by_a(&self) -> Taken {
        self.sessions.rows[&id("a")].taken()
    }
}

/// So many data channels.
const fn data(count: u32) -> Taken {
    Taken { kbps: count * VIDEO, active_kbps: count * VIDEO }
}

#[test]
fn the_publisher_takes_one_track_more_once_for_each_channel() {
    let mut table = channels();
    assert_eq!((table.taken_by_a(), table.sessions.pulled()), (data(0), 0), "what it sends is not billed");
    let (chat, game) = (channel_of("a", "chat"), channel_of("a", "game"));
    let both = [chat.clone(), game.clone(), chat.clone()];
    assert_eq!(table.new_replies("b", &both), Ok(vec![chat.clone(), game.clone()]));
    table.ask_for(std::slice::from_ref(&chat));
    assert_eq!(table.taken_by_a(), data(1), "it counts before the SFU answers");
    table.sessions.replied(std::slice::from_ref(&chat), &granted("chat"), table.now);
    assert_eq!(table.new_replies("c", &both), Ok(vec![game.clone()]), "nobody pays twice for a channel");
    table.ask_for(&[game]);
    assert_eq!((table.taken_by_a(), table.sessions.pulled()), (data(2), 2));
    let changed = table.sessions.take_changed(table.now).into_iter().find(|changed| changed.id == id("a"));
    assert_eq!(changed.and_then(|changed| changed.now).map(|session| session.taken), Some(data(2)));
    let closed = SfuAnswer { tracks: own_channels().drain(..1).collect(), ..SfuAnswer::default() };
    table.sessions.closed(&id("a"), &closed, table.now);
    assert_eq!(table.taken_by_a(), data(1), "a closed channel takes nothing");
}

#[test]
fn what_the_sfu_does_not_grant_is_taken_back() {
    let mut table = channels();
    let (chat, game) = (channel_of("a", "chat"), channel_of("a", "game"));
    table.ask_for(&[chat.clone(), game.clone()]);
    table.sessions.replied(&[chat, game], &granted("game"), table.now);
    assert_eq!(table.taken_by_a(), data(1));
    assert_eq!(table.new_replies("b", &[channel_of("a", "chat")]).map(|new| new.len()), Ok(1));
}

#[test]
fn only_a_channel_that_a_session_of_the_room_sends_takes_replies() {
    let table = channels();
    let refused = |by: &str, channel| table.new_replies(by, &[channel]).unwrap_err();
    assert_eq!(refused("b", channel_of("a", "other")), Fault::NoChannel);
    assert_eq!(refused("b", channel_of("c", "chat")), Fault::NoChannel);
    assert_eq!(refused("d", channel_of("a", "chat")), Fault::OtherRoom);
    let many = vec![channel_of("a", "chat"); PER_SESSION_MAX + 1];
    assert_eq!(table.new_replies("b", &many), Err(Fault::TooManyTracks));
}

#[test]
fn a_look_keeps_the_replies_until_the_channel_is_closed() {
    let mut table = channels();
    table.ask_for(&[channel_of("a", "chat")]);
    let see = |table: &mut Table, tracks| table.see("a", &SfuAnswer { tracks, ..SfuAnswer::default() });
    table.now += secs(20);
    see(&mut table, own_channels());
    assert_eq!(table.taken_by_a(), data(1));
    let late = table.sessions.take_changed(table.now).into_iter().flat_map(|changed| changed.late);
    assert_eq!(late.count(), 0, "it was charged all the time");
    see(&mut table, own_channels().drain(1..).collect());
    assert_eq!(table.taken_by_a(), data(0));
}

/// No answer of the SFU says on which channels others may reply, so after a restart a session takes at least what it took before.
#[test]
fn after_a_restart_a_session_that_took_replies_takes_them_still() {
    for (took, kept) in [(0, 0), (1, 1), (9, 2)] {
        let mut table = Table::default();
        table.sessions.restore(session("a", LIFE, data(took)), table.now);
        table.see("a", &SfuAnswer { tracks: own_channels(), ..SfuAnswer::default() });
        assert_eq!(table.taken_by_a(), data(kept));
    }
}

//! A data channel on which others may reply brings its publisher something: one track more, once for each channel.

use super::*;

/// `a` sends the data channels 4 (`chat`) and 5 (`game`); `b` and `c` are in its room, `d` is in another one.
fn channels() -> Table {
    let mut table = Table::with(&[("a", "r"), ("b", "r"), ("c", "r"), ("d", "other")]);
    let call = table.ask("a", &RequestedTracks { channel_count: 2, ..push(0) }).unwrap();
    table.answer("a", call, Some(&answer(own_channels())));
    table
}

fn own_channels() -> Vec<Entry> {
    let channel = |n, name: &str| {
        let local = entry(TrackId::Channel(n), Some(Direction::Local));
        Entry { name: Name::new(name), ..local }
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
    let of_publisher = entry(TrackId::Channel(9), Some(Direction::Remote));
    answer(vec![Entry { session: Some(id("a")), name: Name::new(name), ..of_publisher }])
}

impl Table {
    /// The channels for whose replies a session asks, as far as nobody may reply on them yet.
    fn new_replies(&self, by: &str, channels: &[Pull]) -> Result<Vec<Pull>, SfuFault> {
        self.sessions.check_update(&id(by), replies(channels)).map(|wanted| wanted.replies)
    }

    fn ask_for(&mut self, channels: &[Pull]) {
        for channel in channels {
            self.sessions.set_replies(channel, Replies::Asked);
        }
    }

    fn taken_by_a(&self) -> Taken {
        self.sessions.taken_by("a")
    }

    fn replied(&mut self, channels: &[Pull], answer: &SfuAnswer) {
        self.sessions.answered(&id("b"), 99, channels, Some(answer));
    }
}

/// So many data channels.
const fn data(count: u32) -> Taken {
    videos(count, count)
}

#[test]
fn the_publisher_takes_one_track_more_once_for_each_channel() {
    let mut table = channels();
    assert_eq!((table.taken_by_a(), table.sessions.charged()), (data(0), 0), "what it sends is not billed");
    let (chat, game) = (channel_of("a", "chat"), channel_of("a", "game"));
    let both = [chat.clone(), game.clone(), chat.clone()];
    assert_eq!(table.new_replies("b", &both), Ok(vec![chat.clone(), game.clone()]));
    table.ask_for(std::slice::from_ref(&chat));
    assert_eq!(table.taken_by_a(), data(1), "it counts before the SFU answers");
    table.replied(std::slice::from_ref(&chat), &granted("chat"));
    assert_eq!(table.new_replies("c", &both), Ok(vec![game.clone()]), "nobody pays twice for a channel");
    table.ask_for(&[game]);
    assert_eq!((table.taken_by_a(), table.sessions.charged()), (data(2), 2));
    assert!(std::mem::take(&mut table.sessions.changed).contains_key(&id("a")));
    assert_eq!(table.row(&id("a")).map(|(_, taken)| taken), Some(data(2)));
}

#[test]
fn what_the_sfu_does_not_grant_is_taken_back() {
    let mut table = channels();
    let (chat, game) = (channel_of("a", "chat"), channel_of("a", "game"));
    table.ask_for(&[chat.clone(), game.clone()]);
    table.replied(&[chat, game], &granted("game"));
    assert_eq!(table.taken_by_a(), data(1));
    assert_eq!(table.new_replies("b", &[channel_of("a", "chat")]).map(|new| new.len()), Ok(1));
}

#[test]
fn a_refusal_takes_back_nothing_that_was_granted_to_another_session() {
    let mut table = channels();
    let chat = [channel_of("a", "chat")];
    table.ask_for(&chat);
    assert_eq!(table.new_replies("c", &chat).map(|new| new.len()), Ok(1), "nobody knows the first answer");
    table.ask_for(&chat);
    table.replied(&chat, &granted("chat"));
    table.replied(&chat, &answer(vec![]));
    assert_eq!(table.taken_by_a(), data(1));
}

#[test]
fn only_a_channel_that_a_session_of_the_room_sends_takes_replies() {
    let table = channels();
    let refused = |by: &str, channel| table.new_replies(by, &[channel]).unwrap_err();
    assert_eq!(refused("b", channel_of("a", "other")), SfuFault::NO_CHANNEL);
    assert_eq!(refused("b", channel_of("c", "chat")), SfuFault::NO_CHANNEL);
    assert_eq!(refused("d", channel_of("a", "chat")), SfuFault::OTHER_ROOM);
    let many = vec![channel_of("a", "chat"); PER_SESSION_MAX + 1];
    assert_eq!(table.new_replies("b", &many), Err(SfuFault::TOO_MANY_TRACKS));
}

#[test]
fn a_look_keeps_the_replies_until_the_channel_is_gone() {
    let mut table = channels();
    table.ask_for(&[channel_of("a", "chat")]);
    table.settle();
    table.see("a", &answer(own_channels()));
    assert_eq!(table.taken_by_a(), data(1));
    table.see("a", &answer(own_channels().drain(1..).collect()));
    assert_eq!(table.taken_by_a(), data(0));
}

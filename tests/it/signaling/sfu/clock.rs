//! The wall clock and the time of the books differ.

use super::{Page, start};

/// The clock was days ahead for so long that the books accepted it. Then it was corrected, and a page took a track.
#[tokio::test]
async fn a_session_that_begins_while_the_books_are_ahead_of_the_clock_goes_on() {
    let (sfu, broker) = start(&[]).await;
    broker.set_wall("2025-01-18T13:00:00Z");
    broker.status().await;
    broker.advance(301);
    broker.status().await;
    broker.set_wall("2025-01-15T12:10:00Z");
    let [a, b] = Page::of_room(&broker, "r").await;
    assert_eq!(a.push().await.status, 200);
    assert_eq!(b.pull(&a).await.status, 200);
    let open = broker.app.account.read(|books| books.sfu_sessions_to_close().len());
    assert_eq!((open, sfu.tracks(&b.session)), (0, 1), "it must not be closed");
}

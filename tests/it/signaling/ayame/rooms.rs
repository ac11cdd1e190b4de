//! Two members of a room, and its end.

use super::*;

#[tokio::test]
async fn the_second_makes_the_offer_and_frames_pass_byte_for_byte_in_order() {
    let (_cloudflare, broker) = with_ayame(&[]).await;
    let (mut a, first) = joined(&broker, "r").await;
    let (mut b, second) = joined(&broker, "r").await;
    assert_eq!([&first["isExistUser"], &first["isExistClient"]], [false, false]);
    assert_eq!([&second["isExistUser"], &second["isExistClient"]], [true, true]);
    let is_ulid =
        |id: &str| id.len() == 26 && id.bytes().all(|b| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(&b));
    let ids = [&first, &second].map(|accept| accept["connectionId"].as_str().unwrap());
    assert!(ids[0] != ids[1] && ids.into_iter().all(is_ulid), "{ids:?}");

    let odd = "{ \"type\":\"candidate\" ,\"ice\":{\"a\":1,\"a\":2},\"u\":\"ü😀\\u00fc\"}\n";
    b.send(odd).await;
    assert_eq!(next(&mut a).await, text(odd));
    let candidates: Vec<_> = (0..200).map(|n| format!(r#"{{"type":"candidate","n":{n}}}"#)).collect();
    for candidate in &candidates {
        a.send(candidate).await;
    }
    for candidate in &candidates {
        assert_eq!(next(&mut b).await, text(candidate));
    }
}

#[tokio::test]
async fn the_longest_message_passes() {
    let (_cloudflare, broker) = with_ayame(&[("TYPE_MESSAGE", "true")]).await;
    let [mut a, mut b] = pair(&broker, "r").await;
    let long = format!(r#"{{"type":"message","x":"{}"}}"#, "ü".repeat((1_048_576 - 25) / 2));
    assert!(long.len() > 1_048_570 && long.len() <= 1_048_576);
    a.send(&long).await;
    assert_eq!(next(&mut b).await, text(&long));
}

#[tokio::test]
async fn a_room_ends_with_either_member_and_can_be_used_again() {
    let (_cloudflare, broker) = with_ayame(&[]).await;
    let [a, mut b] = pair(&broker, "r").await;
    a.close().await;
    assert_eq!([next(&mut b).await, next(&mut b).await], [bye(), closed(1000, "peer closing")]);
    let [a, mut b] = pair(&broker, "r").await;
    drop(a);
    assert_eq!([next(&mut b).await, next(&mut b).await], [bye(), closed(1000, "peer closing")]);
    let [mut a, mut b] = pair(&broker, "r").await;
    b.send("nonsense").await;
    assert_eq!(next(&mut b).await, closed(1000, "invalid JSON"));
    assert_eq!([next(&mut a).await, next(&mut a).await], [bye(), closed(1000, "peer closing")]);
}

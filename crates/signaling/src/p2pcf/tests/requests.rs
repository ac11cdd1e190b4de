//! What every request counts against. Methods, media types and headers are tested in `tests/it/signaling/p2pcf.rs`.

use super::*;

#[test]
fn origins_that_are_not_listed_are_refused_or_counted_before_anything_else() {
    let mut broker = Broker::new();
    let other = Origin::Other("https://other.example");
    for other in
        [Request { origin: other, ..request(Ok(None)) }, Request { origin: other, ..post_request("{}") }]
    {
        assert_eq!(broker.ask(other).status, 401);
    }
    broker.p2pcf.quota = OriginQuota::new(2);
    let ask =
        |broker: &mut Broker, origin, operation| broker.ask(Request { origin, ..request(operation) }).status;
    assert_eq!(ask(&mut broker, other, Ok(None)), 200);
    assert_eq!(ask(&mut broker, other, Err(Refusal::Method)), 405);
    assert_eq!(ask(&mut broker, other, Ok(None)), 429);
    for origin in [Origin::Listed, Origin::Unnamed] {
        assert_eq!(ask(&mut broker, origin, Ok(None)), 200);
    }
}

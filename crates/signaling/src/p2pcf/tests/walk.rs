//! Random sequences of requests, time and restarts of pages, against a model of the room that is as simple as possible.

use proptest::prelude::*;

use super::*;

/// What happens next.
#[derive(Clone, Debug)]
enum Op {
    Read,
    Poll { page: usize },
    Publish { page: usize, changes: bool, to: Vec<usize> },
    Reload { page: usize },
    Delete { page: usize, with_key: bool },
    Wait { secs: u64 },
    Garbage { text: String },
}

const PAGES: usize = 4;

fn op() -> impl Strategy<Value = Op> {
    let page = 0..PAGES;
    prop_oneof![
        Just(Op::Read),
        page.clone().prop_map(|page| Op::Poll { page }),
        (page.clone(), any::<bool>(), prop::collection::vec(0..PAGES, 0..4))
            .prop_map(|(page, changes, to)| Op::Publish { page, changes, to }),
        page.clone().prop_map(|page| Op::Reload { page }),
        (page, any::<bool>()).prop_map(|(page, with_key)| Op::Delete { page, with_key }),
        (0..100_u64).prop_map(|secs| Op::Wait { secs }),
        ".{0,40}".prop_map(|text| Op::Garbage { text }),
    ]
}

/// The room as it must be: for each context its session, `t`, the sessions that it has packages for, and when it goes.
struct Model {
    broker: Broker,
    pages: Vec<Page>,
    room: BTreeMap<String, (String, i64, Vec<String>, Duration)>,
}

impl Model {
    fn new() -> Self {
        let pages = (0..PAGES).map(|n| page(&n.to_string())).collect();
        Self { broker: Broker::new(), pages, room: BTreeMap::new() }
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Read => {}
            Op::Poll { page } => {
                let page = self.pages[*page].clone();
                let listing = self.broker.listing(&page.poll());
                self.check_packages(&page, &listing);
            }
            Op::Publish { page, changes, to } => self.publish(*page, *changes, to),
            Op::Reload { page } => self.pages[*page] = self.pages[*page].reloaded(),
            Op::Delete { page, with_key } => self.delete(*page, *with_key),
            Op::Wait { secs } => {
                self.broker.wait(*secs);
                let now = self.broker.now;
                self.room.retain(|_, (_, _, _, ends)| *ends > now);
            }
            Op::Garbage { text } => assert_ne!(self.broker.ask(post_request(text)).status, 200),
        }
    }

    fn publish(&mut self, page: usize, changes: bool, to: &[usize]) {
        if changes {
            self.pages[page] = self.pages[page].changed();
        }
        let page = self.pages[page].clone();
        let packages = to.iter().map(|to| page.package_to(&self.pages[*to])).collect();
        let listing = self.broker.listing(&page.publish(&Value::Array(packages)));
        let stored = self.room.get(&page.context);
        if stored.is_none_or(|(_, changed_at, ..)| *changed_at != page.changed_at) {
            let to = to.iter().map(|to| self.pages[*to].session.clone()).collect();
            let ends = self.broker.now + Duration::from_secs(150);
            let entry = (page.session.clone(), page.changed_at, to, ends);
            self.room.insert(page.context.clone(), entry);
        }
        self.check_packages(&page, &listing);
    }

    fn delete(&mut self, page: usize, with_key: bool) {
        let page = &self.pages[page];
        let key = self.broker.p2pcf.keys.key(&page.room, &page.context);
        let body = page.delete(if with_key { &key } else { "key" });
        let is_there = self.room.get(&page.context).is_some_and(|(session, ..)| *session == page.session);
        let status = self.broker.ask(delete_request(&body)).status;
        assert_eq!(status, if is_there && with_key { 200 } else { 404 });
        if status == 200 {
            self.room.remove(&page.context);
        }
    }

    fn check_packages(&self, page: &Page, listing: &Value) {
        let others = self.room.iter().filter(|(context, _)| **context != page.context);
        let sent = others.flat_map(|(_, (_, _, to, _))| to).filter(|to| **to == page.session).count();
        assert_eq!(listing["pk"].as_array().unwrap().len(), sent);
    }

    fn check(&mut self) {
        let mut listed = self.broker.sessions();
        let mut expected: Vec<_> = self.room.values().map(|(session, ..)| session.clone()).collect();
        listed.sort();
        expected.sort();
        assert_eq!(listed, expected);
        assert_eq!(self.broker.p2pcf.rooms.is_empty(), self.room.is_empty());
        assert_eq!(members(&self.broker.calls).len(), self.room.len());
    }
}

/// The members that have joined and not left. Each joins once, and leaves at most once, after that.
fn members(calls: &[CallEvent]) -> BTreeSet<&MemberId> {
    let (mut present, mut known) = (BTreeSet::new(), BTreeSet::new());
    for event in calls {
        match event {
            CallEvent::Joined { member, .. } => assert!(known.insert(member) && present.insert(member)),
            CallEvent::Connected { .. } => assert!(!present.is_empty()),
            CallEvent::Left { member, .. } => assert!(present.remove(member), "{event:?}"),
            CallEvent::Unused { .. } => panic!("nothing is minted"),
        }
    }
    present
}

proptest! {
    #[test]
    fn any_sequence_of_requests_leaves_the_room_as_the_rules_say(ops in prop::collection::vec(op(), 1..80)) {
        let mut model = Model::new();
        for op in &ops {
            model.step(op);
            model.check();
        }
        model.step(&Op::Wait { secs: 150 });
        model.check();
        prop_assert!(model.broker.p2pcf.rooms.is_empty());
    }

    #[test]
    fn only_a_valid_publish_stores_anything_and_no_bytes_panic(body: Vec<u8>) {
        let mut broker = Broker::new();
        let _ = broker.ask(post_request(body));
        prop_assert!(broker.p2pcf.rooms.is_empty());
    }
}

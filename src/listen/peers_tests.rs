//! Tests of the table of connections.

use super::*;
use turn_base::{FORWARDED_FOR, SystemClock, clock};

const NONE: [usize; 0] = [];

pub(in crate::listen) fn peers() -> Arc<Peers> {
    peers_with(SOCKETS_MAX)
}

fn peers_with(most: usize) -> Arc<Peers> {
    let networks = ["10.0.0.0/8".parse().unwrap()].into();
    let trusted = TrustedProxies { networks, client_header: FORWARDED_FOR };
    Peers::new(trusted, most, Arc::new(SystemClock), Arc::new(Metrics::default()))
}

fn open(peers: &Arc<Peers>, peer: &str) -> Option<Arc<Slot>> {
    peers.admit(peer.parse().unwrap())
}

fn open_many(peers: &Arc<Peers>, peer: &str, count: usize) -> Vec<Arc<Slot>> {
    (0..count).map(|_| open(peers, peer).unwrap()).collect()
}

/// The indexes of the sockets that were told to end.
fn ended(sockets: &[Arc<Slot>]) -> Vec<usize> {
    let is_told = |socket: &Arc<Slot>| socket.connection.ended.is_cancelled();
    (0..sockets.len()).filter(|at| is_told(&sockets[*at])).collect()
}

#[test]
fn at_the_limit_the_longest_idle_socket_is_closed() {
    let peers = peers();
    let sockets = open_many(&peers, "192.0.2.1", SOCKETS_PER_PEER_MAX);
    // The first has had a response since then, the second is being served, the third waits for a body.
    let _ = sockets[0].connection.begin_service(false);
    sockets[0].connection.end_service(Duration::ZERO, 0);
    let _ = sockets[1].connection.begin_service(false);
    let _ = sockets[2].connection.begin_service(true);
    assert_eq!(ended(&sockets), NONE);
    let _more = open_many(&peers, "::ffff:192.0.2.1", 2);
    assert_eq!(ended(&sockets), [3, 4]);
    let _other = open_many(&peers, "192.0.2.2", SOCKETS_PER_PEER_MAX);
    let _proxy = open_many(&peers, "10.0.0.1", SOCKETS_PER_PEER_MAX + 1);
    assert_eq!(ended(&sockets), [3, 4], "other addresses");
}

#[test]
fn a_new_socket_is_refused_only_if_none_is_idle() {
    let peers = peers();
    let sockets = open_many(&peers, "192.0.2.1", SOCKETS_PER_PEER_MAX);
    let bodies: Vec<_> = sockets.iter().map(|socket| socket.connection.begin_service(true)).collect();
    bodies[1..].iter().for_each(turn_base::body::BodyProgress::arrived);
    let first = open(&peers, "192.0.2.1");
    assert!(first.is_some() && ended(&sockets) == [0], "its body has not arrived");
    let _ = first.as_ref().map(|socket| socket.connection.begin_service(false));
    assert!(open(&peers, "192.0.2.1").is_none());
    drop(first);
    assert!(open(&peers, "192.0.2.1").is_some(), "a closed socket has freed its slot");
}

#[test]
fn a_64_has_the_limit_of_a_peer_and_a_48_four_times_that() {
    let peers = peers();
    let mut sockets = open_many(&peers, "2001:db8:0:1::1", SOCKETS_PER_PEER_MAX);
    let _one_more = open(&peers, "2001:db8:0:1:ffff::1").unwrap();
    assert_eq!(ended(&sockets), [0], "the same /64");
    for site in 2..=4 {
        sockets.extend(open_many(&peers, &format!("2001:db8:0:{site}::1"), SOCKETS_PER_PEER_MAX));
    }
    assert_eq!(ended(&sockets), [0], "the /48 is full");
    let _fifth = open(&peers, "2001:db8:0:5::1").unwrap();
    assert_eq!(ended(&sockets), [0, 1], "the longest-idle of the /48");
    let _elsewhere = open(&peers, "2001:db8:1:1::1").unwrap();
    assert_eq!(ended(&sockets), [0, 1], "another /48");
}

#[test]
fn a_replica_counts_for_nobody_once_it_is_known() {
    let peers = peers();
    let replica = open(&peers, "192.0.2.1").unwrap();
    let sockets = open_many(&peers, "192.0.2.1", SOCKETS_PER_PEER_MAX - 1);
    replica.exempt();
    let _more = open(&peers, "192.0.2.1").unwrap();
    assert_eq!((ended(&sockets), ended(&[replica])), (vec![], vec![]));
}

/// A socket whose client reads nothing of a response of so many bytes.
fn ask(peers: &Arc<Peers>, peer: &str, bytes: usize) -> Arc<Slot> {
    let socket = open(peers, peer).unwrap();
    socket.connection.end_service(Duration::from_secs(75), bytes);
    peers.stalled(&socket.connection);
    socket
}

const MIB: usize = 1024 * 1024;

#[test]
fn the_oldest_unread_responses_make_room_and_idle_sockets_stay() {
    let peers = peers();
    let mut sockets = vec![open(&peers, "192.0.2.1").unwrap()];
    sockets.extend((0..7).map(|_| ask(&peers, "192.0.2.1", MIB)));
    assert_eq!(ended(&sockets), NONE);
    let _another = ask(&peers, "192.0.2.2", 7 * MIB);
    sockets.push(ask(&peers, "192.0.2.1", MIB));
    assert_eq!(ended(&sockets), [1]);
    sockets.push(ask(&peers, "192.0.2.1", 3 * MIB));
    assert_eq!(ended(&sockets), [1, 2, 3, 4]);
    sockets.push(ask(&peers, "192.0.2.1", 20 * MIB));
    assert_eq!(ended(&sockets), (1..10).collect::<Vec<_>>(), "one response alone may exceed the bound");
}

#[test]
fn the_buffers_of_the_system_count() {
    let peers = peers();
    let mut sockets = open_many(&peers, "192.0.2.1", SOCKETS_PER_PEER_MAX - 2);
    sockets.push(ask(&peers, "192.0.2.1", MIB));
    assert_eq!(ended(&sockets), NONE);
    sockets.push(ask(&peers, "192.0.2.1", MIB));
    assert_eq!(ended(&sockets), [SOCKETS_PER_PEER_MAX - 2]);
}

#[test]
fn a_48_may_keep_four_times_as_much_unread() {
    let peers = peers();
    let of_site = |site: usize| ask(&peers, &format!("2001:db8:1:{site:x}::1"), 7 * MIB);
    let mut sockets: Vec<_> = (0..4).map(of_site).collect();
    assert_eq!(ended(&sockets), NONE);
    sockets.push(of_site(4));
    assert_eq!(ended(&sockets), [0], "of another /64");
}

#[test]
fn a_connection_ends_when_it_has_waited_for_too_long_and_sooner_while_half_of_all_are_open() {
    let peers = peers();
    let sockets = open_many(&peers, "10.0.0.1", 3);
    sockets[0].connection.end_service(Duration::from_secs(620), 0);
    sockets[1].connection.end_service(Duration::from_secs(620), 0);
    sockets[1].exempt();
    let _ = sockets[2].connection.begin_service(true);
    let after = |span| clock::deadline(Duration::from_secs(span));
    let crowd = open_many(&peers, "10.0.0.1", SOCKETS_MAX / 2 - 4);
    peers.end_overdue(after(9));
    assert_eq!((ended(&sockets), ended(&crowd)), (vec![], vec![]), "one is missing");
    let _last = open(&peers, "10.0.0.1");
    peers.end_overdue(after(3));
    assert_eq!((ended(&sockets), ended(&crowd).len()), (vec![0], crowd.len()), "but not a replica");
    drop(crowd);
    peers.end_overdue(after(621));
    assert_eq!(ended(&sockets), [0, 1]);
}

#[test]
fn a_newcomer_finds_a_place_at_the_cost_of_the_address_with_most_sockets() {
    let peers = peers_with(64);
    let most = open_many(&peers, "192.0.2.1", SOCKETS_PER_PEER_MIN);
    let others: Vec<_> = (2..49).map(|nth| open(&peers, &format!("192.0.2.{nth}")).unwrap()).collect();
    assert_eq!(ended(&most), NONE, "one place is left");
    let _newcomer = open(&peers, "198.51.100.1").unwrap();
    assert_eq!((ended(&most), ended(&others)), (vec![0], vec![]), "the next one finds a place");
    peers.end_overdue(clock::timer_now());
    assert_eq!((ended(&most), ended(&others)), (vec![0, 1], vec![]), "nobody has left");
    let _more = open_many(&peers, "192.0.2.1", 3);
    assert!(ended(&most).len() > 2, "it has its share already");
}

#[test]
fn a_network_without_sockets_has_no_row() {
    let peers = peers();
    let sockets = open_many(&peers, "2001:db8::1", SOCKETS_PER_PEER_MAX + 5);
    assert_eq!((ended(&sockets).len(), peers.open()), (5, sockets.len()));
    drop(sockets);
    assert!(peers.table.lock().by_client.is_empty() && peers.open() == 0);
}

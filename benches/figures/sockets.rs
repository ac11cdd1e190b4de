//! Signaling sockets of y-webrtc, each with a topic of its own.

use std::net::{Ipv4Addr, TcpStream};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_tungstenite::tungstenite::client::client_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use crate::load::connect_from;
use crate::server::Server;

const SOCKETS: u16 = 4_096;
/// An address may have no more.
const PER_ADDRESS: u16 = 64;

/// Resident memory in MB of a broker with all sockets. Each has subscribed to its topic, and its ping was answered.
pub(crate) fn resident() -> f64 {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let server = Server::broker(&[("SIGNALING", "yjs")]);
    let _sockets: Vec<_> = (0..SOCKETS).map(|number| open(&server, number)).collect();
    server.resident()
}

fn open(server: &Server, number: u16) -> WebSocket<TcpStream> {
    let [third, fourth] = (number / PER_ADDRESS).to_be_bytes();
    let socket = connect_from(Ipv4Addr::new(127, 1 + third, fourth, 1), server.address);
    // The default is 128 KiB for each.
    let small = WebSocketConfig::default().read_buffer_size(1_024);
    let (mut socket, _) =
        client_with_config(format!("ws://{}/yjs", server.address), socket, Some(small)).unwrap();
    let subscribe = format!(r#"{{"type":"subscribe","topics":["room-{number}"]}}"#);
    socket.send(Message::text(subscribe)).unwrap();
    socket.send(Message::text(r#"{"type":"ping"}"#)).unwrap();
    assert!(socket.read().unwrap().into_text().unwrap().contains("pong"));
    socket
}

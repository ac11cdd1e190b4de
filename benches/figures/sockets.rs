//! Signaling sockets of y-webrtc, each with a topic of its own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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

fn open(server: &Server, number: u16) -> TcpStream {
    let [third, fourth] = (number / PER_ADDRESS).to_be_bytes();
    let mut socket = connect_from(Ipv4Addr::new(127, 1 + third, fourth, 1), server.address);
    let upgrade = "GET /yjs HTTP/1.1\r\nhost: bench\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(upgrade.as_bytes()).unwrap();
    read_until(&mut socket, "\r\n\r\n");
    let subscribe = format!(r#"{{"type":"subscribe","topics":["room-{number}"]}}"#);
    socket.write_all(&[frame(&subscribe), frame(r#"{"type":"ping"}"#)].concat()).unwrap();
    read_until(&mut socket, "pong");
    socket
}

/// A short text frame of a client. Its mask is zero.
fn frame(text: &str) -> Vec<u8> {
    let head = [0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    [&head[..], text.as_bytes()].concat()
}

fn read_until(socket: &mut TcpStream, text: &str) {
    let (mut seen, mut buffer) = (String::new(), [0; 512]);
    while !seen.contains(text) {
        let read = socket.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "closed after {seen:?}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
}

//! The loader: callers in a closed loop, each with a thread, a connection and a loopback address of its own, because the broker limits
//! the requests of one address. A response other than 2xx ends the bench.

use std::io::BufReader;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use tokio_tungstenite::tungstenite::client::client_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use crate::response::exchange;
use crate::server::Server;

/// The most signaling sockets of one address.
const SOCKETS_PER_ADDRESS: u16 = 64;

/// What one round has measured.
pub(crate) struct Load {
    /// Requests a second.
    pub(crate) rate: f64,
    /// User and system time of the server for a request, in microseconds.
    pub(crate) cpu: f64,
    /// Quantiles of the times of the requests, in milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Sends so many requests. `request` makes each of them from its number.
pub(crate) fn load(
    server: &Server,
    callers: u32,
    count: u32,
    request: impl Fn(u32) -> String + Sync,
) -> Load {
    let next = AtomicU32::new(0);
    let call = |socket: TcpStream| {
        let (mut times, mut socket) = (vec![], BufReader::new(socket));
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return times;
            }
            let (request, begun) = (request(number), Instant::now());
            exchange(&mut socket, &request).unwrap();
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    };
    let from = |caller| Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 1, 1).to_bits() + caller);
    let sockets: Vec<_> = (0..callers).map(|caller| connect_from(from(caller), server.address)).collect();
    let (cpu, begun) = (server.cpu(), Instant::now());
    let mut times: Vec<f64> = thread::scope(|scope| {
        let threads: Vec<_> = sockets.into_iter().map(|socket| scope.spawn(|| call(socket))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), server.cpu() - cpu);
    times.sort_by(f64::total_cmp);
    let [p50, p99] = [50, 99].map(|percent| times[times.len() * percent / 100]);
    Load { rate: f64::from(count) / seconds, cpu: cpu / f64::from(count), p50, p99 }
}

/// A connection from this address of this machine.
fn connect_from(from: Ipv4Addr, to: SocketAddrV4) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddrV4::new(from, 0)).unwrap();
    connect(&socket, &to).unwrap();
    let socket = TcpStream::from(socket);
    socket.set_nodelay(true).unwrap();
    socket
}

/// A signaling socket of y-webrtc with a topic of its own. It has subscribed, and its ping was answered.
pub(crate) fn open_socket(server: &Server, number: u16) -> WebSocket<TcpStream> {
    let [third, fourth] = (number / SOCKETS_PER_ADDRESS).to_be_bytes();
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

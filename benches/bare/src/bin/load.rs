//! `load ADDRESS CALLERS COUNT RATE METHOD PATH BODY [HEADER]...` sends COUNT requests over CALLERS connections.
//! RATE 0 is a closed loop: a caller sends its next request when it has its response.
//! Any other RATE is an open loop: request n is due n / RATE seconds after the start, and its latency counts from then.
//! So a stall of the server counts against every request that became due meanwhile.
//!
//! `{n}` stands for the request's number (12 digits), `{ip}` for an address that no other request has, `{line}` for the next line of the file
//! `LINES`. Each caller connects from its own
//! loopback address, because the broker limits the requests of one address. Prints `result REQUESTS ERRORS WHOLE P50 P99 P99.9
//! DELAY` in microseconds. An error is a status other than 2xx; any other failure ends the program. DELAY is how late the timer
//! of the open loop wakes an idle caller (99th percentile).

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

type Error = Box<dyn std::error::Error + Send + Sync>;

struct Plan {
    address: SocketAddr,
    callers: u32,
    count: u32,
    /// Requests a second; 0: closed loop.
    rate: u32,
    method: String,
    path: String,
    body: String,
    /// Each ends with CR LF.
    headers: String,
    lines: Vec<String>,
    next: AtomicU32,
}

#[derive(Default)]
struct Times {
    latencies: Vec<Duration>,
    delays: Vec<Duration>,
    errors: usize,
}

fn main() -> Result<(), Error> {
    let mut plan = Plan::parse(std::env::args().skip(1)).ok_or("see the first lines of load.rs")?;
    if let Some(path) = std::env::var_os("LINES") {
        plan.lines = std::fs::read_to_string(path)?.lines().map(str::to_owned).collect();
    }
    let sockets = (0..plan.callers).map(|caller| plan.connect(caller)).collect::<Result<Vec<_>, _>>()?;
    let mut all = Times::default();
    let started = Instant::now();
    thread::scope(|scope| {
        let start = |socket| {
            let plan = &plan;
            scope.spawn(move || plan.call(socket, started))
        };
        let callers: Vec<_> = sockets.into_iter().map(start).collect();
        for caller in callers {
            let times = caller.join().map_err(|_| "a caller panicked")??;
            all.latencies.extend(times.latencies);
            all.delays.extend(times.delays);
            all.errors += times.errors;
        }
        Ok::<_, Error>(())
    })?;
    let whole = started.elapsed().as_micros();
    let [p50, p99, p999] = [500, 990, 999].map(|permille| quantile(&mut all.latencies, permille));
    let delay = quantile(&mut all.delays, 990);
    println!("result {} {} {whole} {p50} {p99} {p999} {delay}", all.latencies.len(), all.errors);
    Ok(())
}

fn quantile(times: &mut [Duration], permille: usize) -> u128 {
    times.sort_unstable();
    times.get(times.len() * permille / 1_000).map_or(0, Duration::as_micros)
}

impl Plan {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        Some(Self {
            address: arguments.next()?.parse().ok()?,
            callers: arguments.next()?.parse().ok()?,
            count: arguments.next()?.parse().ok()?,
            rate: arguments.next()?.parse().ok()?,
            method: arguments.next()?,
            path: arguments.next()?,
            body: arguments.next()?,
            headers: arguments.map(|line| line + "\r\n").collect(),
            lines: vec![],
            next: AtomicU32::new(0),
        })
    }

    fn connect(&self, caller: u32) -> std::io::Result<TcpStream> {
        let from = Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 1, 1).to_bits() + caller);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect(&self.address.into())?;
        socket.set_tcp_nodelay(true)?;
        Ok(socket.into())
    }

    fn call(&self, mut socket: TcpStream, started: Instant) -> Result<Times, Error> {
        let mut times = Times::default();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return Ok(times);
            }
            let request = self.request(number);
            let mut asked = Instant::now();
            if self.rate > 0 {
                let due = started + Duration::from_secs(1) * number / self.rate;
                if due > asked {
                    thread::sleep(due - asked);
                    times.delays.push(due.elapsed());
                }
                asked = due;
            }
            socket.write_all(request.as_bytes())?;
            let is_good = response(&mut socket, &mut buffer)?;
            times.latencies.push(asked.elapsed());
            times.errors += usize::from(!is_good);
        }
    }

    fn request(&self, number: u32) -> String {
        let Self { method, path, body, headers, lines, .. } = self;
        let line = lines.get(number as usize % lines.len().max(1)).map_or("", String::as_str);
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number).to_string();
        let fill = |text: &str| text.replace("{n}", &format!("{number:012}")).replace("{ip}", &address).replace("{line}", line);
        let (head, body) =
            (fill(&format!("{method} {path} HTTP/1.1\r\nhost: bench\r\n{headers}")), fill(body));
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        format!("{head}{length}\r\n{body}")
    }
}

/// Reads one response and says whether its status is 2xx. A body needs a `content-length`, which the servers here send.
fn response(socket: &mut TcpStream, buffer: &mut [u8]) -> Result<bool, Error> {
    let mut length = 0;
    loop {
        let read = socket.read(&mut buffer[length..])?;
        if read == 0 {
            return Err("the connection ended, or the response is too long".into());
        }
        length += read;
        let Some(head) = buffer[..length].windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&buffer[..head])?.to_ascii_lowercase();
        let body = match text.split("\r\ncontent-length: ").nth(1) {
            Some(rest) => rest.lines().next().unwrap_or_default().parse()?,
            None if text.contains("\r\ntransfer-encoding: ") => return Err("the response is chunked".into()),
            None => 0,
        };
        if length == head + 4 + body {
            return Ok(text.starts_with("http/1.1 2"));
        }
    }
}

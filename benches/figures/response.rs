//! Requests and responses in HTTP/1.1.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n")
}

/// The body of the response to one `GET`. An error as in [`exchange`], and for no response in 20 s.
pub(crate) fn body(address: SocketAddrV4, path: &str) -> Result<String> {
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    exchange(&mut BufReader::new(socket), &get(path))
}

/// Sends a request and returns the body of its response, which needs a `content-length`. An error for a status other than 2xx.
pub(crate) fn exchange(socket: &mut BufReader<TcpStream>, request: &str) -> Result<String> {
    socket.get_mut().write_all(request.as_bytes())?;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if socket.read_line(&mut head)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    let length = head.split("\r\ncontent-length: ").nth(1).and_then(|rest| rest.lines().next());
    let mut body = vec![0; length.map_or(Ok(0), str::parse).map_err(Error::other)?];
    socket.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    if head.starts_with("HTTP/1.1 2") { Ok(body) } else { Err(Error::other(head + &body)) }
}

//! Requests and responses in HTTP/1.1.

use std::io::{Error, Read, Result, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n")
}

/// The body of the response to one `GET`. An error for a status other than 2xx, and for none in 20 s.
pub(crate) fn body(address: SocketAddrV4, path: &str) -> Result<String> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    socket.write_all(get(path).as_bytes())?;
    let mut buffer = vec![0; 64 * 1024];
    let body = response(&mut socket, &mut buffer)?;
    Ok(String::from_utf8_lossy(body).into_owned())
}

/// Reads one response and returns its body, which needs a `content-length`.
pub(crate) fn response<'a>(socket: &mut TcpStream, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    let mut length = 0;
    loop {
        let read = socket.read(&mut buffer[length..])?;
        if read == 0 {
            return Err(Error::other("the connection ended, or the response is too long"));
        }
        length += read;
        let Some(head) = buffer[..length].windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let announced = text.split("\r\ncontent-length: ").nth(1).and_then(|rest| rest.lines().next());
        let body = announced.map_or(Ok(0), str::parse).map_err(Error::other)?;
        if length == head + 4 + body {
            if text.starts_with("http/1.1 2") {
                return Ok(&buffer[head + 4..length]);
            }
            return Err(Error::other(String::from_utf8_lossy(&buffer[..length]).into_owned()));
        }
    }
}

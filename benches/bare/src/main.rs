//! A server to compare with: `bare PORT BYTES` is one axum route without layers, state or log. It responds with BYTES of JSON.
//! Its runtime and its sockets have the same settings as the broker's.

use std::net::Ipv4Addr;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<usize> =
        std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let [port, bytes] = arguments[..] else { return Err("bare PORT BYTES".into()) };
    let body: &'static str = format!("\"{}\"", "x".repeat(bytes.saturating_sub(2))).leak();
    let route = get(async move || ([(CONTENT_TYPE, "application/json")], body));
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, u16::try_from(port)?)).await?;
        let listener = listener.tap_io(|socket| {
            let _ = socket.set_nodelay(true);
        });
        axum::serve(listener, Router::new().route("/api/bandwidth-status", route)).await?;
        Ok(())
    })
}

//! A WebSocket through a standby: bytes are passed on in both directions. The leader has the protocol, with its limits and timers.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;

/// The buffer of each direction. Bytes.
const BUFFER: usize = 4 * 1024;

/// Passes bytes on until one side has closed, or until `cut`. Then both connections are closed.
pub(super) async fn pass_on(client: OnUpgrade, leader: OnUpgrade, cut: impl Future<Output = ()>) {
    let passed_on = async {
        let (client, leader) = tokio::try_join!(client, leader).ok()?;
        let (mut client, mut leader) = (TokioIo::new(client), TokioIo::new(leader));
        copy_bidirectional_with_sizes(&mut client, &mut leader, BUFFER, BUFFER).await.ok()
    };
    tokio::select! {
        _ = passed_on => {}
        () = cut => {}
    }
}

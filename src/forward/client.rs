//! The HTTP clients of a replica for the leader: one for requests, and one for the sockets that it passes on.

use std::time::Duration;

use axum::body::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// The longest time to connect to the leader.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Idle connections to the leader.
const IDLE_MAX: usize = 64;
/// How long they are kept. The leader closes them later, also one on which there was no request yet.
const IDLE_TIME_MAX: Duration = Duration::from_secs(8);
/// A leader whose machine acknowledges nothing for this long is gone. A process that only stands still is not: its machine answers.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);
/// How often a machine of which nothing is heard is asked whether it is there.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// The system's buffer for what the leader sends to a WebSocket, in bytes. Linux doubles it. What does not fit there waits at the leader,
/// which bounds what it keeps for a client that does not read. Long responses would take longer with it.
const RECEIVE_BUFFER: usize = 16 * 1024;

pub(super) type LeaderClient = Client<HttpConnector, Full<Bytes>>;

pub(super) fn client() -> LeaderClient {
    build(connector(None))
}

/// For the requests that open sockets.
pub(super) fn socket_client() -> LeaderClient {
    build(connector(Some(RECEIVE_BUFFER)))
}

fn connector(receive_buffer: Option<usize>) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_MAX));
    connector.set_nodelay(true);
    connector.set_keepalive(Some(PROBE_INTERVAL));
    connector.set_keepalive_interval(Some(PROBE_INTERVAL));
    connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
    connector.set_recv_buffer_size(receive_buffer);
    connector
}

fn build(connector: HttpConnector) -> LeaderClient {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(IDLE_MAX)
        .pool_idle_timeout(IDLE_TIME_MAX)
        .build(connector)
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::{
        set_socket_send_buffer_size, socket_keepalive, tcp_keepidle, tcp_keepintvl, tcp_user_timeout,
    };
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::time::timeout;
    use tower::Service;

    use super::*;

    #[tokio::test]
    async fn a_machine_that_is_gone_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let connection = connector(None).call(url).await.unwrap();
        let socket = connection.inner();
        assert!(socket_keepalive(socket).unwrap());
        assert_eq!(tcp_keepidle(socket).unwrap(), PROBE_INTERVAL);
        assert_eq!(tcp_keepintvl(socket).unwrap(), PROBE_INTERVAL);
        assert_eq!(tcp_user_timeout(socket).unwrap(), 5_000);
    }

    #[tokio::test]
    async fn what_a_leader_sends_to_a_socket_whose_client_does_not_read_waits_at_the_leader() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let _unread = connector(Some(RECEIVE_BUFFER)).call(url).await.unwrap();
        let (mut leader, _) = listener.accept().await.unwrap();
        set_socket_send_buffer_size(&leader, 1).unwrap();
        let mut sent = 0;
        while let Ok(written) = timeout(Duration::from_millis(100), leader.write(&[0; 1024])).await {
            sent += written.unwrap();
        }
        assert!(sent < 4 * RECEIVE_BUFFER, "{sent}");
    }
}

//! A WebSocket client for tests of signaling. It sends what it is told and answers nothing by itself but control pings.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::finished;
use crate::support::prelude::*;

pub(crate) struct SocketClient(WebSocketStream<TcpStream>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Text(String),
    /// A control ping.
    Ping,
    /// Code and reason.
    Close(u16, String),
    /// The end without a close frame.
    Gone,
}

impl SocketClient {
    /// Opens a socket at a path with a query. `Err` has the status and the body of a refusal.
    pub(crate) async fn open(
        broker: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, (u16, String)> {
        let mut request: Request = format!("ws://{broker}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            let name = HeaderName::from_static(name);
            request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        let stream = TcpStream::connect(broker).await.unwrap();
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                Err((response.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
            }
            Err(error) => panic!("the handshake failed: {error}"),
        }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// Sends a frame, of which the broker may read only a part.
    pub(crate) async fn try_send(&mut self, text: &str) {
        let _ = self.0.send(Message::text(text)).await;
    }

    pub(crate) async fn send_json(&mut self, value: &Value) {
        self.send(&value.to_string()).await;
    }

    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        self.0.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// Sends the first fragment of a text message that does not end. `Err` if the broker has ended the connection.
    pub(crate) async fn begin_text(&mut self, bytes: usize) -> Result<(), Error> {
        let frame = Frame::message(vec![b'x'; bytes], OpCode::Data(Data::Text), false);
        self.0.send(Message::Frame(frame)).await
    }

    /// Sends a close frame, which the broker answers. Without that answer, a browser takes the end for a failure.
    pub(crate) async fn close(mut self) {
        self.0.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).await.unwrap();
        assert_eq!(self.closed().await.0, 1000);
    }

    pub(crate) async fn next(&mut self) -> Got {
        let message = finished("something arrives", self.0.next()).await;
        match message {
            Some(Ok(Message::Text(text))) => Got::Text(text.to_string()),
            Some(Ok(Message::Ping(_))) => Got::Ping,
            Some(Ok(Message::Close(Some(frame)))) => Got::Close(frame.code.into(), frame.reason.to_string()),
            Some(Ok(Message::Close(None))) => Got::Close(1005, String::new()),
            Some(Ok(other)) => panic!("unexpected: {other:?}"),
            Some(Err(_)) | None => Got::Gone,
        }
    }

    /// The next text frame, as JSON. Control pings are skipped.
    pub(crate) async fn next_json(&mut self) -> Value {
        loop {
            match self.next().await {
                Got::Text(text) => return serde_json::from_str(&text).unwrap(),
                Got::Ping => {}
                other => panic!("expected a text frame, got {other:?}"),
            }
        }
    }

    /// The close frame; frames before it are skipped.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        match self.end().await {
            Got::Close(code, reason) => (code, reason),
            other => panic!("expected a close frame, got {other:?}"),
        }
    }

    /// How the connection ends; frames before it are skipped.
    pub(crate) async fn end(&mut self) -> Got {
        loop {
            match self.next().await {
                Got::Text(_) | Got::Ping => {}
                end => return end,
            }
        }
    }
}

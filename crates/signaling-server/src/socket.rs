//! One signaling socket: the upgrade, and the task that reads and writes it. The task ends when the client closes or fails, or
//! after the protocol's close frame, and then tells the protocol once.

use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::request::Parts;
use tokio_tungstenite::tungstenite;
use tokio_util::task::TaskTracker;
use turn_base::{Received, WebClient, page_origin, user_of};
use turn_signaling::{Dropped, SocketId, Upgrade, peerjs};

use super::prelude::*;
use crate::effects::closing;
use crate::memory::READ_BUFFER;
use crate::occupancy::Place;
use crate::outbox::Frame;
use crate::{AnyHub, AyameConfig, Mailbox, Memory, Occupancy, OpenSocket, Polls};

/// The longest time for which a client may read nothing of what is sent to it.
pub(crate) const WRITE_MAX: Duration = Duration::from_secs(10);
/// The longest wait at the end of a socket: for the client's close frame, or for the write of the answer to it.
pub(crate) const CLOSE_MAX: Duration = Duration::from_secs(2);
/// The shortest time for which a socket occupies its place. So in this time one address opens at most as many sockets as it may
/// have open.
pub(crate) const PLACE_MIN: Duration = Duration::from_secs(1);
/// The least that a frame counts as, in bytes: an empty frame makes work, too.
const FRAME_COST: usize = 128;
/// A frame that is longer than allowed by up to this much is read to its end, so that the client receives the close frame. A
/// longer one ends the connection. Bytes.
const OVERLONG: usize = 64 * 1024;

/// What the sockets of all protocols share.
pub(crate) struct Sockets {
    pub(crate) hubs: Vec<Arc<dyn AnyHub>>,
    /// How many sockets are open.
    pub(crate) occupancy: Arc<Occupancy>,
    /// What waits at the sockets.
    pub(crate) memory: Memory,
    /// Ayame's settings; `None` if it is off.
    pub(crate) ayame: Option<AyameConfig>,
    /// Limits the log lines about webhooks that failed.
    pub(crate) webhook_log: Throttle,
    /// Webhooks, sign-ins and mints in progress.
    pub(crate) tasks: TaskTracker,
    /// How often pages may poll.
    pub(crate) polls: Arc<Polls>,
    pub(crate) service: Arc<Service>,
}

impl Sockets {
    /// The protocol with this name; `None` if it is off.
    pub(crate) fn hub(&self, name: ProtocolName) -> Option<&Arc<dyn AnyHub>> {
        self.hubs.iter().find(|hub| hub.common().name == name)
    }

    /// Takes a place for a socket. If none is free, a request is refused before the upgrade.
    pub(crate) fn place(&self, holder: &Holder) -> Result<Arc<Place>, ApiError> {
        self.occupancy.take(holder).inspect_err(|_| self.service.broker.count(Counted::Limited("refused")))
    }

    /// Keeps a place while a socket is served, but for [`PLACE_MIN`] at least. A shutdown does not wait for that.
    async fn hold(&self, place: Arc<Place>, ended: impl Future<Output = ()>) {
        let freed_at = clock::deadline(PLACE_MIN);
        ended.await;
        if !self.occupancy.places.is_closed() {
            tokio::time::sleep_until(freed_at).await;
        }
        drop(place);
    }
}

pub(crate) struct SocketRequest {
    pub(crate) upgrade: WebSocketUpgrade,
    pub(crate) web_client: WebClient,
    /// The client, with the user of the token. A name that somebody has only chosen is in [`Self::known`] alone.
    pub(crate) holder: Holder,
    /// What the protocol is told about the socket.
    pub(crate) known: Upgrade,
}

impl SocketRequest {
    /// Opens the socket, also without a user's token. A protocol that needs one has required it before. The connection counts what arrives
    /// with [`Received`], which is an extension of the response.
    pub(crate) fn open(self, sockets: &Arc<Sockets>, protocol: ProtocolName) -> Result<Response, ApiError> {
        let Self { upgrade, web_client, holder, known } = self;
        let hub = Arc::clone(sockets.hub(protocol).ok_or_else(ApiError::internal)?);
        let place = sockets.place(&holder)?;
        let mailbox = sockets.memory.open(&holder, hub.common().limits);
        let max = hub.common().limits.frame_max + OVERLONG;
        let request = upgrade.read_buffer_size(READ_BUFFER).write_buffer_size(0).max_frame_size(max);
        let of_connection = Arc::clone(&mailbox);
        let session = Session { sockets: Arc::clone(sockets), hub, mailbox, place };
        let mut response = request.max_message_size(max).on_upgrade(move |socket| async move {
            let (sockets, place) = (Arc::clone(&session.sockets), Arc::clone(&session.place));
            sockets.hold(place, session.serve(socket, web_client, known)).await;
        });
        let received = Received(Arc::new(move |bytes, now| of_connection.received(bytes, now)));
        response.extensions_mut().insert(received);
        Ok(response)
    }
}

/// Answers a request with a socket that first gets the text `first` and is closed after [`PLACE_MIN`], because y-webrtc connects again at
/// once. The socket takes a place like any other.
pub(crate) fn refuse(
    sockets: &Arc<Sockets>,
    client: ClientKey,
    request: WebSocketUpgrade,
    first: Option<String>,
    close: Closing,
) -> Result<Response, ApiError> {
    let place = sockets.place(&client.into())?;
    let sockets = Arc::clone(sockets);
    let request = request.read_buffer_size(READ_BUFFER).write_buffer_size(0);
    let request = request.max_frame_size(OVERLONG).max_message_size(OVERLONG);
    Ok(request.on_upgrade(move |mut socket| async move {
        let refused = async {
            if let Some(text) = first {
                send(&mut socket, Message::Text(text.into())).await;
            }
            tokio::time::sleep(PLACE_MIN).await;
            say_goodbye(&mut socket, close).await;
        };
        sockets.hold(place, refused).await;
    }))
}

/// What the task of a socket needs.
struct Session {
    sockets: Arc<Sockets>,
    hub: Arc<dyn AnyHub>,
    mailbox: Arc<Mailbox>,
    place: Arc<Place>,
}

impl Session {
    async fn serve(self, mut socket: WebSocket, web_client: WebClient, known: Upgrade) {
        let (mailbox, place) = (Arc::clone(&self.mailbox), Arc::downgrade(&self.place));
        let open = OpenSocket { mailbox, place, web_client, user: known.user.clone() };
        let (id, first) = self.hub.open(open, known);
        self.sockets.begin(&self.hub, first);
        let closing = tokio::select! {
            biased;
            () = self.mailbox.ended.cancelled() => None,
            closing = self.run(id, &mut socket) => closing,
        };
        self.sockets.take(&self.hub, Event::Closed { socket: id });
        if let Some(close) = closing {
            say_goodbye(&mut socket, close).await;
        }
    }

    /// Passes frames on in both directions. Returns the close frame to send; `None` if the client has closed, or has gone.
    async fn run(&self, id: SocketId, socket: &mut WebSocket) -> Option<Closing> {
        loop {
            let event = tokio::select! {
                biased;
                frame = self.mailbox.outbox.next() => {
                    let message = match frame {
                        Frame::Close(close) => return Some(close),
                        Frame::Ping => Message::Ping(Bytes::new()),
                        // The bytes are those of a text, so this never fails.
                        Frame::Text(text) => {
                            Message::Text(Utf8Bytes::try_from(Bytes::from_owner(text)).unwrap_or_default())
                        }
                    };
                    let _writing = self.mailbox.writing(length(&message));
                    send(socket, message).await?;
                    continue;
                }
                message = socket.recv() => match message? {
                    Ok(Message::Close(_)) => return answer_close(socket).await,
                    Ok(message) => self.event(id, message),
                    Err(error) => return self.closing_of(&error),
                },
            };
            match event {
                Ok(event) => self.sockets.take(&self.hub, event),
                Err(close) => return Some(close),
            }
            // While more frames have already arrived, nothing above waits. Without this line, other tasks would never have their turn.
            tokio::task::consume_budget().await;
        }
    }

    /// The close frame for a failed read. `None` if the connection is gone.
    fn closing_of(&self, error: &axum::Error) -> Option<Closing> {
        match std::error::Error::source(error)?.downcast_ref()? {
            tungstenite::Error::Capacity(_) => {
                self.hub.common().dropped(Dropped::TooLong);
                Some(TOO_LONG)
            }
            tungstenite::Error::Utf8(_) => Some(NOT_TEXT),
            tungstenite::Error::Protocol(_) => Some(BROKEN),
            _ => None,
        }
    }

    /// A message as an event of the protocol, or the close frame that answers it.
    fn event(&self, socket: SocketId, message: Message) -> Result<Event<Text>, Closing> {
        match &message {
            Message::Ping(bytes) | Message::Pong(bytes) => self.mailbox.inbox.control(bytes.len()),
            Message::Text(_) | Message::Binary(_) | Message::Close(_) => self.mailbox.inbox.complete(),
        }
        if self.mailbox.inbox.is_overdue(clock::timer_now()) {
            self.sockets.service.broker.count(Counted::Limited("unfinished"));
            return Err(UNFINISHED);
        }
        if length(&message) > self.hub.common().limits.frame_max {
            self.hub.common().dropped(Dropped::TooLong);
            return Err(TOO_LONG);
        }
        if !self.hub.common().charge_received(&self.place.holder(), length(&message).max(FRAME_COST)) {
            return Err(Closing::POLICY);
        }
        match message {
            // A copy: the library's frame would keep its whole read buffer, as long as the frame waits for another client.
            Message::Text(text) => Ok(Event::Text { socket, frame: text.as_str().into() }),
            Message::Binary(_) => Ok(Event::Binary { socket }),
            // The library answers pings by itself.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(Event::Pong { socket }),
        }
    }
}

/// The length of a message, in bytes.
fn length(message: &Message) -> usize {
    // The clone shares the bytes.
    message.clone().into_data().len()
}

const TOO_LONG: Closing = Closing { code: 1009, reason: "message too long" };
const UNFINISHED: Closing = Closing { code: 1008, reason: "message not finished" };
const NOT_TEXT: Closing = Closing { code: 1007, reason: "not UTF-8" };
const BROKEN: Closing = Closing { code: 1002, reason: "protocol error" };

/// Sends a message. `None` if the client has gone, or reads nothing for [`WRITE_MAX`].
async fn send(socket: &mut WebSocket, message: Message) -> Option<()> {
    tokio::time::timeout_at(clock::deadline(WRITE_MAX), socket.send(message)).await.ok()?.ok()
}

/// Sends a close frame, and waits a moment for the client's.
async fn say_goodbye(socket: &mut WebSocket, close: Closing) {
    let frame = CloseFrame { code: close.code, reason: Utf8Bytes::from_static(close.reason) };
    if send(socket, Message::Close(Some(frame))).await.is_none() {
        return;
    }
    let answered = async { while let Some(Ok(_)) = socket.recv().await {} };
    let _ = tokio::time::timeout_at(clock::deadline(CLOSE_MAX), answered).await;
}

/// Sends the answer to a client's close frame: the library has the answer ready, and writes it at the next read. No other close frame
/// follows.
async fn answer_close(socket: &mut WebSocket) -> Option<Closing> {
    let _ = tokio::time::timeout_at(clock::deadline(CLOSE_MAX), socket.recv()).await;
    None
}

// A request for a socket. It must ask for an upgrade, in all protocols, and may carry the user's token. A token that is refused closes the
// socket instead of failing the upgrade, because a page cannot read the response of a failed upgrade. At `PeerJS` a missing token closes
// the socket too. There a message comes before the close frame: the client shows the page messages, but no close frames. The rule about
// origins is a layer around the routes.

impl FromRequest<Arc<Sockets>> for SocketRequest {
    type Rejection = Response;

    async fn from_request(request: Request, sockets: &Arc<Sockets>) -> Result<Self, Response> {
        let (mut parts, _) = request.into_parts();
        let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, sockets).await;
        let no_upgrade =
            || ApiError::upgrade_required("Open a WebSocket here: docs/SIGNALING.md names the clients.");
        let upgrade = upgrade.map_err(|_| no_upgrade().into_response())?;
        let address = parts.extensions.get().copied();
        let ClientAddr(address) = address.ok_or_else(|| ApiError::internal().into_response())?;
        let query = parts.uri.query();
        let client = ClientKey::of(address);
        let is_peerjs = parts.extensions.get() == Some(&ProtocolName::Peerjs);
        let user = match user_of(&*sockets.service.broker, &parts.headers, query, client, is_peerjs).await {
            Ok(user) => user,
            Err(why) => {
                let first = is_peerjs.then(|| peerjs::refusal(why.body.code));
                let refused = refuse(sockets, client, upgrade, first, closing(&why));
                return Err(refused.into_response());
            }
        };
        let known = known(sockets, &parts, user.clone()).map_err(IntoResponse::into_response)?;
        let web_client = WebClient { address, origin: page_origin(&parts.headers) };
        Ok(Self { upgrade, web_client, holder: Holder::new(client, user), known })
    }
}

/// What the protocol is told, before a route adds what it knows.
fn known(sockets: &Sockets, parts: &Parts, user: Option<User>) -> Result<Upgrade, ApiError> {
    let query = parts.uri.query().unwrap_or_default();
    let wanted = sockets.ayame.iter().flat_map(|ayame| &ayame.copied_headers);
    let copied = wanted.filter_map(|name| {
        let value = parts.headers.get(name)?.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    Ok(Upgrade {
        room: None,
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: copied.collect(),
        user,
        visitor: 0,
        wall_millis: u64::try_from(sockets.service.clock.now().as_millis()).unwrap_or(0),
        random: u128::from_be_bytes(random::bytes()?),
    })
}

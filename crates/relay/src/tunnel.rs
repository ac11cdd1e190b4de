//! Whether a relay can be used as a tunnel into private networks or for TCP, or by one credential for many calls: `doctor` asks for all of
//! that, and all must be refused.

use stun::agent::TransactionId;
use stun::attributes::{ATTR_NONCE, ATTR_REALM, ATTR_USERNAME};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, METHOD_ALLOCATE, Message, MessageType, Setter as _,
};
use stun::textattrs::TextAttribute;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use turn::proto::PROTO_TCP;
use turn::proto::reqtrans::RequestedTransport;

use crate::client::{Allocation, RelayError, STEP};
use crate::client_socket::UdpRelay;
use crate::prelude::*;

/// Addresses that no relay on the internet should reach: a private network, and where clouds tell machines their secrets.
const PRIVATE: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(169, 254, 169, 254)];
/// The port of `discard`.
const DISCARD: u16 = 9;
/// The length of the head of a message.
const HEAD: usize = 20;

/// The first private address that the relay would relay to. Sends one empty datagram there if so.
pub async fn private_peer(relay: &UdpRelay) -> Result<Option<Ipv4Addr>, RelayError> {
    let allocation = Allocation::open(relay, false).await?;
    let mut allowed = None;
    for peer in PRIVATE {
        if allowed.is_none() && allocation.permits(SocketAddr::from((peer, DISCARD))).await {
            allowed = Some(peer);
        }
    }
    allocation.close().await;
    Ok(allowed)
}

/// How many allocations a credential can have at once, of `most` that are tried.
pub async fn allocations_of_one(relay: &UdpRelay, most: usize) -> usize {
    let mut allocations = Vec::new();
    while allocations.len() < most
        && let Ok(allocation) = Allocation::open(relay, false).await
    {
        allocations.push(allocation);
    }
    let count = allocations.len();
    for allocation in allocations {
        allocation.close().await;
    }
    count
}

/// Whether the relay makes an allocation for TCP to peers (RFC 6062). `None`: it has no answer over TCP.
pub async fn relays_tcp(relay: &UdpRelay) -> Option<bool> {
    timeout(STEP, allocate_tcp(relay)).await.ok().flatten()
}

async fn allocate_tcp(relay: &UdpRelay) -> Option<bool> {
    let mut socket = TcpStream::connect(relay.address).await.ok()?;
    let challenge = ask(&mut socket, &request(&[])?).await?;
    let [realm, nonce] =
        [ATTR_REALM, ATTR_NONCE].map(|kind| TextAttribute::get_from_as(&challenge, kind).ok());
    let (realm, nonce) = (realm?, nonce?);
    let username = TextAttribute { attr: ATTR_USERNAME, text: relay.username.clone() };
    let signature = MessageIntegrity::new_long_term_integrity(
        relay.username.clone(),
        realm.text.clone(),
        relay.password.clone(),
    );
    let answer = ask(&mut socket, &request(&[&username, &realm, &nonce, &signature, &FINGERPRINT])?).await?;
    // The allocation ends with the connection.
    Some(answer.typ.class == CLASS_SUCCESS_RESPONSE)
}

fn request(attributes: &[&dyn stun::message::Setter]) -> Option<Message> {
    let mut message = Message { typ: MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST), ..Message::default() };
    message.write_header();
    TransactionId::new().add_to(&mut message).ok()?;
    RequestedTransport { protocol: PROTO_TCP }.add_to(&mut message).ok()?;
    attributes.iter().try_for_each(|attribute| attribute.add_to(&mut message)).ok()?;
    Some(message)
}

async fn ask(socket: &mut TcpStream, request: &Message) -> Option<Message> {
    socket.write_all(&request.raw).await.ok()?;
    let mut packet = vec![0; HEAD];
    socket.read_exact(&mut packet).await.ok()?;
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    packet.resize(HEAD + length, 0);
    socket.read_exact(&mut packet[HEAD..]).await.ok()?;
    let mut answer = Message::new();
    answer.unmarshal_binary(&packet).ok()?;
    Some(answer)
}

//! The operator's view of signaling: the calls that are going on, and the end of a room. Tests: `tests/it/signaling/calls.rs`.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use turn_signaling::{Call, CallName, Member, MemberId, ProtocolName};

use super::prelude::*;
use crate::account::SpentIn;

/// Longest list of calls.
const LIST_MAX: usize = 1_000;

/// The calls that are going on.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiveCallsBody {
    /// Sorted by protocol and room; the first 1000.
    calls: Vec<LiveCallBody>,
    /// Number of calls.
    #[schema(example = 1)]
    total: usize,
}

/// One call: a room while somebody is in it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveCallBody {
    #[schema(schema_with = schema::protocol)]
    protocol: &'static str,
    /// The room, as its clients name it.
    #[schema(example = "room-1")]
    room: String,
    /// When its first member joined.
    #[schema(value_type = String, format = DateTime, example = "2025-01-15T11:40:00Z")]
    started_at: Timestamp,
    /// Whether its members are connected to each other, as far as the protocol can see.
    connected: bool,
    /// What the grants of this room have used in this period, as in `GET /api/spenders?by=call`. Null without such grants.
    #[schema(required = true, example = 24_300_000)]
    bytes: Option<u64>,
    /// Sorted by id.
    members: Vec<MemberBody>,
}

/// A member of a call.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberBody {
    /// Its id, which no other member ever has.
    #[schema(example = "01JHN4V8ZP4M6Q2TB1Y5RC3XKD")]
    id: String,
    /// The user, if a token or a trusted proxy named one.
    #[schema(required = true, example = "ann")]
    user: Option<String>,
    /// The grants that were minted for it, or that of its session of the SFU.
    #[schema(example = json!(["nT3k1s0wQ2Gv8Zb5yXhJ4A"]))]
    grants: Vec<String>,
    /// When it joined.
    #[schema(value_type = String, format = DateTime, example = "2025-01-15T11:40:00Z")]
    joined_at: Timestamp,
}

/// What was ended in a room.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndedRoomBody {
    /// The room.
    #[schema(example = "room-1")]
    room: String,
    /// One entry for each protocol that had a room of this name.
    ended: Vec<EndedCallBody>,
    /// Grants that were revoked.
    #[schema(example = 2)]
    revoked: usize,
}

/// A call that was ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndedCallBody {
    #[schema(schema_with = schema::protocol)]
    protocol: &'static str,
    /// Members that were in it.
    #[schema(example = 2)]
    members: usize,
}

/// Lists the calls that are going on.
///
/// These are the rooms of the broker's own signaling (`SIGNALING`) with somebody in them.
#[utoipa::path(
    get, path = "/api/calls-live",
    responses((status = 200, description = "The calls.", body = LiveCallsBody))
)]
pub async fn list_live_calls(app: AppState) -> Json<LiveCallsBody> {
    let mut calls = app.core.calls.list();
    calls.extend(app.sfu.iter().flat_map(|proxy| proxy.calls()));
    let total = calls.len();
    let list = app.account.spenders(SpenderKind::Call, SpentIn::ThisPeriod).await;
    let bytes: HashMap<_, _> = list.rows.iter().map(|row| (row.key.as_ref(), row.sums.bytes())).collect();
    let live = |(name, call): (&CallName, &Call)| {
        let key = SpenderKey::Call(turn_ledger::Call::of(name.protocol.as_str(), &name.room));
        live_call(name, call, bytes.get(&Some(&key)).copied())
    };
    let calls = calls.iter().take(LIST_MAX).map(live).collect();
    Json(LiveCallsBody { calls, total })
}

fn live_call(name: &CallName, call: &Call, bytes: Option<ByteCount>) -> LiveCallBody {
    LiveCallBody {
        protocol: name.protocol.as_str(),
        room: name.room.to_string(),
        started_at: call.started,
        connected: call.is_connected,
        bytes: bytes.map(ByteCount::get),
        members: call.members.iter().map(member_of).collect(),
    }
}

fn member_of((id, member): (&MemberId, &Member)) -> MemberBody {
    MemberBody {
        id: id.0.to_string(),
        user: member.user.as_ref().map(|user| user.as_str().to_owned()),
        grants: member.grant.iter().map(ToString::to_string).collect(),
        joined_at: member.joined,
    }
}

/// Ends a room.
///
/// The room ends in every protocol that has one of this name: its sockets are closed, and the grants of its members are revoked, so
/// that their media end where the source can end them. Rooms of P2PCF, whose clients poll, cannot be ended. Its members can join
/// again, and in Ayame a socket that still waits for its sign-in or a webhook enters later: block a user first if that is not wanted.
#[utoipa::path(
    post, path = "/api/rooms/{room}/end",
    params(("room" = String, Path, description = "The room, as in `GET /api/calls-live`.")),
    responses(
        (status = 200, description = "What was ended.", body = EndedRoomBody),
        (status = 404, description = "`NOT_FOUND`: nobody is in a room of this name.", body = ErrorBody),
    )
)]
pub async fn end_room(app: AppState, Path(room): Path<String>) -> JsonResult<EndedRoomBody> {
    let mut calls = app.core.calls.in_room(&room);
    // Clients of P2PCF hold no socket that could be closed.
    calls.retain(|(call, _)| call.protocol != ProtocolName::P2pcf);
    // The grants are revoked before the sockets close, because a protocol may let the media of a member that leaves go on.
    let revoked = calls.iter().map(|(call, _)| app.core.calls.cut(call)).sum();
    app.signaling.end_room(&room);
    let sessions = app.sfu.as_ref().map_or(0, |proxy| proxy.end_room(&room));
    if sessions > 0 {
        calls.push((CallName { protocol: ProtocolName::Sfu, room: room.as_str().into() }, sessions));
    }
    if calls.is_empty() {
        return Err(ApiError::not_found("Check its name with GET /api/calls-live: nobody is in this room."));
    }
    let room_sha256 = digest_of(&room);
    tracing::warn!(room_sha256, calls = calls.len(), revoked, "the operator has ended a room");
    app.account.recorded().await?;
    let ended =
        |(call, members): (CallName, usize)| EndedCallBody { protocol: call.protocol.as_str(), members };
    Ok(Json(EndedRoomBody { room, ended: calls.into_iter().map(ended).collect(), revoked }))
}

/// The beginning of the SHA-256 of a room's name, for the log. Whoever knows the name may be able to join, so the name is not logged.
fn digest_of(room: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(room).into();
    digest.first_chunk().map(|first| format!("{:016x}", u64::from_be_bytes(*first))).unwrap_or_default()
}

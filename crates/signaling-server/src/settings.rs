//! The settings of each protocol.

use std::path::PathBuf;

use axum::http::HeaderName;
use turn_base::WebhookUrl;
use turn_signaling::{AyameSettings, rooms};

/// The protocols that are on, with their settings.
#[derive(Clone, Debug)]
pub struct Protocols {
    /// The most open sockets of one user, and of one address without users. `SIGNALING_SOCKETS_PER_CLIENT`, 1 to 4,096; 64 when unset.
    pub sockets_per_client: usize,
    /// Ayame.
    pub ayame: Option<AyameConfig>,
    /// P2PCF.
    pub p2pcf: Option<P2pcfConfig>,
    /// Orange rooms.
    pub rooms: Option<RoomsConfig>,
    /// `PeerJS`: the key that clients name. `PEERJS_KEY`, 1 to 64 letters, digits, `-` and `_`; `peerjs` when unset.
    pub peerjs: Option<String>,
    /// y-webrtc.
    pub is_yjs_on: bool,
    /// Orange's reports.
    pub reports: Option<ReportsConfig>,
}

/// Ayame.
#[derive(Clone, Debug)]
pub struct AyameConfig {
    /// Decides whether a client may join. `AUTHN_WEBHOOK_URL`; everybody may join when unset.
    pub authn_webhook: Option<WebhookUrl>,
    /// Gets a request when a socket has ended. `DISCONNECT_WEBHOOK_URL`; none when unset.
    pub disconnect_webhook: Option<WebhookUrl>,
    /// Headers of the client's request that both webhooks get, in lower case. `COPY_WEBSOCKET_HEADER_NAMES`.
    pub copied_headers: Vec<HeaderName>,
    /// The settings that the protocol itself reads.
    pub settings: AyameSettings,
}

/// P2PCF.
#[derive(Clone, Debug)]
pub struct P2pcfConfig {
    /// `P2PCF_PATH`, without a slash at its end; `/p2pcf` when unset.
    pub path: String,
    /// Requests a month of each origin that `CLIENT_URL` does not list. `P2PCF_ORIGIN_QUOTA`; none when unset.
    pub origin_quota: u64,
}

/// Orange rooms.
#[derive(Clone, Debug)]
pub struct RoomsConfig {
    /// The header that names the user. It is read only from trusted proxies. `USER_HEADER`; none when unset.
    pub user_header: Option<HeaderName>,
    /// The settings that the protocol itself reads.
    pub settings: rooms::Settings,
}

/// Orange's reports.
#[derive(Clone, Debug)]
pub struct ReportsConfig {
    /// The directory of the file of reports. `REPORTS_DIR`; they are not kept when unset.
    pub dir: Option<PathBuf>,
    /// Where each bug report and dead track is posted. `FEEDBACK_URL`.
    pub feedback: Option<WebhookUrl>,
}

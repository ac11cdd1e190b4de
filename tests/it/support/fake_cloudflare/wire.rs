//! The bytes of a response, and how they are sent.
//!
//! Invariant: the bytes before a wait or a break are sent before it happens.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use tokio::time::sleep;

use super::faults::Delivery;

/// Pause between two bytes of a drip. It is shorter than any timeout for a single read.
const DRIP: Duration = Duration::from_millis(100);
/// Pause before the connection breaks, so that the first half is sent.
const BEFORE_BREAK: Duration = Duration::from_millis(10);
const PADDING_CHUNK: &[u8] = &[b'x'; 64 * 1024];
/// 8 MiB in all.
const PADDING_CHUNKS: usize = 128;

/// The connection breaks here on purpose.
#[derive(Debug, thiserror::Error)]
#[error("broken on purpose")]
pub(super) struct BrokenOnPurpose;

pub(super) type WireBody = UnsyncBoxBody<Bytes, BrokenOnPurpose>;

pub(super) fn body(text: String, delivery: Delivery) -> WireBody {
    let text = Bytes::from(text);
    match delivery {
        Delivery::Whole | Delivery::After(_) | Delivery::AfterRelease => {
            Full::new(text).map_err(|never| match never {}).boxed_unsync()
        }
        Delivery::CutInHalf => {
            let half = text.slice(..text.len() / 2);
            let break_off = stream::once(async {
                sleep(BEFORE_BREAK).await;
                Err(BrokenOnPurpose)
            });
            StreamBody::new(stream::iter([Ok(Frame::data(half))]).chain(break_off)).boxed_unsync()
        }
        // The body byte by byte, then spaces without end. The JSON becomes complete, the response never does.
        Delivery::Dripped => {
            let bytes = text.into_iter().chain(std::iter::repeat(b' '));
            let dripped = stream::iter(bytes).then(async |byte| {
                sleep(DRIP).await;
                Ok(Frame::data(Bytes::copy_from_slice(&[byte])))
            });
            StreamBody::new(dripped).boxed_unsync()
        }
        // `{"padding":"xxx…",` and the rest of the body after its opening brace.
        Delivery::Padded => {
            let padding = std::iter::repeat_n(Bytes::from_static(PADDING_CHUNK), PADDING_CHUNKS);
            let rest = [Bytes::from_static(b"\","), text.slice(text.len().min(1)..)];
            let opening = Bytes::from_static(b"{\"padding\":\"");
            let parts = std::iter::once(opening).chain(padding).chain(rest);
            StreamBody::new(stream::iter(parts.map(|part| Ok(Frame::data(part))))).boxed_unsync()
        }
    }
}

//! The bytes of a response: a body that follows a short script.
//!
//! Invariants: the bytes before a wait or a break are sent before it happens. A script declares a length only if it sends
//! exactly that many bytes, or deliberately fewer.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::Sleep;

use super::faults::Delivery;

/// Pause between two bytes of a drip. It is shorter than any timeout for a single read.
const DRIP: Duration = Duration::from_millis(100);
/// Pause before the connection breaks, so that the first half is sent.
const BEFORE_BREAK: Duration = Duration::from_millis(10);
const PADDING_CHUNK: &[u8] = &[b'x'; 64 * 1024];
/// 8 MiB in all.
const PADDING_CHUNKS: usize = 128;

/// A response body that follows a script.
pub(super) struct WireBody {
    /// The declared length in bytes, if any.
    length: Option<u64>,
    script: Script,
    waiting: Option<Pin<Box<Sleep>>>,
}

type Script = Box<dyn Iterator<Item = Step> + Send>;

enum Step {
    Send(Bytes),
    Wait(Duration),
    Break,
}

/// The connection breaks here on purpose.
#[derive(Debug)]
pub(super) struct BrokenOnPurpose;

impl WireBody {
    pub(super) fn new(body: String, delivery: Delivery) -> Self {
        let body = Bytes::from(body);
        let declared = u64::try_from(body.len()).expect("a u64 holds a length");
        let (length, script): (_, Script) = match delivery {
            Delivery::Whole | Delivery::After(_) | Delivery::AfterRelease => {
                (Some(declared), Box::new(std::iter::once(Step::Send(body))))
            }
            Delivery::CutInHalf => (Some(declared), Box::new(cut_in_half(&body))),
            Delivery::Dripped => (None, Box::new(dripped(body))),
            Delivery::Padded => (None, Box::new(padded(&body))),
        };
        Self { length, script, waiting: None }
    }
}

fn cut_in_half(body: &Bytes) -> impl Iterator<Item = Step> + use<> {
    let half = body.slice(..body.len() / 2);
    [Step::Send(half), Step::Wait(BEFORE_BREAK), Step::Break].into_iter()
}

/// The body byte by byte, then spaces without end. The JSON becomes complete, the response never does.
fn dripped(body: Bytes) -> impl Iterator<Item = Step> {
    let bytes = body.into_iter().chain(std::iter::repeat(b' '));
    bytes.flat_map(|byte| [Step::Send(Bytes::copy_from_slice(&[byte])), Step::Wait(DRIP)])
}

/// `{"padding":"xxx…",` and the rest of the body after its opening brace.
fn padded(body: &Bytes) -> impl Iterator<Item = Step> + use<> {
    let opening = Bytes::from_static(b"{\"padding\":\"");
    let padding = std::iter::repeat_n(Bytes::from_static(PADDING_CHUNK), PADDING_CHUNKS);
    let rest = [Bytes::from_static(b"\","), body.slice(body.len().min(1)..)];
    std::iter::once(opening).chain(padding).chain(rest).map(Step::Send)
}

impl Body for WireBody {
    type Data = Bytes;
    type Error = BrokenOnPurpose;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOnPurpose>>> {
        loop {
            if let Some(sleep) = &mut self.waiting {
                ready!(sleep.as_mut().poll(cx));
                self.waiting = None;
            }
            match self.script.next() {
                Some(Step::Send(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Step::Wait(time)) => self.waiting = Some(Box::pin(tokio::time::sleep(time))),
                Some(Step::Break) => return Poll::Ready(Some(Err(BrokenOnPurpose))),
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.length == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl fmt::Display for BrokenOnPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken on purpose")
    }
}

impl std::error::Error for BrokenOnPurpose {}

//! Faults: the plan of a test, and the outcome that the server executes.
//!
//! Invariants: the decision is pure (no socket, no sleep). A fault that replaces the response generates no credential. A
//! fault that corrupts the response does. A broker that confuses the two charges a credential twice, or not at all.

use std::collections::VecDeque;
use std::time::Duration;

use hyper::StatusCode;

use super::provider::Answer;

pub(super) const REDIRECT_TARGET: &str = "/redirect-target";

/// A fault. "Minted" says whether a credential exists at the provider afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The correct response after this delay. Minted.
    Latency(Duration),
    /// The correct response after [`super::FakeCloudflare::release`]. Minted.
    Held,
    /// Reads the request and never responds. Not minted.
    Hang,
    /// The headers at once, then a byte every 100 ms without end. Only a deadline for the whole exchange ends it.
    /// Minted.
    SlowDrip,
    /// Half of the body, then a connection reset. Minted, but the client cannot know it.
    ResetMidBody,
    /// A connection reset instead of a response. Not minted.
    ResetBeforeAnswer,
    /// 429 with `Retry-After: 5` and a text. Not minted.
    TooManyRequests,
    /// 503 with `Retry-After: 300`. Not minted.
    AsksForPause,
    /// This status with an HTML page. Not minted.
    ServerErrorHtml(u16),
    /// 403 `error code: 1010`: Cloudflare's edge rejects the user agent. Not minted.
    Forbidden1010,
    /// 401 with a text, for any token. Not minted.
    Unauthorized401,
    /// 404 with a text, for any key. Not minted.
    NotFound404,
    /// The correct response with truncated JSON. The HTTP message is complete. Minted.
    MalformedJson,
    /// The correct response with 8 MiB of padding, streamed. It is valid JSON, so only a size limit rejects it.
    /// Minted.
    HugeJson,
    /// 302 to a path of this fake that returns a valid response; see `History::redirect_hits`. Not minted.
    Redirect,
    /// The correct response as `text/html`, which a client must accept. Minted.
    WrongContentType,
    /// 201 without a body. Minted.
    EmptyBody201,
    /// The correct response with 200 instead of 201, which a client must accept. Minted.
    Status200,
}

/// The source of the next fault: the queue, otherwise the permanent fault.
#[derive(Default)]
pub(super) struct FaultPlan {
    queued: VecDeque<Fault>,
    permanent: Option<Fault>,
}

/// What the server does with one request.
pub(super) enum Outcome {
    Answer { answer: Answer, delivery: Delivery },
    Silence,
    Reset,
}

/// How the bytes of a response are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Whole,
    After(Duration),
    AfterRelease,
    Dripped,
    CutInHalf,
    Padded,
}

impl FaultPlan {
    pub(super) fn queue(&mut self, fault: Fault) {
        self.queued.push_back(fault);
    }

    pub(super) fn set_permanent(&mut self, fault: Fault) {
        self.permanent = Some(fault);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn take(&mut self) -> Option<Fault> {
        self.queued.pop_front().or(self.permanent)
    }
}

impl Fault {
    /// A mark in every error body. A leak check looks for it in the broker's responses and logs. `Forbidden1010` has the
    /// exact text of the live service instead.
    pub(crate) const BODY_MARK: &str = "fake-provider-error-body";

    /// Replaces the correct response, or corrupts it. `good` mints, so it is called only if a credential is generated.
    pub(super) fn apply(self, good: impl FnOnce() -> Answer) -> Outcome {
        let (answer, delivery) = match self {
            Self::Hang => return Outcome::Silence,
            Self::ResetBeforeAnswer => return Outcome::Reset,
            Self::Latency(delay) => (good(), Delivery::After(delay)),
            Self::Held => (good(), Delivery::AfterRelease),
            Self::SlowDrip => (good(), Delivery::Dripped),
            Self::ResetMidBody => (good(), Delivery::CutInHalf),
            Self::HugeJson => (good(), Delivery::Padded),
            Self::MalformedJson => (good().with_half_a_body(), Delivery::Whole),
            Self::WrongContentType => {
                (Answer { content_type: "text/html; charset=utf-8", ..good() }, Delivery::Whole)
            }
            Self::EmptyBody201 => (Answer { body: String::new(), ..good() }, Delivery::Whole),
            Self::Status200 => (good().with_200_for_201(), Delivery::Whole),
            Self::TooManyRequests => (asking_to_wait(StatusCode::TOO_MANY_REQUESTS, "5"), Delivery::Whole),
            Self::AsksForPause => (asking_to_wait(StatusCode::SERVICE_UNAVAILABLE, "300"), Delivery::Whole),
            Self::ServerErrorHtml(status) => (html_page(status), Delivery::Whole),
            Self::Forbidden1010 => (Answer::text(StatusCode::FORBIDDEN, "error code: 1010"), Delivery::Whole),
            Self::Unauthorized401 => (Answer::error(StatusCode::UNAUTHORIZED), Delivery::Whole),
            Self::NotFound404 => (Answer::error(StatusCode::NOT_FOUND), Delivery::Whole),
            Self::Redirect => (redirect(), Delivery::Whole),
        };
        Outcome::Answer { answer, delivery }
    }
}

impl Outcome {
    /// `None` without a response.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Answer { answer, .. } => Some(answer.status.as_u16()),
            Self::Silence | Self::Reset => None,
        }
    }
}

fn asking_to_wait(status: StatusCode, seconds: &'static str) -> Answer {
    Answer { header: Some(("retry-after", seconds)), ..Answer::error(status) }
}

pub(super) fn redirect() -> Answer {
    Answer { header: Some(("location", REDIRECT_TARGET)), ..Answer::error(StatusCode::FOUND) }
}

pub(super) fn html_page(status: u16) -> Answer {
    let status = StatusCode::from_u16(status).expect("a fault names a status between 100 and 999");
    let mark = Fault::BODY_MARK;
    let body = format!(
        "<!DOCTYPE html>\n<html><head><title>{status}</title></head><body><h1>{mark}</h1></body></html>\n"
    );
    Answer { content_type: "text/html; charset=UTF-8", body, ..Answer::text(status, "") }
}

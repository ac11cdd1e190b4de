//! One rate limit as a layer. `tower_governor` checks the requests to which the limit applies. Others pass.

use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{Request, Response};
use governor::middleware::StateInformationMiddleware;
use tokio_util::either::Either;
use tower::{Layer, Service};
use tower_governor::governor::Governor;
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};

use super::clients::Rows;
use super::table::Row;

/// What a request asks for. Each kind has its own allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A credential.
    Mint,
    /// A credential that renews an earlier one.
    Renewal,
    /// A credential for a session of the SFU. Its client asks again whenever it connects anew.
    Sfu,
}

/// Who has an allowance. A user has one, and then those of its address are wider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A client without a user.
    Client,
    /// The wide prefix around it.
    Wide,
    /// A user.
    User,
    /// The client that a user's request comes from.
    ClientOfUsers,
    /// The wide prefix around that client.
    WideOfUsers,
}

/// What a request counts against. An extension of the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charge {
    pub(super) kind: Kind,
    pub(super) rows: Rows,
    /// The row of the user, if the request has one.
    pub(super) user: Option<Row>,
}

/// Finds the row of a request for one limit.
#[derive(Clone, Copy, Debug)]
pub struct RowOf {
    pub(super) kind: Kind,
    pub(super) scope: Scope,
}

impl RowOf {
    /// `None` if the limit does not apply to the request.
    pub(super) fn row(self, charge: &Charge) -> Option<Row> {
        let Charge { rows, user, .. } = charge;
        let row = match (self.scope, user) {
            (Scope::User, user) => *user,
            (Scope::Client, None) | (Scope::ClientOfUsers, Some(_)) => Some(rows.client),
            (Scope::Wide, None) | (Scope::WideOfUsers, Some(_)) => rows.wide,
            _ => None,
        };
        row.filter(|_| charge.kind == self.kind)
    }
}

impl KeyExtractor for RowOf {
    type Key = Row;

    fn extract<T>(&self, request: &Request<T>) -> Result<Row, GovernorError> {
        let charge = request.extensions().get::<Charge>();
        charge.and_then(|charge| self.row(charge)).ok_or(GovernorError::UnableToExtractKey)
    }
}

/// The layer of one limit.
#[derive(Clone)]
pub struct Gate {
    pub(super) row: RowOf,
    pub(super) layer: GovernorLayer<RowOf, StateInformationMiddleware, Body>,
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { row: self.row, governor: self.layer.layer(inner) }
    }
}

/// A service behind one limit.
#[derive(Clone)]
pub struct Gated<S> {
    row: RowOf,
    governor: Governor<RowOf, StateInformationMiddleware, S, Body>,
}

impl<S, B> Service<Request<B>> for Gated<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<
        <Governor<RowOf, StateInformationMiddleware, S, Body> as Service<Request<B>>>::Future,
        S::Future,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.governor.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let charge = request.extensions().get::<Charge>();
        if charge.is_some_and(|charge| self.row.row(charge).is_none()) {
            return Either::Right(self.governor.inner.call(request));
        }
        Either::Left(self.governor.call(request))
    }
}

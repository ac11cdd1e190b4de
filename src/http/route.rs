//! The rows of the table of routes: a [`Group`] of paths with their handlers, and what is the same for all of them.

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::MethodRouter;
use utoipa::openapi::HttpMethod;
use utoipa_axum::PathItemExt;

use crate::app::{App, CallerKind};

/// The handlers of a path, by their methods.
pub type Handlers = MethodRouter<Arc<App>>;

/// The form of the errors of a route: that of the programs that call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorForm {
    /// That of this service.
    Own,
    /// With the fields that Matrix clients read.
    Matrix,
    /// With the list that programs for Cloudflare's API read.
    Cloudflare,
    /// That of Cloudflare's SFU.
    Sfu,
}

/// Routes of one kind.
pub struct Group {
    /// The kind, as counts name it: who calls, or a protocol of signaling.
    pub kind: &'static str,
    /// The form of all their errors.
    pub errors: ErrorForm,
    /// Whether this caller may call them.
    pub may_call: fn(CallerKind) -> bool,
    /// The routes.
    pub routes: Vec<Route>,
}

/// A path and its handlers.
pub struct Route {
    /// In axum's form, which is also that of `OpenAPI`.
    pub path: String,
    /// The methods. Empty for handlers that the `OpenAPI` document does not describe.
    pub methods: Vec<HttpMethod>,
    /// One handler or several.
    pub handlers: Handlers,
    /// What the `OpenAPI` document says of the handlers. Only tests make that document, so the program has no code for it.
    #[cfg(test)]
    pub described: utoipa::openapi::OpenApi,
}

impl From<(String, Handlers)> for Route {
    fn from((path, handlers): (String, Handlers)) -> Self {
        Self::new(path, handlers)
    }
}

impl Route {
    /// The route of a handler whose `#[utoipa::path]` made `P`. Call it through [`route!`], which names `P` and adds the description.
    pub fn of<P: utoipa::Path, T: 'static>(handler: &impl Handler<T, Arc<App>>) -> Self {
        let methods = P::methods();
        let handlers = methods.iter().fold(MethodRouter::new(), |handlers, method| {
            handlers.on(method.to_method_filter(), handler.clone())
        });
        Self { methods, ..Self::new(P::path(), handlers) }
    }

    /// The route of handlers that the document does not describe.
    pub fn new(path: impl Into<String>, handlers: Handlers) -> Self {
        Self {
            path: path.into(),
            methods: vec![],
            handlers,
            #[cfg(test)]
            described: utoipa::openapi::OpenApi::default(),
        }
    }

    /// The same path with the methods of `other` in addition. The caller makes sure that `other` has this path.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            path: self.path,
            methods: [self.methods, other.methods].concat(),
            handlers: self.handlers.merge(other.handlers),
            #[cfg(test)]
            described: self.described.merge_from(other.described),
        }
    }

    /// The same path with layers around its handlers.
    #[must_use]
    pub fn map(self, change: impl FnOnce(Handlers) -> Handlers) -> Self {
        Self { handlers: change(self.handlers), ..self }
    }
}

/// The [`Route`] of a handler. Its `#[utoipa::path]` states the method and the path, and what the document says.
macro_rules! route {
    ($module:ident::$handler:ident) => {
        $crate::http::route::Route {
            #[cfg(test)]
            described: utoipa_axum::router::OpenApiRouter::<std::sync::Arc<$crate::app::App>>::new()
                .routes(utoipa_axum::routes!($module::$handler))
                .into_openapi(),
            ..utoipa_axum::paste! {
                $crate::http::route::Route::of::<$module::[<__path_ $handler>], _>(&$module::$handler)
            }
        }
    };
}
pub(crate) use route;

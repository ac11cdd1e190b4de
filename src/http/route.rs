//! One row of the table of routes: a path and its handlers.

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter};
use utoipa::openapi::HttpMethod;

use crate::app::App;

/// The handlers of a path, by their methods.
pub type Handlers = MethodRouter<Arc<App>>;

/// A path and its handlers.
pub struct Route {
    /// In axum's form, which is also that of `OpenAPI`.
    pub path: String,
    /// One handler or several.
    pub handlers: Handlers,
}

impl Route {
    /// The route of a handler whose `#[utoipa::path]` made `P`. Call it through [`route!`], which names `P`.
    pub fn of<P: utoipa::Path, T: 'static>(handler: &impl Handler<T, Arc<App>>) -> Self {
        let handlers = P::methods()
            .into_iter()
            .fold(MethodRouter::new(), |handlers, method| handlers.on(filter(&method), handler.clone()));
        Self { path: P::path(), handlers }
    }

    /// The route of handlers without a description of their own.
    pub fn new(path: impl Into<String>, handlers: Handlers) -> Self {
        Self { path: path.into(), handlers }
    }

    /// The same path with layers around its handlers.
    #[must_use]
    pub fn map(self, change: impl FnOnce(Handlers) -> Handlers) -> Self {
        Self { handlers: change(self.handlers), ..self }
    }
}

fn filter(method: &HttpMethod) -> MethodFilter {
    match method {
        HttpMethod::Get => MethodFilter::GET,
        HttpMethod::Put => MethodFilter::PUT,
        HttpMethod::Post => MethodFilter::POST,
        HttpMethod::Delete => MethodFilter::DELETE,
        HttpMethod::Options => MethodFilter::OPTIONS,
        HttpMethod::Head => MethodFilter::HEAD,
        HttpMethod::Patch => MethodFilter::PATCH,
        HttpMethod::Trace => MethodFilter::TRACE,
    }
}

/// The [`Route`] of a handler. Its `#[utoipa::path]` states the method and the path.
macro_rules! route {
    ($module:ident::$handler:ident) => {
        pastey::paste! { $crate::http::route::Route::of::<$module::[<__path_ $handler>], _>(&$module::$handler) }
    };
}
pub(crate) use route;

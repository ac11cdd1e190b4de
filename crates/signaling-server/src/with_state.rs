//! Routes with the state that their handlers need, without layers.

use axum::routing::MethodRouter;

/// The routes of a protocol with its state. None without a state.
pub(crate) fn with_state<T: Clone + Send + Sync + 'static, S>(
    state: Option<&T>,
    routes: impl IntoIterator<Item = (&'static str, MethodRouter<T>)>,
) -> Vec<(String, MethodRouter<S>)> {
    let Some(state) = state else { return vec![] };
    routes.into_iter().map(|(path, handlers)| (path.into(), handlers.with_state(state.clone()))).collect()
}

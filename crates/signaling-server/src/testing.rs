//! A broker for tests: nobody signs in, and nothing is minted.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::http::{HeaderMap, HeaderValue};
use turn_base::{Broker, Minted, Unverified, Verified, WebClient};
use turn_budget::{ClientKey, Spender, SpenderKind, User};
use turn_signaling::CallEvent;

use crate::broker::{Counted, ServerBroker};

#[derive(Debug, Default)]
pub(crate) struct FakeBroker(Mutex<Vec<User>>);

impl FakeBroker {
    pub(crate) fn block(&self, user: &User) {
        self.0.lock().unwrap().push(user.clone());
    }
}

#[async_trait]
impl Broker for FakeBroker {
    async fn verified(&self, _: &str, _: ClientKey) -> Result<Option<Verified>, Unverified> {
        Ok(None)
    }

    fn has_sign_in(&self) -> bool {
        false
    }

    fn needs_sign_in(&self) -> bool {
        false
    }

    fn block_of(&self, _: ClientKey, user: Option<&User>) -> Option<SpenderKind> {
        let is_blocked = user.is_some_and(|user| self.0.lock().unwrap().contains(user));
        is_blocked.then_some(SpenderKind::User)
    }

    async fn mint(&self, _: &WebClient, _: Option<Arc<Spender>>) -> Option<Minted> {
        None
    }
}

impl ServerBroker for FakeBroker {
    fn foreign_origin<'a>(&self, _: &'a HeaderMap) -> Option<&'a HeaderValue> {
        None
    }

    fn call(&self, _: CallEvent) {}

    fn count(&self, _: Counted) {}
}

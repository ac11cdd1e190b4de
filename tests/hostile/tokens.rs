//! Item 10: guesses of the operator's and the reporter's token.

use serde_json::json;

use crate::Attack;
use crate::books::broker;
use crate::client::Client;
use crate::honest::{Tally, round};
use crate::support::{OPERATOR, REPORTER};
use crate::table::{Form, Outcome};

/// Wrong tokens of one address that are checked in a minute.
const CHECKED_MAX: u64 = 20;
/// Guesses in a minute.
const GUESSES: u64 = 90;
const STRANGER: &str = "198.51.100.7";
const OPERATOR_ROUTES: [&str; 4] = ["/metrics", "/api/connections", "/api/usage", "/api/overview"];

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        item: 10,
        name: "guesses of the operator token",
        allowance: "20 a minute are checked, all are counted",
        run: |form| Box::pin(guess(form, Route::Operator)),
    },
    Attack {
        item: 10,
        name: "guesses of the reporter token",
        allowance: "20 a minute are checked, all are counted",
        run: |form| Box::pin(guess(form, Route::Reporter)),
    },
];

#[derive(Clone, Copy)]
enum Route {
    Operator,
    Reporter,
}

impl Route {
    /// Makes one call with this token. Returns its status.
    async fn call(self, client: &mut Client, n: u64, token: &str) -> u16 {
        let reply = match self {
            Self::Operator => {
                let route = OPERATOR_ROUTES[usize::try_from(n % 4).unwrap()];
                client.get(route, &[&format!("Authorization: Bearer {token}")]).await
            }
            Self::Reporter => client.post("/api/connections", token, &json!({"connectionId": "own"})).await,
        };
        reply.map_or(0, |reply| reply.status)
    }

    fn token(self) -> &'static str {
        match self {
            Self::Operator => OPERATOR,
            Self::Reporter => REPORTER,
        }
    }
}

async fn guess(form: Form, route: Route) -> Outcome {
    let broker = broker(&[]).await;
    let mut client = Client::behind_proxy(broker.address, STRANGER);
    let minutes = form.choose(1, 30);
    let (mut checked, mut refused) = (0_u64, 0_u64);
    let mut honest = Tally::default();
    for minute in 0..minutes {
        for n in 0..GUESSES {
            match route.call(&mut client, n, &format!("guess-{minute}-{n}-0123456789")).await {
                401 => checked += 1,
                429 => refused += 1,
                _ => {}
            }
            if n % 30 == 29 {
                let mut owner = Client::behind_proxy(broker.address, STRANGER);
                let status = route.call(&mut owner, n, route.token()).await;
                honest.count(status == 200 || status == 201);
            }
        }
        broker.advance(61);
    }
    honest = honest.plus(round(broker.address, 1).await);
    let metrics = broker.operator("/metrics").await.text;
    let is_counted = metrics.lines().any(is_count_of_tokens);
    let effect = format!(
        "{checked} checked, {refused} refused, {}",
        if is_counted { "counted" } else { "not counted" }
    );
    let is_within = checked <= CHECKED_MAX * minutes && is_counted;
    Outcome { attempts: client.cost.requests, cost: client.cost, effect, honest, is_within }
}

/// Whether this line is a counter above zero with "token" in its name.
fn is_count_of_tokens(line: &str) -> bool {
    !line.starts_with('#') && line.contains("token") && !line.ends_with(" 0")
}

//! Cloudflare's clock, asked for while the books' time is uncertain. Every response of Cloudflare has the time of this clock. But the other
//! requests, such as mints, may themselves wait until the time is known. So this module makes requests only for the time, also while
//! minting is stopped.

use url::Url;

use crate::meter::prelude::*;

/// How often it is checked whether the books' time is uncertain.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after a request.
const ASK_PAUSE: Duration = Duration::from_secs(10);

/// See the module's description.
pub struct ReferenceClock {
    /// Passes the time in each response to the account.
    pub client: HttpClient,
    /// An API of Cloudflare.
    pub url: Url,
    /// The books.
    pub account: Arc<Account>,
}

impl ReferenceClock {
    /// Asks whenever the books' time is uncertain.
    pub async fn run(&self) {
        loop {
            let is_uncertain = self.account.read(|books| books.moment().is_uncertain());
            if is_uncertain {
                self.client.ask_date(&self.url).await;
            }
            tokio::time::sleep(if is_uncertain { ASK_PAUSE } else { CHECK_INTERVAL }).await;
        }
    }
}

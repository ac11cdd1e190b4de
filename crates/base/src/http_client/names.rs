//! Name look-ups of the HTTP client. A slow look-up goes on after its request has ended, and its answer is kept for the next request: with
//! a dead first name server each look-up takes 5 s, longer than a mint may take.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a request waits for a name of which no answer is kept.
pub(super) const LOOKUP_MAX: Duration = Duration::from_secs(5);
/// How long a request waits before it uses the answer that is kept, which may be outdated. Well below the time limit for connecting.
const NEWER_MAX: Duration = Duration::from_millis(500);
/// The most names of which answers are kept. The settings name the hosts, so there are few.
const NAMES_MAX: usize = 64;

type Answer = Result<Vec<SocketAddr>, String>;
type LookUp = fn(String) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The names that were looked up.
#[derive(Clone)]
pub(super) struct Names {
    look_up: LookUp,
    known: Arc<Mutex<HashMap<String, Known>>>,
}

/// What is known of a name.
#[derive(Default)]
struct Known {
    /// The latest answer, unless that was an error.
    kept: Option<Vec<SocketAddr>>,
    /// The look-up that has not ended.
    running: Option<watch::Receiver<Option<Answer>>>,
}

/// Looks names up as the system does.
impl Default for Names {
    fn default() -> Self {
        Self::new(|name| {
            Box::pin(async move {
                let found = tokio::net::lookup_host((name, 0)).await;
                found.map(Iterator::collect).map_err(|error: io::Error| error.to_string())
            })
        })
    }
}

impl Names {
    fn new(look_up: LookUp) -> Self {
        Self { look_up, known: Arc::default() }
    }

    /// Waits until an answer for this name is kept, for at most `most`, so that the time limit for connecting begins afterwards. The error
    /// says why there is no answer.
    pub(super) async fn prepare(&self, name: &str, most: Duration) -> Result<(), String> {
        let is_kept = self.known.lock().get(name).is_some_and(|known| known.kept.is_some());
        if is_kept { Ok(()) } else { self.find(name, most).await.map(drop) }
    }

    /// The answer of a look-up, which this begins unless one is running. If the look-up takes longer than [`NEWER_MAX`] and addresses are
    /// kept, this returns the kept addresses. If none are kept, a look-up that takes longer than `most` is an error.
    async fn find(&self, name: &str, most: Duration) -> Answer {
        let (mut running, kept) = self.begin(name);
        let most = if kept.is_some() { NEWER_MAX } else { most };
        let ended = timeout(most, running.wait_for(Option::is_some)).await;
        // `None` if the time is over, or if the look-up was ended without an answer.
        match ended.ok().and_then(Result::ok).and_then(|answer| answer.clone()) {
            Some(answer) => answer,
            None => kept.ok_or_else(|| {
                let seconds = most.as_secs_f32();
                format!("DNS did not answer within {seconds} s; /etc/resolv.conf may name a dead server")
            }),
        }
    }

    /// Begins a look-up unless one is running. Returns the running look-up, and the addresses that are kept. If [`NAMES_MAX`] other names
    /// are kept, forgets them first.
    fn begin(&self, name: &str) -> (watch::Receiver<Option<Answer>>, Option<Vec<SocketAddr>>) {
        let mut all = self.known.lock();
        if all.len() >= NAMES_MAX && !all.contains_key(name) {
            all.clear();
        }
        let known = all.entry(name.to_owned()).or_default();
        let running = known.running.get_or_insert_with(|| {
            let (ended, running) = watch::channel(None);
            let (names, name) = (self.clone(), name.to_owned());
            tokio::spawn(async move {
                let answer = (names.look_up)(name.clone()).await;
                let kept = answer.clone().ok();
                names.known.lock().insert(name, Known { kept, running: None });
                ended.send_replace(Some(answer));
            });
            running
        });
        (running.clone(), known.kept.clone())
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.clone();
        Box::pin(async move {
            let addresses = names.find(name.as_str(), LOOKUP_MAX).await?;
            let found: Addrs = Box::new(addresses.into_iter());
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_is_kept_for_the_next_request_and_one_look_up_serves_all() {
        let names = Names::new(|name| {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_secs(4)).await;
                if name == "slow.example" { Ok(vec![FIRST]) } else { Err("no such name".to_owned()) }
            })
        });
        let mint = Duration::from_secs(3);
        let (one, other) =
            tokio::join!(names.prepare("slow.example", mint), names.prepare("slow.example", mint));
        let late = one.unwrap_err();
        assert!(late.contains("DNS did not answer within 3 s"), "{late}");
        assert_eq!(other, Err(late));
        assert_eq!(names.prepare("slow.example", mint).await, Ok(()), "the look-up went on");
        assert_eq!(
            names.find("slow.example", mint).await,
            Ok(vec![FIRST]),
            "what is kept, while a newer look-up runs"
        );
        assert_eq!(names.find("other.example", LOOKUP_MAX).await, Err("no such name".to_owned()));
    }

    #[tokio::test]
    async fn a_newer_answer_replaces_what_is_kept_and_an_error_removes_it() {
        static ANSWERS: Mutex<Vec<Answer>> = Mutex::new(vec![]);
        let second = SocketAddr::from(([192, 0, 2, 1], 0));
        ANSWERS.lock().extend([Err("gone".to_owned()), Ok(vec![second]), Ok(vec![FIRST])]);
        let names = Names::new(|_| Box::pin(async { ANSWERS.lock().pop().unwrap() }));
        for expected in [Ok(vec![FIRST]), Ok(vec![second]), Err("gone".to_owned())] {
            assert_eq!(names.find("a.example", LOOKUP_MAX).await, expected);
        }
        assert!(names.known.lock()["a.example"].kept.is_none());
    }
}

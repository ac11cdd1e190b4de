//! Name look-ups of the HTTP client. A slow look-up goes on after its request has ended, and its answer is kept for the next request: with
//! a dead first name server each look-up takes 5 s, longer than a mint may take. While the resolver fails, the last answer serves (RFC 8767):
//! only the answer that the name does not exist ends it.

use std::collections::HashMap;
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
/// The most names that are kept. The settings name the hosts, so there are few.
const NAMES_MAX: usize = 64;

/// What `getaddrinfo` says of a name that does not exist: glibc, musl, macOS. An [`io::Error`] has only this text.
const NO_SUCH_NAME: [&str; 3] =
    ["Name or service not known", "Name does not resolve", "nodename nor servname"];

type Answer = Result<Vec<SocketAddr>, String>;
type LookUp = fn(String) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The names that were looked up.
#[derive(Clone)]
pub(super) struct Names {
    look_up: LookUp,
    known: Arc<Mutex<HashMap<String, Known>>>,
}

#[derive(Default)]
struct Known {
    /// The addresses of the latest answer that had some, unless the name has ended since.
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
    /// are kept, forgets one of them first, if possible one without addresses.
    fn begin(&self, name: &str) -> (watch::Receiver<Option<Answer>>, Option<Vec<SocketAddr>>) {
        let mut all = self.known.lock();
        if all.len() >= NAMES_MAX && !all.contains_key(name) {
            let first_to_go = all.iter().min_by_key(|(_, known)| known.kept.is_some());
            let gone = first_to_go.map(|(name, _)| name.clone());
            gone.and_then(|name| all.remove(&name));
        }
        let known = all.entry(name.to_owned()).or_default();
        let running = known.running.get_or_insert_with(|| {
            let (ended, running) = watch::channel(None);
            let (names, name) = (self.clone(), name.to_owned());
            tokio::spawn(async move {
                let found = (names.look_up)(name.clone()).await;
                let mut all = names.known.lock();
                // The name may have been forgotten meanwhile.
                let mut forgotten = Known::default();
                let known = all.get_mut(&name).unwrap_or(&mut forgotten);
                let answer = serve_stale(found, known.kept.take());
                *known = Known { kept: answer.clone().ok(), running: None };
                ended.send_replace(Some(answer));
            });
            running
        });
        (running.clone(), known.kept.clone())
    }
}

/// The answer after a look-up that has found this, with the addresses that are kept. A failure of the resolver says nothing about the name.
fn serve_stale(found: Answer, kept: Option<Vec<SocketAddr>>) -> Answer {
    match (found, kept) {
        (Err(why), Some(kept)) if !NO_SUCH_NAME.iter().any(|text| why.contains(text)) => Ok(kept),
        (found, _) => found,
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
        // What is kept, while a newer look-up runs.
        assert_eq!(names.find("slow.example", mint).await, Ok(vec![FIRST]));
        assert_eq!(names.find("other.example", LOOKUP_MAX).await, Err("no such name".to_owned()));
    }

    #[tokio::test]
    async fn a_newer_answer_replaces_what_is_kept_and_only_the_end_of_the_name_removes_it() {
        static ANSWERS: Mutex<Vec<Answer>> = Mutex::new(vec![]);
        let second = SocketAddr::from(([192, 0, 2, 1], 0));
        let failed = |why: &str| Err(format!("failed to lookup address information: {why}"));
        let (down, gone) = (failed("Temporary failure in name resolution"), failed(NO_SUCH_NAME[0]));
        let answers =
            [Ok(vec![FIRST]), down.clone(), Ok(vec![second]), down.clone(), gone.clone(), down.clone()];
        ANSWERS.lock().extend(answers.into_iter().rev());
        let names = Names::new(|_| Box::pin(async { ANSWERS.lock().pop().unwrap() }));
        for expected in [Ok(vec![FIRST]), Ok(vec![FIRST]), Ok(vec![second]), Ok(vec![second]), gone, down] {
            assert_eq!(names.find("a.example", LOOKUP_MAX).await, expected);
        }
        assert!(names.known.lock()["a.example"].kept.is_none());
    }

    /// This name is malformed, so no server is asked.
    #[tokio::test]
    async fn the_system_says_of_a_name_that_does_not_exist_what_is_expected() {
        let why = Names::default().find("a..b", LOOKUP_MAX).await.unwrap_err();
        assert_eq!(serve_stale(Err(why.clone()), Some(vec![FIRST])), Err(why));
    }

    #[tokio::test]
    async fn at_most_so_many_names_are_kept_and_those_without_an_address_go_first() {
        let names = Names::new(|name| {
            Box::pin(
                async move { if name == "known.example" { Ok(vec![FIRST]) } else { Err("down".to_owned()) } },
            )
        });
        let known = names.find("known.example", LOOKUP_MAX).await;
        for number in 0..2 * NAMES_MAX {
            names.find(&format!("{number}.example"), LOOKUP_MAX).await.unwrap_err();
        }
        assert_eq!(names.known.lock().len(), NAMES_MAX);
        assert_eq!(names.known.lock()["known.example"].kept, known.ok());
    }
}

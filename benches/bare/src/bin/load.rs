//! `load ADDRESS CALLERS COUNT METHOD PATH BODY [HEADER]...`: so many callers, each of which waits for its answer
//! before it asks again, until COUNT requests are answered. `{n}` stands for the request's number (12 digits), `{ip}`
//! for an address of its own. Prints what report.lua prints for wrk. Any failure but a status ends it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

type Error = Box<dyn std::error::Error + Send + Sync>;

struct Plan {
    address: String,
    callers: usize,
    count: u32,
    method: String,
    path: String,
    body: String,
    /// Name and value.
    headers: Vec<(String, String)>,
    next: AtomicU32,
}

/// How long each answer took, and how many had another status than 2xx.
#[derive(Default)]
struct Answers {
    took: Vec<Duration>,
    errors: usize,
}

fn main() -> Result<(), Error> {
    let plan = Arc::new(Plan::parse(std::env::args().skip(1)).ok_or("see the first lines of load.rs")?);
    // One thread, as wrk -t1.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut all = Answers::default();
    let started = Instant::now();
    runtime.block_on(async {
        let callers: Vec<_> = (0..plan.callers).map(|_| tokio::spawn(call(Arc::clone(&plan)))).collect();
        for caller in callers {
            let answers = caller.await??;
            all.took.extend(answers.took);
            all.errors += answers.errors;
        }
        Ok::<_, Error>(())
    })?;
    let whole = started.elapsed().as_micros();
    all.took.sort_unstable();
    let percentile = |percent| all.took.get(all.took.len() * percent / 100).map_or(0, Duration::as_micros);
    println!("result {} {} {whole} {} {}", all.took.len(), all.errors, percentile(50), percentile(99));
    Ok(())
}

async fn call(plan: Arc<Plan>) -> Result<Answers, Error> {
    let socket = TcpStream::connect(&plan.address).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) = handshake(TokioIo::new(socket)).await?;
    let connection = tokio::spawn(connection);
    let mut answers = Answers::default();
    loop {
        let number = plan.next.fetch_add(1, Ordering::Relaxed);
        if number >= plan.count {
            break;
        }
        let request = plan.request(number)?;
        let asked = Instant::now();
        let response = sender.send_request(request).await?;
        let is_good = response.status().is_success();
        response.into_body().collect().await?;
        answers.took.push(asked.elapsed());
        answers.errors += usize::from(!is_good);
    }
    drop(sender);
    Ok(connection.await?.map(|()| answers)?)
}

impl Plan {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        Some(Self {
            address: arguments.next()?,
            callers: arguments.next()?.parse().ok()?,
            count: arguments.next()?.parse().ok()?,
            method: arguments.next()?,
            path: arguments.next()?,
            body: arguments.next()?,
            headers: arguments
                .map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())))
                .collect::<Option<_>>()?,
            next: AtomicU32::new(0),
        })
    }

    fn request(&self, number: u32) -> Result<Request<Full<Bytes>>, Error> {
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number).to_string();
        let fill = |text: &str| text.replace("{n}", &format!("{number:012}")).replace("{ip}", &address);
        let mut request = Request::builder().method(&*self.method).uri(&*self.path).header("host", "bench");
        for (name, value) in &self.headers {
            request = request.header(name, fill(value));
        }
        Ok(request.body(Full::from(fill(&self.body)))?)
    }
}

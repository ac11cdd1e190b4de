use std::net::SocketAddr;

use super::*;

const KEY: &str = "turn/realm/a.test/user/1795169280:talk/ann/allocation/001000000000000002/total_traffic";
const TOTAL: &str = "rcvp=308, rcvb=302144, sentp=309, sentb=301888";

#[test]
fn the_end_of_a_session_is_read_from_the_right_end_of_its_key() {
    let with_key = |key: &str| ended(key, TOTAL).map(|session| (session.id.get(), session.user));
    let id = 1_000_000_000_000_002;
    assert_eq!(with_key(KEY), Some((id, "1795169280:talk/ann".to_owned())));
    let without_realm = KEY.replace("realm/a.test/", "");
    assert_eq!(with_key(&without_realm), Some((id, "1795169280:talk/ann".to_owned())));
    let named_like_a_key = KEY.replace("talk/ann", "user/a/allocation/7/total_traffic");
    assert_eq!(with_key(&named_like_a_key).unwrap().0, id);
    for other in [&*format!("{KEY}/peer"), &KEY.replace("total_traffic", "traffic"), "__XXX__", ""] {
        assert_eq!(with_key(other), None, "{other}");
    }
    let session = ended(KEY, TOTAL).unwrap();
    assert_eq!((session.packets, session.traffic), (617, Traffic::new(302_144, 301_888)));
    for message in ["deleted", "rcvp=1, rcvb=2, sentp=3", "rcvp=1, rcvb=-2, sentp=3, sentb=4"] {
        assert_eq!(ended(KEY, message), None, "{message}");
    }
}

/// A listener on a free port, and what it has heard of its only relay.
async fn listening() -> (Arc<Reports>, SocketAddr, JoinSet<()>) {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let config = CoturnStatsConfig { listen: free, password: "word".to_owned().into() };
    let stats = CoturnStats::new(config, 1);
    let reports = Arc::clone(&stats.relays[0]);
    let mut tasks = JoinSet::new();
    tasks.spawn(stats.run());
    (reports, free, tasks)
}

/// Sends commands, and returns the answers until the listener closes the connection or has answered so many lines.
async fn ask(address: SocketAddr, commands: &str, lines: usize) -> (TcpStream, String) {
    let mut socket = loop {
        match TcpStream::connect(address).await {
            Ok(socket) => break socket,
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    };
    socket.write_all(commands.as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    while answers.split(|byte| *byte == b'\n').count() <= lines {
        match socket.read_buf(&mut answers).await {
            Ok(count) if count > 0 => {}
            _ => break,
        }
    }
    (socket, String::from_utf8(answers).unwrap())
}

fn command(words: &[&str]) -> String {
    let texts: Vec<_> = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{}", words.len(), texts.concat())
}

#[tokio::test]
async fn a_relay_with_the_password_reports_and_nobody_else() {
    let (reports, address, _tasks) = listening().await;
    assert!(!reports.take().is_live);
    let publish = command(&["publish", KEY, TOTAL]);
    let (_stranger, answers) = ask(address, &publish, 1).await;
    assert_eq!(answers, "-NOAUTH Authentication required.\r\n");
    let (_stranger, answers) = ask(address, &(command(&["AUTH", "wrong"]) + &publish), 1).await;
    assert_eq!(answers, "", "it is closed");
    let login = command(&["AUTH", "word"]) + &command(&["SELECT", "0"]);
    let (_relay, answers) = ask(address, &(login.clone() + &publish + &command(&["PING"])), 4).await;
    assert_eq!(answers, "+OK\r\n+OK\r\n:1\r\n+PONG\r\n");
    let taken = reports.take();
    assert_eq!((taken.ended.len(), taken.is_live, taken.is_after_gap), (1, true, true), "the first look");
    let taken = reports.take();
    assert_eq!((taken.ended.len(), taken.is_live, taken.is_after_gap), (0, true, false));
    let (_other, answers) = ask(address, &(command(&["AUTH", "word"]) + &command(&["SELECT", "1"])), 2).await;
    assert_eq!(answers, "+OK\r\n-ERR DB index is out of range\r\n");
    let (of_credentials, _) = ask(address, &login, 2).await;
    drop(of_credentials);
    sleep(Duration::from_millis(50)).await;
    assert!(reports.take().is_live, "a thread that never published");
    let (thread, _) = ask(address, &(login + &command(&["publish", "__XXX__", "__YYY__"])), 3).await;
    drop(thread);
    while reports.take().is_live {
        sleep(Duration::from_millis(5)).await;
    }
    assert!(reports.take().is_after_gap, "a connection was closed");
}

/// Also one that is paused, and so closes nothing.
#[tokio::test]
async fn what_is_passed_on_to_a_leader_ends_when_another_one_leads() {
    let leader = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = leader.local_addr().unwrap().port();
    let config =
        CoturnStatsConfig { listen: ([127, 0, 0, 1], port).into(), password: "word".to_owned().into() };
    let leads = Arc::new(Mutex::new(Some("127.0.0.2".to_owned())));
    let seen = Arc::clone(&leads);
    let passing = tokio::spawn(async move { pass_on(&config, move || seen.lock().clone()).await });
    let (mut relay, _) = ask(([127, 0, 0, 1], port).into(), "", 0).await;
    let (_paused, _) = leader.accept().await.unwrap();
    *leads.lock() = Some("127.0.0.3".to_owned());
    assert_eq!(relay.read(&mut [0]).await.unwrap(), 0, "it is closed, so coturn connects again");
    passing.abort();
}

#[tokio::test]
async fn an_address_has_as_many_connections_as_a_coturn_has_threads() {
    let (_reports, address, _tasks) = listening().await;
    // Who has the password may be silent.
    let login = command(&["AUTH", "word"]);
    let mut open = vec![];
    for _ in 0..CONNECTIONS.client_max {
        open.push(ask(address, &login, 1).await);
    }
    assert!(open.iter().all(|(_, answers)| answers == "+OK\r\n"));
    assert_eq!(ask(address, &login, 1).await.1, "", "no more of this address");
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind(([127, 0, 0, 9], 0).into()).unwrap();
    let mut other = other.connect(address).await.unwrap();
    other.write_all(login.as_bytes()).await.unwrap();
    assert_eq!(other.read(&mut [0; 3]).await.unwrap(), 3);
}

/// coturn's threads that check credentials are connected and silent.
#[test]
fn who_has_published_must_go_on_and_who_only_knows_the_password_may_be_silent() {
    let config =
        CoturnStatsConfig { listen: ([127, 0, 0, 1], 6_390).into(), password: "word".to_owned().into() };
    let stats = CoturnStats::new(config, 1);
    let mut client = Client::new(&stats);
    let login_until = clock::deadline(LOGIN_MAX);
    let mut say = |words: &[&str]| {
        client.answer(&words.iter().map(|word| Cow::Borrowed(*word)).collect::<Vec<_>>());
        client.until(login_until)
    };
    assert_eq!(say(&["PING"]), Some(login_until), "a command does not prolong the login");
    assert_eq!([say(&["AUTH", "word"]), say(&["SELECT", "0"])], [None, None]);
    assert!(!stats.relays[0].is_connected());
    let until = say(&["publish", "__XXX__", "__YYY__"]).unwrap();
    assert!(until + LOGIN_MAX >= login_until + SILENCE_MAX);
    assert!(stats.relays[0].is_connected());
}

#[tokio::test]
async fn what_is_no_command_closes_the_connection_and_harms_nobody() {
    let (_reports, address, _tasks) = listening().await;
    let endless = format!("*1\r\n${}\r\n{}", 1 << 30, "a".repeat(2 * COMMAND_MAX));
    for garbage in ["GET / HTTP/1.1\r\n\r\n", &"*1\r\n".repeat(COMMAND_MAX), "*99999999\r\n$1\r\n", &endless]
    {
        let mut socket = ask(address, garbage, 0).await.0;
        let mut answers = Vec::new();
        let closed = timeout(LOGIN_MAX * 2, socket.read_to_end(&mut answers)).await;
        assert!(closed.is_ok(), "{}", &garbage[..10]);
    }
    let (_relay, answers) = ask(address, &command(&["AUTH", "word"]), 1).await;
    assert_eq!(answers, "+OK\r\n");
}

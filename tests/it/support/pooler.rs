//! A pooler, as small as can be: all its clients share one session of the server, one transaction at a time, or one statement.

use tokio::sync::Mutex;

use crate::support::prelude::*;

/// A statement, as its client sends it.
const ROLLBACK: &[u8] = b"Q\0\0\0\x0dROLLBACK\0";
/// What `PgBouncer` says before it closes the connection.
const REFUSED: &[u8] =
    b"E\0\0\0\x54SFATAL\0VFATAL\0C08P01\0Mtransaction blocks not allowed in statement pooling mode\0\0";

/// The pooler. It ends with the runtime of the test.
pub(crate) struct Pooler {
    pub(crate) port: u16,
}

/// For how long a client has the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pooling {
    Transaction,
    /// Whoever begins a transaction is disconnected.
    Statement,
}

/// The session that all clients share, and what it said when it began.
struct Session {
    server: TcpStream,
    greeting: Vec<u8>,
}

impl Pooler {
    /// Starts in front of this server.
    pub(crate) async fn start(target: (&'static str, u16), pooling: Pooling) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let session = Arc::new(Mutex::new(None));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, Arc::clone(&session), target, pooling));
            }
        });
        Self { port }
    }
}

async fn serve(
    mut client: TcpStream,
    session: Arc<Mutex<Option<Session>>>,
    target: (&'static str, u16),
    pooling: Pooling,
) {
    let startup = frame(&mut client, false).await;
    {
        let mut session = session.lock().await;
        if session.is_none() {
            let mut server = TcpStream::connect(target).await.unwrap();
            server.write_all(&startup).await.unwrap();
            let greeting = until_ready(&mut server).await.0;
            *session = Some(Session { server, greeting });
        }
        client.write_all(&session.as_ref().unwrap().greeting).await.unwrap();
    }
    loop {
        let mut request = frame(&mut client, true).await;
        let mut session = session.lock().await;
        let server = &mut session.as_mut().unwrap().server;
        // The session is given up where a transaction ends.
        loop {
            let ends = matches!(request.first(), Some(b'S' | b'Q'));
            if request.is_empty() || request[0] == b'X' {
                return;
            }
            server.write_all(&request).await.unwrap();
            if ends {
                let (answer, state) = until_ready(server).await;
                if state != b'I' && pooling == Pooling::Statement {
                    server.write_all(ROLLBACK).await.unwrap();
                    until_ready(server).await;
                    let _ = client.write_all(REFUSED).await;
                    return;
                }
                if client.write_all(&answer).await.is_err() || state == b'I' {
                    break;
                }
            }
            request = frame(&mut client, true).await;
        }
    }
}

/// Everything up to the message that says that the server is ready, and its state.
async fn until_ready(server: &mut TcpStream) -> (Vec<u8>, u8) {
    let mut all = vec![];
    loop {
        let message = frame(server, true).await;
        all.extend(&message);
        if message.first() == Some(&b'Z') {
            return (all, message[5]);
        }
    }
}

/// One message; empty at the end. The first one of a client has no type.
async fn frame(from: &mut TcpStream, has_type: bool) -> Vec<u8> {
    let header = 4 + usize::from(has_type);
    let mut message = vec![0; header];
    if from.read_exact(&mut message).await.is_err() {
        return vec![];
    }
    let length = u32::from_be_bytes(message[header - 4..].try_into().unwrap());
    message.resize(header - 4 + usize::try_from(length).unwrap(), 0);
    from.read_exact(&mut message[header..]).await.unwrap();
    message
}

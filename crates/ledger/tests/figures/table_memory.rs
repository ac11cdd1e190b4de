//! The memory of a full table. `table_memory GRANTS USERS` issues that many grants to that many users, and prints the resident
//! memory before and after, in MB: `cargo run --release -p turn-ledger --example table_memory 500000 0`. Linux only.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a command line program that measures memory"
)]

mod setup;

use std::time::Duration;

use turn_ledger::{
    BudgetMode, ClientKey, Grant, GrantId, IceSource, KeyName, MINT_SLACK, Requester, SourceTerms, Spender,
    Timestamp, User, Written,
};

use setup::setup;

const SOURCE: IceSource = IceSource::Cloudflare;
const BEGIN: Timestamp = Timestamp::from_millis(1_736_000_000_000);

type AnyError = Box<dyn std::error::Error>;

fn main() -> Result<(), AnyError> {
    let arguments: Vec<u64> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let [grants, users] = arguments.as_slice() else { return Err("usage: table_memory GRANTS USERS".into()) };
    let source = SourceTerms {
        source: SOURCE,
        tail: Duration::from_secs(7_200),
        cut_tail: None,
        sampling: 0,
        is_read: true,
    };
    let mut books = setup(BudgetMode::Estimate, u64::MAX / 2, source).open(None, BEGIN);
    let before = resident()?;
    for n in 0..*grants {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        id[8..].copy_from_slice(&n.to_be_bytes());
        let user = n.checked_rem(*users).and_then(|user| User::new(&format!("auth0|{user:024}")));
        let address = std::net::Ipv4Addr::from_bits(u32::try_from(n % 1_000_000)?);
        let requester = Requester {
            client: Some(ClientKey::V4(address)),
            spender: Spender { user, ..Spender::default() }.known(),
            key: Some(KeyName::DEFAULT),
            ..Requester::default()
        };
        books.advance(BEGIN.plus_millis(n));
        let life = Duration::from_secs(86_400);
        let Ok(hold) = books.reserve(SOURCE, life, MINT_SLACK, &requester) else {
            return Err("no room".into());
        };
        let issued_at = books.now();
        let grant =
            Grant { id: GrantId::new(id), source: SOURCE, issued_at, expires_at: issued_at.plus(life) };
        let username = format!("g0{:062x}", u128::from(n) + (1 << 80));
        let commit = books.commit(hold, &grant, Some(&username), requester)?;
        books.note_written(&commit, Written::Yes)?;
    }
    println!("resident before {before:.0} MB, after {:.0} MB, live {}", resident()?, books.grants().count());
    Ok(())
}

fn resident() -> Result<f64, AnyError> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u32 = text.split(' ').nth(1).ok_or("no number")?.parse()?;
    Ok(f64::from(pages) * 4_096.0 / 1e6)
}

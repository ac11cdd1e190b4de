//! `turn-broker demo` with its output in files, like under a service manager.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use crate::support::StateDir;
use crate::support::process::command;

const PAGE: &str = "http://127.0.0.1:";

/// A running demo. Dropping it ends it.
pub(crate) struct Demo {
    child: Child,
    directory: StateDir,
    pub(crate) server: SocketAddr,
}

impl Demo {
    /// Starts it, and waits until it has printed the URL of its page.
    pub(crate) async fn start() -> Self {
        let directory = StateDir::new();
        let file = |name: &str| File::create(PathBuf::from(directory.path()).join(name)).unwrap();
        let mut command = command(&[("LOG_FORMAT", "json"), ("RUST_LOG", "debug")]);
        command.args(["demo", "--port", "0"]).stdout(file("log")).stderr(file("person"));
        let child = command.spawn().unwrap();
        let mut demo = Self { child, directory, server: ([127, 0, 0, 1], 0).into() };
        while demo.server.port() == 0 {
            assert!(demo.child.try_wait().unwrap().is_none(), "the demo ends: {}", demo.read("person"));
            tokio::time::sleep(Duration::from_millis(20)).await;
            demo.server.set_port(page_port(&(demo.read("person") + &demo.log())).unwrap_or(0));
        }
        demo
    }

    /// What it has printed on standard output.
    pub(crate) fn log(&self) -> String {
        self.read("log")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(PathBuf::from(self.directory.path()).join(name)).unwrap()
    }
}

/// The port in the URL of the page, once it is written in full.
fn page_port(text: &str) -> Option<u16> {
    let url = text.split(PAGE).skip(1).find(|rest| rest.contains("#token="))?;
    url.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

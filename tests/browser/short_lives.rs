//! The program with short times, for the tests with a browser. It has a name of its own, so that no other test runs it.

#[path = "../../src/main.rs"]
mod program;

fn main() -> std::process::ExitCode {
    turn_broker::bounds::shorten();
    program::main()
}

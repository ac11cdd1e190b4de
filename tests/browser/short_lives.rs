//! The program with the feature `short-lives`, for the tests with a browser. It has a name of its own, so that no other test runs it.

#[path = "../../src/main.rs"]
mod program;

fn main() -> std::process::ExitCode {
    program::main()
}

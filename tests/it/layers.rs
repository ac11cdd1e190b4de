//! The layers of `src/`: a module imports only from layers below its own, so no two modules can depend on each other.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::repository::{code, sources};

/// From the top. Modules of one layer do not import each other.
const LAYERS: [&[&str]; 16] = [
    &["main", "lib"],
    &["cli"],
    &["demo", "doctor", "ledger_command", "listen", "operator_command"],
    &["router"],
    &["web"],
    &["http"],
    &["app"],
    &["auth", "forward", "limit", "live_calls", "meter", "mint"],
    &["account"],
    &["lead"],
    &["store"],
    &["alert"],
    &["telemetry"],
    &["config"],
    &["ice"],
    &["bounds", "json", "rate"],
];

/// The packages that only the composition, the table of routes and the settings know, and of which doctor, ice and meter use the client of a relay.
const PACKAGES: [&str; 3] = ["turn_relay", "turn_sfu_proxy", "turn_signaling_server"];
const MAY_NAME_THEM: [&str; 6] = ["app", "config", "doctor", "ice", "meter", "router"];

#[test]
fn no_import_runs_back_up_and_few_modules_name_a_package_of_signaling() {
    let mut modules = BTreeSet::new();
    for (path, text) in sources("src") {
        let module = module_of(&path);
        let layer = layer_of(&module).unwrap_or_else(|| panic!("add the module `{module}` to LAYERS"));
        for import in imports(&text).filter(|import| *import != module) {
            let below = layer_of(import);
            let import = format!("{}: `crate::{import}`", path.display());
            let below = below.unwrap_or_else(|| panic!("{import} is not in LAYERS"));
            assert!(below > layer, "{import} is not below `{module}`");
        }
        let names_one = |line: &&str| PACKAGES.iter().any(|package| line.contains(&format!("{package}::")));
        if !MAY_NAME_THEM.contains(&&*module) {
            assert_eq!(code(&text).find(names_one), None, "{}", path.display());
        }
        modules.insert(module);
    }
    let listed = LAYERS.concat().into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(modules, listed, "LAYERS lists the modules of src/");
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The folder or file below `src/` that the file belongs to.
fn module_of(path: &Path) -> String {
    let below = path.components().nth(1).unwrap();
    Path::new(&below).file_stem().unwrap().to_str().unwrap().to_owned()
}

/// The first name of each `crate::…` path outside comments.
fn imports(text: &str) -> impl Iterator<Item = &str> {
    code(text).flat_map(|line| line.split("crate::").skip(1)).map(|path| {
        let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
        &path[..end]
    })
}

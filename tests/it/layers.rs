//! The layers of `src/`: a module imports only from layers below its own, so no two modules can depend on each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

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
    &["amounts", "bounds", "cost", "json", "rate"],
];

#[test]
fn no_import_runs_back_up() {
    let mut modules = BTreeSet::new();
    for path in sources() {
        let module = module_of(&path);
        let layer = layer_of(&module).unwrap_or_else(|| panic!("add the module `{module}` to LAYERS"));
        modules.insert(module.clone());
        let text = fs::read_to_string(&path).unwrap();
        for import in imports(&text).filter(|import| *import != module) {
            let below = layer_of(import);
            let import = format!("{}: `crate::{import}`", path.display());
            let below = below.unwrap_or_else(|| panic!("{import} is not in LAYERS"));
            assert!(below > layer, "{import} is not below `{module}`");
        }
    }
    let listed = LAYERS.concat().into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(modules, listed, "LAYERS lists the modules of src/");
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The folder or file below `src/` that the file belongs to.
fn module_of(path: &Path) -> String {
    let below = path.strip_prefix(root()).unwrap().components().next().unwrap();
    Path::new(&below).file_stem().unwrap().to_str().unwrap().to_owned()
}

/// The first name of each `crate::…` path outside comments.
fn imports(text: &str) -> impl Iterator<Item = &str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1)).map(|path| {
        let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
        &path[..end]
    })
}

fn sources() -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![root()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The packages that only the composition, the table of routes and the settings know, and of which doctor and meter use the client of a relay.
const PACKAGES: [&str; 3] = ["turn_relay", "turn_sfu_proxy", "turn_signaling_server"];
const MAY_NAME_THEM: [&str; 5] = ["app", "config", "doctor", "meter", "router"];

#[test]
fn only_the_composition_the_routes_and_the_settings_name_a_package_of_signaling() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let named = code
            .into_iter()
            .find(|line| PACKAGES.iter().any(|package| line.contains(&format!("{package}::"))));
        let may_name = MAY_NAME_THEM.contains(&module_of(&path).as_str());
        assert!(may_name || named.is_none(), "{}: {named:?}", path.display());
    }
}

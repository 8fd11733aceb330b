//! The rules of the house: who may import whom, how long a file may be, which words it may not hold, and that links
//! in the documents lead somewhere. The table of imports is read from `docs/architecture.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Lines that a file may have before its tests.
const LONGEST: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder with this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The part of a source before its tests.
fn before_tests(source: &str) -> &str {
    source.split("\n#[cfg(test)]").next().unwrap_or(source)
}

/// The same without comments and the contents of strings, so that a word in a sentence is not taken for code.
fn code_only(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    for line in source.lines() {
        let mut quoted = false;
        let mut last = ' ';
        let mut characters = line.chars().peekable();
        while let Some(character) = characters.next() {
            if !quoted && character == '/' && characters.peek() == Some(&'/') {
                break;
            }
            // A quotation mark as a character literal opens nothing.
            if character == '"' && last != '\\' && last != '\'' {
                quoted = !quoted;
            }
            code.push(if quoted { ' ' } else { character });
            last = if last == '\\' { ' ' } else { character };
        }
        code.push('\n');
    }
    code
}

/// The module of `src/pool/slots.rs` or `src/main.rs`: the first part below `src`, without ending.
fn module_of(path: &Path) -> String {
    let below = path.strip_prefix(root().join("src")).expect("a source");
    let first = below.iter().next().unwrap_or_default().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// A row of the table: floor, and what may be imported.
#[derive(Debug)]
struct Row {
    floor: u32,
    imports: Imports,
    /// Modules of the same row, which are one to the table (`cli`, `main`).
    peers: BTreeSet<String>,
}

#[derive(Debug)]
enum Imports {
    /// "everything below": all modules of lower floors.
    Below,
    These(BTreeSet<String>),
}

/// Reads `| floor | module | what it is | may import |`; a cell may name several modules, and remarks in parentheses.
fn import_table(text: &str) -> BTreeMap<String, Row> {
    let mut table = BTreeMap::new();
    for line in text.lines().filter(|line| line.trim_start().starts_with('|')) {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [floor, modules, _, imports] = cells[..] else { continue };
        let Ok(floor) = floor.parse() else { continue };
        for module in names(modules) {
            let imports =
                if imports.contains("everything below") { Imports::Below } else { Imports::These(names(imports)) };
            table.insert(module, Row { floor, imports, peers: names(modules) });
        }
    }
    table
}

/// Names in a cell: `cache (key only), sql` are `cache` and `sql`.
fn names(cell: &str) -> BTreeSet<String> {
    let mut plain = String::new();
    let mut depth = 0_u32;
    for character in cell.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => plain.push(character),
            _ => {}
        }
    }
    let words = plain.split(|character: char| !(character.is_alphanumeric() || character == '_'));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The modules that a source names by `crate::…` (or `pgweir::…` in `main`), also inside braces.
fn imports(code: &str, module: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let krate = if module == "main" { "pgweir::" } else { "crate::" };
    for (at, _) in code.match_indices(krate) {
        let preceded =
            code[..at].chars().next_back().is_some_and(|last| last.is_alphanumeric() || last == '_' || last == ':');
        if preceded {
            continue;
        }
        let rest = &code[at + krate.len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(heads(list)),
            None => found.extend(word(rest)),
        }
    }
    found
}

/// First words of the items of `{a, b::{c, d}, e::f}`, after its opening brace.
fn heads(list: &str) -> BTreeSet<String> {
    let mut heads = BTreeSet::new();
    let (mut depth, mut item) = (1_u32, String::new());
    for character in list.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => {
                heads.extend(word(&item));
                item.clear();
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && character != ',' {
            item.push(character);
        }
    }
    heads.extend(word(&item));
    heads
}

fn word(text: &str) -> Option<String> {
    let text = text.trim_start();
    let end = text.find(|character: char| !(character.is_alphanumeric() || character == '_')).unwrap_or(text.len());
    // A macro or a constant of the crate's root is no module.
    let word = &text[..end];
    (!word.is_empty() && word.chars().all(|character| !character.is_uppercase())).then(|| word.to_owned())
}

#[test]
fn modules_import_only_what_the_architecture_allows() {
    let table = import_table(&read(&root().join("docs/architecture.md")));
    assert!(table.len() > 10, "the table of imports is in docs/architecture.md: {table:?}");
    let mut wrong = Vec::new();
    for path in files(&root().join("src"), "rs") {
        let module = module_of(&path);
        if module == "lib" {
            continue;
        }
        let Some(row) = table.get(&module) else {
            wrong.push(format!("{}: module {module} is not in the table", shown(&path)));
            continue;
        };
        for import in imports(&code_only(before_tests(&read(&path))), &module) {
            let allowed = row.peers.contains(&import)
                || match &row.imports {
                    Imports::Below => table.get(&import).is_some_and(|other| other.floor < row.floor),
                    Imports::These(these) => these.contains(&import),
                };
            if !allowed {
                wrong.push(format!("{}: {module} may not import {import}", shown(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_circles() {
    let table = import_table(&read(&root().join("docs/architecture.md")));
    let depends = |module: &str| -> Vec<String> {
        match table.get(module).map(|row| (&row.imports, row.floor)) {
            Some((Imports::These(these), _)) => these.iter().cloned().collect(),
            Some((Imports::Below, floor)) => {
                table.iter().filter(|(_, other)| other.floor < floor).map(|(name, _)| name.clone()).collect()
            }
            None => Vec::new(),
        }
    };
    for module in table.keys() {
        let mut reached: BTreeSet<String> = BTreeSet::new();
        let mut next = depends(module);
        while let Some(other) = next.pop() {
            assert_ne!(other, *module, "{module} imports itself by way of others");
            if reached.insert(other.clone()) {
                next.extend(depends(&other));
            }
        }
    }
}

#[test]
fn files_are_no_longer_than_a_sitting() {
    let folders = ["src", "tests/it"].map(|folder| files(&root().join(folder), "rs"));
    let long = folders.iter().flatten().filter_map(|path| {
        let source = read(path);
        let below = path.strip_prefix(root()).unwrap_or(path);
        let is_tests = below.starts_with("src") && below.iter().any(|part| part == "tests" || part == "tests.rs");
        let lines = before_tests(&source).lines().count();
        (lines > LONGEST && !is_tests).then(|| format!("{}: {lines} lines", shown(path)))
    });
    let long: Vec<String> = long.collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn nothing_is_left_half_done() {
    let words =
        ["FIX".to_owned() + "ME", "dbg".to_owned() + "!", "todo".to_owned() + "!", "unimplemented".to_owned() + "!"];
    let folders = ["src", "tests/it"].map(|folder| files(&root().join(folder), "rs"));
    let mut found = Vec::new();
    for path in folders.iter().flatten() {
        for (number, line) in read(path).lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{}:{}: {}", shown(path), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_folder_says_what_it_is() {
    let silent: Vec<String> = files(&root().join("src"), "rs")
        .iter()
        .filter(|path| path.file_name().is_some_and(|name| name == "mod.rs" || name == "lib.rs"))
        .filter(|path| !read(path).starts_with("//!"))
        .map(|path| shown(path))
        .collect();
    assert!(silent.is_empty(), "no //! at the beginning of {silent:?}");
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    let mut documents: Vec<PathBuf> =
        ["README.md", "CHANGELOG.md"].iter().map(|name| root().join(name)).filter(|path| path.exists()).collect();
    documents.extend(files(&root().join("docs"), "md"));
    documents.extend(files(&root().join("tests/wire"), "md"));
    let mut broken = Vec::new();
    for document in documents {
        let text = read(&document);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
                continue;
            }
            if !document.parent().is_some_and(|folder| folder.join(file).exists()) {
                broken.push(format!("{}: {target}", shown(&document)));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::{code_only, import_table, imports};

    fn found(source: &str) -> Vec<String> {
        imports(&code_only(source), "pool").into_iter().collect()
    }

    #[test]
    fn imports_are_found_in_braces_and_in_paths() {
        assert_eq!(found("use crate::wire::frame;\nfn f() -> crate::sql::Kind {}"), ["sql", "wire"]);
        assert_eq!(found("use crate::{auth, net::{self, tls}, stats::x};"), ["auth", "net", "stats"]);
        assert_eq!(found("use crate::{\n    auth,\n    net,\n};"), ["auth", "net"]);
        assert!(found("// crate::wire\nlet x = \"crate::sql\"; mycrate::net; crate::CONSTANT").is_empty());
    }

    #[test]
    fn the_table_is_read() {
        let table = import_table(
            "| floor | module | what | may import |\n|---|---|---|---|\n| 0 | `wire` | frames | – |\n| 2 | `session` | x | wire, cache (key only) |\n| 4 | `cli`, `main` | x | everything below |",
        );
        assert_eq!(table.len(), 4);
        assert!(format!("{:?}", table["session"]).contains(r#"{"cache", "wire"}"#));
        assert_eq!(table["main"].floor, 4);
    }
}

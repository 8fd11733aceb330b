//! The reference file, the page and the example of the README.

use super::*;

#[test]
fn the_reference_file_yields_exactly_the_defaults() {
    let mut config = loaded(&read("proxy.toml")).config;
    let users = std::mem::take(&mut config.users);
    assert_eq!(config, defaults());
    assert_eq!(users.len(), 1);
    assert_eq!(config.pool.timeout, Duration::from_secs(30));
    assert_eq!(config.listen.max_clients, 10_000);
}

#[test]
fn the_reference_file_has_every_key_with_its_default_or_an_example() {
    let text = read("proxy.toml");
    let mut section = String::new();
    let mut there = Vec::new();
    for line in text.lines() {
        let plain = line.strip_prefix("# ").unwrap_or(line);
        if plain.starts_with('[') {
            section = plain.split_whitespace().next().unwrap_or_default().to_owned();
        } else if let Some((key, value)) = plain.split_once(" = ") {
            let value = value.split("  #").next().unwrap_or_default().trim();
            there.push(format!("{section} {}{key} = {value}", if plain == line { "" } else { "# " }));
        }
    }
    for known in SECTIONS {
        let header = known.header().replace("NAME", "app");
        for key in known.keys {
            let line = match key.default {
                Unwritten::Default(value) => format!("{header} {} = {value}", key.name),
                Unwritten::Absent { .. } if header == "[[users]]" && ["name", "password"].contains(&key.name) => {
                    continue;
                }
                Unwritten::Absent { example } => format!("{header} # {} = {example}", key.name),
            };
            assert!(there.contains(&line), "proxy.toml lacks {line}");
        }
    }
}

#[test]
fn the_commented_keys_of_the_reference_file_are_valid() {
    let is_key = |line: &str| {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        line.starts_with('[') || (rest.starts_with("= ") && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let uncomment = |line: &str| match line.strip_prefix("# ") {
        Some(plain) if is_key(plain) => plain.to_owned(),
        _ => line.to_owned(),
    };
    let text: Vec<String> = read("proxy.toml").lines().map(uncomment).collect();
    // The authority that it names has a meaning only where certificates are compared.
    let text = text.join("\n").replace("mode = \"prefer\"", "mode = \"verify-full\"");
    let Loaded { config, .. } = loaded(&text);
    assert_eq!(config.control.map(|control| control.user), Some("pgweir".to_owned()));
    assert_eq!(config.databases["app"].pool.size, Some(5));
    assert_eq!(config.users[0].backend_user.as_deref(), Some("app_owner"));
    assert!(config.listen.tls.identity.is_some() && config.server.tls.identity.is_some());
}

#[test]
fn the_example_of_the_readme_is_valid_and_passes_every_database_through() {
    let config = loaded(README_EXAMPLE).config;
    assert_eq!(config.control.as_ref().map(|control| control.dbname.as_str()), Some("postgres"));
    assert_eq!(config.database_for("any").map(|target| target.dbname), Some("any".to_owned()));
}

#[test]
fn the_reference_page_is_up_to_date() {
    let page = reference_page();
    if std::env::var_os("PGWEIR_WRITE_DOCS").is_some() {
        std::fs::write(in_repository("docs/configuration.md"), &page).expect("the page can be written");
    }
    let there = std::fs::read_to_string(in_repository("docs/configuration.md")).unwrap_or_default();
    assert!(there == page, "docs/configuration.md is out of date: PGWEIR_WRITE_DOCS=1 cargo test --lib reference_page");
}

#[test]
fn every_key_has_a_default_or_example_of_its_kind_and_survives_the_way_to_the_model_and_back() {
    let written = defaults().write();
    for section in SECTIONS {
        for key in section.keys {
            if let Unwritten::Absent { example } = key.default {
                let raw = toml::de::DeValue::parse(example).map(|value| Raw::from_toml(value.get_ref()));
                assert!(key.kind.read(&raw.expect("TOML")).is_ok(), "{} = {example}", key.name);
            }
            let special = section.path == "control" || key.name == "workers";
            if section.shape == Shape::Single && !special {
                let value = written.sections[section.path].value(key.name);
                assert_eq!(*value, default_of(key), "{}.{}", section.path, key.name);
                assert!(written.sections[section.path].0.contains_key(key.name), "{}.{}", section.path, key.name);
            }
        }
        if let Some(values) = written.sections.get(section.path) {
            for name in values.0.keys() {
                assert!(section.key(name).is_some(), "{}.{name} is not in the table of keys", section.path);
            }
        }
    }
}

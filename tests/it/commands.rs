//! The command line beside serving: what is checked beforehand, said at a start that fails, and printed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::harness::pgweir;
use crate::harness::tls::Authority;

fn write(folder: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("its mode");
    path
}

#[tokio::test]
async fn a_start_that_fails_says_why_once_names_the_file_and_is_a_line_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none").join("a file");
    let name = format!("'{}'", missing.display());
    let identity = Authority::new("ours").issue("localhost");
    let key = write(folder.path(), "server.key", &identity.key, 0o600);
    let tls = pgweir().set("listen.tls.mode", "'allow'").set("listen.tls.cert", &name);
    let attempts = [pgweir().set("insight.store", &name), tls.set("listen.tls.key", &format!("'{}'", key.display()))];
    for attempt in attempts {
        let (status, log) = attempt.start_refused().await;
        assert!(!status.success());
        let last = log.lines().last().expect("a line");
        let line: serde_json::Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("not JSON: {last}"));
        let told = line["fields"]["message"].as_str().expect("a message");
        assert!(told.starts_with("pgweir cannot start: ") && told.contains(missing.to_str().unwrap()), "{told}");
        assert_eq!(told.matches("No such file").count(), 1, "{told}");
    }
}

//! The command line beside serving: what is checked beforehand, said at a start that fails, and printed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::proxy::binary;
use crate::harness::tls::Authority;
use crate::harness::{fed, own_postgres, pgweir};

/// Runs the program to its end, without any configuration of the environment.
fn run(arguments: &[&str], input: &str) -> Output {
    fed(Command::new(binary().expect("there is a program to test")).args(arguments).env_clear(), input)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

fn write(folder: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("its mode");
    path
}

/// Exit code and standard error of `pgweir check` on this text, with `FOLDER` for the folder.
fn check(folder: &Path, text_of_file: &str, mode: u32) -> (Option<i32>, String) {
    let folder_name = folder.display().to_string();
    let file = write(folder, "proxy.toml", &text_of_file.replace("FOLDER", &folder_name), mode);
    let output = run(&["check", file.to_str().expect("UTF-8")], "");
    (output.status.code(), text(&output.stderr).replace(&folder_name, "FOLDER"))
}

#[test]
fn check_finds_the_files_that_a_start_would_fail_for_with_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (Authority::new("ours").issue("localhost"), Authority::new("ours").issue("localhost"));
    write(folder.path(), "one.crt", &one.cert, 0o644);
    write(folder.path(), "one.key", &one.key, 0o600);
    write(folder.path(), "other.key", &other.key, 0o600);
    write(folder.path(), "a_file", "nothing", 0o644);

    let (status, told) = check(
        folder.path(),
        "[[users]]\nname = 'app'\npassword = 'secret'\n\
         [listen]\nunix_socket = 'FOLDER/a_file'\n\
         [listen.tls]\nmode = 'allow'\ncert = 'FOLDER/none.crt'\nkey = 'FOLDER/none.key'\nclient_ca = 'FOLDER/none.ca'\n\
         [server.tls]\nmode = 'verify-ca'\nca = 'FOLDER/a_file'\n\
         [insight]\nstore = 'FOLDER/none/insight.redb'\n\
         [pool]\npool_size = 5\n",
        0o600,
    );
    assert_eq!(status, Some(1));
    let expected = "\
FOLDER/proxy.toml:5: listen.unix_socket: \"FOLDER/a_file\" is no folder
FOLDER/proxy.toml:8: listen.tls.cert: cannot read \"FOLDER/none.crt\": No such file or directory (os error 2)
FOLDER/proxy.toml:9: listen.tls.key: cannot read \"FOLDER/none.key\": No such file or directory (os error 2)
FOLDER/proxy.toml:10: listen.tls.client_ca: cannot read \"FOLDER/none.ca\": No such file or directory (os error 2)
FOLDER/proxy.toml:13: server.tls.ca: \"FOLDER/a_file\" holds no certificate (expected PEM: -----BEGIN CERTIFICATE-----)
FOLDER/proxy.toml:15: insight.store: the folder \"FOLDER/none\" cannot be used: No such file or directory (os error 2)
FOLDER/proxy.toml:17: pool.pool_size: unknown key; did you mean \"size\"?";
    assert_eq!(told, expected);

    let users = "[[users]]\nname = 'app'\npassword = 'secret'\n";
    let identity = "[listen.tls]\nmode = 'require'\ncert = 'FOLDER/one.crt'\n";
    let (status, told) = check(folder.path(), &format!("{users}{identity}key = 'FOLDER/other.key'\n"), 0o600);
    assert_eq!(status, Some(1));
    let mismatch = "FOLDER/proxy.toml:7: listen.tls.key: the private key in \"FOLDER/other.key\" does not belong to the \
                    certificate in \"FOLDER/one.crt\"";
    assert_eq!(told, mismatch);
    let (status, told) = check(folder.path(), &format!("{users}{identity}key = 'FOLDER/one.key'\n"), 0o600);
    assert_eq!((status, told.as_str()), (Some(0), ""));
}

#[test]
fn check_warns_of_secrets_that_everybody_may_read() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Authority::new("ours").issue("localhost");
    write(folder.path(), "server.crt", &identity.cert, 0o644);
    write(folder.path(), "server.key", &identity.key, 0o604);
    let users = "[[users]]\nname = 'app'\npassword = 'secret'\n";
    let tls = "[listen.tls]\nmode = 'allow'\ncert = 'FOLDER/server.crt'\nkey = 'FOLDER/server.key'\n";
    let (status, told) = check(folder.path(), &format!("{users}{tls}"), 0o644);
    assert_eq!(status, Some(0));
    let expected = "\
warning: FOLDER/proxy.toml has mode 0644, which opens the passwords in it to every user of this machine; chmod 600 is right
warning: FOLDER/server.key has mode 0604, which opens listen.tls.key to every user of this machine; chmod 600 is right";
    assert_eq!(told, expected);
    assert_eq!(check(folder.path(), users, 0o640), (Some(0), String::new()));
    let trusting = "[listen]\nauth = 'trust'\n";
    assert_eq!(check(folder.path(), trusting, 0o644), (Some(0), String::new()));
}

#[tokio::test]
async fn a_start_warns_of_passwords_that_everybody_may_read() {
    let proxy = pgweir().users("[[users]]\nname = 'app'\npassword = 'secret'\n").start().await;
    let warning = proxy.log_line("has mode 0644").await;
    assert!(warning.contains("\"WARN\"") && warning.contains("chmod 600"), "{warning}");
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

#[tokio::test]
async fn what_hash_password_prints_for_the_server_makes_its_secret_log_in() {
    let cluster = own_postgres().start().await;
    let hashed = run(&["hash-password", "--user", "by_scram"], "secret of by_scram\n");
    let (secret, told) = (text(&hashed.stdout), text(&hashed.stderr));
    assert!(secret.starts_with("SCRAM-SHA-256$"), "{secret}");
    let statement = told.lines().find(|line| !line.starts_with("--")).expect("a statement");

    let users = format!("[[users]]\nname = 'by_scram'\npassword = '{secret}'\n");
    let proxy = pgweir().in_front_of(&cluster).set("listen.auth", "'scram-sha-256'").users(&users).start().await;
    let port = proxy.address().port();
    let url = format!("host=127.0.0.1 port={port} user=by_scram password='secret of by_scram' dbname=postgres");
    let refused = proxy.connect(&url).await.expect_err("another salt");
    assert!(refused.as_db_error().is_some_and(|error| error.message().contains("another salt")), "{refused:?}");
    cluster.execute(statement).await;
    proxy.connect(&url).await.expect("the same secret on both sides");
}

#[test]
fn help_shows_of_each_command_what_it_uses() {
    let help = |command: &str| text(&run(&[command, "--help"], "").stdout);
    for command in ["demo", "digest", "hash-password"] {
        let told = help(command);
        assert!(!told.contains("--config") && !told.contains("--url"), "{told}");
    }
    let report = help("report");
    assert!(report.contains("address of pgweir itself") && !report.contains("PostgreSQL's address"), "{report}");
    let hash_password = help("hash-password");
    assert!(hash_password.contains("ALTER ROLE") && hash_password.contains("backend_password"), "{hash_password}");
}

#[test]
fn a_configuration_is_named_before_or_after_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "proxy.toml", "[pool]\nsize = 7\n[[users]]\nname = 'a'\npassword = 'b'\n", 0o600);
    let file = file.to_str().expect("UTF-8");
    for arguments in [["check", file].as_slice(), &["check", "--config", file], &["--config", file, "check"]] {
        let output = run(arguments, "");
        assert!(text(&output.stdout).contains("size = 7"), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn without_any_configuration_it_says_how_to_start() {
    let output = run(&[], "");
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains("pgweir --url postgres://") && told.contains("pgweir --config proxy.toml"), "{told}");
}

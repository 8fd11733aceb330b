//! `pgweir report`: asks a running pgweir and tells, or says in a sentence why it cannot.

use std::process::{Command, Output};

use crate::harness::proxy::binary;
use crate::harness::tls::Authority;
use crate::harness::{Builder, Proxy, eventually, pgweir, postgres};

fn watched() -> Builder {
    pgweir().set("admin.stats_users", "['looker']")
}

async fn report(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary().expect("a binary"));
    command.arg("report").args(arguments).env_remove("DATABASE_URL");
    tokio::task::spawn_blocking(move || command.output().expect("pgweir runs")).await.expect("it ends")
}

/// What is told, of a report that succeeds.
async fn told(proxy: &Proxy, arguments: &[&str]) -> String {
    let url = proxy.url("looker", "");
    let output = report(&[&["--url", &url], arguments].concat()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

async fn refused(arguments: &[&str]) -> String {
    let output = report(arguments).await;
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).expect("UTF-8")
}

/// A proxy that has seen the statement thrice from each of two applications.
async fn busy() -> Proxy {
    let proxy = watched().start().await;
    for application in ["till", "web"] {
        let url = format!("{}?application_name={application}", proxy.url("postgres", "postgres"));
        let client = proxy.connect(&url).await.expect("login");
        for number in 0..3 {
            let sql = format!("SELECT {number} AS reported, '<b>' AS {application}");
            client.simple_query(&sql).await.expect("a row");
        }
    }
    let console = proxy.connect(&proxy.url("looker", "pgweir")).await.expect("the console");
    let sql = "SHOW QUERIES (*) WHERE query LIKE '%reported%' AND calls = 3";
    eventually("all is merged", async || console.query(sql, &[]).await.expect("rows").len() == 2).await;
    proxy
}

#[tokio::test]
async fn every_form_tells_the_patterns_that_were_seen() {
    let proxy = busy().await;
    let table = told(&proxy, &["--by", "calls"]).await;
    assert!(table.contains("Patterns by calls") && table.contains("AS reported, $2 AS till"), "{table}");
    let json: serde_json::Value = serde_json::from_str(&told(&proxy, &["--format", "json"]).await).expect("JSON");
    let patterns = json["patterns"].as_array().expect("a list");
    let web = patterns.iter().find(|one| one["query"].as_str().is_some_and(|text| text.ends_with("AS web")));
    let web = web.unwrap_or_else(|| panic!("{json}"));
    assert_eq!((web["calls"].as_i64(), web["applications"].as_str()), (Some(3), Some("web 3")));
    assert!(json["summary"]["calls"].as_i64() >= Some(6));
    let csv = told(&proxy, &["--format", "csv"]).await;
    assert!(csv.starts_with("digest,database,user,") && csv.contains("\"SELECT $1 AS reported, $2 AS till\""), "{csv}");
    let markdown = told(&proxy, &["--format", "markdown"]).await;
    assert!(markdown.contains("| `SELECT $1 AS reported, $2 AS till` |"), "{markdown}");
    let page = told(&proxy, &["--format", "html"]).await;
    assert!(page.contains("SELECT $1 AS reported, $2 AS web</code>"), "{page}");
}

#[tokio::test]
async fn a_report_is_narrowed_by_application_and_cut_to_the_top() {
    let proxy = busy().await;
    let of_till = told(&proxy, &["--app", "till"]).await;
    assert!(of_till.contains("AS till") && !of_till.contains("AS web"), "{of_till}");
    assert!(of_till.contains("All figures are those of till alone.") && !of_till.contains("p95"), "{of_till}");
    let nobody = told(&proxy, &["--user", "nobody"]).await;
    assert!(nobody.contains("none"), "{nobody}");
    let csv = told(&proxy, &["--format", "csv", "--top", "1", "--by", "rows", "--since", "1h"]).await;
    assert_eq!(csv.lines().count(), 2, "{csv}");
}

/// Both execute the same pattern, one of them nine times as often.
#[tokio::test]
async fn figures_of_an_application_are_its_own() {
    let proxy = watched().start().await;
    for (application, times) in [("billing", 3), ("batch", 27)] {
        let client = proxy.connect(&proxy.url("postgres", "postgres")).await.expect("login");
        client.simple_query(&format!("SET application_name = '{application}'")).await.expect("set");
        for _ in 0..times {
            client.simple_query("SELECT 1 AS shared").await.expect("a row");
        }
    }
    let console = proxy.connect(&proxy.url("looker", "pgweir")).await.expect("the console");
    let sql = "SHOW QUERIES (*) WHERE query LIKE '%shared%' AND calls = 30";
    eventually("all is merged", async || console.query(sql, &[]).await.expect("rows").len() == 1).await;
    let json = told(&proxy, &["--app", "billing", "--format", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let shared = json["patterns"].as_array().expect("a list").iter().find(|one| one["query"] == "SELECT $1 AS shared");
    assert_eq!(shared.map(|one| one["calls"].as_i64()), Some(Some(3)), "{json}");
    assert_eq!(json["summary"]["rows"].as_i64(), Some(3), "{json}");
    let sum: f64 = json["patterns"].as_array().expect("a list").iter().filter_map(|one| one["share"].as_f64()).sum();
    assert!((sum - 100.0).abs() < 0.1, "{json}");
    let url = proxy.url("looker", "");
    let percentile = refused(&["--url", &url, "--app", "billing", "--by", "p95"]).await;
    assert!(percentile.contains("percentiles are kept for all applications together"), "{percentile}");
}

#[tokio::test]
async fn where_insight_is_off_a_report_says_so_and_tells_no_zeros() {
    let proxy = watched().set("insight.enabled", "false").start().await;
    for form in ["table", "markdown", "html", "json"] {
        let text = told(&proxy, &["--format", form]).await;
        assert!(text.contains("insight.enabled = true"), "{text}");
        assert!(!text.contains("0 calls") && !text.contains("no errors"), "{text}");
    }
}

#[tokio::test]
async fn a_configuration_says_where_its_pgweir_is_and_who_may_ask() {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = probe.local_addr().expect("an address");
    drop(probe);
    let builder = watched()
        .set("listen.address", &format!("'{address}'"))
        .set("listen.auth", "'scram-sha-256'")
        .users("[[users]]\nname = 'by_scram'\npassword = 'secret of by_scram'\n")
        .set("admin.password", "'of the house'");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("proxy.toml");
    let port = postgres().await.port().to_string();
    let text = builder.clone().set("server.port", &port).set("server.host", "'127.0.0.1'").render();
    std::fs::write(&file, text).expect("a file");
    let _proxy = builder.start().await;
    let output = report(&["--config", &file.display().to_string()]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Patterns by total time"));
}

#[tokio::test]
async fn what_goes_wrong_is_a_sentence() {
    let proxy = watched().start().await;
    let stranger = refused(&["--url", &proxy.url("postgres", "")]).await;
    assert!(stranger.contains("does not let this user into its console") && stranger.contains("[admin]"), "{stranger}");
    let nobody = refused(&["--url", "postgres://looker@127.0.0.1:1"]).await;
    assert!(nobody.contains("no pgweir can be reached at 127.0.0.1:1"), "{nobody}");
    let direct = postgres().await;
    let url = format!("postgres://postgres@127.0.0.1:{}", direct.port());
    let server = refused(&["--url", &url]).await;
    assert!(server.contains("has no console: it is PostgreSQL itself"), "{server}");
    let unnamed = refused(&["--url", "postgres://127.0.0.1:6432"]).await;
    assert!(unnamed.contains("the URL needs a user"), "{unnamed}");
}

#[tokio::test]
async fn it_comes_by_tls_where_that_is_demanded() {
    let identity = Authority::new("root").issue("localhost");
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        format!("'{}'", path.display())
    };
    let proxy = watched()
        .set("listen.tls.mode", "'require'")
        .set("listen.tls.cert", &write("server.pem", &identity.cert))
        .set("listen.tls.key", &write("server.key", &identity.key))
        .start()
        .await;
    told(&proxy, &["--top", "1"]).await;
    let plain = refused(&["--url", &format!("{}?sslmode=disable", proxy.url("looker", ""))]).await;
    assert!(plain.contains("accepts encrypted connections only"), "{plain}");
}

//! Asking PostgreSQL for one plan: in a read-only transaction with a short timeout that is rolled back, never with
//! ANALYZE, so nothing is executed.

use serde_json::Value;
use tokio_postgres::error::DbError;
use tokio_postgres::{Client, Error};

use super::advice::{Index, Known, advice, filters_without_columns};
use super::shape::{Scan, Shape, qualified, shape};
use super::{Sample, Sent};
use crate::insight::view::Plan;
use crate::sql::{Lexing, last_parameter};

/// For one statement of ours, and for a lock.
const TIMEOUTS: &str = "SET LOCAL statement_timeout = '1s'; SET LOCAL lock_timeout = '100ms'; \
     SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL standard_conforming_strings = on";
/// How normalised texts leave out the rest of a list, and of a text.
const REST_OF_LIST: &str = ", ...";
const REST_OF_TEXT: &str = "...";

const CATALOG: &str = "SELECT c.reltuples::float8, array(SELECT (SELECT string_agg(a.attname, ',' ORDER BY k.place) \
     FROM unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k(number, place) \
     JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number) \
     FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL) \
     FROM pg_class c WHERE c.oid = to_regclass($1)";

/// The plan of a sample, and what it lacks.
///
/// # Errors
/// Why there is none, in words for the operator.
pub(super) async fn explain(client: &mut Client, sample: &Sample) -> Result<Plan, String> {
    let sent = match &sample.sent {
        Some(sent) => sent.clone(),
        None => of_pattern(&sample.pattern.text)?,
    };
    explained(client, &sent, &sample.user).await.map_err(|fault| match fault {
        // PostgreSQL's message may name a value: only what stands in the pattern anyway is shown of it.
        Fault::Postgres(error) => error.as_db_error().map_or_else(|| error.to_string(), |report| words(report, &sent)),
        Fault::Unexplained(why) => why.to_owned(),
    })
}

/// Why there is no plan.
enum Fault {
    Postgres(Error),
    Unexplained(&'static str),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Postgres(error)
    }
}

/// PostgreSQL's message, where it can hold no value of the statement.
fn words(report: &DbError, sent: &Sent) -> String {
    let code = report.code().code();
    let harmless = matches!(code.get(..2), Some("42" | "55" | "57" | "25" | "28" | "3F")) && code != "42601";
    let has_values = sent.parameters.is_empty() && report.message().contains(['\'', '$']);
    if harmless && !has_values { format!("{} (SQLSTATE {code})", report.message()) } else { format!("SQLSTATE {code}") }
}

/// A normalised text as a statement for any values.
fn of_pattern(text: &str) -> Result<Sent, String> {
    let text = text.replace(REST_OF_LIST, "");
    if text.contains(REST_OF_TEXT) {
        return Err("the text is too long to be kept whole".to_owned());
    }
    let parameters = usize::try_from(last_parameter(text.as_bytes(), &Lexing::default())).unwrap_or(0);
    Ok(Sent { search_path: None, text: text.into(), parameters: vec![0; parameters] })
}

async fn explained(client: &mut Client, sent: &Sent, user: &str) -> Result<Plan, Fault> {
    let transaction = client.build_transaction().read_only(true).start().await?;
    transaction.batch_execute(TIMEOUTS).await?;
    let client = transaction.client();
    become_user(client, sent, user).await?;
    let question = prepare(client, sent).await?;
    let shape = plan(client, &question).await?;
    let mut tables = Vec::new();
    for scan in &shape.scans {
        tables.push((scan.clone(), known(client, scan).await?));
    }
    let known = |scan: &Scan| tables.iter().find(|(other, _)| other == scan).and_then(|(_, known)| known.clone());
    let mut indexes = advice(&shape, known);
    let others = filters_without_columns(&shape, known);
    verify(client, &question, &mut indexes).await?;
    transaction.rollback().await?;
    let advice = indexes.iter().map(|index| index.sentence(shape.cost)).chain(others).collect();
    Ok(Plan { cost: shape.cost, rows: shape.rows, shape: shape.text, advice })
}

/// Names mean what they mean to the session, and what it may see is seen.
async fn become_user(client: &Client, sent: &Sent, user: &str) -> Result<(), Error> {
    if let Some(path) = &sent.search_path {
        client.execute("SELECT set_config('search_path', $1, true)", &[&&**path]).await?;
    }
    let may = "SELECT set_config('role', $1, true) FROM pg_roles \
         WHERE rolname = $1 AND rolname <> current_user AND pg_has_role(rolname, 'MEMBER')";
    client.execute(may, &[&user]).await?;
    Ok(())
}

/// The text that asks for the plan. One command alone fits into a message of the extended protocol (manual, "Message
/// Flow"), which a text that was misread here cannot get round.
async fn prepare(client: &Client, sent: &Sent) -> Result<String, Error> {
    let options = "(FORMAT JSON, VERBOSE, COSTS)";
    if sent.parameters.is_empty() {
        return Ok(format!("EXPLAIN {options} {}", sent.text));
    }
    let mut types = Vec::new();
    for oid in &sent.parameters {
        // `unknown` leaves it to PostgreSQL.
        let name = client.query_one("SELECT coalesce(nullif(format_type($1, NULL), '-'), 'unknown')", &[oid]).await?;
        types.push(name.get::<_, String>(0));
    }
    // The plan for any values, which PostgreSQL 12 and later can be made to use.
    client.batch_execute("SET LOCAL plan_cache_mode = force_generic_plan").await?;
    client.execute(&format!("PREPARE pgweir_plan ({}) AS {}", types.join(", "), sent.text), &[]).await?;
    let nulls = vec!["NULL"; sent.parameters.len()].join(", ");
    Ok(format!("EXPLAIN {options} EXECUTE pgweir_plan ({nulls})"))
}

async fn plan(client: &Client, question: &str) -> Result<Shape, Fault> {
    let rows = client.query(question, &[]).await?;
    let answer: Value = rows.first().ok_or(Fault::Unexplained("no answer"))?.try_get(0)?;
    shape(&answer).ok_or(Fault::Unexplained("an answer that is no plan"))
}

async fn known(client: &Client, scan: &Scan) -> Result<Option<Known>, Error> {
    let name = qualified(&scan.schema, &scan.table);
    let Some(row) = client.query_opt(CATALOG, &[&name]).await? else { return Ok(None) };
    // An index on expressions has none of these columns.
    let indexes: Vec<Option<String>> = row.try_get(1)?;
    let columns = |index: String| index.split(',').map(str::to_owned).collect();
    Ok(Some(Known { rows: row.try_get(0)?, indexes: indexes.into_iter().flatten().map(columns).collect() }))
}

/// Asks again with each index, where HypoPG can pretend that it is there, and drops those that would not be used.
async fn verify(client: &Client, question: &str, indexes: &mut Vec<Index>) -> Result<(), Fault> {
    if indexes.is_empty() {
        return Ok(());
    }
    let installed = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'hypopg'";
    let Some(row) = client.query_opt(installed, &[]).await? else { return Ok(()) };
    let schema: String = row.try_get(0)?;
    let create = format!("SELECT indexname FROM {schema}.hypopg_create_index($1)");
    let reset = format!("SELECT {schema}.hypopg_reset()");
    let mut used = Vec::new();
    for mut index in indexes.drain(..) {
        let command = index.command().replace(" CONCURRENTLY", "");
        let Some(row) = client.query_opt(&create, &[&command]).await? else {
            continue;
        };
        let name: String = row.try_get(0)?;
        // A prepared statement would keep the plan that it has.
        client.batch_execute("DISCARD PLANS").await?;
        let with_it = plan(client, question).await?;
        client.query(&reset, &[]).await?;
        if with_it.text.contains(&name) {
            index.cost_with_it = Some(with_it.cost);
            used.push(index);
        }
    }
    *indexes = used;
    Ok(())
}

//! Asking PostgreSQL for one plan: in a read-only transaction with a short timeout that is rolled back, never with
//! ANALYZE, so nothing is executed.

use std::time::Duration;

use serde_json::Value;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use super::advice::{Index, Known, advice};
use super::shape::{Scan, Shape, qualified, shape};
use super::{PlanFault, Sample};

/// For one statement of ours, and for a lock.
const TIMEOUTS: &str = "SET LOCAL statement_timeout = '1s'; SET LOCAL lock_timeout = '100ms'; \
     SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL standard_conforming_strings = on";
/// For all of it.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Parameters of one statement: PostgreSQL's limit.
const PARAMETERS: usize = 65_535;

const CATALOG: &str = "SELECT c.reltuples::float8, array(SELECT (SELECT string_agg(a.attname, ',' ORDER BY k.place) \
     FROM unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k(number, place) \
     JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number) \
     FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL) \
     FROM pg_class c WHERE c.oid = to_regclass($1)";

/// The plan of a sample, and what it lacks.
pub(super) async fn explain(client: &mut Client, sample: &Sample) -> Result<(Shape, Vec<Index>), PlanFault> {
    let transaction = client.build_transaction().read_only(true).start().await?;
    transaction.batch_execute(TIMEOUTS).await?;
    let client = transaction.client();
    become_user(client, sample).await?;
    let question = prepare(client, sample).await?;
    let shape = plan(client, &question).await?;
    let mut tables = Vec::new();
    for scan in &shape.scans {
        tables.push((scan.clone(), known(client, scan).await?));
    }
    let known = |scan: &Scan| tables.iter().find(|(other, _)| other == scan).and_then(|(_, known)| known.clone());
    let mut indexes = advice(&shape, known);
    verify(client, &question, &mut indexes).await?;
    transaction.rollback().await?;
    Ok((shape, indexes))
}

/// Names mean what they mean to the session, and what it may see is seen.
async fn become_user(client: &Client, sample: &Sample) -> Result<(), Error> {
    if let Some(path) = &sample.sent.search_path {
        client.execute("SELECT set_config('search_path', $1, true)", &[&&**path]).await?;
    }
    let may = "SELECT set_config('role', $1, true) FROM pg_roles \
         WHERE rolname = $1 AND rolname <> current_user AND pg_has_role(rolname, 'MEMBER')";
    client.execute(may, &[&&*sample.user]).await?;
    Ok(())
}

/// The text that asks for the plan. One command alone fits into a message of the extended protocol (manual, "Message
/// Flow"), which a text that was misread here cannot get round.
async fn prepare(client: &Client, sample: &Sample) -> Result<String, PlanFault> {
    let options = "(FORMAT JSON, VERBOSE, COSTS)";
    if sample.sent.parameters.is_empty() {
        return Ok(format!("EXPLAIN {options} {}", sample.sent.text));
    }
    if sample.sent.parameters.len() > PARAMETERS {
        return Err(PlanFault::Unexplained("too many parameters"));
    }
    let mut types = Vec::new();
    for oid in &sample.sent.parameters {
        // `unknown` leaves it to PostgreSQL.
        let name = client.query_one("SELECT coalesce(nullif(format_type($1, NULL), '-'), 'unknown')", &[oid]).await?;
        types.push(name.get::<_, String>(0));
    }
    // The plan for any values, which PostgreSQL 12 and later can be made to use.
    client.batch_execute("SET LOCAL plan_cache_mode = force_generic_plan").await?;
    client.execute(&format!("PREPARE pgweir_plan ({}) AS {}", types.join(", "), sample.sent.text), &[]).await?;
    let nulls = vec!["NULL"; sample.sent.parameters.len()].join(", ");
    Ok(format!("EXPLAIN {options} EXECUTE pgweir_plan ({nulls})"))
}

async fn plan(client: &Client, question: &str) -> Result<Shape, PlanFault> {
    let rows = client.query(question, &[]).await?;
    let answer: Value = rows.first().ok_or(PlanFault::Unexplained("no answer"))?.try_get(0)?;
    shape(&answer).ok_or(PlanFault::Unexplained("an answer that is no plan"))
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
async fn verify(client: &Client, question: &str, indexes: &mut Vec<Index>) -> Result<(), PlanFault> {
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

impl From<Error> for PlanFault {
    fn from(error: Error) -> Self {
        match error.code() {
            Some(&SqlState::QUERY_CANCELED) => Self::TooLate,
            // Its message may hold values of the statement; its code does not.
            Some(code) => Self::Refused(code.code().to_owned()),
            None => Self::Away,
        }
    }
}

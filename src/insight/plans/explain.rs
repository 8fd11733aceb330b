//! Asking PostgreSQL for a plan without a value, on every version alike: the text is prepared, which takes one statement
//! and no more, and EXPLAIN EXECUTE of it is asked with a plan for any values (manual: "PREPARE", `plan_cache_mode`).

use std::time::Duration;

use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::advice;
use super::shape;
use crate::insight::view::Plan;

/// For connecting aside, all questions together.
const PATIENCE: Duration = Duration::from_secs(10);
/// Nothing is changed, nothing is waited for long.
const CAREFUL: &str = "BEGIN READ ONLY; SET LOCAL statement_timeout = '2s'; SET LOCAL lock_timeout = '200ms'; \
     SET LOCAL plan_cache_mode = force_generic_plan";
/// How normalised texts leave out the rest of a list, and of a text.
const REST_OF_LIST: &str = ", ...";
const REST_OF_TEXT: &str = "...";

/// The plan of a normalised text, with advice.
///
/// # Errors
/// Why there is none, in words for the operator.
pub(super) async fn explained(client: &Client, text: &str) -> Result<Plan, String> {
    let text = text.replace(REST_OF_LIST, "");
    if text.contains(REST_OF_TEXT) {
        return Err("the text is too long to be kept whole".to_owned());
    }
    match tokio::time::timeout(PATIENCE, asked(client, &text)).await {
        Ok(Ok(plan)) => plan,
        Ok(Err(error)) => Err(match error.as_db_error() {
            Some(report) => format!("{} (SQLSTATE {})", report.message(), report.code().code()),
            None => error.to_string(),
        }),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

async fn asked(client: &Client, text: &str) -> Result<Result<Plan, String>, Error> {
    client.batch_execute(CAREFUL).await?;
    let statement = client.prepare(text).await?;
    let named = "SELECT name FROM pg_prepared_statements WHERE statement = $1 AND NOT from_sql";
    let name: String = client.query_one(named, &[&text]).await?.try_get(0)?;
    let nulls = vec!["NULL"; statement.params().len()].join(", ");
    let arguments = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    let explain = format!("EXPLAIN (FORMAT JSON, VERBOSE) EXECUTE \"{}\"{arguments}", name.replace('"', "\"\""));
    let mut json = String::new();
    for message in client.simple_query(&explain).await? {
        if let SimpleQueryMessage::Row(row) = message {
            json.push_str(row.get(0).unwrap_or_default());
        }
    }
    let Some(tree) = shape::read(&json) else { return Ok(Err("PostgreSQL's plan is not understood".to_owned())) };
    let advice = advice::of(client, &tree).await?;
    client.batch_execute("ROLLBACK").await?;
    Ok(Ok(Plan { cost: tree.cost, rows: tree.rows, shape: tree.to_string(), advice }))
}

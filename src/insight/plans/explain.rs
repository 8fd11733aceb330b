//! Asking PostgreSQL for one plan: in a read-only transaction with a short timeout that is rolled back, never with
//! ANALYZE, so nothing is executed.

use serde_json::Value;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::advice::{Index, Known, advice};
use super::filters::unserved_filters;
use super::shape::{Scan, Shape, qualified, shape};
use super::{Sample, Sent};
use crate::insight::view::Plan;
use crate::sql::{Kind, Lexing, last_parameter, parameters};

/// For one statement of ours, and for a lock.
const TIMEOUTS: &str = "SET LOCAL statement_timeout = '1s'; SET LOCAL lock_timeout = '100ms'; \
     SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL standard_conforming_strings = on";
/// The first that knows `GENERIC_PLAN` (release notes of 16).
const KNOWS_GENERIC_PLAN: i32 = 16_00_00;
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
        Fault::Postgres(error) => {
            let words = |report| words(report, &sent) + missing_right(report, sample.pattern.kind);
            error.as_db_error().map_or_else(|| error.to_string(), words)
        }
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

/// What to do where PostgreSQL plans nothing because of rights.
fn missing_right(report: &DbError, kind: Kind) -> &'static str {
    match kind {
        _ if *report.code() != SqlState::INSUFFICIENT_PRIVILEGE => "",
        Kind::Write => {
            ": EXPLAIN needs the rights of the statement. Grant the user of [control] pg_write_all_data and \
             pg_read_all_data, or rights on the table, or the role whose statement it is."
        }
        _ => {
            ": EXPLAIN needs the rights of the statement. Grant the user of [control] pg_read_all_data, or rights on the \
             table, or the role whose statement it is."
        }
    }
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
    let question = Question::about(client, sent).await?;
    let shape = question.ask(client).await?;
    let mut tables = Vec::new();
    for scan in &shape.scans {
        tables.push((scan.clone(), known(client, scan).await?));
    }
    let known = |scan: &Scan| tables.iter().find(|(other, _)| other == scan).and_then(|(_, known)| known.clone());
    let mut indexes = advice(&shape, known);
    let others = unserved_filters(&shape, known);
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

/// A text that asks for the plan. It went by the extended protocol at least once: one command alone fits into a message of
/// that (manual, "Message Flow"), which a text that was misread here cannot get round.
enum Question {
    /// Values stand in it, or there are none.
    Explain(String),
    /// The plan for any values. PostgreSQL takes a parameter for its own where the protocol cannot give it a value: in a
    /// simple query.
    Generic(String),
}

impl Question {
    async fn about(client: &Client, sent: &Sent) -> Result<Self, Error> {
        if sent.parameters.is_empty() {
            return Ok(Self::Explain(format!("EXPLAIN (FORMAT JSON, VERBOSE) {}", sent.text)));
        }
        let types = types(client, &sent.parameters).await?;
        let version = client.query_one("SELECT current_setting('server_version_num')::int", &[]).await?;
        if version.get::<_, i32>(0) >= KNOWS_GENERIC_PLAN {
            let text = format!("EXPLAIN (GENERIC_PLAN, FORMAT JSON, VERBOSE) {}", typed(&sent.text, &types));
            client.prepare(&text).await?;
            return Ok(Self::Generic(text));
        }
        client.batch_execute("SET LOCAL plan_cache_mode = force_generic_plan").await?;
        let names = types.iter().map(|name| name.as_deref().unwrap_or("unknown")).collect::<Vec<_>>().join(", ");
        client.execute(&format!("PREPARE pgweir_plan ({names}) AS {}", sent.text), &[]).await?;
        let nulls = vec!["NULL"; types.len()].join(", ");
        Ok(Self::Explain(format!("EXPLAIN (FORMAT JSON, VERBOSE) EXECUTE pgweir_plan ({nulls})")))
    }

    async fn ask(&self, client: &Client) -> Result<Shape, Fault> {
        const NO_ANSWER: Fault = Fault::Unexplained("no answer");
        let answer: Value = match self {
            Self::Explain(text) => client.query(text, &[]).await?.first().ok_or(NO_ANSWER)?.try_get(0)?,
            Self::Generic(text) => {
                let messages = client.simple_query(text).await?;
                let row = messages.iter().find_map(|message| match message {
                    SimpleQueryMessage::Row(row) => row.get(0),
                    _ => None,
                });
                row.and_then(|row| serde_json::from_str(row).ok()).ok_or(NO_ANSWER)?
            }
        };
        shape(&answer).ok_or(Fault::Unexplained("an answer that is no plan"))
    }
}

/// The names of types, without those that PostgreSQL is to find.
async fn types(client: &Client, oids: &[u32]) -> Result<Vec<Option<String>>, Error> {
    let name = "SELECT (SELECT format('%I.%I', nspname, typname) FROM pg_type t \
         JOIN pg_namespace n ON n.oid = typnamespace WHERE t.oid = given AND given <> 'unknown'::regtype) \
         FROM unnest($1::oid[]) WITH ORDINALITY AS g(given, place) ORDER BY place";
    client.query(name, &[&oids]).await?.iter().map(|row| row.try_get(0)).collect()
}

/// The text with each parameter as one of its type. Such a cast gives a parameter its type and is no step of the plan.
fn typed(text: &str, types: &[Option<String>]) -> String {
    let mut typed = String::with_capacity(text.len());
    let mut rest = 0;
    for (number, place) in parameters(text.as_bytes(), &Lexing::default()) {
        let index = usize::try_from(number).unwrap_or(0).wrapping_sub(1);
        if let Some(Some(name)) = types.get(index) {
            typed += text.get(rest..place.start).unwrap_or_default();
            typed += &format!("(${number}::{name})");
            rest = place.end;
        }
    }
    typed += text.get(rest..).unwrap_or_default();
    typed
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
async fn verify(client: &Client, question: &Question, indexes: &mut Vec<Index>) -> Result<(), Fault> {
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
        let with_it = question.ask(client).await?;
        client.query(&reset, &[]).await?;
        if with_it.text.contains(&name) {
            index.cost_with_it = Some(with_it.cost);
            used.push(index);
        }
    }
    *indexes = used;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::typed;

    #[test]
    fn a_parameter_is_given_its_type_where_it_stands_and_only_where_one_is_known() {
        let types = [Some("pg_catalog.int4".to_owned()), None];
        let text = "select '$1', $1, $2, a[$1] /* $1 */ from \"$1\" limit $1";
        let expected = "select '$1', ($1::pg_catalog.int4), $2, a[($1::pg_catalog.int4)] /* $1 */ from \"$1\" \
             limit ($1::pg_catalog.int4)";
        assert_eq!(typed(text, &types), expected);
        assert_eq!(typed("select $9, $0", &types), "select $9, $0");
    }
}

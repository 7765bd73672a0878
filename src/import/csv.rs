//! A history export of v1.0.3 as CSV, of which its servers and scripts left three forms.
//!
//! | written by | first line | agent | E, I, S, λ₁ |
//! | --- | --- | --- | --- |
//! | `get_system_history` | `update,E,I,S,V,coherence,risk,decision,lambda1` | in a summary at the end | of the last update |
//! | scripts, from a JSON export | `Update,…,Coherence,Risk_Score,Decision,Lambda1` | in the file's name | the last values, repeated |
//! | the bridge to a client | `agent_id,time,E,I,S,V,lambda1,…,void_event,risk_score,decision` | in each line | of each update |
//!
//! The columns are found by their names, so one parser reads them all. Columns that it does not know are ignored, as
//! unknown fields of JSON are.

use std::borrow::Cow;
use std::str::FromStr;

use super::export::{Export, ExportedUpdate, FinalState, check_count, check_range, void_active};
use super::records::{Record, Records};
use crate::governance::{Action, DT};

/// How the name of a file begins that does not say in itself whose history it is.
const NAME_PREFIX: &str = "governance_history_";

/// Parses and checks a whole file, by the rules that the schema has for the same figures.
pub(crate) fn parse(file_name: &str, contents: &[u8]) -> Result<Export, String> {
    let text = std::str::from_utf8(contents).map_err(|e| format!("it is no CSV export of v1.0.3: {e}"))?;
    let mut records = Records::new(text);
    let header = records.next().ok_or("it is empty")??;
    let columns = Columns::find(&header)?;
    let rows = read_rows(&mut records, &columns)?;
    let summary = Summary::read(&mut records)?;
    let Some(last) = rows.last() else { return Err("it has no updates".to_owned()) };

    let end = FinalState {
        energy: last.energy.ok_or("the last update has no E")?,
        integrity: last.integrity.ok_or("the last update has no I")?,
        entropy: last.entropy.ok_or("the last update has no S")?,
        lambda1: summary.lambda1_final.or(last.lambda1).ok_or("the last update has no lambda1")?,
        elapsed: summary.total_time.or(last.elapsed).unwrap_or_else(|| elapsed_after(rows.len())),
        update_count: match (summary.total_updates, last.elapsed) {
            (None, Some(elapsed)) => updates_in(elapsed, rows.len()),
            (total_updates, _) => check_count(total_updates, rows.len())?,
        },
    };
    let agent_id = match (agent_of(&rows)?, summary.agent_id) {
        (Some(agent_id), _) | (None, Some(agent_id)) => agent_id,
        (None, None) => agent_in_name(file_name)?,
    };
    let repeated = repeats_the_last_values(&rows);
    let updates = rows.len();
    let void_integral: Vec<f64> = rows.iter().map(|row| row.void_integral).collect();
    let updates = (1..).zip(&rows).map(|(number, row)| {
        let is_last = number == updates;
        let own = |value: Option<f64>| value.filter(|_| is_last || !repeated);
        ExportedUpdate {
            energy: own(row.energy),
            integrity: own(row.integrity),
            entropy: own(row.entropy),
            void_integral: row.void_integral,
            coherence: row.coherence,
            risk_score: row.risk_score,
            decision: row.decision,
            void_active: row.void_active.unwrap_or_else(|| void_active(&void_integral, number - 1)),
            lambda1: if is_last { Some(end.lambda1) } else { row.lambda1 },
            elapsed: if is_last { Some(end.elapsed) } else { row.elapsed },
        }
    });
    let mut export = Export::new(agent_id, updates.collect(), &end);
    if repeated {
        export.remarks.push(
            "E, I and S are the same in each line, while V, which follows from them, is not; they are taken as those \
             of the last update alone"
                .to_owned(),
        );
    }
    Ok(export)
}

/// Where each figure stands in a line.
struct Columns {
    /// Every line has as many fields as the first.
    fields: usize,
    agent_id: Option<usize>,
    update: Option<usize>,
    time: Option<usize>,
    energy: usize,
    integrity: usize,
    entropy: usize,
    void_integral: usize,
    coherence: usize,
    risk_score: usize,
    decision: usize,
    lambda1: usize,
    void_active: Option<usize>,
}

impl Columns {
    fn find(header: &Record<'_>) -> Result<Self, String> {
        let position = |name: &str| header.fields.iter().position(|field| field.eq_ignore_ascii_case(name));
        let needed = |name: &str| {
            position(name).ok_or_else(|| {
                format!("it is no CSV export of v1.0.3: its first line names no column {name:?}")
            })
        };
        Ok(Self {
            fields: header.fields.len(),
            agent_id: position("agent_id"),
            update: position("update"),
            time: position("time"),
            energy: needed("E")?,
            integrity: needed("I")?,
            entropy: needed("S")?,
            void_integral: needed("V")?,
            coherence: needed("coherence")?,
            risk_score: position("risk_score").map_or_else(|| needed("risk"), Ok)?,
            decision: needed("decision")?,
            lambda1: needed("lambda1")?,
            void_active: position("void_event"),
        })
    }
}

/// One line, checked.
struct Row {
    agent_id: Option<String>,
    energy: Option<f64>,
    integrity: Option<f64>,
    entropy: Option<f64>,
    void_integral: f64,
    coherence: f64,
    risk_score: f64,
    decision: Action,
    lambda1: Option<f64>,
    elapsed: Option<f64>,
    void_active: Option<bool>,
}

/// The lines up to the blank one that comes before the summary, or to the end.
fn read_rows(records: &mut Records<'_>, columns: &Columns) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for record in records {
        let record = record?;
        if record.is_blank() {
            break;
        }
        let row = Row::read(&record, columns, rows.len() + 1);
        rows.push(row.map_err(|reason| format!("line {}: {reason}", record.line))?);
    }
    Ok(rows)
}

impl Row {
    /// The line of update `number`, from 1.
    fn read(record: &Record<'_>, columns: &Columns, number: usize) -> Result<Self, String> {
        let fields = record.fields.as_slice();
        if fields.len() != columns.fields {
            return Err(format!("it has {} fields, and the first line {}", fields.len(), columns.fields));
        }
        // A line that is missing would shift the numbers of all others.
        if let Some(column) = columns.update
            && fields[column].parse() != Ok(number)
        {
            return Err(format!("update {number} was expected here, and {:?} was found", fields[column]));
        }
        let figure = |name, column: usize, min, max| figure(name, &fields[column], min, max);
        let needed = |name, column, min, max| {
            figure(name, column, min, max)?.ok_or_else(|| format!("it has no {name}"))
        };
        Ok(Self {
            agent_id: columns.agent_id.map(|column| fields[column].to_string()),
            energy: figure("E", columns.energy, 0.0, 1.0)?,
            integrity: figure("I", columns.integrity, 0.0, 1.0)?,
            entropy: figure("S", columns.entropy, 0.0, 1.0)?,
            void_integral: needed("V", columns.void_integral, -1.0, 1.0)?,
            coherence: needed("coherence", columns.coherence, 0.0, 1.0)?,
            risk_score: needed("risk", columns.risk_score, 0.0, 1.0)?,
            decision: parse_field("decision", &fields[columns.decision])?,
            lambda1: figure("lambda1", columns.lambda1, 0.0, 1.0)?,
            elapsed: columns.time.map_or(Ok(None), |column| figure("time", column, 0.0, 1e300))?,
            void_active: columns.void_active.map_or(Ok(None), |column| flag(&fields[column]))?,
        })
    }
}

/// A number between `min` and `max`, or nothing, where the field is empty.
fn figure(name: &str, field: &str, min: f64, max: f64) -> Result<Option<f64>, String> {
    if field.is_empty() {
        return Ok(None);
    }
    let value = parse_field(name, field)?;
    check_range(name, &[value], min, max)?;
    Ok(Some(value))
}

fn flag(field: &str) -> Result<Option<bool>, String> {
    match field {
        "" => Ok(None),
        "0" => Ok(Some(false)),
        "1" => Ok(Some(true)),
        other => Err(format!("void_event: {other:?} is neither 0 nor 1")),
    }
}

fn parse_field<T: FromStr<Err: std::fmt::Display>>(name: &str, field: &str) -> Result<T, String> {
    field.parse().map_err(|e| format!("{name}: {field:?}: {e}"))
}

/// What stands after the lines of the updates.
#[derive(Default)]
struct Summary {
    agent_id: Option<String>,
    total_updates: Option<i64>,
    total_time: Option<f64>,
    lambda1_final: Option<f64>,
}

impl Summary {
    fn read(records: &mut Records<'_>) -> Result<Self, String> {
        let mut summary = Self::default();
        let mut begun = false;
        for record in records {
            let Record { line, fields } = record?;
            let value = fields.get(1).map_or("", Cow::as_ref);
            let read = match (begun, fields[0].as_ref()) {
                (false, "Summary") => {
                    begun = true;
                    Ok(())
                }
                (false, "") if fields.len() == 1 => Ok(()), // one more blank line
                (false, _) => Err("the updates had ended before it".to_owned()),
                (true, name) => summary.set(name, value),
            };
            read.map_err(|reason| format!("line {line}: {reason}"))?;
        }
        Ok(summary)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "agent_id" => self.agent_id = Some(value.to_owned()),
            "total_updates" => self.total_updates = Some(parse_field(name, value)?),
            "total_time" => self.total_time = figure(name, value, 0.0, 1e300)?,
            "lambda1_final" => self.lambda1_final = figure(name, value, 0.0, 1.0)?,
            _ => {}
        }
        Ok(())
    }
}

/// The agent that all lines name.
fn agent_of(rows: &[Row]) -> Result<Option<String>, String> {
    let mut named = rows.iter().filter_map(|row| row.agent_id.as_ref());
    let Some(first) = named.next() else { return Ok(None) };
    match named.find(|other| *other != first) {
        Some(other) => Err(format!("it has updates of {first:?} and of {other:?}")),
        None => Ok(Some(first.clone())),
    }
}

fn agent_in_name(file_name: &str) -> Result<String, String> {
    let agent_id = file_name.strip_prefix(NAME_PREFIX).and_then(|name| name.strip_suffix(".csv"));
    agent_id.map(ToOwned::to_owned).ok_or_else(|| {
        format!("it does not say which agent it is of; name it {NAME_PREFIX}AGENT.csv if you know that")
    })
}

/// Whether a script wrote the last values of E, I and S into every line: V changes by them, so it would hardly move
/// as it does if they stood still.
fn repeats_the_last_values(rows: &[Row]) -> bool {
    let stands_still =
        |value: fn(&Row) -> Option<f64>| rows.windows(2).all(|two| value(&two[0]) == value(&two[1]));
    stands_still(|row| row.energy)
        && stands_still(|row| row.integrity)
        && stands_still(|row| row.entropy)
        && !stands_still(|row| Some(row.void_integral))
}

/// The time that v1.0.3 counts in as many updates, added up as it does.
fn elapsed_after(updates: usize) -> f64 {
    (0..updates).fold(0.0, |elapsed, _| elapsed + DT)
}

/// Updates since the start, by the time that v1.0.3 counts in steps: less than there are lines if it was started
/// anew between them.
fn updates_in(elapsed: f64, lines: usize) -> i64 {
    let mut updates = 1;
    let lines = i64::try_from(lines).unwrap_or(i64::MAX);
    let mut counted = DT;
    while updates < lines && counted + DT / 2.0 < elapsed {
        counted += DT;
        updates += 1;
    }
    updates
}

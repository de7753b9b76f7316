//! The trials as a table, for people and for programs.

use super::space::Values;
use super::state::{State, Status, Trial};

/// The columns, the same in both tables, and the rows, best trial first.
fn rows(state: &State) -> Vec<Vec<String>> {
    let metric = state.base().train.metric;
    let keys: Vec<&String> = state.trials.first().map_or(Vec::new(), |trial| trial.values.keys().collect());
    let mut head: Vec<String> =
        ["trial", "status", "epochs", "best_epoch", metric.name(), "dev_loss", "parameters"]
            .map(str::to_owned)
            .into();
    head.extend(keys.iter().map(|key| (*key).clone()));
    head.push("reason".into());
    let row = |trial: &&Trial| {
        let best = |show: &dyn Fn(&crate::checkpoint::Best) -> String| {
            trial.best.as_ref().map_or(String::new(), show)
        };
        let mut row = vec![
            trial.number.to_string(),
            name(trial.status).to_owned(),
            trial.epochs.to_string(),
            best(&|b| b.epoch.to_string()),
            best(&|b| format!("{:.4}", b.score)),
            best(&|b| format!("{:.5}", b.dev_loss)),
            if trial.parameters == 0 { String::new() } else { trial.parameters.to_string() },
        ];
        row.extend(keys.iter().map(|key| value(&trial.values, key)));
        row.push(trial.reason.clone().unwrap_or_default());
        row
    };
    std::iter::once(head).chain(state.ranked().iter().map(row)).collect()
}

/// What a trial has for a key.
fn value(values: &Values, key: &str) -> String {
    match &values[key] {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn name(status: Status) -> &'static str {
    match status {
        Status::Waiting => "waiting",
        Status::Done => "done",
        Status::Dropped => "dropped",
        Status::Failed => "failed",
    }
}

/// The trials as CSV (RFC 4180, but with LF), best first.
pub fn csv(state: &State) -> String {
    let cell = |text: &String| match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.clone(),
    };
    let line = |row: &Vec<String>| row.iter().map(cell).collect::<Vec<_>>().join(",") + "\n";
    rows(state).iter().map(line).collect()
}

/// The trials as a table with aligned columns, best first.
pub fn text(state: &State) -> String {
    let rows = rows(state);
    let columns = rows.first().map_or(0, Vec::len);
    let width = |c: usize| rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        // The last column is a sentence.
        let cell = |(c, (text, &width)): (usize, (&String, &usize))| match c + 1 == columns {
            true => text.split_whitespace().collect::<Vec<_>>().join(" "),
            false => format!("{text:>width$}"),
        };
        cells.map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

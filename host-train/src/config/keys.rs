//! Keys of a configuration: those that have moved, and those that nobody knows.

use toml::{Table, Value};

use crate::metrics::edit_distance;

/// Where keys of earlier versions are now, so that their checkpoints can still be read.
const MOVED: [(&str, &str, &str); 4] = [
    ("learning_rate", "optimizer", "learning_rate"),
    ("lr_factor", "schedule", "factor"),
    ("lr_patience", "schedule", "patience"),
    ("min_learning_rate", "schedule", "min_learning_rate"),
];

/// Moves keys of earlier versions to where they are now, unless something else is there.
pub(super) fn move_old(given: &mut Table) {
    for (old, section, new) in MOVED {
        let taken = given.get(section).and_then(Value::as_table).is_some_and(|t| t.contains_key(new));
        let train = given.get_mut("train").and_then(Value::as_table_mut).filter(|_| !taken);
        if let Some(value) = train.and_then(|train| train.remove(old)) {
            let moved = Table::from_iter([(new.to_owned(), value)]);
            merge(given, Table::from_iter([(section.to_owned(), Value::Table(moved))]));
        }
    }
}

/// Puts the values of a table and of the tables in it in place of others.
pub(crate) fn merge(into: &mut Table, from: Table) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Table(into)), Value::Table(from)) => merge(into, from),
            (_, value) => drop(into.insert(name, value)),
        }
    }
}

/// The first key of `given` that is not in `known`, which holds whatever was understood, and what to write instead.
pub(super) fn unknown(given: &Table, known: &Table) -> Option<String> {
    let (path, siblings) = find_unknown(given, known, "")?;
    let key = path.rsplit('.').next().unwrap_or_default();
    let near = |other: &&String| distance(other, key) <= 2;
    let sibling = siblings.iter().filter(near).min_by_key(|other| distance(other, key));
    let elsewhere = || {
        let sections = known.iter().filter_map(|(name, value)| Some((name, value.as_table()?)));
        let mut places = sections.filter(|(_, section)| section.contains_key(key));
        places.next().map(|(name, _)| format!("did you mean {name}.{key}?"))
    };
    let hint = match sibling {
        Some(sibling) => format!("did you mean {sibling}?"),
        None => elsewhere().unwrap_or_else(|| format!("expected one of {}", siblings.join(", "))),
    };
    Some(format!("unknown key {path}; {hint}"))
}

fn distance(a: &str, b: &str) -> usize {
    edit_distance(a.as_bytes(), b.as_bytes())
}

fn find_unknown(given: &Table, known: &Table, path: &str) -> Option<(String, Vec<String>)> {
    given.iter().find_map(|(key, value)| {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (value, known.get(key)) {
            (Value::Table(given), Some(Value::Table(known))) => find_unknown(given, known, &path),
            (_, Some(_)) => None,
            (_, None) => Some((path, known.keys().cloned().collect())),
        }
    })
}

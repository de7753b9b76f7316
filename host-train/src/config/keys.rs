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

/// What a section is when it does not say.
const KINDS: [(&str, &str); 3] = [("optimizer", "adam"), ("schedule", "plateau"), ("exposure", "teacher")];

/// Moves keys of earlier versions and fills in what sections are by default.
pub(super) fn complete(given: &mut Table) {
    for (old, section, new) in MOVED {
        let value = given.get_mut("train").and_then(Value::as_table_mut).and_then(|train| train.remove(old));
        if let Some(value) = value {
            let section = given.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Some(section) = section.as_table_mut() {
                section.entry(new).or_insert(value);
            }
        }
    }
    for (section, kind) in KINDS {
        if let Some(section) = given.get_mut(section).and_then(Value::as_table_mut) {
            section.entry("kind").or_insert_with(|| kind.into());
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

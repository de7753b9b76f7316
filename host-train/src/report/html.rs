//! The report as one page of HTML: nothing to load, no script, readable on a phone.

use super::page::{Row, document, escape, table};
use super::{Answer, Confusion, Report, plots};
use crate::config::Metric;
use crate::model::Reads;
use crate::trainer::EpochRecord;

/// The whole page. The same report gives the same bytes.
pub fn page(report: &Report) -> String {
    let sections = [
        summary(report),
        curves(report),
        answers("Answers", &report.samples, "The first sources of the dev set."),
        answers(
            "Worst mistakes",
            &report.worst,
            "Most edits first; of equals, those that the network is surest of.",
        ),
        confusions(&report.confusions),
        attention(report),
        epochs(&report.epochs),
        section(
            "Configuration",
            &format!("<pre class=\"wide\">{}</pre>\n", escape(&report.config.to_toml())),
        ),
    ];
    document(&format!("{}: a Kinglet training", report.name), &sections.concat())
}

fn section(title: &str, body: &str) -> String {
    format!("<h2>{title}</h2>\n{body}")
}

fn summary(report: &Report) -> String {
    let metric = report.config.train.metric;
    let (source, target) = &report.vocab;
    let source = match source {
        Reads::Tokens(tokens, _) => format!("{tokens} source tokens"),
        Reads::Frames(numbers) => format!("frames of {numbers} numbers"),
    };
    let mut rows = vec![
        ["Parameters".to_owned(), report.parameters.to_string()],
        ["Vocabularies".to_owned(), format!("{source}, {target} target tokens")],
    ];
    if let (Some(best), Some(last)) = (report.best(), report.epochs.last()) {
        let unit = if metric == Metric::Loss { "" } else { " %" };
        rows.push([
            "Best epoch".into(),
            format!("{} of {}: dev {} {:.3}{unit}", best.epoch, last.epoch, metric.name(), best.get(metric)),
        ]);
        let seconds: f64 = report.epochs.iter().map(|epoch| epoch.seconds).sum();
        rows.push(["Time".into(), format!("{} for {} steps", duration(seconds), last.step)]);
        let speed: f64 = report.epochs.iter().map(|epoch| epoch.tokens_per_second).sum();
        rows.push([
            "Speed".into(),
            format!("{:.0} target tokens a second", speed / report.epochs.len() as f64),
        ]);
    }
    let s = &report.scores;
    rows.push([
        "Dev set, greedy".into(),
        format!(
            "{} sources, {} wrong: WER {:.2} %, PER {:.2} %, {:.2} % of lines exact",
            s.sources,
            s.wrong_sources,
            s.wer(),
            s.per(),
            s.exact()
        ),
    ]);
    table("facts", &[], rows.into_iter().map(|row| Row::plain(row.map(|cell| escape(&cell)).into())))
}

fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60) {
        (0, 0) => format!("{seconds:.1} s"),
        (0, minutes) => format!("{minutes} min {} s", whole % 60),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

fn curves(report: &Report) -> String {
    let epochs = &report.epochs;
    if epochs.is_empty() {
        return String::new();
    }
    let figures = [
        plots::losses(epochs),
        plots::metric(epochs, report.config.train.metric),
        plots::learning_rate(epochs),
    ];
    let note = "<p>By epoch; a grey line marks the best.</p>\n";
    section("Curves", &(note.to_owned() + &figures.map(|svg| format!("<figure>{svg}</figure>\n")).concat()))
}

fn answers(title: &str, answers: &[Answer], note: &str) -> String {
    if answers.is_empty() {
        return String::new();
    }
    let row = |answer: &Answer| {
        let class = if answer.edits == 0 { "" } else { "wrong" };
        Row::plain(vec![
            escape(&answer.source),
            format!("<span class=\"{class}\">{}</span>", escape(&answer.hypothesis)),
            escape(&answer.references.join(" | ")),
            answer.edits.to_string(),
            format!("{:.2}", answer.score),
        ])
    };
    let head = ["source", "answer", "reference", "edits", "log P a token"];
    section(title, &format!("<p>{note}</p>\n{}", table("", &head, answers.iter().map(row))))
}

fn confusions(confusions: &[Confusion]) -> String {
    if confusions.is_empty() {
        return String::new();
    }
    let token = |token: &Option<String>| match token.as_deref() {
        None => "<i>nothing</i>".to_owned(),
        Some(" ") => "\u{2423}".to_owned(),
        Some(token) => escape(token),
    };
    let row = |c: &Confusion| {
        let share =
            if c.of == 0 { String::new() } else { format!("{:.1} %", 100.0 * c.count as f64 / c.of as f64) };
        Row::plain(vec![token(&c.reference), token(&c.hypothesis), c.count.to_string(), share])
    };
    let head = ["reference", "answer", "times", "of this token"];
    section("Most frequent confusions", &table("figures", &head, confusions.iter().map(row)))
}

fn attention(report: &Report) -> String {
    if report.attention.is_empty() {
        return String::new();
    }
    let figure = |picture: &super::Attention| {
        // A picture of a few cells does not fill the page.
        let width = 40 * (picture.source.len() + 3);
        format!("<figure style=\"max-width:{width}px\">{}</figure>\n", plots::attention(picture))
    };
    let note = "<p>A row for each token of the answer, a column for each of the source.</p>\n";
    section(
        "What it attends to",
        &(note.to_owned() + &report.attention.iter().map(figure).collect::<String>()),
    )
}

fn epochs(epochs: &[EpochRecord]) -> String {
    if epochs.is_empty() {
        return String::new();
    }
    let row = |e: &EpochRecord| Row {
        class: if e.best { "best" } else { "" },
        cells: vec![
            e.epoch.to_string(),
            e.step.to_string(),
            format!("{:.4}", e.train_loss),
            format!("{:.4}", e.dev_loss),
            format!("{:.2}", e.wer),
            format!("{:.2}", e.per),
            format!("{:.2}", e.exact),
            format!("{:.3e}", e.learning_rate),
            format!("{:.3}", e.gradient_norm),
            format!("{:.1}", e.seconds),
            format!("{:.0}", e.tokens_per_second),
        ],
    };
    let head = [
        "epoch",
        "step",
        "loss",
        "dev loss",
        "WER %",
        "PER %",
        "exact %",
        "learning rate",
        "gradient norm",
        "seconds",
        "tokens/s",
    ];
    section("Epochs", &table("figures", &head, epochs.iter().map(row)))
}

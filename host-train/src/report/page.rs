//! Parts of a page of HTML that is well-formed XML too.

use std::fmt::Write as _;

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:50rem;color:#222;background:#fff}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}svg{width:100%;height:auto;display:block}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}\
td,th{padding:.15rem .6rem;text-align:left;border-bottom:1px solid #ddd;white-space:nowrap}.facts td{white-space:normal}\
.figures td+td,.figures th+th{text-align:right}tr.best{background:#e5f5e0}.wrong{color:#b30000}\
figure{margin:1rem 0}pre{font-size:.85rem}";

/// A page of this title around some HTML.
pub fn document(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n"
    )
}

/// Text without what XML has no characters for.
pub fn clean(text: &str) -> String {
    let clean = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => '\u{FFFD}',
        c => c,
    };
    text.chars().map(clean).collect()
}

/// Text as it stands in HTML.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A row of a table; its cells are HTML.
#[derive(Debug, Default)]
pub struct Row {
    pub class: &'static str,
    pub cells: Vec<String>,
}

impl Row {
    /// A row like any other.
    pub fn plain(cells: Vec<String>) -> Self {
        Self { class: "", cells }
    }
}

/// A table of a class (`figures` has numbers in all columns but the first), as wide as it needs to be.
pub fn table(class: &str, head: &[&str], rows: impl IntoIterator<Item = Row>) -> String {
    let mut out = format!("<div class=\"wide\"><table class=\"{class}\">\n<tr>");
    let mut push = |text: std::fmt::Arguments<'_>| out.write_fmt(text).expect("a String takes everything");
    head.iter().for_each(|cell| push(format_args!("<th>{cell}</th>")));
    push(format_args!("</tr>\n"));
    for row in rows {
        push(format_args!("<tr class=\"{}\">", row.class));
        row.cells.iter().for_each(|cell| push(format_args!("<td>{cell}</td>")));
        push(format_args!("</tr>\n"));
    }
    out + "</table></div>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("<a href='x'>&\"\u{1}é"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\u{FFFD}é");
    }
}

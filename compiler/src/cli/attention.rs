//! Attention as text.

use std::fmt::Write as _;

/// Shades of a weight, from none to all.
const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];

/// A picture of attention weights: a line for each target token, a column for each source token.
///
/// Source tokens head their columns when each is a single character; else they are numbered and listed below.
pub fn picture(source: &[String], target: &[String], weights: &[Vec<f32>]) -> String {
    let width = target.iter().map(|t| t.chars().count()).max().unwrap_or(0);
    let short = source.iter().all(|token| token.chars().count() == 1);
    let mut text = format!("{:width$}  ", "");
    for (i, token) in source.iter().enumerate() {
        text.push(if short { token.chars().next().unwrap_or(' ') } else { digit(i) });
    }
    text.push('\n');
    for (token, row) in target.iter().zip(weights) {
        let padding = width - token.chars().count();
        write!(text, "{:padding$}{token}  ", "").expect("a String takes everything");
        let shade = |w: &f32| SHADES[((w * 5.0) as usize).min(SHADES.len() - 1)];
        text.extend(row.iter().map(shade));
        text.push('\n');
    }
    if !short {
        let numbered: Vec<String> =
            source.iter().enumerate().map(|(i, token)| format!("{} {token}", digit(i))).collect();
        writeln!(text, "{:width$}  {}", "", numbered.join("  ")).expect("a String takes everything");
    }
    text
}

/// A column's sign: 1 to 9, then letters, then none.
fn digit(index: usize) -> char {
    u32::try_from(index + 1).ok().and_then(|i| char::from_digit(i, 36)).unwrap_or('-')
}

/// Attention weights as one JSON array of rows, three decimals each.
pub fn json(weights: &[Vec<f32>]) -> String {
    let row = |row: &Vec<f32>| row.iter().map(|w| format!("{w:.3}")).collect::<Vec<_>>().join(",");
    format!("[{}]", weights.iter().map(|r| format!("[{}]", row(r))).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn characters_head_their_columns() {
        let weights = [vec![1.0, 0.0], vec![0.25, 0.75]];
        assert_eq!(picture(&tokens("a b"), &tokens("AH B"), &weights), "    ab\nAH  █·\n B  ░▓\n");
    }

    #[test]
    fn words_are_numbered() {
        let text = picture(&tokens("two ten"), &tokens("2"), &[vec![0.5, 0.5]]);
        assert_eq!(text, "   12\n2  ▒▒\n   1 two  2 ten\n");
    }

    #[test]
    fn json_has_a_row_a_token() {
        assert_eq!(json(&[vec![1.0, 0.0], vec![]]), "[[1.000,0.000],[]]");
    }
}

//! Syllables of the Korean script taken apart into letters.

/// Leading consonants U+1100 to U+1112, vowels U+1161 to U+1175, trailing consonants U+11A8 to U+11C2: 3 bytes each.
static LETTERS: &str = "\
    \u{1100}\u{1101}\u{1102}\u{1103}\u{1104}\u{1105}\u{1106}\u{1107}\u{1108}\u{1109}\
    \u{110A}\u{110B}\u{110C}\u{110D}\u{110E}\u{110F}\u{1110}\u{1111}\u{1112}\
    \u{1161}\u{1162}\u{1163}\u{1164}\u{1165}\u{1166}\u{1167}\u{1168}\u{1169}\u{116A}\
    \u{116B}\u{116C}\u{116D}\u{116E}\u{116F}\u{1170}\u{1171}\u{1172}\u{1173}\u{1174}\
    \u{1175}\
    \u{11A8}\u{11A9}\u{11AA}\u{11AB}\u{11AC}\u{11AD}\u{11AE}\u{11AF}\u{11B0}\u{11B1}\
    \u{11B2}\u{11B3}\u{11B4}\u{11B5}\u{11B6}\u{11B7}\u{11B8}\u{11B9}\u{11BA}\u{11BB}\
    \u{11BC}\u{11BD}\u{11BE}\u{11BF}\u{11C0}\u{11C1}\u{11C2}";

const VOWELS: u32 = 21;
/// Trailing consonants, and none.
const TAILS: u32 = 28;

/// Leading consonant, vowel and trailing consonant of a syllable, the last empty when there is none; nothing for any other
/// character. The canonical decomposition of Unicode, section 3.12.
pub fn letters(syllable: char) -> Option<[&'static str; 3]> {
    let index = (syllable as u32).checked_sub(0xAC00)?;
    let (rest, tail) = (index / TAILS, index % TAILS);
    let (lead, vowel) = (rest / VOWELS, rest % VOWELS);
    let letter = |i: u32| LETTERS.get(i as usize * 3..i as usize * 3 + 3);
    if lead >= 19 {
        return None;
    }
    Some([letter(lead)?, letter(19 + vowel)?, if tail == 0 { "" } else { letter(39 + tail)? }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syllables_fall_apart_as_unicode_says() {
        assert_eq!(letters('가'), Some(["\u{1100}", "\u{1161}", ""]));
        assert_eq!(letters('한'), Some(["\u{1112}", "\u{1161}", "\u{11AB}"]));
        assert_eq!(letters('힣'), Some(["\u{1112}", "\u{1175}", "\u{11C2}"]));
        for other in ['a', '\u{ABFF}', '\u{D7A4}', '\u{1100}', '漢', '\u{10FFFF}'] {
            assert_eq!(letters(other), None, "{other}");
        }
    }

    #[test]
    fn every_syllable_has_letters_of_its_own() {
        let mut seen = 0;
        let mut last = ["", "", ""];
        for syllable in '\u{AC00}'..='\u{D7A3}' {
            let found = letters(syllable).unwrap();
            assert!(found > last, "{syllable}");
            assert!(found.iter().all(|letter| letter.is_empty() || letter.chars().count() == 1));
            last = found;
            seen += 1;
        }
        assert_eq!(seen, 11_172);
    }
}

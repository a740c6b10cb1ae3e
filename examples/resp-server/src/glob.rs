//! Patterns of SCAN: `*`, `?`, `[a-z]`, `[^x]`, and `\` before a byte that means itself.
//!
//! Easy to get wrong: a pattern comes from a client. Only the last star is ever gone back to, so the work is at most pattern
//! times text, whatever the pattern.

/// Longer patterns are refused.
pub(crate) const PATTERN_LEN_MAX: usize = 256;

/// Whether all of `text` matches `pattern`.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern_at, mut text_at) = (0, 0);
    // Behind the last star, and how much of the text that star takes.
    let mut star = None;
    while let Some(byte) = text.get(text_at) {
        let rest = pattern.get(pattern_at..).unwrap_or_default();
        if rest.first() == Some(&b'*') {
            pattern_at += 1;
            star = Some((pattern_at, text_at));
        } else if let Some(len) = matches_one(rest, *byte) {
            pattern_at += len;
            text_at += 1;
        } else if let Some((behind, taken)) = star {
            star = Some((behind, taken + 1));
            (pattern_at, text_at) = (behind, taken + 1);
        } else {
            return false;
        }
    }
    pattern.get(pattern_at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// The length of the pattern's first element, if `byte` matches it.
fn matches_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', class @ ..] => {
            let (is_negated, class) = match class {
                [b'^', class @ ..] => (true, class),
                class => (false, class),
            };
            let close = class.iter().position(|byte| *byte == b']')?;
            let is_member = is_in_class(class.get(..close)?, byte);
            (is_member != is_negated).then_some(pattern.len() - class.len() + close + 1)
        }
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

fn is_in_class(class: &[u8], byte: u8) -> bool {
    match class {
        [] => false,
        [from, b'-', to, rest @ ..] => (*from..=*to).contains(&byte) || is_in_class(rest, byte),
        [literal, rest @ ..] => *literal == byte || is_in_class(rest, byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_redis_clients_expect() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "a", false),
            ("user:*", "user:1", true),
            ("user:*", "users", false),
            ("*a*b*c", "xxaxxbxxbxxc", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^ae]llo", "hallo", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("[open", "[open", false),
            ("a**", "a", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn no_pattern_takes_for_ever() {
        let pattern = "*a".repeat(PATTERN_LEN_MAX / 2);
        assert!(!matches(pattern.as_bytes(), &[b'a'; 100]));
        assert!(!matches(format!("{}b", "a*".repeat(100)).as_bytes(), &[b'a'; 60_000]));
    }
}

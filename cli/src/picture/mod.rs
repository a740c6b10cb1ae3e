//! What the command draws: SVG pictures and one HTML page, each a file of its own without scripts or anything from elsewhere.
//!
//! All follow the reader's light or dark theme, say in words what they show, and never tell two things apart by colour alone.
//!
//! Easy to get wrong: keys and addresses are foreign text, so everything that is not a number goes through [`escape`].

mod cells;
mod differences;
mod heat_map;
mod page;
mod stats_page;
mod svg;

pub(crate) use cells::{Cells, KINDS, Weight, phrase};
pub(crate) use differences::{Differences, draw_differences};
pub(crate) use heat_map::draw_recording;
pub(crate) use stats_page::{StatsPage, write_stats_page};

/// `text` as it may stand in the text and the quoted attributes of XML and HTML: no character of it is a command there.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML 1.0 has no place for them at all.
            '\0'..='\u{1f}' | '\u{7f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// The beginning of `text` that has at most `max` characters, with an ellipsis for the rest.
pub(crate) fn shortened(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_leave_its_place() {
        assert_eq!(
            escape("</text><script>'\"&\u{1b}"),
            "&lt;/text&gt;&lt;script&gt;&#39;&quot;&amp;\u{fffd}"
        );
        assert_eq!(shortened("käse", 4), "käse");
        assert_eq!(shortened("käsekuchen", 4), "käs…");
    }
}

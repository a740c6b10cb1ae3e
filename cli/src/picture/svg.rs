//! An SVG file in the making: its frame, and text and shapes put into it.
//!
//! Easy to get wrong: a theme is told by classes alone. An attribute such as `fill` would lose to no style sheet, but a colour
//! written there would stay the same in the dark.

use std::fmt::{Arguments, Write as _};

use super::escape;

/// Colours for light and dark. Left is `a`, right is `b`; both stand out from the ground by more than 4.5 to 1.
const STYLE: &str = "svg{font:13px system-ui,sans-serif;background:#fff}text{fill:#1b1f24}.ground{fill:#fff}\
.quiet{fill:#59616b}.big{font-size:18px;font-weight:600}.cell{fill:#e6e9ed}.a{fill:#0b62a4}.b{fill:#c04a00}\
.line-a{stroke:#0b62a4}.line-b{stroke:#c04a00}.grid{stroke:#d5d9de}\
@media(prefers-color-scheme:dark){svg{background:#16181c}text{fill:#e4e6e9}.ground{fill:#16181c}.quiet{fill:#9aa3ad}\
.cell{fill:#2b2f36}.a{fill:#6cb8f0}.b{fill:#ff9d5c}.line-a{stroke:#6cb8f0}.line-b{stroke:#ff9d5c}.grid{stroke:#3a3f47}}";

/// An SVG file in the making.
#[derive(Debug)]
pub(super) struct Svg {
    text: String,
}

impl Svg {
    /// A picture of this size in pixels, called `title`, that `description` tells of to whoever cannot see it. `style` is more
    /// CSS.
    pub(super) fn new(width: u32, height: u32, title: &str, description: &str, style: &str) -> Svg {
        let (title, description) = (escape(title), escape(description));
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-labelledby=\"title description\">\n\
             <title id=\"title\">{title}</title>\n<desc id=\"description\">{description}</desc>\n\
             <style>{STYLE}{style}</style>\n<rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n"
        );
        Svg { text }
    }

    /// Puts markup in, whose foreign parts are escaped already.
    pub(super) fn put(&mut self, markup: Arguments<'_>) {
        self.text.write_fmt(markup).expect("a string takes everything");
    }

    /// Puts text at a place, of this class: any text.
    pub(super) fn text(&mut self, (x, y): (u32, u32), class: &str, text: &str) {
        let text = escape(text);
        self.put(format_args!("<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{text}</text>\n"));
    }

    /// The file.
    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

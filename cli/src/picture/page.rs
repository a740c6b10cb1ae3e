//! An HTML page in the making: headings, facts, tables and bars, in one file that needs no script and nothing from elsewhere.
//!
//! Easy to get wrong: it is printed too, and printers leave backgrounds out unless they are told not to; and every element is
//! closed, so that the page is XML as well and can be checked as such.

use std::fmt::{Arguments, Write as _};

use super::escape;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--quiet:#59616b;--ground:#fff;--rule:#d5d9de;--a:#0b62a4;--b:#c04a00;--c:#8a939d}\
@media(prefers-color-scheme:dark){:root{--ink:#e4e6e9;--quiet:#9aa3ad;--ground:#16181c;--rule:#3a3f47;--a:#6cb8f0;--b:#ff9d5c;\
--c:#737d88}}\
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--ground);max-width:62rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .4rem}p{margin:.3rem 0}.quiet{color:var(--quiet)}\
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.8rem 1.5rem;margin:1.2rem 0}\
dt{color:var(--quiet);font-size:.85rem}dd{margin:0;font-size:1.15rem;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%}th,td{text-align:right;padding:.2rem .6rem;border-bottom:1px solid var(--rule)}\
th{font-weight:600;font-size:.85rem;color:var(--quiet)}th:first-child,td:first-child{text-align:left;padding-left:0}\
td{font-variant-numeric:tabular-nums}td.bar{width:38%;padding-right:0}\
.bars{display:flex;height:1rem;background:none}.bars span{display:block;min-width:1px;print-color-adjust:exact;\
-webkit-print-color-adjust:exact}\
.a{background:var(--a)}.b{background:repeating-linear-gradient(45deg,var(--b) 0 3px,transparent 3px 6px);\
outline:1px solid var(--b);outline-offset:-1px}.c{background:var(--c)}\
.key span{display:inline-block;width:1rem;height:.8rem;margin:0 .4rem 0 1rem;vertical-align:-.05rem;\
print-color-adjust:exact;-webkit-print-color-adjust:exact}\
.key span:first-child{margin-left:0}section{break-inside:avoid}\
@media print{body{margin:0;max-width:none;font-size:11px}}";

/// One part of a bar: its CSS class (`a`, hatched `b` or `c`), its length, and what it is.
pub(super) type Part<'a> = (&'static str, u64, &'a str);

/// A page in the making.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
}

impl Page {
    /// A page with this title.
    pub(super) fn new(title: &str, subtitle: &str) -> Page {
        let (title, subtitle) = (escape(title), escape(subtitle));
        Page {
            text: format!(
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
                 <meta name=\"viewport\" content=\"width=device-width\"/>\n<title>{title}</title>\n\
                 <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<p class=\"quiet\">{subtitle}</p>\n"
            ),
        }
    }

    fn put(&mut self, markup: Arguments<'_>) {
        self.text.write_fmt(markup).expect("a string takes everything");
    }

    /// Facts in a grid.
    pub(super) fn facts(&mut self, facts: &[(&str, String)]) {
        self.put(format_args!("<dl>\n"));
        for (label, value) in facts {
            self.put(format_args!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(label), escape(value)));
        }
        self.put(format_args!("</dl>\n"));
    }

    /// A section under `heading`, with a line on what it shows, filled by `fill`.
    pub(super) fn section(&mut self, heading: &str, line: &str, fill: impl FnOnce(&mut Page)) {
        self.put(format_args!("<section>\n<h2>{}</h2>\n", escape(heading)));
        self.line(line);
        fill(self);
        self.put(format_args!("</section>\n"));
    }

    /// A line of text.
    pub(super) fn line(&mut self, text: &str) {
        self.put(format_args!("<p>{}</p>\n", escape(text)));
    }

    /// What the classes of bars mean.
    pub(super) fn key(&mut self, classes: &[(&'static str, &str)]) {
        self.put(format_args!("<p class=\"key quiet\">"));
        for (class, meaning) in classes {
            self.put(format_args!("<span class=\"{class}\"></span>{}", escape(meaning)));
        }
        self.put(format_args!("</p>\n"));
    }

    /// A table of text columns, and, if `rows` have bars, one last column of them, all to one scale.
    pub(super) fn table(&mut self, columns: &[&str], rows: &[(Vec<String>, Vec<Part<'_>>)]) {
        let len = |parts: &[Part<'_>]| parts.iter().map(|part| part.1).fold(0, u64::saturating_add);
        let longest = rows.iter().map(|(_, parts)| len(parts)).max().unwrap_or(0);
        self.put(format_args!("<table>\n<tr>"));
        for column in columns {
            self.put(format_args!("<th scope=\"col\">{}</th>", escape(column)));
        }
        let has_bars = longest > 0;
        self.put(format_args!("{}</tr>\n", if has_bars { "<th class=\"bar\"></th>" } else { "" }));
        for (cells, parts) in rows {
            self.put(format_args!("<tr>"));
            for cell in cells {
                self.put(format_args!("<td>{}</td>", escape(cell)));
            }
            if has_bars {
                self.put(format_args!("<td class=\"bar\"><div class=\"bars\">"));
                for &(class, part, meaning) in parts.iter().filter(|part| part.1 > 0) {
                    let (width, meaning) = (part as f64 * 100.0 / longest as f64, escape(meaning));
                    self.put(format_args!(
                        "<span class=\"{class}\" style=\"width:{width:.2}%\" title=\"{meaning}\"></span>"
                    ));
                }
                self.put(format_args!("</div></td>"));
            }
            self.put(format_args!("</tr>\n"));
        }
        self.put(format_args!("</table>\n"));
    }

    /// The file.
    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</body>\n</html>\n");
        self.text
    }
}

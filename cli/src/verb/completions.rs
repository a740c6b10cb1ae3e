//! `completions` and `man`: what a shell and a reader of manuals need, made from the definition of the command line itself.

use clap::CommandFactory;
use clap_complete::generate;
use clap_mangen::Man;
use serde_json::json;

use crate::args::{Args, Completions, Manual};
use crate::error::{Error, Result, Verdict};
use crate::host;
use crate::output::{self, Output};

pub(super) fn completions(args: &Completions, output: Output) -> Result<Verdict> {
    let mut script = Vec::new();
    generate(args.shell, &mut Args::command(), "syncline", &mut script);
    if output.is_json() {
        let object = json!({ "shell": args.shell.to_string(), "script": String::from_utf8_lossy(&script) });
        output.answer(&object, &[])?;
    } else {
        output::print(&script)?;
    }
    Ok(Verdict::Fine)
}

/// Prints the page of the command, or writes it and one for each verb into a folder.
pub(super) fn manual(args: &Manual, output: Output) -> Result<Verdict> {
    let mut command = Args::command().disable_help_subcommand(true);
    command.build();
    let Some(folder) = &args.out else {
        let page = page(&command)?;
        if output.is_json() {
            output.answer(&json!({ "page": String::from_utf8_lossy(&page) }), &[])?;
        } else {
            output::print(&page)?;
        }
        return Ok(Verdict::Fine);
    };
    host::create_folder(folder)?;
    let mut names = Vec::new();
    let mut commands = vec![&command];
    while let Some(command) = commands.pop() {
        let name = format!("{}.1", command.get_display_name().unwrap_or("syncline"));
        host::replace(&folder.join(&name), &page(command)?)?;
        names.push(name);
        commands.extend(command.get_subcommands().filter(|verb| !verb.is_hide_set()));
    }
    names.sort_unstable();
    output.answer(&json!({ "pages": names }), &[("pages", output::count(names.len() as u64))])?;
    Ok(Verdict::Fine)
}

fn page(command: &clap::Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page).map_err(Error::io("cannot write the manual"))?;
    Ok(page)
}

//! What shells and `man` know of the command line, made from the command line itself.

use anyhow::Result;
use clap::ValueEnum;
use clap_complete::{Shell as Completed, generate};
use clap_mangen::Man;
use std::io::Write;

/// The shells that have completions.
#[derive(Clone, Copy, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// The name of the program.
const NAME: &str = "quadrille";

/// Writes a shell's completions: `source <(quadrille completions bash)`.
pub fn completions(shell: Shell, mut command: clap::Command) -> Result<()> {
    let shell = match shell {
        Shell::Bash => Completed::Bash,
        Shell::Zsh => Completed::Zsh,
        Shell::Fish => Completed::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut command, NAME, &mut script);
    Ok(std::io::stdout().lock().write_all(&script)?)
}

/// Writes the manual page, with a part for each command: `man <(quadrille man)`.
pub fn man(mut command: clap::Command) -> Result<()> {
    let mut page = Vec::new();
    command.build();
    Man::new(command.clone()).render(&mut page)?;
    for part in parts(&command) {
        let man = Man::new(part.clone());
        writeln!(page, ".SH {}", part.get_display_name().unwrap_or(NAME).replace('-', " ").to_uppercase())?;
        man.render_description_section(&mut page)?;
        man.render_synopsis_section(&mut page)?;
        man.render_options_section(&mut page)?;
    }
    Ok(std::io::stdout().lock().write_all(&page)?)
}

/// Every command below a command, deepest too, that does something.
fn parts(command: &clap::Command) -> Vec<&clap::Command> {
    let below = command.get_subcommands().filter(|below| below.get_name() != "help");
    below.flat_map(|below| std::iter::once(below).chain(parts(below))).collect()
}

//! The documents: every command in them is run against a platform and its answer compared, every link leads somewhere, and
//! every test, file and recipe that they name is there.
//!
//! - A block ```` ```console ```` holds commands after `$ ` and what they print. `…` stands for any text; ids and times
//!   are compared by their shape, blanks not at all. Of an answer with headers, those shown have to be there.
//! - ```` ```console eventually ```` asks again until the answer is the one shown.
//! - ```` ```sh ```` holds a script that must end well. `no-run: <why>` keeps a block from being run.
//! - `<!-- platform: <flags> -->` gives the flags of the page's platform.

use crate::console::Console;
use crate::platform::{BINARIES, root};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The languages of blocks that hold no commands.
const QUIET: [&str; 5] = ["json", "mermaid", "rust", "text", "yaml"];
/// Words of our own, for which the field has others.
const DIALECT: [&str; 11] = [
    "told",
    "tells",
    "takes",
    "word",
    "news",
    "letters",
    "whoever",
    "somebody",
    "nobody",
    "what becomes of",
    "becomes of",
];

/// A page with its path from the root on.
struct Page {
    path: PathBuf,
    text: String,
}

/// A fenced block.
struct Block {
    line: usize,
    language: String,
    /// What stands after the language.
    more: String,
    lines: Vec<String>,
}

/// Every Markdown page of the repository.
fn pages() -> Vec<Page> {
    let mut pages = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
                folders.push(path);
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(&path).unwrap();
                pages.push(Page { path: path.strip_prefix(root()).unwrap().to_path_buf(), text });
            }
        }
    }
    pages.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(pages.len() >= 6, "where are the documents?");
    pages
}

impl Page {
    fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut open): (Vec<Block>, Option<Block>) = (Vec::new(), None);
        for (at, line) in self.text.lines().enumerate() {
            match (&mut open, line.strip_prefix("```")) {
                (None, Some(info)) => {
                    let (language, more) = info.split_once(' ').unwrap_or((info, ""));
                    let (language, more) = (language.to_owned(), more.trim().to_owned());
                    open = Some(Block { line: at + 1, language, more, lines: Vec::new() });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(block), None) => block.lines.push(line.to_owned()),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block is not closed", self.path.display());
        blocks
    }

    /// The page without its blocks.
    fn prose(&self) -> String {
        let mut inside = false;
        let keep = |line: &&str| {
            let fence = line.starts_with("```");
            inside ^= fence;
            !fence && !inside
        };
        self.text.lines().filter(keep).collect::<Vec<_>>().join("\n")
    }

    /// What stands between backticks in the prose.
    fn code(&self) -> Vec<String> {
        let prose = self.prose();
        prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// The flags of its platform.
    fn flags(&self) -> Vec<String> {
        let flags = self.text.split_once("<!-- platform: ").and_then(|(_, rest)| rest.split_once(" -->"));
        flags.map(|(flags, _)| flags.split(' ').map(str::to_owned).collect()).unwrap_or_default()
    }
}

impl Block {
    fn is_run(&self) -> bool {
        ["console", "sh"].contains(&self.language.as_str()) && !self.more.starts_with("no-run: ")
    }

    /// The commands, with what each has to print; a script as one command that may print anything.
    fn steps(&self) -> Vec<(String, Option<String>)> {
        if self.language == "sh" {
            return vec![(self.lines.join("\n"), None)];
        }
        let mut steps: Vec<(String, Option<String>)> = Vec::new();
        let mut lines = self.lines.iter();
        while let Some(line) = lines.next() {
            if let Some(command) = line.strip_prefix("$ ") {
                let mut command = command.to_owned();
                while command.ends_with('\\') || command.matches('\'').count() % 2 == 1 {
                    command = format!("{command}\n{}", lines.next().expect("a command is not complete"));
                }
                steps.push((command, Some(String::new())));
            } else {
                let (_, output) = steps.last_mut().expect("a console block begins with a command");
                output.get_or_insert_default().extend([line.as_str(), "\n"]);
            }
        }
        steps
    }
}

/// Whether a program is there. CI has every one that the documents use; elsewhere the run without it is announced.
pub fn have(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

fn run_page(path: &str) {
    let missing: Vec<&str> = ["bash", "curl", "jq"].into_iter().filter(|program| !have(program)).collect();
    if !missing.is_empty() {
        assert!(std::env::var_os("CI").is_none(), "the documents' commands need {missing:?}");
        println!("{path}: not run, because {missing:?} are missing");
        return;
    }
    let page = pages().into_iter().find(|page| page.path == Path::new(path)).expect("there is no such page");
    let mut console = Console::start(&path.replace('/', "-"), &page.flags());
    let mut wrong = Vec::new();
    for block in page.blocks().iter().filter(|block| block.is_run()) {
        if let Some(program) = block.more.strip_prefix("needs ").filter(|program| !have(program)) {
            println!("{path}:{}: not run, because {program} is missing", block.line);
            continue;
        }
        for (command, expected) in block.steps() {
            let eventually = block.more == "eventually";
            if let Err(difference) = console.check(&command, expected.as_deref(), eventually) {
                wrong.push(format!("{path}:{}:\n{difference}", block.line));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_readme_is_what_happens() {
    run_page("README.md");
}

#[test]
fn the_page_of_the_api_is_what_happens() {
    run_page("contracts/API.md");
}

/// The mailer on this page is the one that a shop would begin with.
#[test]
fn the_page_of_the_contracts_is_what_happens() {
    run_page("contracts/README.md");
}

#[test]
fn the_page_of_the_services_is_what_happens() {
    run_page("services/README.md");
}

#[test]
fn the_page_of_the_local_stack_is_what_happens() {
    run_page("localstack/README.md");
}

#[test]
fn the_page_of_the_operator_is_what_happens() {
    run_page("services/operator/README.md");
}

/// Guards: a page with commands that no test runs, a block that hides its language, a block left out without a reason.
#[test]
fn every_page_with_commands_is_run() {
    let this = fs::read_to_string(root().join("tests/suite/readme.rs")).unwrap();
    for page in pages() {
        let at = page.path.display();
        for block in page.blocks() {
            let known = ["console", "sh"].contains(&block.language.as_str());
            assert!(
                known || QUIET.contains(&block.language.as_str()),
                "{at}:{}: {:?}",
                block.line,
                block.language
            );
            let modes = ["", "eventually"].contains(&block.more.as_str()) || block.more.starts_with("needs ");
            let left_out = block.more.strip_prefix("no-run: ").is_some_and(|why| why.len() > 10);
            assert!(!known || modes || left_out, "{at}:{}: {:?}", block.line, block.more);
            let run = this.contains(&format!("run_page(\"{at}\")"));
            assert!(!block.is_run() || run, "{at}:{}: no test runs this block", block.line);
        }
    }
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let slug = |heading: &str| {
        let bare = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = bare.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(slug).collect()
}

/// The targets of a page's links.
fn links(prose: &str) -> Vec<String> {
    let ends = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    ends.map(|(target, _)| target.to_owned()).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        for link in links(&page.prose()) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let here = root().join(&page.path);
            let target = if file.is_empty() { here.clone() } else { here.parent().unwrap().join(file) };
            let text = if target.is_dir() { Some(String::new()) } else { fs::read_to_string(&target).ok() };
            let found = text.is_some_and(|text| anchor.is_empty() || anchors(&text).contains(anchor));
            if !found {
                broken.push(format!("{}: {link}", page.path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The folders that a path in the documents may begin with.
const FOLDERS: [&str; 7] = [".ci/", "contracts/", "events/", "infra/", "localstack/", "services/", "tests/"];

#[test]
fn every_file_that_is_named_is_there() {
    let mut missing = Vec::new();
    for page in pages() {
        for path in page.code() {
            let named = FOLDERS.iter().any(|folder| path.starts_with(folder));
            let plain = path.chars().all(|c| c.is_alphanumeric() || "./_-".contains(c));
            let plain = plain && !path.contains("NAME");
            if named && plain && !root().join(&path).exists() {
                missing.push(format!("{}: {path}", page.path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Every Rust file, by the name of its module.
fn modules(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            modules(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let named = if path.ends_with("mod.rs") { path.parent().unwrap() } else { &path };
            let name = named.file_stem().unwrap().to_string_lossy().into_owned();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Guards: `module::name_of_a_test` in a document, so that no promise rests on a test that is gone.
#[test]
fn every_test_that_is_named_is_there() {
    let mut found = Vec::new();
    for folder in ["contracts", "events", "localstack", "services", "tests"] {
        modules(&root().join(folder), &mut found);
    }
    let (mut named, mut missing) = (0, Vec::new());
    for page in pages() {
        for code in page.code() {
            let Some((module, name)) = code.split_once("::") else { continue };
            let plain = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if !plain(module) || !plain(name) || !name.contains('_') {
                continue;
            }
            named += 1;
            let tests = [format!("fn {name}("), format!("fn {name}<")];
            let has = |text: &str| tests.iter().any(|test| text.contains(test));
            if !found.iter().any(|(file, text)| file == module && has(text)) {
                missing.push(format!("{}: {code}", page.path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(named > 30, "{named} tests are named");
}

/// Guards: what no test can run. The recipes are in the justfile, the flags of `cargo dev` in its help.
#[test]
fn every_recipe_and_flag_that_is_named_is_there() {
    let justfile = fs::read_to_string(root().join("justfile")).unwrap();
    let help = Command::new(BINARIES.join("localstack")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for page in pages() {
        let at = page.path.display();
        let blocks =
            page.blocks().into_iter().filter(|block| ["console", "sh"].contains(&block.language.as_str()));
        let commands = blocks.flat_map(|block| block.lines).chain(page.code());
        for command in commands {
            let mut parts = command.trim_start_matches("$ ").split_whitespace();
            match (parts.next(), parts.next()) {
                (Some("just"), Some(recipe)) => {
                    let starts = |line: &str| line.split([' ', ':']).next() == Some(recipe);
                    let there = justfile.lines().any(starts);
                    assert!(there, "{at}: just {recipe}");
                }
                (Some("cargo"), Some("dev")) => {
                    let flags = command.split_whitespace().filter(|part| part.starts_with("--"));
                    for flag in flags.map(|flag| flag.split('=').next().unwrap()) {
                        assert!(help.contains(flag) || flag == "--help", "{at}: cargo dev {flag}");
                    }
                }
                _ => {}
            }
        }
    }
}

/// Guards: the field's words. What the field has a name for has that name here.
#[test]
fn the_documents_speak_plainly() {
    let mut found = Vec::new();
    for page in pages() {
        let prose = page.prose();
        for line in prose.lines() {
            let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
            let words = plain.to_lowercase().replace("dead letters", "");
            let words: String = words.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
            let words = format!(" {} ", words.split_whitespace().collect::<Vec<_>>().join(" "));
            let spoken = DIALECT.iter().filter(|word| words.contains(&format!(" {word} ")));
            found.extend(spoken.map(|word| format!("{}: {word:?} in: {line}", page.path.display())));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

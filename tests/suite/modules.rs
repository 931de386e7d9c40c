//! I10: the modules of a crate lean on one another in one direction only. A small parser reads the paths in the sources.

use crate::layering::sources;
use crate::platform::root;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// A module's path below its crate; the crate itself is empty.
type Module = Vec<String>;

/// The words and signs of a source, without its comments, texts and unit tests.
fn tokens(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod ").next().unwrap();
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' {
            text_length(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        if !token.starts_with("//") && !token.starts_with('"') && !token.trim().is_empty() {
            tokens.push(token.to_owned());
        }
        rest = after;
    }
    tokens
}

/// The length of the text that begins here, with its quotes.
fn text_length(rest: &str) -> usize {
    let mut escaped = false;
    let end = rest.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(rest.len(), |(at, _)| at + 1)
}

/// A path as it is written, and the name that a `use` gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Written {
    segments: Vec<String>,
    name: String,
}

/// The paths that begin at `at`: several where a `use` has braces. Gives the place after them, too.
fn paths(tokens: &[String], mut at: usize, before: &[String], found: &mut Vec<Written>) -> usize {
    let token = |at: usize| tokens.get(at).map_or("", String::as_str);
    let mut segments = before.to_vec();
    loop {
        if token(at) == "{" {
            at += 1;
            while !["}", ""].contains(&token(at)) {
                at = paths(tokens, at, &segments, found);
                at += usize::from(token(at) == ",");
            }
            return at + 1;
        }
        if token(at) != "self" || segments.is_empty() {
            segments.push(token(at).to_owned());
        }
        at += 1;
        if token(at) != "::" || token(at + 1) == "<" {
            break;
        }
        at += 1;
    }
    let mut name = segments.last().cloned().unwrap_or_default();
    if token(at) == "as" {
        name = token(at + 1).to_owned();
        at += 2;
    }
    found.push(Written { segments, name });
    at
}

/// The sources of one crate.
struct Crate {
    tokens: BTreeMap<Module, Vec<String>>,
}

impl Crate {
    fn new(sources: &[(Module, String)]) -> Self {
        Self { tokens: sources.iter().map(|(module, text)| (module.clone(), tokens(text))).collect() }
    }

    /// The paths that a module writes: what it passes on with `pub use`, and what it uses itself.
    fn written(&self, module: &Module) -> (Vec<Written>, Vec<Written>) {
        let tokens = &self.tokens[module];
        let (mut passed_on, mut used) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < tokens.len() {
            let is_path = tokens.get(at + 1).is_some_and(|next| next == "::");
            let begins = is_path && (at == 0 || tokens[at - 1] != "::") && self.begins(module, &tokens[at]);
            if !begins {
                at += 1;
                continue;
            }
            let is_use = at > 0 && tokens[at - 1] == "use";
            let is_public = is_use && at > 1 && (tokens[at - 2] == "pub" || tokens[at - 2] == ")");
            at = paths(tokens, at, &[], if is_public { &mut passed_on } else { &mut used });
        }
        (passed_on, used)
    }

    /// Whether a path that begins with this word leads into the crate.
    fn begins(&self, module: &Module, word: &str) -> bool {
        ["crate", "super", "self"].contains(&word) || self.tokens.contains_key(&child(module, word))
    }

    /// The module that a path leads to, and the name that it wants there.
    fn resolve(&self, from: &Module, written: &Written) -> (Module, String) {
        let (mut module, mut segments) = (from.clone(), written.segments.iter().peekable());
        while let Some(word) = segments.peek() {
            match word.as_str() {
                "crate" => module.clear(),
                "super" => drop(module.pop()),
                "self" => {}
                word if self.tokens.contains_key(&child(&module, word)) => module.push(word.to_owned()),
                word => return (module, word.to_owned()),
            }
            segments.next();
        }
        (module, String::new())
    }

    /// The modules that each module uses. A name that a module only passes on leads to the module that has it.
    fn edges(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let mut origin: BTreeMap<(Module, String), (Module, String)> = BTreeMap::new();
        let mut uses: BTreeMap<Module, Vec<(Module, String)>> = BTreeMap::new();
        for module in self.tokens.keys() {
            let (passed_on, used) = self.written(module);
            for written in passed_on {
                origin.insert((module.clone(), written.name.clone()), self.resolve(module, &written));
            }
            uses.insert(module.clone(), used.iter().map(|written| self.resolve(module, written)).collect());
        }
        let follow = |mut target: (Module, String)| {
            for _ in 0..self.tokens.len() {
                let Some(next) = origin.get(&target) else { break };
                target = next.clone();
            }
            target.0
        };
        let targets = |from: &Module, uses: Vec<_>| -> BTreeSet<Module> {
            uses.into_iter().map(follow).filter(|target| target != from).collect()
        };
        uses.into_iter().map(|(from, uses)| (from.clone(), targets(&from, uses))).collect()
    }

    /// A circle, if there is one: `a -> b -> a`.
    fn circle(&self) -> Option<String> {
        let edges = self.edges();
        let (mut done, mut way) = (BTreeSet::new(), Vec::new());
        let circle = edges.keys().find_map(|module| walk(module, &edges, &mut done, &mut way))?;
        let names = circle.iter().map(|module| match module.as_slice() {
            [] => "the crate's root".to_owned(),
            module => module.join("::"),
        });
        Some(names.collect::<Vec<_>>().join(" -> "))
    }
}

fn child(module: &Module, name: &str) -> Module {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

/// Goes on from a module; gives the first circle on the way.
fn walk(
    module: &Module,
    edges: &BTreeMap<Module, BTreeSet<Module>>,
    done: &mut BTreeSet<Module>,
    way: &mut Vec<Module>,
) -> Option<Vec<Module>> {
    if let Some(at) = way.iter().position(|on_the_way| on_the_way == module) {
        return Some(way[at..].iter().chain([module]).cloned().collect());
    }
    if !done.contains(module) {
        way.push(module.clone());
        let circle = edges[module].iter().find_map(|next| walk(next, edges, done, way));
        if circle.is_some() {
            return circle;
        }
        way.pop();
        done.insert(module.clone());
    }
    None
}

/// The modules below a crate's root file, `services/orders/src/lib.rs`.
fn read(root_file: &str) -> Crate {
    let (folder, root_name) = root_file.rsplit_once('/').unwrap();
    let mut found = Vec::new();
    for (path, text) in sources(folder) {
        let below = path.strip_prefix(folder).unwrap().with_extension("");
        let mut module: Module = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let is_root = below.with_extension("rs").as_os_str() == root_name;
        if is_root || module.last().is_some_and(|last| last == "mod") {
            module.pop();
        } else if module[0] == "bin" || module == ["main"] {
            continue;
        }
        found.push((module, text));
    }
    Crate::new(&found)
}

/// The root files of all crates.
fn crates() -> Vec<String> {
    let services = fs::read_dir(root().join("services")).unwrap();
    let names = services.map(|entry| format!("services/{}", entry.unwrap().file_name().to_string_lossy()));
    let folders = names.chain(["contracts", "events", "localstack", "tests"].map(str::to_owned));
    let roots =
        folders.map(|folder| format!("{folder}/src/lib.rs")).filter(|file| root().join(file).exists());
    roots.chain(["tests/suite/main.rs".to_owned()]).collect()
}

#[test]
fn no_crate_has_a_circle_of_modules() {
    let crates = crates();
    assert!(crates.len() >= 12, "{crates:?}");
    let circles = crates.iter().filter_map(|file| Some(format!("{file}: {}", read(file).circle()?)));
    assert_eq!(circles.collect::<Vec<_>>(), Vec::<String>::new());
}

#[cfg(test)]
mod specs {
    use super::*;

    fn circle(sources: &[(&str, &str)]) -> Option<String> {
        let module =
            |path: &str| path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let sources: Vec<_> = sources.iter().map(|(path, text)| (module(path), (*text).to_owned())).collect();
        Crate::new(&sources).circle()
    }

    #[test]
    fn a_planted_circle_is_named() {
        let a = ("a", "use crate::b::{self, deep::B};");
        let b = ("b", "mod deep; pub fn b() {}");
        assert_eq!(circle(&[("", "mod a; mod b;"), a, b, ("b::deep", "pub struct B;")]), None);
        let deep = ("b::deep", "fn back() { super::super::a::A::new() }");
        let named = Some("a -> b::deep -> a".to_owned());
        assert_eq!(circle(&[("", "mod a; mod b;"), a, b, deep]), named);
    }

    #[test]
    fn a_parent_may_pass_on_what_its_child_has_and_may_not_use_it() {
        let child = ("a::child", "use super::Parent; pub struct Child;");
        let passes_on = ("a", "mod child; pub use child::Child; pub struct Parent;");
        assert_eq!(circle(&[passes_on, child]), None);
        let uses = ("a", "mod child; use child::Child; pub struct Parent(Child);");
        assert_eq!(circle(&[uses, child]), Some("a -> a::child -> a".to_owned()));
        // What is passed on leads to the module that has it.
        let other = ("a::other", "use super::Child;");
        let back = ("a::child", "use super::other::x; pub struct Child;");
        assert_eq!(circle(&[passes_on, back, other]), Some("a::child -> a::other -> a::child".to_owned()));
    }

    #[test]
    fn comments_texts_and_unit_tests_are_no_uses() {
        let text = "// use crate::b;\nconst A: &str = \"\\\" crate::b::B\";\n#[cfg(test)]\nmod tests { use crate::b::B; }";
        assert_eq!(circle(&[("a", text), ("b", "use crate::a::A;")]), None);
    }
}

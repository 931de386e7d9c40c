//! The files of a new service, and of the others' those that name it. What only has another name is taken from rewards,
//! the model; the rest from `templates/`.

use crate::answer::Answer;
use crate::catalogue::{self, CATALOGUE, MODULES};
use crate::names::{camel, capital, possessive, rest, with_article};
use crate::service::{Service, Subject};
use crate::template::{Lists, Words, fill};
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A file as it is to be.
pub struct Written {
    /// Its place below the repository.
    pub path: String,
    /// What stands in it.
    pub text: String,
}

impl Written {
    /// Writes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, root: &Path) -> Result<()> {
        let path = root.join(&self.path);
        fs::create_dir_all(path.parent().unwrap_or(root)).with_context(|| self.path.clone())?;
        fs::write(&path, &self.text).with_context(|| self.path.clone())
    }
}

/// All of them. The new ones do not exist yet.
///
/// # Errors
/// When one exists, or one that is to name the service is not as it was.
pub fn of(root: &Path, service: &Service) -> Result<Vec<Written>> {
    let mut files = new(service)?;
    for Written { path, .. } in &files {
        ensure!(!root.join(path).exists(), "{path}: exists already, and is not overwritten");
    }
    let name = &service.name;
    let edit = |path: &str, edited: &dyn Fn(&str) -> Result<String>| {
        let text = fs::read_to_string(root.join(path)).with_context(|| path.to_owned())?;
        let text = edited(&text).with_context(|| path.to_owned())?;
        anyhow::Ok(Written { path: path.to_owned(), text })
    };
    if service.publishes() {
        files.push(edit(MODULES, &|text| catalogue::with_module(text, name))?);
    }
    files.push(edit(CATALOGUE, &|text| {
        catalogue::with_service(text, name, &service.consumed, &service.produced)
    })?);
    files.push(edit(OBSERVED, &|text| Ok(with_log(text, name)))?);
    Ok(files)
}

fn new(service: &Service) -> Result<Vec<Written>> {
    let (words, lists) = (words(service), lists(service));
    let (name, noun) = (&service.name, &service.subject.noun);
    let model = Words::of([
        ("rewards'", possessive(name)),
        ("rewards", name.clone()),
        ("Rewards", capital(name)),
        ("Grants points for confirmed orders, and takes them back", capital(&service.summary())),
        ("grants points for confirmed orders, and takes them back", service.summary()),
    ]);
    let source = format!("services/{name}/src");
    let infra = with_rule(&model.replace(INFRA), service).context("infra/rewards.yaml")?;
    let infra = if service.publishes() { infra } else { without_a_way_out(&infra) };
    let mut files = vec![
        (format!("services/{name}/Cargo.toml"), model.replace(MANIFEST)),
        (format!("{source}/main.rs"), model.replace(MAIN)),
        (format!("{source}/lib.rs"), fill(LIB, &words, &lists)?),
        (format!("{source}/{noun}.rs"), fill(CORE, &words, &lists)?),
        (format!("{source}/reactor.rs"), fill(REACTOR, &words, &lists)?),
        (format!("{source}/subscriptions.rs"), fill(SUBSCRIPTIONS, &words, &lists)?),
        (format!("infra/{name}.yaml"), infra),
    ];
    if service.publishes() {
        let events = fill(EVENTS, &words, &lists)?.trim_end().to_owned() + "\n";
        files.push((format!("events/src/{name}.rs"), events));
    }
    Ok(files.into_iter().map(|(path, text)| Written { path, text }).collect())
}

const MANIFEST: &str = include_str!("../../rewards/Cargo.toml");
const MAIN: &str = include_str!("../../rewards/src/main.rs");
const INFRA: &str = include_str!("../../../infra/rewards.yaml");
const LIB: &str = include_str!("../templates/lib.rs");
const CORE: &str = include_str!("../templates/widget.rs");
const REACTOR: &str = include_str!("../templates/reactor.rs");
const SUBSCRIPTIONS: &str = include_str!("../templates/subscriptions.rs");
const EVENTS: &str = include_str!("../templates/events.rs");

/// The template whose saved queries name the log of each reactor.
const OBSERVED: &str = "infra/observability.yaml";

/// The queries with the service's log behind that of the model.
fn with_log(text: &str, name: &str) -> String {
    let with = |line: &str| match line.contains("-quadrille-rewards-reactor\"") {
        true => format!("{line}{}", line.replace("-rewards-", &format!("-{name}-"))),
        false => line.to_owned(),
    };
    text.split_inclusive('\n').map(with).collect()
}

/// The template with rules that let in what the service consumes.
fn with_rule(template: &str, service: &Service) -> Result<String> {
    let sources = service.consumed.iter().map(|event| events::source_of(&event.module));
    let kinds = service.consumed.iter().map(|event| event.kind.clone());
    let list = |items: BTreeSet<String>| -> String {
        items.iter().map(|item| format!("          - {item}\n")).collect()
    };
    let (source, kind) = ("        source:\n", "        detail-type:\n");
    let lets_in = format!("{source}{}{kind}{}", list(sources.collect()), list(kinds.collect()));
    let mut rules = template.split(source);
    let mut written = rules.next().unwrap_or_default().to_owned();
    for rule in rules {
        let (_, types) = rule.split_once(kind).context("the rule matches no type")?;
        written += &format!("{lets_in}{}", after_list(types));
    }
    Ok(written)
}

/// What the template of a service without events does not need, by the beginnings of names: what reads the table's stream
/// and publishes, the choice between the two, and whether there is the alarm that compares it with what is written.
const WAY_OUT: [&str; 7] = ["Pipe", "Outbox", "Relay", "FanOut", "Uses", "MetricMath", "Computes"];

/// The template without the table's stream, and without what publishes from it.
fn without_a_way_out(template: &str) -> String {
    let stream = "      StreamSpecification:\n        StreamViewType: NEW_IMAGE\n";
    let template = template.replace(stream, "");
    let (mut kept, mut block, mut is_wanted) = (String::new(), String::new(), true);
    for line in template.split_inclusive('\n') {
        let is_deeper = line.starts_with("   ");
        let name = line.strip_prefix("  ").filter(|name| !is_deeper && !name.starts_with('#'));
        match name {
            // What stands above a name, comments and a blank line, belongs to it.
            Some(name) => {
                is_wanted = !WAY_OUT.iter().any(|way_out| name.starts_with(way_out));
                let above = std::mem::take(&mut block);
                if is_wanted {
                    kept += &above;
                    kept += line;
                }
            }
            None if is_deeper && block.is_empty() => {
                if is_wanted {
                    kept += line;
                }
            }
            None => block += line,
        }
    }
    kept + &block
}

/// A text without the items that it begins with.
fn after_list(mut text: &str) -> &str {
    while let Some((item, rest)) = text.split_once('\n')
        && item.trim_start().starts_with("- ")
    {
        text = rest;
    }
    text
}

/// What stands for what, everywhere.
fn words(service: &Service) -> Words {
    let Service { name, subject, answers, produced, .. } = service;
    let first = answers.first().map(|answer| answer.variant.clone()).unwrap_or_default();
    let join = |names: Vec<String>| names.join(", ");
    let ids =
        if subject.id_type == "String" { "event".into() } else { format!("{}, event", subject.id_type) };
    Words::of([
        ("newcomer", name.clone()),
        ("Newcomer", capital(name)),
        ("newcomer's", possessive(name)),
        ("Newcomer's", possessive(&capital(name))),
        ("widget", subject.noun.clone()),
        ("Widget", camel(&subject.noun)),
        ("a widget", with_article(&subject.noun)),
        ("widget_id", subject.id.clone()),
        ("WidgetId", subject.id_type.to_owned()),
        ("Message::First", format!("Message::{first}")),
        ("SUMMARY", service.summary()),
        ("SAMPLE", subject.sample.to_owned()),
        ("IDS", ids),
        ("VIEWS", join(answers.iter().map(|answer| answer.variant.clone()).collect())),
        ("PUBLISHED", join(produced.iter().map(|kind| camel(kind)).collect())),
        ("DECISIONS", join(produced.iter().map(|kind| spoken(rest(kind))).collect())),
    ])
}

/// `check.passed`: `check passed`
fn spoken(name: &str) -> String {
    name.replace(['.', '_'], " ")
}

/// `HalfOpened`: `half_opened`
fn snake(variant: &str) -> String {
    let mut snake = String::new();
    for letter in variant.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// What is there several times.
fn lists(service: &Service) -> Lists {
    let Service { subject, answers, produced, .. } = service;
    let once = |there: bool| vec![Words::default(); usize::from(there)];
    let kept = answers.iter().filter(|answer| answer.published.is_empty());
    let is_determined = answers.iter().all(|answer| !answer.published.is_empty());
    let kept: Vec<Words> = kept.map(|answer| Words::of([("Noted", answer.variant.clone())])).collect();
    let unpublished = if service.publishes() { kept.clone() } else { Vec::new() };
    [
        ("id type", once(subject.id_type != "String")),
        ("uuid", once(subject.is_uuid())),
        ("subject but an order", once(subject.noun != "order")),
        ("determined", once(is_determined)),
        ("undetermined", once(!is_determined)),
        ("source", sources(answers)),
        ("consumed", answers.iter().map(consumed).collect()),
        ("produced", produced.iter().map(|kind| decided(kind)).collect()),
        ("kept", kept),
        ("unpublished", unpublished),
        ("publishing", once(service.publishes())),
        ("silent", once(!service.publishes())),
        ("step", (0..answers.len()).filter_map(|n| step(subject, answers, n)).collect()),
        ("mark", answers.iter().flat_map(marks).collect()),
        ("overtaking", overtaking(answers).into_iter().collect()),
    ]
    .into()
}

/// The imports of the events' types.
fn sources(answers: &[Answer]) -> Vec<Words> {
    let mut types: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Answer { event, .. } in answers {
        types.entry(&event.module).or_default().push(&event.type_name);
    }
    let imports = types.into_iter().map(|(module, types)| (module.to_owned(), types.join(", ")));
    imports.map(|(module, types)| Words::of([("producers", module), ("WidgetHappened", types)])).collect()
}

fn consumed(answer: &Answer) -> Words {
    Words::of([
        ("Happened", answer.variant.clone()),
        ("WidgetHappened", answer.event.type_name.clone()),
        ("widget.happened", answer.event.kind.clone()),
    ])
}

fn decided(kind: &str) -> Words {
    Words::of([
        ("Decided", camel(rest(kind))),
        ("decided", snake(&camel(rest(kind)))),
        ("NewcomerDecided", camel(kind)),
        ("newcomer.decided", kind.to_owned()),
        ("DECISION", spoken(rest(kind))),
    ])
}

/// The `n`-th answer, with the stages before it.
fn step(subject: &Subject, answers: &[Answer], n: usize) -> Option<Words> {
    let answer = answers.get(n)?;
    let earlier = answers.iter().take(n).map(|answer| format!(" | Self::{}", answer.stage()));
    let id = &subject.id;
    let again = if subject.is_uuid() { format!("*{id}") } else { format!("{id}.clone()") };
    let named = if answer.published.is_empty() { "_" } else { id };
    let answered = match answer.published.as_slice() {
        [] => format!("`{}` came.", answer.event.kind),
        published => format!("`{}` was answered with `{}`.", answer.event.kind, published.join("` and `")),
    };
    Some(Words::of([
        ("Done", answer.stage()),
        ("already done", format!("already {}", spoken(&snake(&answer.stage())))),
        ("ANSWERED", answered),
        ("Self::Earlier", format!("Self::Unknown{}", earlier.collect::<String>())),
        ("Message::Happened(widget_id)", format!("Message::{}({named})", answer.variant)),
        ("Happened", answer.variant.clone()),
        ("happened", snake(&answer.variant)),
        ("FACTS", facts(answer, id, &again)),
        ("SAMPLE_FACTS", facts(answer, id, &format!("{id}()"))),
    ]))
}

/// The facts of an answer, in Rust.
fn facts(answer: &Answer, id: &str, value: &str) -> String {
    if answer.published.is_empty() {
        return format!("Fact::{}", answer.variant);
    }
    let fact = |kind: &String| format!("Fact::{}({} {{ {id}: {value} }})", camel(rest(kind)), camel(kind));
    answer.published.iter().map(fact).collect::<Vec<_>>().join(", ")
}

/// What each fact of an answer makes of the state: the first its stage, the others nothing more.
fn marks(answer: &Answer) -> Vec<Words> {
    let done = format!("Self::{}", answer.stage());
    let mark = |fact: String, to: String| Words::of([("Fact::Marked", fact), ("Self::Done", to)]);
    if answer.published.is_empty() {
        return vec![mark(format!("Fact::{}", answer.variant), done)];
    }
    let published = answer.published.iter().enumerate();
    let to = |n: usize| if n == 0 { done.clone() } else { "self".to_owned() };
    published.map(|(n, kind)| mark(format!("Fact::{}(_)", camel(rest(kind))), to(n))).collect()
}

/// The first event that comes after the last.
fn overtaking(answers: &[Answer]) -> Option<Words> {
    let [first, .., last] = answers else { return None };
    Some(Words::of([
        ("first", snake(&first.variant)),
        ("last", snake(&last.variant)),
        ("already done", format!("already {}", spoken(&snake(&last.stage())))),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: what a service without events does not need. Nothing of the way out is left, and nothing else is gone.
    #[test]
    fn a_service_that_publishes_nothing_has_no_way_out() {
        let template = without_a_way_out(INFRA);
        for gone in [
            "StreamSpecification",
            "StreamArn",
            "pipes.",
            "-relay",
            "-outbox",
            "UsesPipe",
            "FanOut",
            "Computes",
        ] {
            assert!(!template.contains(gone), "{gone} is left in {template}");
        }
        let names = |text: &str| -> BTreeSet<String> {
            let named = text.lines().filter(|line| line.starts_with("  ") && line.ends_with(':'));
            let named = named.filter(|line| !line.starts_with("   ")).map(str::to_owned);
            named.filter(|name| !WAY_OUT.iter().any(|way_out| name.trim().starts_with(way_out))).collect()
        };
        assert_eq!(names(&template), names(INFRA));
        assert!(template.contains("  # ---- In: what rewards takes"), "{template}");
    }
}

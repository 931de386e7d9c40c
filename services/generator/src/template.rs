//! Templates: files that read as what they become. Words stand for others, and what stands between `//: each NAME` and
//! `//: end` is there once for each item of the list of that name.

use anyhow::{Context, Result};
use std::collections::BTreeMap;

/// What the words of a template stand for.
#[derive(Clone, Debug, Default)]
pub struct Words(Vec<(String, String)>);

impl Words {
    /// These words.
    pub fn of<const N: usize>(words: [(&str, String); N]) -> Self {
        Self(words.into_iter().map(|(word, meant)| (word.to_owned(), meant)).collect())
    }

    /// These words, and of the others those that are not among them.
    fn over(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(&others.0).cloned().collect())
    }

    /// The text with every word replaced, at each place by the longest that stands there.
    pub fn replace(&self, text: &str) -> String {
        let (mut done, mut rest) = (String::new(), text);
        while let Some(first) = rest.chars().next() {
            let here = self.0.iter().filter(|(word, _)| rest.starts_with(word.as_str()));
            // Of two equally long ones the earlier: an item's own word goes before that of all.
            match here.rev().max_by_key(|(word, _)| word.len()) {
                Some((word, meant)) => {
                    done.push_str(meant);
                    rest = rest.get(word.len()..).unwrap_or_default();
                }
                None => {
                    done.push(first);
                    rest = rest.get(first.len_utf8()..).unwrap_or_default();
                }
            }
        }
        done
    }
}

/// The lists of a template, by name: of each item its words.
pub type Lists = BTreeMap<&'static str, Vec<Words>>;

/// What a template becomes.
///
/// # Errors
/// When it names a list that there is not.
pub fn fill(template: &str, words: &Words, lists: &Lists) -> Result<String> {
    let (mut done, mut block) = (String::new(), String::new());
    let mut items: Option<&Vec<Words>> = None;
    for line in template.split_inclusive('\n') {
        let Some(marker) = line.trim().strip_prefix("//: ") else {
            if items.is_some() {
                block.push_str(line);
            } else {
                done.push_str(&words.replace(line));
            }
            continue;
        };
        for item in items.into_iter().flatten() {
            done.push_str(&item.over(words).replace(&block));
        }
        block.clear();
        items = match marker.strip_prefix("each ") {
            Some(name) => Some(lists.get(name).with_context(|| format!("no list is called {name}"))?),
            None => None,
        };
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_word_is_replaced_and_an_items_own_before_that_of_all() {
        let all = Words::of([("Widget", "Order".into()), ("Happened", "Never".into())]);
        let item = Words::of([("Happened", "Created".into()), ("WidgetHappened", "OrderCreated".into())]);
        assert_eq!(
            item.over(&all).replace("WidgetHappened, Happened, Widget"),
            "OrderCreated, Created, Order"
        );
    }

    #[test]
    fn a_block_is_there_once_for_each_item() {
        let items = ["a", "b"].map(|name| Words::of([("item", name.to_owned())]));
        let lists = [("letter", items.to_vec()), ("digit", Vec::new())].into();
        let template = "head\n//: each letter\nitem of all\n//: each digit\nnone\n//: end\ntail\n";
        let filled = fill(template, &Words::of([("all", "many".into())]), &lists).unwrap();
        assert_eq!(filled, "head\na of many\nb of many\ntail\n");
        assert!(fill("//: each word\n", &Words::default(), &lists).is_err());
    }
}

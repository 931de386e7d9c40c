//! CloudFormation templates: read with line numbers, intrinsics resolved, resources typed. What is not
//! implemented is refused by file, resource, property and line; nothing is skipped in silence.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-anatomy.html>

pub mod names;
pub mod resolve;
pub mod resources;
pub mod yaml;

use resolve::Template;
use resources::Model;
use std::collections::{BTreeMap, BTreeSet};
use std::{fmt, fs, path::Path};

/// Why a template is refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The template's file name.
    pub file: String,
    /// The line, from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// The resource and property, `Inbox.VisibilityTimout`, where there is one.
    pub at: String,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.at.is_empty() { String::new() } else { format!("{}: ", self.at) };
        write!(f, "{}:{}: {at}{}", self.file, self.line, self.reason)
    }
}

impl std::error::Error for Refused {}

/// Reads every `*.yaml` of `folder` into one model.
///
/// # Errors
/// The first template that cannot be read or holds something that is not implemented.
pub fn load(
    folder: &Path,
    names: &names::Names,
    parameters: &BTreeMap<String, String>,
) -> anyhow::Result<Model> {
    let entries = fs::read_dir(folder).map_err(|e| anyhow::anyhow!("{}: {e}", folder.display()))?;
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    anyhow::ensure!(!files.is_empty(), "{} holds no *.yaml templates", folder.display());
    let mut model = Model::default();
    let mut unknown: BTreeSet<&String> = parameters.keys().collect();
    for path in files {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?;
        for known in read(&file, &text, names, parameters, &mut model)? {
            unknown.remove(&known);
        }
    }
    if let Some(name) = unknown.first() {
        anyhow::bail!("no template in {} has a parameter {name}", folder.display());
    }
    Ok(model)
}

/// Reads one template into `model`; gives the names of its parameters.
///
/// # Errors
/// [`Refused`].
pub fn read(
    file: &str,
    text: &str,
    names: &names::Names,
    parameters: &BTreeMap<String, String>,
    model: &mut Model,
) -> Result<Vec<String>, Refused> {
    let template = Template::read(file, &yaml::read(file, text)?, names, parameters)?;
    for (logical, resource) in &template.resources {
        let properties = template.properties(logical, resource)?;
        model.add(&template, logical, resource, properties)?;
    }
    Ok(template.parameter_names())
}

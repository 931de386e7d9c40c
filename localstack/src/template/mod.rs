//! CloudFormation templates: read with line numbers, intrinsics resolved, resources typed. What is not
//! implemented is refused by file, resource, property and line; nothing is skipped in silence.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-anatomy.html>

pub mod declared;
pub mod deployed;
pub mod names;
pub mod parameters;
pub mod refused;
pub mod resources;
pub mod scope;
pub mod sections;
pub mod stack;
pub mod types;
pub mod yaml;

use anyhow::Context;
use declared::Declared;
pub use refused::Refused;
use resources::Model;
use std::collections::{BTreeMap, BTreeSet};
use std::{fs, path::Path};

/// Reads every `*.yaml` of `folder` into one model.
///
/// # Errors
/// The first template that cannot be read or holds something that is not implemented.
pub fn load(
    folder: &Path,
    names: &names::Names,
    parameters: &BTreeMap<String, String>,
) -> anyhow::Result<Model> {
    let missing = || {
        let folder = folder.display();
        format!(
            "cannot read the templates in {folder}; start in the repository's root, or name their folder with --infra"
        )
    };
    let entries = fs::read_dir(folder).with_context(missing)?;
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    anyhow::ensure!(!files.is_empty(), "{} holds no *.yaml templates", folder.display());
    let mut model = Model::default();
    let mut unknown: BTreeSet<&String> = parameters.keys().collect();
    for path in files {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        for known in read(&file, &text, names, parameters, &mut model)? {
            unknown.remove(&known);
        }
    }
    if let Some(name) = unknown.first() {
        anyhow::bail!("no template in {} has a parameter {name}", folder.display());
    }
    Ok(model)
}

/// Reads one template into `model`; returns the names of its parameters.
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
    let scope = sections::read(file, &yaml::read(file, text)?, names, parameters)?;
    for (logical_id, resource) in &scope.resources {
        let properties = &scope.evaluate(&resource.properties, logical_id)?;
        let (file, stack, line, node) = (&scope.file, &scope.stack, resource.line, &resource.properties);
        resource.kind.load(model, &Declared { file, stack, logical_id, line, node, properties })?;
    }
    model.stacks.push(deployed::stack(&scope)?);
    Ok(scope.parameters.into_keys().collect())
}

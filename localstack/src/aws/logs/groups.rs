//! Which files a log group's streams are. A function writes one file, whatever environment of it logs, and so has one stream; on
//! AWS it has one for each environment.

use crate::template::resources::Model;
use std::path::{Path, PathBuf};

/// A log group.
#[derive(Clone, Debug)]
pub struct Group {
    pub name: String,
    pub retention_days: Option<u32>,
    pub streams: Vec<Stream>,
}

/// A stream, and the file that it is.
#[derive(Clone, Debug)]
pub struct Stream {
    pub name: String,
    pub file: PathBuf,
}

/// Every log group that a template declares, by name.
#[derive(Clone, Debug, Default)]
pub struct Groups(Vec<Group>);

impl Groups {
    /// The groups, with their files in `folder`.
    #[must_use]
    pub fn new(model: &Model, folder: &Path) -> Self {
        let stream = |name: &str| Stream { name: name.to_owned(), file: folder.join(format!("{name}.log")) };
        let mut groups: Vec<Group> = model
            .log_groups
            .iter()
            .map(|group| Group {
                name: group.log_group_name.clone(),
                retention_days: group.retention_in_days,
                streams: Vec::new(),
            })
            .collect();
        for group in &mut groups {
            let of = model.functions.iter().filter(|function| match &function.logging_config {
                Some(config) => config.log_group == group.name,
                None => group.name == format!("/aws/lambda/{}", function.function_name),
            });
            group.streams.extend(of.map(|function| stream(&function.function_name)));
            let end = format!(":log-group:{}", group.name);
            let logs = model.api_stages.iter().filter_map(|stage| stage.access_log_settings.as_ref());
            let is_access_log =
                logs.into_iter().any(|log| log.destination_arn.trim_end_matches(":*").ends_with(&end));
            if is_access_log {
                group.streams.push(stream(group.name.rsplit('/').next().unwrap_or_default()));
            }
        }
        Self(groups)
    }

    #[must_use]
    pub fn all(&self) -> Vec<&Group> {
        self.0.iter().collect()
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Group> {
        self.0.iter().find(|group| group.name == name)
    }

    /// The files of all streams.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.0.iter().flat_map(|group| &group.streams).map(|stream| stream.file.clone()).collect()
    }
}

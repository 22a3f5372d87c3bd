//! `nightread dicom write`: the objects of one document, into a folder.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use nightread_archive::{Kind, Object};
use serde_json::{Value, json};

use super::result::make;
use crate::app;
use crate::cli::dicom::WriteArgs;
use crate::services::results::output::write_whole;

/// What was written.
#[derive(Debug)]
pub(crate) struct Written {
    files: Vec<(PathBuf, Object)>,
    uncoded: Vec<String>,
    notes: Vec<String>,
}

/// # Errors
/// [`crate::app::WrongUse`]; those of making the objects; what the file system says.
pub(crate) async fn run(args: &WriteArgs) -> Result<Written> {
    let settings = app::sound_settings(&args.common, |_, _| {})?;
    let made = make(&args.result, &args.source, &args.common, &settings).await?;
    fs::create_dir_all(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    let kinds: Vec<Kind> = made.objects.iter().map(|object| object.kind).collect();
    let mut files: Vec<(PathBuf, Object)> = Vec::with_capacity(kinds.len());
    for object in made.objects {
        let alike = kinds.iter().filter(|other| **other == object.kind).count();
        let before = files.iter().filter(|(_, other)| other.kind == object.kind).count();
        let number = if alike > 1 { format!("-{}", before + 1) } else { String::new() };
        let path = args.out.join(format!("{}{number}.dcm", object.kind.as_str()));
        write_whole(&path, &object.file)?;
        files.push((path, object));
    }
    Ok(Written { files, uncoded: made.uncoded, notes: made.notes })
}

impl Written {
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    pub fn as_text(&self) -> String {
        let lines = self.files.iter().map(|(path, object)| {
            format!("{}  {}  {}", object.kind.as_str(), object.sop_instance, path.display())
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    pub fn as_json(&self) -> Value {
        let files = self.files.iter().map(|(path, object)| {
            json!({
                "kind": object.kind.as_str(),
                "path": path.display().to_string(),
                "sop_class_uid": object.sop_class,
                "sop_instance_uid": object.sop_instance,
                "series_instance_uid": object.series,
                "bytes": object.file.len(),
            })
        });
        json!({ "objects": files.collect::<Vec<_>>(), "labels_without_code": self.uncoded })
    }
}

//! Which models read what: the rules that were set, or those that follow from the models that are there.

use nightread_domain::routing::{Routing, Rule};
use nightread_engine::{Catalogue, Manifest, Precision, Task};

/// The rules to route by: the configured ones, or for each kind of study the one model that is there for it, at this
/// precision or, for `None`, at any.
pub fn routing(
    configured: &Routing,
    catalogue: &Catalogue,
    precision: impl Into<Option<Precision>>,
) -> Result<Routing, String> {
    let precision = precision.into();
    if !configured.rules.is_empty() {
        return Ok(configured.clone());
    }
    let mut routing = Routing::default();
    for task in Task::ALL {
        let fitting: Vec<&str> = catalogue
            .iter()
            .filter(|manifest| {
                manifest.task == task
                    && manifest.precisions().any(|offered| precision.is_none_or(|wanted| offered == wanted))
            })
            .map(|manifest| manifest.name.as_str())
            .collect();
        match fitting.as_slice() {
            [] => {}
            [only] => routing.rules.push(Rule {
                container: None,
                prefix: String::new(),
                task,
                models: vec![(*only).to_owned()],
                instances: false,
            }),
            several => {
                return Err(format!("several models could read this: name one of {}", several.join(", ")));
            }
        }
    }
    Ok(routing)
}

/// The rule that sends everything of a model's kind to it.
pub fn rule_for(manifest: &Manifest) -> Rule {
    Rule {
        container: None,
        prefix: String::new(),
        task: manifest.task,
        models: vec![manifest.name.clone()],
        instances: false,
    }
}

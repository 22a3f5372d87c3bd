//! What is wrong with the settings of a recipe.

use std::fmt;

/// A setting that cannot be carried out, named as manifests name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeError {
    field: &'static str,
    problem: String,
}

impl RecipeError {
    pub(crate) fn new(field: &'static str, problem: String) -> Self {
        Self { field, problem }
    }

    /// The name of the field.
    pub const fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl std::error::Error for RecipeError {}

//! Numbers that networks estimate of a study, with their units.

use nightread_domain::result::Measurement;
use nightread_domain::{ErrorCode, JobError, Stage};

use crate::manifest::Manifest;
use crate::ordinal::grade;
use crate::outputs::Arrays;

/// UCUM's unit of pure numbers.
const NO_UNIT: &str = "1";

/// The measurements of one item, in the manifest's order, and then the grades that heads name: 0 is the first of their labels.
/// The engine gives finite numbers alone.
///
/// Errors: `model_mismatch` when an output is not there or has not one number for each measurement.
pub fn measurements(manifest: &Manifest, arrays: &Arrays) -> Result<Vec<Measurement>, JobError> {
    let mut made = Vec::with_capacity(manifest.measurements.len());
    for (number, measurement) in manifest.measurements.iter().enumerate() {
        let before = &manifest.measurements[..number];
        let column = before.iter().filter(|other| other.output == measurement.output).count();
        let Some(value) = arrays.values(&measurement.output)?.get(column) else {
            let words = format!("output {:?} has no number for {:?}", measurement.output, measurement.name);
            return Err(JobError::new(Stage::Infer, ErrorCode::ModelMismatch, words));
        };
        let (label, unit) = (measurement.name.clone(), measurement.unit.clone());
        made.push(Measurement { label, value: *value, unit });
    }
    for head in &manifest.output.heads {
        if let Some(label) = head.grade.clone() {
            let value = grade(head.activation, arrays.values(&head.logits)?) as f32;
            made.push(Measurement { label, value, unit: NO_UNIT.to_owned() });
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayD;

    use super::*;
    use crate::manifest;
    use crate::testing;

    #[test]
    fn measurements_have_the_columns_of_their_output_in_their_order() {
        let mut manifest = testing::manifest("measures", 1);
        let spec = |name: &str, output: &str| manifest::Measurement {
            name: name.to_owned(),
            unit: "a".to_owned(),
            output: output.to_owned(),
        };
        manifest.measurements = vec![spec("one", "a"), spec("two", "b"), spec("three", "a")];
        let mut arrays = Arrays::default();
        arrays.push(&"a".into(), ArrayD::from_shape_vec(vec![2], vec![1.5, -3.0]).unwrap());
        arrays.push(&"b".into(), ArrayD::from_shape_vec(vec![1], vec![2.0]).unwrap());
        let made = measurements(&manifest, &arrays).unwrap();
        let told: Vec<_> = made.iter().map(|made| (made.label.as_str(), made.value)).collect();
        assert_eq!(told, [("one", 1.5), ("two", 2.0), ("three", -3.0)]);
        manifest.measurements.push(spec("four", "b"));
        assert_eq!(measurements(&manifest, &arrays).unwrap_err().code, ErrorCode::ModelMismatch);
    }

    #[test]
    fn a_grade_is_told_where_its_head_names_it() {
        let mut manifest = testing::manifest("grades", 4);
        let head = &mut manifest.output.heads[0];
        head.activation = manifest::Activation::OrdinalCorn;
        head.grade = Some("KL grade".to_owned());
        let mut arrays = Arrays::default();
        arrays.push(&"logits".into(), ArrayD::from_shape_vec(vec![3], vec![9.0, 1.0, -1.0]).unwrap());
        let unit = "1".to_owned();
        let wanted = Measurement { label: "KL grade".to_owned(), value: 2.0, unit };
        assert_eq!(measurements(&manifest, &arrays).unwrap(), [wanted]);
    }
}

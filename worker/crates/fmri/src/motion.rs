//! How much a person moved, by the table of confounds beside a scan and by the scan itself.
//!
//! Framewise displacement is that of Power et al. 2012: the sum of the magnitudes of the changes of the six rigid-body
//! parameters from one volume to the next, rotations in radians times a sphere's radius of 50 mm. It is taken from the table
//! where it has it, and else made from the table's parameters. DVARS is taken from the table where it has it (fMRIPrep has nipype's
//! `ComputeDVARS`, as it is and standardised, Nichols 2013), and else made from the scan (`regression/dvars.rs`).

use std::io::{self, Write};

use serde::Serialize;

use crate::confounds::Table;
pub use crate::regression::{Course, Dvars};

/// Radius of the sphere on whose surface rotations become millimetres.
const RADIUS_MM: f64 = 50.0;

/// Names of fMRIPrep's columns, and those that its versions before 1.2 gave them.
const DISPLACEMENT: [&str; 2] = ["framewise_displacement", "FramewiseDisplacement"];
const DVARS: [&str; 2] = ["dvars", "non-stdDVARS"];
const STANDARDISED_DVARS: [&str; 2] = ["std_dvars", "stdDVARS"];
const TRANSLATIONS_MM: [[&str; 2]; 3] = [["trans_x", "X"], ["trans_y", "Y"], ["trans_z", "Z"]];
const ROTATIONS: [[&str; 2]; 3] = [["rot_x", "RotX"], ["rot_y", "RotY"], ["rot_z", "RotZ"]];

/// Where framewise displacement comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DisplacementSource {
    /// The table has it.
    Column,
    /// The table has the parameters that it is made of.
    Parameters,
}

/// Where DVARS comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DvarsSource {
    /// The table has it, raw or standardised.
    Column,
    /// It was made from the scan.
    Scan,
}

/// Motion of one scan.
#[derive(Clone, Debug, PartialEq)]
pub struct Motion {
    pub displacement_mm: Option<(Course, DisplacementSource)>,
    pub dvars: Dvars,
    pub dvars_from: Option<DvarsSource>,
}

/// The same in few numbers, over all volumes of the file that have a value; absent where none has.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MotionFacts {
    pub displacement_mean_mm: Option<f64>,
    pub displacement_max_mm: Option<f64>,
    pub displacement_from: Option<DisplacementSource>,
    pub dvars_from: Option<DvarsSource>,
    pub dvars_mean: Option<f64>,
    pub dvars_max: Option<f64>,
    pub standardised_dvars_mean: Option<f64>,
    pub standardised_dvars_max: Option<f64>,
}

impl Motion {
    /// What the table says where it is of as many volumes, and what it does not say of DVARS by the scan; `None` where neither says
    /// anything.
    pub fn of(table: Option<&Table>, volumes: usize, of_scan: &Dvars) -> Option<Self> {
        let table = table.filter(|table| table.rows() == volumes);
        let displacement_mm = table.and_then(|table| match named(table, DISPLACEMENT) {
            Some(column) => Some((column.to_vec(), DisplacementSource::Column)),
            None => displacement(table).map(|made| (made, DisplacementSource::Parameters)),
        });
        let column = |names| table.and_then(|table| named(table, names)).map(<[_]>::to_vec);
        let of_table = Dvars { raw: column(DVARS), standardised: column(STANDARDISED_DVARS) };
        let (dvars, from) = if of_table == Dvars::default() {
            (of_scan.clone(), DvarsSource::Scan)
        } else {
            (of_table, DvarsSource::Column)
        };
        let dvars_from = (dvars != Dvars::default()).then_some(from);
        let says = displacement_mm.is_some() || dvars_from.is_some();
        says.then_some(Self { displacement_mm, dvars, dvars_from })
    }

    pub fn facts(&self) -> MotionFacts {
        let displacement = self.displacement_mm.as_ref();
        let (displacement_mean_mm, displacement_max_mm) =
            mean_and_max(displacement.map(|(course, _)| course));
        let (dvars_mean, dvars_max) = mean_and_max(self.dvars.raw.as_ref());
        let (standardised_dvars_mean, standardised_dvars_max) =
            mean_and_max(self.dvars.standardised.as_ref());
        MotionFacts {
            displacement_mean_mm,
            displacement_max_mm,
            displacement_from: displacement.map(|(_, from)| *from),
            dvars_from: self.dvars_from,
            dvars_mean,
            dvars_max,
            standardised_dvars_mean,
            standardised_dvars_max,
        }
    }

    /// Writes a row for each volume of the file as tab-separated text, under fMRIPrep's names and with `n/a` where there is no
    /// value; `used` is 1 for volumes that took part in the regression. `left_out` marks the others; empty where there are
    /// none.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write<W: Write>(&self, left_out: &[bool], mut writer: W) -> io::Result<()> {
        let displacement = self.displacement_mm.as_ref().map(|(course, _)| course);
        let columns = [
            (DISPLACEMENT[0], displacement),
            (DVARS[0], self.dvars.raw.as_ref()),
            (STANDARDISED_DVARS[0], self.dvars.standardised.as_ref()),
        ];
        let there: Vec<(&str, &Course)> =
            columns.into_iter().filter_map(|(name, course)| Some((name, course?))).collect();
        let names: Vec<&str> = there.iter().map(|(name, _)| *name).chain(["used"]).collect();
        writeln!(writer, "{}", names.join("\t"))?;
        let rows = there.first().map_or(0, |(_, course)| course.len());
        for row in 0..rows {
            for (_, course) in &there {
                match course.get(row).copied().flatten() {
                    Some(value) => write!(writer, "{value:.9e}\t")?,
                    None => write!(writer, "n/a\t")?,
                }
            }
            writeln!(writer, "{}", u8::from(!left_out.get(row).is_some_and(|&out| out)))?;
        }
        writer.flush()
    }
}

fn named<'t>(table: &'t Table, names: [&str; 2]) -> Option<&'t [Option<f64>]> {
    names.into_iter().find_map(|name| table.column(name))
}

/// Power's framewise displacement in millimetres; `None` when the table lacks a parameter.
fn displacement(table: &Table) -> Option<Course> {
    let mut parameters = Vec::with_capacity(6);
    for (names, unit) in
        TRANSLATIONS_MM.iter().map(|n| (n, 1.0)).chain(ROTATIONS.iter().map(|n| (n, RADIUS_MM)))
    {
        parameters.push((named(table, *names)?, unit));
    }
    Some((0..table.rows()).map(|volume| change(&parameters, volume)).collect())
}

/// The sum over the parameters of how much each changed since the volume before.
fn change(parameters: &[(&[Option<f64>], f64)], volume: usize) -> Option<f64> {
    let mut sum = 0.0;
    for (column, unit) in parameters {
        sum += unit * (column[volume]? - column[volume.checked_sub(1)?]?).abs();
    }
    Some(sum)
}

fn mean_and_max(course: Option<&Course>) -> (Option<f64>, Option<f64>) {
    let values: Vec<f64> = course.into_iter().flatten().flatten().copied().collect();
    let max = values.iter().copied().reduce(f64::max);
    (max.map(|_| values.iter().sum::<f64>() / values.len() as f64), max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        Table::parse(text.as_bytes()).expect("a table")
    }

    /// What the table alone says.
    fn told(text: &str, volumes: usize) -> Option<Motion> {
        Motion::of(Some(&table(text)), volumes, &Dvars::default())
    }

    #[test]
    fn a_column_goes_before_the_parameters_and_what_is_absent_is_undefined() {
        let text = "framewise_displacement\tstd_dvars\ttrans_x\nn/a\tn/a\t0\n0.5\t1.25\t9\n0.1\tn/a\t9\n";
        let motion = told(text, 3).expect("motion");
        let facts = motion.facts();
        assert_eq!(facts.displacement_mean_mm, Some(0.3));
        assert_eq!((facts.displacement_max_mm, facts.standardised_dvars_max), (Some(0.5), Some(1.25)));
        assert_eq!((facts.dvars_mean, facts.dvars_max), (None, None));
        assert_eq!(facts.displacement_from, Some(DisplacementSource::Column));
        let mut written = Vec::new();
        motion.write(&[true, false, false], &mut written).expect("memory takes it");
        let written = String::from_utf8(written).expect("text");
        let rows: Vec<&str> = written.lines().collect();
        assert_eq!(rows[..2], ["framewise_displacement\tstd_dvars\tused", "n/a\tn/a\t0"]);
        assert_eq!(rows[3], "1.000000000e-1\tn/a\t1");

        assert_eq!(told(text, 4), None, "of another scan");
        assert_eq!(told("csf\n1\n2\n", 2), None);
        let none = told("dvars\nn/a\nn/a\n", 2).expect("a column");
        assert_eq!((none.facts().dvars_mean, none.facts().dvars_max), (None, None));
        assert_eq!(told("trans_x\ttrans_y\n1\t2\n1\t3\n", 2), None, "four parameters are absent");
    }

    #[test]
    fn the_tables_dvars_goes_before_the_scans() {
        let of_scan = Dvars { raw: Some(vec![None, Some(20.0)]), standardised: Some(vec![None, Some(1.0)]) };
        let facts = |table: Option<&Table>| Motion::of(table, 2, &of_scan).expect("motion").facts();
        let alone = facts(None);
        assert_eq!((alone.dvars_from, alone.dvars_max), (Some(DvarsSource::Scan), Some(20.0)));
        assert_eq!((alone.displacement_from, alone.standardised_dvars_mean), (None, Some(1.0)));
        let both = facts(Some(&table("framewise_displacement\nn/a\n0.5\n")));
        assert_eq!(
            (both.dvars_from, both.displacement_max_mm, both.standardised_dvars_max),
            (Some(DvarsSource::Scan), Some(0.5), Some(1.0))
        );
        // Of the two sources one is taken: what the table does not have is not filled in by a figure that is not its own.
        let of_table = facts(Some(&table("std_dvars\nn/a\n1.5\n")));
        assert_eq!(
            (of_table.dvars_from, of_table.dvars_max, of_table.standardised_dvars_max),
            (Some(DvarsSource::Column), None, Some(1.5))
        );
        assert_eq!(
            facts(Some(&table("std_dvars\n1\n"))).dvars_from,
            Some(DvarsSource::Scan),
            "of another scan"
        );
    }

    /// `tests/golden/motion.py`: NumPy, by nipype's formula.
    #[test]
    fn displacement_is_that_of_power() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../tests/golden/motion.json")).expect("JSON");
        let parameters: Vec<Vec<f64>> = serde_json::from_value(golden["parameters"].clone()).expect("rows");
        let wanted: Vec<f64> = serde_json::from_value(golden["displacement_mm"].clone()).expect("numbers");
        for names in ["trans_x\ttrans_y\ttrans_z\trot_x\trot_y\trot_z", "X\tY\tZ\tRotX\tRotY\tRotZ"] {
            let rows =
                parameters.iter().map(|row| row.iter().map(f64::to_string).collect::<Vec<_>>().join("\t"));
            let text = std::iter::once(names.to_owned()).chain(rows).collect::<Vec<_>>().join("\n");
            let motion = told(&text, parameters.len()).expect("motion");
            let (course, from) = motion.displacement_mm.as_ref().expect("displacement");
            assert_eq!((course[0], *from), (None, DisplacementSource::Parameters));
            assert_eq!(course.len(), wanted.len() + 1);
            for (is, was) in course[1..].iter().zip(&wanted) {
                assert!((is.expect("a value") - was).abs() < 1e-12);
            }
            let mean = motion.facts().displacement_mean_mm.expect("a mean");
            assert!((mean - golden["mean_mm"].as_f64().expect("a number")).abs() < 1e-12);
        }
    }
}

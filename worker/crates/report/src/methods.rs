//! What was done, in words to take into a paper, with what it rests on.

use std::fmt::Write;

use nightread_domain::Task;
use nightread_domain::result::EnsembleFacts;
use serde::Serialize;

use crate::gather::{Gathered, ModelRun, joined};

/// Text with the works that it names; a number in brackets stands for a reference.
#[derive(Debug, Serialize)]
pub struct Methods {
    paragraphs: Vec<String>,
    references: Vec<&'static str>,
}

const COHEN: &str = "Cohen JP, Viviano JD, Bertin P, Morrison P, Torabian P, Guarrera M, Lungren MP, Chaudhari A, Brooks R, Hashir M, Bertrand H. TorchXRayVision: A library of chest X-ray datasets and models. Proceedings of Machine Learning Research 2022;172:231-249.";
const BECKMANN: &str = "Beckmann CF, Mackay CE, Filippini N, Smith SM. Group comparison of resting-state FMRI data using multi-subject ICA and dual regression. NeuroImage 2009;47(Suppl 1):S148. doi:10.1016/S1053-8119(09)71511-3";
const NICKERSON: &str = "Nickerson LD, Smith SM, Öngür D, Beckmann CF. Using dual regression to investigate network shape and amplitude in functional connectivity analyses. Frontiers in Neuroscience 2017;11:115. doi:10.3389/fnins.2017.00115";
const GHATE: &str = "Ghate S, Santamaria-Pang A, Tarapov I, Sair HI, Jones CK. Deep labeling of fMRI brain networks using cloud based processing. ISVC 2022, Lecture Notes in Computer Science 13598:275-283. doi:10.1007/978-3-031-20713-6_21";
const LATHEEF: &str = "Pallikonda Latheef A, Ghate S, Hui Z, Santamaria-Pang A, Tarapov I, Sair HI, Jones CK. Deep labeling of fMRI brain networks. arXiv:2305.03814, 2023.";
const FONOV: &str = "Fonov V, Evans AC, Botteron K, Almli CR, McKinstry RC, Collins DL, Brain Development Cooperative Group. Unbiased average age-appropriate atlases for pediatric studies. NeuroImage 2011;54(1):313-327. doi:10.1016/j.neuroimage.2010.07.033";
const FONOV_2009: &str = "Fonov VS, Evans AC, McKinstry RC, Almli CR, Collins DL. Unbiased nonlinear average age-appropriate brain templates from birth to adulthood. NeuroImage 2009;47(Suppl 1):S102. doi:10.1016/S1053-8119(09)70884-5";
const POWER: &str = "Power JD, Barnes KA, Snyder AZ, Schlaggar BL, Petersen SE. Spurious but systematic correlations in functional connectivity MRI networks arise from subject motion. NeuroImage 2012;59(3):2142-2154. doi:10.1016/j.neuroimage.2011.10.018";
const NICHOLS: &str =
    "Nichols TE. Notes on creating a standardized version of DVARS. arXiv:1704.01469, 2017.";

impl Methods {
    pub fn of(gathered: &Gathered) -> Self {
        let mut references = Vec::new();
        let mut paragraphs = Vec::new();
        for model in &gathered.models {
            let mut text = by_what(model);
            // What is particular to a task; another is told by its model alone.
            if model.task == Task::Radiograph {
                radiographs(&mut text, model, &mut references);
            } else if model.task == Task::Components {
                scans(&mut text, model, &mut references);
            }
            paragraphs.push(text);
        }
        Self { paragraphs, references }
    }
}

/// "[1, 2]": the numbers of the works, which are added where they are new.
fn cited(references: &mut Vec<&'static str>, works: &[&'static str]) -> String {
    let numbers = works.iter().map(|work| {
        let known = references.iter().position(|known| known == work);
        let at = known.unwrap_or_else(|| {
            references.push(work);
            references.len() - 1
        });
        (at + 1).to_string()
    });
    format!("[{}]", numbers.collect::<Vec<_>>().join(", "))
}

fn by_what(model: &ModelRun) -> String {
    let study = model.task.in_papers();
    let read = if model.ok == 1 { format!("1 {study} was") } else { format!("{} {study}s were", model.ok) };
    let failed =
        if model.failed > 0 { format!(", and {} could not be read", model.failed) } else { String::new() };
    format!(
        "{read} read with the model {} {} ({} weights, SHA-256 {}) by Nightread {} through ONNX Runtime (execution provider: {}){failed}.",
        model.name,
        model.version,
        model.precision,
        model.weights_sha256,
        joined(&model.workers),
        joined(&model.execution_providers),
    )
}

fn radiographs(text: &mut String, model: &ModelRun, references: &mut Vec<&'static str>) {
    if let Some(ensemble) = &model.ensemble {
        *text += &of_networks(ensemble);
    } else if model.preprocessing.contains("xrv-1") {
        let _infallible = write!(
            text,
            " Images were prepared as in TorchXRayVision {} (preprocessing xrv-1): samples scaled to [-1024, 1024] by their stored range, cropped to the centred square, and resized with anti-aliasing to the size of the network's input.",
            cited(references, &[COHEN])
        );
    } else {
        let _infallible = write!(text, " Images were prepared by {}.", joined(&model.preprocessing));
    }
    if !model.labels.is_empty() {
        let labels = model.labels.iter().map(|(label, threshold)| format!("{label} {threshold:.3}"));
        let _infallible = write!(
            text,
            " A label is positive where its probability is at or above the model's threshold ({}).",
            labels.collect::<Vec<_>>().join(", ")
        );
    }
}

/// What several networks were, and what became of their answers.
fn of_networks(ensemble: &EnsembleFacts) -> String {
    let networks = ensemble.members.iter().map(|member| {
        format!(
            "{} {} (SHA-256 {}, preprocessing {})",
            member.name, member.version, member.weights_sha256, member.preprocessing
        )
    });
    let made = match ensemble.combine.as_str() {
        "vote" => "the share of networks that found the label by their own threshold".to_owned(),
        combine => format!("the {combine} of the networks' own"),
    };
    format!(" A probability is {made}: {}.", networks.collect::<Vec<_>>().join(", "))
}

fn scans(text: &mut String, model: &ModelRun, references: &mut Vec<&'static str>) {
    if !model.regressions.is_empty() {
        let _infallible = write!(
            text,
            " Subject-level maps and time courses came of dual regression on the group maps of the model {}: multiple regression of the group maps on each volume, both demeaned over voxels, then of the resulting time courses on each voxel, both demeaned over time",
            cited(references, &[BECKMANN, NICKERSON])
        );
        *text += match model.said("des_norm").as_deref() {
            Some("true") => {
                "; time courses were divided by their standard deviation before the second stage."
            }
            Some("false") => "; time courses kept their amplitude.",
            _ => ".",
        };
        *text += " z comes of t with the degrees of freedom that each scan's page tells";
        *text += &model
            .said("dof_rule")
            .map_or_else(String::new, |rule| format!(" (rule: {})", rule.replace('_', " ")));
        *text += ".";
        if let Some(confounds) = model.said("confounds").filter(|names| names != "[]") {
            let _infallible = write!(text, " Regressed out beside the courses: {confounds}.");
        }
    }
    if let Some(from) = model.said("dvars_from") {
        let _infallible = write!(
            text,
            " Motion is told by DVARS {}, standardised {}, {}.",
            cited(references, &[POWER]),
            cited(references, &[NICHOLS]),
            match from.as_str() {
                "column" => "as the tables of confounds beside the scans have it",
                "scan" => "over the voxels of the group maps' mask",
                _ =>
                    "by the table of confounds beside a scan where it has it, else over the voxels of the group maps' mask",
            }
        );
    }
    if model.preprocessing.contains("projections-1") {
        let _infallible = write!(
            text,
            " Each map was reduced to its sums along the three axes (preprocessing projections-1) and labelled by the network {}.",
            cited(references, &[GHATE, LATHEEF])
        );
    } else {
        let _infallible = write!(text, " Maps were prepared by {}.", joined(&model.preprocessing));
    }
    let _infallible = write!(
        text,
        " This report shows them on the ICBM 152 non-linear symmetric average of 2009 {}; colours begin at |z| = 3.1 for the eye alone, and nothing is concluded from that threshold.",
        cited(references, &[FONOV, FONOV_2009])
    );
}

#[cfg(test)]
mod tests {
    use nightread_domain::result::MemberFacts;

    use super::*;

    #[test]
    fn works_are_numbered_in_the_order_in_which_they_are_named() {
        let mut references = Vec::new();
        assert_eq!(cited(&mut references, &[FONOV]), "[1]");
        assert_eq!(cited(&mut references, &[BECKMANN, FONOV]), "[2, 1]");
        assert_eq!(references, [FONOV, BECKMANN]);
    }

    #[test]
    fn the_networks_of_an_ensemble_are_named_with_what_became_of_their_answers() {
        let member = |name: &str| MemberFacts {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            weights_sha256: "ab".to_owned(),
            manifest_sha256: "cd".to_owned(),
            execution_provider: "cpu".to_owned(),
            preprocessing: "steps-1".to_owned(),
        };
        let members = vec![member("one"), member("two")];
        let told = of_networks(&EnsembleFacts { combine: "mean".to_owned(), members: members.clone() });
        assert_eq!(
            told,
            " A probability is the mean of the networks' own: one 1.0.0 (SHA-256 ab, preprocessing steps-1), two 1.0.0 \
             (SHA-256 ab, preprocessing steps-1)."
        );
        let told = of_networks(&EnsembleFacts { combine: "vote".to_owned(), members });
        assert!(told.contains("the share of networks that found the label"), "{told}");
    }
}

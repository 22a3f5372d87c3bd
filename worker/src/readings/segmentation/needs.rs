//! What each network of a study takes, by the study's headers, before a pixel is decoded.

use nightread_ct::Estimate;
use nightread_domain::JobError;
use nightread_engine::{Cost, ModelKey};
use nightread_segmentation::grid::model_shape;
use nightread_segmentation::window;

use super::codes;
use super::recipe::Network;

/// What a study takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    /// Beside its blobs.
    pub bytes: u64,
    /// Of the network's way over it, by the patch that was timed when it was opened.
    pub seconds: f64,
}

impl Needs {
    /// # Errors
    /// What the network's recipe cannot do with such a volume.
    pub fn of(network: &Network, cost: Option<Cost>, estimate: &Estimate) -> Result<Self, JobError> {
        let place = &estimate.place;
        let needs = model_shape(place.shape, place.affine, &network.recipe).map_err(codes::unprepared)?;
        let plan = window::Plan::new(needs.shape, network.window.clone()).map_err(codes::unplanned)?;
        let memory = plan.memory(network.classes, network.resample, place.shape);
        let volume = estimate.voxels.saturating_mul(size_of::<i16>() as u64);
        // The volume stays; beside it the grid is made, and then the labels.
        let later = needs.grid_bytes.saturating_add(memory.peak as u64);
        let bytes = estimate.bytes.max(volume.saturating_add(needs.peak_bytes.max(later)));
        let patch = cost.map_or(0.0, |cost| cost.patch.as_secs_f64());
        Ok(Self {
            bytes: bytes.saturating_add(cost.map_or(0, |cost| cost.bytes)),
            seconds: patch * plan.len() as f64,
        })
    }
}

/// The networks of a study that may read it, and those that may not.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// The most bytes that one of those takes which may.
    pub bytes: u64,
    /// Seconds of each, in their order.
    pub seconds: Vec<(ModelKey, f64)>,
    /// Told when its turn comes, each by itself: what one cannot do another may.
    pub refused: Vec<(ModelKey, JobError)>,
}

impl Chosen {
    /// `holds` refuses what there is no room for.
    pub fn of(
        needed: Vec<(ModelKey, Result<Needs, JobError>)>,
        holds: impl Fn(u64) -> Result<(), JobError>,
    ) -> Self {
        let mut chosen = Self::default();
        for (key, needs) in needed {
            match needs.and_then(|needs| holds(needs.bytes).map(|()| needs)) {
                Ok(needs) => {
                    chosen.bytes = chosen.bytes.max(needs.bytes);
                    chosen.seconds.push((key, needs.seconds));
                }
                Err(error) => chosen.refused.push((key, error)),
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use nightread_domain::ErrorCode;

    use super::*;
    use crate::flow::budget::ByteBudget;

    fn key(name: &str) -> ModelKey {
        ModelKey { name: name.to_owned(), version: "1.0.0-fp32".to_owned() }
    }

    #[test]
    fn one_network_s_refusal_is_no_other_s() {
        let budget = ByteBudget::new(4 << 30);
        let needs = |gib: u64| Ok(Needs { bytes: gib << 30, seconds: 60.0 });
        let thin = JobError::new(
            nightread_domain::Stage::Preprocess,
            ErrorCode::VolumeHeaderInvalid,
            "too thin for this recipe",
        );
        let needed = vec![
            (key("large"), needs(6)),
            (key("small"), needs(2)),
            (key("other"), Err(thin)),
            (key("middle"), needs(3)),
        ];
        let chosen = Chosen::of(needed, |bytes| budget.holds(bytes));
        assert_eq!(chosen.bytes, 3 << 30, "room for the largest that fits");
        let read: Vec<_> = chosen.seconds.iter().map(|(key, _)| key.name.as_str()).collect();
        assert_eq!(read, ["small", "middle"]);
        let refused: Vec<_> =
            chosen.refused.iter().map(|(key, error)| (key.name.as_str(), error.code)).collect();
        assert_eq!(refused, [("large", ErrorCode::ExceedsMemory), ("other", ErrorCode::VolumeHeaderInvalid)]);
        let none = Chosen::of(vec![(key("large"), needs(6))], |bytes| budget.holds(bytes));
        assert!(none.seconds.is_empty() && none.bytes == 0 && none.refused.len() == 1);
    }
}

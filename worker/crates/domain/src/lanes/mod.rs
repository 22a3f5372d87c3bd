//! The lanes of work, by cost: which there are, something for each of them, and who gets the next permit.

mod shares;

use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

pub use shares::{INGEST_ACTIVE, PermitShares};

/// A queue of its own for each cost, so that an arriving image never waits behind a relabelling or a minute-long volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Images as they arrive.
    Ingest,
    /// Images by the thousand, with time to spare.
    Bulk,
    /// Studies of many slices or scans over time: seconds to minutes each.
    Volumes,
}

impl Lane {
    pub const ALL: [Self; 3] = [Self::Ingest, Self::Bulk, Self::Volumes];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Bulk => "bulk",
            Self::Volumes => "volumes",
        }
    }
}

impl std::str::FromStr for Lane {
    type Err = UnknownLane;

    fn from_str(name: &str) -> Result<Self, UnknownLane> {
        let lane = Self::ALL.into_iter().find(|lane| lane.as_str() == name);
        lane.ok_or_else(|| UnknownLane(name.to_owned()))
    }
}

/// No lane is called so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownLane(String);

impl std::fmt::Display for UnknownLane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = Lane::ALL.map(Lane::as_str).join(", ");
        write!(f, "{:?} is no lane; lanes are {known}", self.0)
    }
}

impl std::error::Error for UnknownLane {}

/// One of something for each lane. In JSON a list, in the order of [`Lane::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    from = "[T; 3]",
    into = "[T; 3]",
    bound(serialize = "T: Clone + Serialize", deserialize = "T: Deserialize<'de>")
)]
pub struct PerLane<T> {
    pub ingest: T,
    pub bulk: T,
    pub volumes: T,
}

impl<T> PerLane<T> {
    pub fn from_fn(of: impl FnMut(Lane) -> T) -> Self {
        Lane::ALL.map(of).into()
    }

    pub fn map<U>(self, of: impl FnMut(T) -> U) -> PerLane<U> {
        <[T; 3]>::from(self).map(of).into()
    }

    /// In the order of [`Lane::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Lane, &T)> {
        Lane::ALL.into_iter().map(|lane| (lane, &self[lane]))
    }

    pub const fn each_mut(&mut self) -> PerLane<&mut T> {
        PerLane { ingest: &mut self.ingest, bulk: &mut self.bulk, volumes: &mut self.volumes }
    }
}

impl<T> Index<Lane> for PerLane<T> {
    type Output = T;

    fn index(&self, lane: Lane) -> &T {
        match lane {
            Lane::Ingest => &self.ingest,
            Lane::Bulk => &self.bulk,
            Lane::Volumes => &self.volumes,
        }
    }
}

impl<T> IndexMut<Lane> for PerLane<T> {
    fn index_mut(&mut self, lane: Lane) -> &mut T {
        match lane {
            Lane::Ingest => &mut self.ingest,
            Lane::Bulk => &mut self.bulk,
            Lane::Volumes => &mut self.volumes,
        }
    }
}

impl<T> From<[T; 3]> for PerLane<T> {
    fn from([ingest, bulk, volumes]: [T; 3]) -> Self {
        Self { ingest, bulk, volumes }
    }
}

impl<T> From<PerLane<T>> for [T; 3] {
    fn from(lanes: PerLane<T>) -> Self {
        [lanes.ingest, lanes.bulk, lanes.volumes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lane_finds_its_own_by_every_way() {
        let named = PerLane { ingest: 1, bulk: 2, volumes: 3 };
        assert_eq!(PerLane::from_fn(|lane| named[lane]), named);
        assert_eq!(
            named.iter().map(|(lane, number)| (lane.as_str(), *number)).collect::<Vec<_>>(),
            [("ingest", 1), ("bulk", 2), ("volumes", 3)]
        );
        let mut doubled = named;
        for lane in Lane::ALL {
            doubled[lane] *= 2;
            assert_eq!(lane.as_str().parse(), Ok(lane));
        }
        assert_eq!(doubled, named.map(|number| number * 2));
        assert_eq!(serde_json::to_string(&named).expect("JSON"), "[1,2,3]");
        assert_eq!(serde_json::from_str::<PerLane<i32>>("[1,2,3]").expect("JSON"), named);
    }
}

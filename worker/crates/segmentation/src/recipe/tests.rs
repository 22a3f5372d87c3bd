use super::{AxisOrder, ImageOrder, Intensity, Orientation, Recipe, RecipeId, RecipeSettings};

fn sound(id: RecipeId) -> RecipeSettings {
    RecipeSettings {
        id,
        spacing_mm: [1.5, 1.5, 3.0],
        orientation: Orientation::Ras,
        axis_order: "zyx".parse().unwrap(),
        intensity: Intensity::Standardised { clip: [-1000.0, 1500.0], mean: -50.0, std: 400.0 },
        order: ImageOrder::Linear,
        anisotropy: None,
    }
}

#[test]
fn names_are_read_as_they_are_written() {
    for id in RecipeId::ALL {
        assert_eq!(id.to_string().parse::<RecipeId>(), Ok(id));
    }
    assert_eq!("zyx".parse::<AxisOrder>().unwrap().tensor_axes(), [2, 1, 0]);
    assert_eq!("zyx".parse::<AxisOrder>().unwrap().grid_axes(), [0, 1, 2]);
    for wrong in ["", "xy", "xxz", "xyzx", "XYZ", "xy z"] {
        assert_eq!(wrong.parse::<AxisOrder>().unwrap_err().field(), "axis_order", "{wrong:?}");
    }
    assert_eq!("ct-monai-2".parse::<RecipeId>().unwrap_err().field(), "id");
    assert_eq!("LPS".parse::<Orientation>().unwrap_err().field(), "orientation");
    assert_eq!(ImageOrder::try_from(2).unwrap_err().field(), "order");
}

#[test]
fn each_field_that_cannot_be_carried_out_is_named() {
    type Spoil = fn(&mut RecipeSettings);
    let cases: [(RecipeId, &str, Spoil); 12] = [
        (RecipeId::Monai, "spacing_mm", |s| s.spacing_mm[1] = 0.0),
        (RecipeId::Monai, "spacing_mm", |s| s.spacing_mm[2] = f64::NAN),
        (RecipeId::Monai, "order", |s| s.order = ImageOrder::Cubic),
        (RecipeId::Monai, "anisotropy", |s| s.anisotropy = Some(3.0)),
        (RecipeId::Nnunet, "anisotropy", |s| s.anisotropy = Some(0.5)),
        (RecipeId::Totalseg, "orientation", |s| s.orientation = Orientation::Source),
        (RecipeId::Nnunet, "clip, mean, std", |s| {
            s.intensity = Intensity::NonzeroStandardised { range: None }
        }),
        (RecipeId::Totalseg, "std", |s| {
            s.intensity = Intensity::Standardised { clip: [0.0, 1.0], mean: 0.0, std: 1e-60 };
        }),
        (RecipeId::Totalseg, "mean", |s| {
            s.intensity = Intensity::Standardised { clip: [0.0, 1.0], mean: f64::INFINITY, std: 1.0 };
        }),
        (RecipeId::Totalseg, "clip", |s| {
            s.intensity = Intensity::Standardised { clip: [1.0, 1.0], mean: 0.0, std: 1.0 };
        }),
        (RecipeId::Monai, "range", |s| {
            s.intensity = Intensity::Ranged { clip: [0.0, 1.0], range: [1.0, 0.0] };
        }),
        (RecipeId::Monai, "range", |s| {
            s.intensity = Intensity::NonzeroStandardised { range: Some([1.0, 1.0]) }
        }),
    ];
    for (id, field, spoil) in cases {
        let mut settings = sound(id);
        assert!(Recipe::new(settings).is_ok());
        spoil(&mut settings);
        assert_eq!(Recipe::new(settings).unwrap_err().field(), field, "{settings:?}");
    }
}

#[test]
fn fields_of_a_manifest_mean_one_intensity_or_are_refused() {
    let (clip, range) = ([-57.0, 164.0], [0.0, 1.0]);
    assert_eq!(Intensity::of(Some(clip), None, None, Some(range)), Ok(Intensity::Ranged { clip, range }));
    let standardised = Intensity::Standardised { clip, mean: 1.0, std: 2.0 };
    assert_eq!(Intensity::of(Some(clip), Some(1.0), Some(2.0), None), Ok(standardised));
    assert_eq!(Intensity::of(None, None, None, None), Ok(Intensity::NonzeroStandardised { range: None }));
    let field = |clip, mean, std, range| Intensity::of(clip, mean, std, range).unwrap_err().field();
    assert_eq!(field(Some(clip), None, None, None), "clip");
    assert_eq!(field(None, Some(1.0), Some(2.0), None), "clip");
    assert_eq!(field(Some(clip), Some(1.0), None, None), "std");
    assert_eq!(field(Some(clip), None, Some(1.0), None), "mean");
    assert_eq!(field(Some(clip), Some(1.0), Some(1.0), Some(range)), "range");
}

//! Student's t to the standard normal quantile of the same tail probability: z = sign(t) Φ⁻¹(F_t(|t|; dof)).
//!
//! Tails are handled as logarithms, so that z stays finite where the probability underflows.

use std::f64::consts::{LN_2, PI, SQRT_2, TAU};

use libm::{erf, erfc, lgamma};

/// Nodes of the interpolation table.
const NODES: usize = 1024;

/// The table reaches up to this |t|; farther values are computed directly.
const TABLE_T: f64 = 1e5;

/// t to z for one number of degrees of freedom.
///
/// Wallace's approximation w = c sqrt(dof ln(1 + t²/dof)), c = (8 dof + 1) / (8 dof + 3) (Wallace 1959), is within
/// a few per cent of z everywhere, and z/w is an analytic function of u = ln(1 + t²/dof). A cubic through four
/// nodes of that ratio is exact to about 1e-10; a test compares it with the direct computation.
#[derive(Debug)]
pub struct TToZ {
    dof: f64,
    wallace: f64,
    step: f64,
    /// z/w at u = step * (i - 1): one node before zero for the first cubic.
    ratio: Vec<f64>,
}

impl TToZ {
    /// `dof` must be at least 1.
    pub fn new(dof: usize) -> Self {
        let dof = dof.max(1) as f64;
        let wallace = (8.0 * dof + 1.0) / (8.0 * dof + 3.0);
        let step = (TABLE_T * TABLE_T / dof).ln_1p() / (NODES - 3) as f64;
        let mut ratio = vec![f64::NAN; NODES];
        for (i, ratio) in ratio.iter_mut().enumerate() {
            let u = step * (i as f64 - 1.0);
            if u > 0.0 {
                *ratio = exact(dof, (dof * u.exp_m1()).sqrt()) / (wallace * (dof * u).sqrt());
            }
        }
        // z/t at zero is the quotient of the densities.
        let density = (lgamma(f64::midpoint(dof, 1.0)) - lgamma(dof / 2.0)).exp() / (dof * PI).sqrt();
        ratio[1] = density * TAU.sqrt() / wallace;
        // There is no t below u = 0; a cubic through the first four nodes stands in.
        ratio[0] = 4.0 * ratio[1] - 6.0 * ratio[2] + 4.0 * ratio[3] - ratio[4];
        Self { dof, wallace, step, ratio }
    }

    /// z of the same tail probability as t; NaN gives NaN.
    #[inline]
    pub fn z(&self, t: f64) -> f64 {
        let u = (t * t / self.dof).ln_1p();
        let x = u / self.step;
        let i = x.min(NODES as f64) as usize;
        let Some(&[a, b, c, d]) = self.ratio.get(i..i + 4).and_then(|four| four.first_chunk()) else {
            return exact(self.dof, t.abs()).copysign(t);
        };
        let f = x - i as f64;
        // Lagrange's cubic through nodes at -1, 0, 1, 2.
        let (below, above) = (f + 1.0, f - 1.0);
        let far = f - 2.0;
        let ratio =
            below * f * (d * above / 6.0 - c * far / 2.0) + above * far * (b * below / 2.0 - a * f / 6.0);
        (ratio * self.wallace * (self.dof * u).sqrt()).copysign(t)
    }
}

/// |z| that a standard normal value exceeds with a probability, on either side.
pub fn two_sided(probability: f64) -> f64 {
    from_tail(probability.ln() - LN_2)
}

/// z for t >= 0, computed directly.
fn exact(dof: f64, t: f64) -> f64 {
    if t.is_nan() || t == 0.0 {
        return t;
    }
    if t.is_infinite() {
        return f64::INFINITY;
    }
    let (a, b) = (dof / 2.0, 0.5);
    let square = t * t;
    let x = dof / (dof + square);
    let ln_x = -(square / dof).ln_1p();
    let ln_rest = if square > 0.0 { (square / (dof + square)).ln() } else { return t };
    let ln_beta = lgamma(a) + lgamma(b) - lgamma(a + b);
    if x > (a + 1.0) / (a + b + 2.0) {
        // Near the centre: erf(z / sqrt 2) = I_{1-x}(1/2, dof/2).
        let centre = (b * ln_rest + a * ln_x - ln_beta - b.ln()).exp() * fraction(b, a, 1.0 - x);
        return newton(t.min(3.0), |z| {
            (erf(z / SQRT_2) - centre) / (2.0 * (-0.5 * z * z).exp() / TAU.sqrt())
        });
    }
    let ln_tail = a * ln_x + b * ln_rest - ln_beta - a.ln() + fraction(a, b, x).ln() - LN_2;
    from_tail(ln_tail)
}

/// z > 0 from the logarithm of its upper tail.
fn from_tail(ln_tail: f64) -> f64 {
    newton((-2.0 * ln_tail).sqrt().max(0.5), |z| {
        let ln_q = ln_upper_tail(z);
        (ln_tail - ln_q) / (-0.5 * z * z - 0.5 * TAU.ln() - ln_q).exp()
    })
}

fn newton(start: f64, step: impl Fn(f64) -> f64) -> f64 {
    let mut z = start;
    for _ in 0..60 {
        let d = step(z);
        z -= d;
        if d.abs() <= 1e-14 * z.abs() {
            break;
        }
    }
    z
}

/// ln of the normal upper tail Q(z), z > 0; the asymptotic series of Mills' ratio from 20 on.
fn ln_upper_tail(z: f64) -> f64 {
    if z < 20.0 {
        return (0.5 * erfc(z / SQRT_2)).ln();
    }
    let y = 1.0 / (z * z);
    let series = 1.0 - y * (1.0 - y * (3.0 - y * (15.0 - y * (105.0 - y * 945.0))));
    -0.5 * z * z - 0.5 * TAU.ln() - z.ln() + series.ln()
}

/// Keeps a denominator of Lentz's method away from zero.
fn guard(v: f64) -> f64 {
    const TINY: f64 = 1e-300;
    if v.abs() < TINY { TINY } else { v }
}

/// The continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method:
/// I_x(a, b) = x^a (1-x)^b / (a B(a, b)) * fraction.
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for m in 1..10_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / guard(1.0 + term * d);
            c = guard(1.0 + term / c);
            change = c * d;
            value *= change;
        }
        if (change - 1.0).abs() < 1e-16 {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unreadable_literal, clippy::excessive_precision)] // Reference values, as printed.
    use super::*;

    /// From mpmath with 60 digits: the regularised incomplete beta function, then the root of the normal tail.
    const REFERENCE: &[(usize, f64, f64)] = &[
        (1, 1e-06, 7.9788456080268402e-7),
        (1, 0.5, 0.37880487807081295),
        (1, 1.0, 0.67448975019608174),
        (1, 10.0, 1.8560177024288708),
        (1, 1000.0, 3.4155131479263497),
        (2, 0.3, 0.26308422704733145),
        (2, 4.0, 1.9018485395954851),
        (2, 50.0, 3.5402420823353251),
        (9, 0.01, 0.0097265659859435825),
        (9, 1.0, 0.94739724169659213),
        (9, 5.0, 3.3746977942210631),
        (9, 8.5, 4.3503172143220381),
        (48, 0.0001, 9.9480558107426469e-5),
        (48, 1.7, 1.666554563133152),
        (48, 6.0, 5.1571528684824325),
        (48, 40.0, 12.978772128582806),
        (128, 0.7, 0.69796736452274394),
        (128, 3.0, 2.9434619715488565),
        (128, 12.0, 9.8046008505728165),
        (128, 200.0, 27.091879321281386),
        (1100, 2.0, 1.9977314467263325),
        (1100, 30.0, 25.638578310127563),
        (1100, 1000.0, 86.561997308764753),
    ];

    #[test]
    fn agrees_with_reference_values() {
        for &(dof, t, z) in REFERENCE {
            let table = TToZ::new(dof);
            for (got, way) in
                [(exact(dof as f64, t), "direct"), (table.z(t), "table"), (-table.z(-t), "mirrored")]
            {
                assert!((got - z).abs() <= 2e-8 * z, "{way}: dof {dof}, t {t}: {got} is not {z}");
            }
        }
    }

    #[test]
    fn is_odd_monotone_and_total() {
        for dof in [1, 2, 9, 128, 1100] {
            let table = TToZ::new(dof);
            assert!(table.z(0.0).abs() < 1e-300 && table.z(f64::NAN).is_nan());
            assert!(table.z(f64::INFINITY).is_infinite());
            let mut last = 0.0;
            for i in 1..4000 {
                let t = (f64::from(i) * 0.01).sinh();
                let z = table.z(t);
                assert!(z > last && z <= t * (1.0 + 1e-9), "dof {dof}, t {t}: {z}");
                assert!((z - exact(dof as f64, t)).abs() <= 2e-8 * z, "dof {dof}, t {t}");
                last = z;
            }
        }
    }
}

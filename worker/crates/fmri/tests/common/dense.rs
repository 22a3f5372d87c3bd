//! Dual regression written straight from its equations on whole matrices: slow, plain, apart from the crate's code.

/// Time courses (T rows of K), maps and t (K rows of V).
pub struct Dense {
    pub courses: Vec<f64>,
    pub betas: Vec<Vec<f64>>,
    pub t: Vec<Vec<f64>>,
}

/// Inverse by Gauss and Jordan with partial pivoting.
fn inverse(matrix: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let n = matrix.len();
    let mut a: Vec<Vec<f64>> = matrix
        .iter()
        .enumerate()
        .map(|(i, row)| row.iter().copied().chain((0..n).map(|j| f64::from(u8::from(i == j)))).collect())
        .collect();
    for i in 0..n {
        let best = (i..n).max_by(|&p, &q| a[p][i].abs().total_cmp(&a[q][i].abs())).unwrap();
        a.swap(i, best);
        let pivot = a[i][i];
        a[i].iter_mut().for_each(|x| *x /= pivot);
        for j in 0..n {
            if j != i {
                let factor = a[j][i];
                let row = a[i].clone();
                a[j].iter_mut().zip(row).for_each(|(x, y)| *x -= factor * y);
            }
        }
    }
    a.into_iter().map(|row| row[n..].to_vec()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn centred(row: &[f64]) -> Vec<f64> {
    let mean = row.iter().sum::<f64>() / row.len() as f64;
    row.iter().map(|x| x - mean).collect()
}

/// `y`: T rows of V voxels; `s`: K rows of V voxels.
pub fn dense(y: &[Vec<f64>], s: &[Vec<f64>], des_norm: bool) -> Dense {
    let (times, voxels, count) = (y.len(), y[0].len(), s.len());
    let maps: Vec<Vec<f64>> = s.iter().map(|row| centred(row)).collect();
    let gram: Vec<Vec<f64>> = maps.iter().map(|a| maps.iter().map(|b| dot(a, b)).collect()).collect();
    let solve = inverse(&gram);
    let mut courses = Vec::new();
    for row in y {
        let d = centred(row);
        let product: Vec<f64> = maps.iter().map(|map| dot(map, &d)).collect();
        courses.extend(solve.iter().map(|row| dot(row, &product)));
    }
    let design: Vec<Vec<f64>> = (0..count)
        .map(|k| {
            let x = centred(&(0..times).map(|t| courses[t * count + k]).collect::<Vec<_>>());
            let sd = (dot(&x, &x) / (times - 1) as f64).sqrt();
            if des_norm { x.iter().map(|v| v / sd).collect() } else { x }
        })
        .collect();
    let gram: Vec<Vec<f64>> = design.iter().map(|a| design.iter().map(|b| dot(a, b)).collect()).collect();
    let solve = inverse(&gram);
    let mut betas = vec![vec![0.0; voxels]; count];
    let mut t = betas.clone();
    for v in 0..voxels {
        let d = centred(&y.iter().map(|row| row[v]).collect::<Vec<_>>());
        let product: Vec<f64> = design.iter().map(|x| dot(x, &d)).collect();
        let beta: Vec<f64> = solve.iter().map(|row| dot(row, &product)).collect();
        let residual: Vec<f64> =
            (0..times).map(|n| d[n] - (0..count).map(|k| design[k][n] * beta[k]).sum::<f64>()).collect();
        let variance = dot(&residual, &residual) / (times - count) as f64;
        for k in 0..count {
            betas[k][v] = beta[k];
            t[k][v] = beta[k] / (solve[k][k] * variance).sqrt();
        }
    }
    Dense { courses, betas, t }
}

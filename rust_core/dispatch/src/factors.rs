//! Small systems of linear equations, for the side constraints of `sided.rs`: a matrix is factored once and solved for
//! several right sides, and for its transpose.

/// A matrix whose largest pivot is below this is taken for singular.
const SINGULAR_BELOW: f64 = 1e-9;

/// A factored square matrix.
pub(crate) struct Factors {
    /// Rows after elimination: multipliers below the diagonal, the rest on and above it.
    rows: Vec<Vec<f64>>,
    /// Which row of the matrix stands where.
    sequence: Vec<usize>,
}

impl Factors {
    /// Gaussian elimination with partial pivoting; `None` when the matrix is singular.
    pub fn of(mut rows: Vec<Vec<f64>>) -> Option<Self> {
        let size = rows.len();
        let mut sequence: Vec<usize> = (0..size).collect();
        for at in 0..size {
            let largest = (at..size).max_by(|&a, &b| rows[a][at].abs().total_cmp(&rows[b][at].abs()))?;
            if rows[largest][at].abs() < SINGULAR_BELOW {
                return None;
            }
            rows.swap(at, largest);
            sequence.swap(at, largest);
            let (done, rest) = rows.split_at_mut(at + 1);
            let pivot = &done[at];
            for row in rest {
                let factor = row[at] / pivot[at];
                row[at] = factor;
                if factor != 0.0 {
                    for column in at + 1..size {
                        row[column] -= factor * pivot[column];
                    }
                }
            }
        }
        Some(Self { rows, sequence })
    }

    /// x with matrix * x = right.
    pub fn solve(&self, right: Vec<f64>) -> Vec<f64> {
        let size = self.rows.len();
        let mut x: Vec<f64> = self.sequence.iter().map(|&row| right[row]).collect();
        for at in 0..size {
            let known: f64 = (0..at).map(|column| self.rows[at][column] * x[column]).sum();
            x[at] -= known;
        }
        for at in (0..size).rev() {
            let known: f64 = (at + 1..size).map(|column| self.rows[at][column] * x[column]).sum();
            x[at] = (x[at] - known) / self.rows[at][at];
        }
        x
    }

    /// x with transposed matrix * x = right.
    pub fn solve_transposed(&self, mut right: Vec<f64>) -> Vec<f64> {
        let size = self.rows.len();
        for at in 0..size {
            let known: f64 = (0..at).map(|row| self.rows[row][at] * right[row]).sum();
            right[at] = (right[at] - known) / self.rows[at][at];
        }
        for at in (0..size).rev() {
            let known: f64 = (at + 1..size).map(|row| self.rows[row][at] * right[row]).sum();
            right[at] -= known;
        }
        let mut x = vec![0.0; size];
        for (at, &row) in self.sequence.iter().enumerate() {
            x[row] = right[at];
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_solve_both_ways() {
        let matrix = vec![vec![0.0, 2.0, 1.0], vec![1.0, -1.0, 0.0], vec![3.0, 0.0, -2.0]];
        let factors = Factors::of(matrix.clone()).expect("regular");
        let right = vec![3.0, -1.0, 4.0];
        let x = factors.solve(right.clone());
        let z = factors.solve_transposed(right.clone());
        for row in 0..3 {
            let forward: f64 = (0..3).map(|column| matrix[row][column] * x[column]).sum();
            let across: f64 = (0..3).map(|column| matrix[column][row] * z[column]).sum();
            assert!((forward - right[row]).abs() < 1e-9 && (across - right[row]).abs() < 1e-9);
        }
        assert!(Factors::of(vec![vec![1.0, 2.0], vec![2.0, 4.0]]).is_none());
    }
}

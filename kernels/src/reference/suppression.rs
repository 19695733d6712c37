//! Reference of non-maximum suppression.

use crate::operations::suppression::Suppression;

/// Left, top, right, bottom.
type Corners = [f32; 4];

/// Whether intersection over union exceeds `threshold`; in `f32`, as the decision is one of rounding at the boundary.
fn overlaps(one: &Corners, other: &Corners, threshold: f32) -> bool {
    let width = one[2].min(other[2]) - one[0].max(other[0]);
    let height = one[3].min(other[3]) - one[1].max(other[1]);
    let intersection = if width > 0.0 && height > 0.0 { width * height } else { 0.0 };
    let area = |corners: &Corners| (corners[2] - corners[0]) * (corners[3] - corners[1]);
    let union = area(one) + area(other) - intersection;
    intersection > 0.0 && intersection > threshold * union
}

impl Suppression {
    /// What [`Suppression::launch`] does; there is no workspace. `classes` may be empty.
    pub fn reference(
        &self,
        boxes: &[Corners],
        scores: &[f32],
        classes: &[i32],
        kept: &mut [i32],
        kept_count: &mut [i32],
    ) {
        let (count, limit) = (self.boxes as usize, self.limit as usize);
        for image in 0..self.images as usize {
            let first = image * count;
            let mut order: Vec<usize> =
                (first..first + count).filter(|&place| scores[place] >= self.score_threshold).collect();
            // Stable: of equal scores the lower index stays first.
            order
                .sort_by(|&left, &right| scores[right].partial_cmp(&scores[left]).unwrap_or(std::cmp::Ordering::Equal));
            let mut chosen: Vec<usize> = Vec::new();
            for place in order {
                let class = |place: usize| classes.get(place).copied().unwrap_or(0);
                let suppressed = chosen.iter().any(|&better| {
                    class(better) == class(place) && overlaps(&boxes[better], &boxes[place], self.overlap_threshold)
                });
                if !suppressed && chosen.len() < limit {
                    chosen.push(place);
                }
            }
            let row = &mut kept[image * limit..(image + 1) * limit];
            row.fill(-1);
            for (target, place) in row.iter_mut().zip(&chosen) {
                *target = i32::try_from(place - first).unwrap_or(-1);
            }
            kept_count[image] = i32::try_from(chosen.len()).unwrap_or(-1);
        }
    }
}

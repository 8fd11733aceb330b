//! The most frequent of many things, in little memory.

/// Counts at most so many things. When it is full, what was counted least makes room and leaves its count to what
/// comes, so that a thing is never counted too low (Metwally, Agrawal, El Abbadi: "space-saving").
#[derive(Debug, Clone)]
pub(super) struct Top<K, const N: usize>(Vec<(K, u64)>);

impl<K, const N: usize> Default for Top<K, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq + Clone, const N: usize> Top<K, N> {
    pub(super) fn count(&mut self, key: K, times: u64) {
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| *known == key) {
            *count += times;
        } else if self.0.len() < N {
            self.0.push((key, times));
        } else if let Some(least) = self.0.iter_mut().min_by_key(|(_, count)| *count) {
            *least = (key, least.1 + times);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (key, count) in &other.0 {
            self.count(key.clone(), *count);
        }
    }

    /// Calls each thing by another name.
    pub(super) fn renumber(&mut self, mut name: impl FnMut(K) -> K) {
        for (key, _) in &mut self.0 {
            *key = name(key.clone());
        }
    }

    /// The most frequent first.
    pub(super) fn sorted(&self) -> Vec<(K, u64)> {
        let mut all = self.0.clone();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_frequent_stays_among_many_that_are_not() {
        let mut top = Top::<u32, 4>::default();
        for rare in 100..200 {
            top.count(rare, 1);
            top.count(1, 1);
            top.count(2, 2);
        }
        let found: Vec<u32> = top.sorted().into_iter().map(|(key, _)| key).collect();
        assert_eq!((found.len(), &found[..2]), (4, &[2, 1][..]));
    }
}

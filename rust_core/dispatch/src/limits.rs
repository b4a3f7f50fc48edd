//! The limits of shops in the instance: capacity, fridge slots and stock, on arcs where they nest, as sides where
//! several lanes share them, nowhere when they cannot bind.
use crate::instance::{Instance, Pool, Side, Strand, NO_POOL};
use crate::park::{Park, Shop};
use crate::simplex::UNLIMITED;
use rustc_hash::FxHashMap;

/// What all units of a strand have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StrandKey {
    pub lane: u32,
    pub sku: u32,
    pub quantity: i32,
    pub cold: bool,
}

/// Adds the strands, by `keys`, with their limits. `lane_shop` is the position of the shop in the park, by lane.
pub(crate) fn add(park: &Park, keys: &[StrandKey], lane_shop: &[u32], instance: &mut Instance) {
    let mut reach = vec![0i64; keys.len()];
    for cohort in &instance.cohorts {
        for choice in &cohort.choices {
            reach[choice.strand as usize] += i64::from(cohort.supply);
        }
    }
    let mut by_shop: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
    let mut shops = Vec::new();
    for (strand, key) in keys.iter().enumerate() {
        instance.strands.push(Strand { lane: key.lane, pool: NO_POOL, capacity: UNLIMITED });
        let shop_at = lane_shop[key.lane as usize];
        let strands = by_shop.entry(shop_at).or_default();
        if strands.is_empty() {
            shops.push(shop_at);
        }
        strands.push(strand as u32);
    }
    for shop_at in shops {
        let limits = ShopLimits { keys, reach: &reach, strands: &by_shop[&shop_at] };
        limits.add(&park.shops()[shop_at as usize], instance);
    }
}

/// The strands of one shop.
struct ShopLimits<'a> {
    keys: &'a [StrandKey],
    /// How many units could come, by strand.
    reach: &'a [i64],
    strands: &'a [u32],
}

impl ShopLimits<'_> {
    fn add(&self, shop: &Shop, instance: &mut Instance) {
        let all: Vec<u32> = self.strands.to_vec();
        if let Some(lanes) = self.binding(&all, i64::from(shop.capacity_free), instance) {
            for lane in lanes {
                instance.lanes[lane as usize].capacity = shop.capacity_free;
            }
        }
        let cold: Vec<u32> = all.iter().copied().filter(|&strand| self.keys[strand as usize].cold).collect();
        if let Some(lanes) = self.binding(&cold, i64::from(shop.fridge_free), instance) {
            for lane in lanes {
                let pool = instance.pools.len() as u32;
                instance.pools.push(Pool { lane, capacity: shop.fridge_free });
                let in_lane = |strand: &&u32| self.keys[**strand as usize].lane == lane;
                cold.iter().filter(in_lane).for_each(|&strand| instance.strands[strand as usize].pool = pool);
            }
        }
        let mut skus: Vec<u32> = all.iter().map(|&strand| self.keys[strand as usize].sku).collect();
        skus.sort_unstable();
        skus.dedup();
        for sku in skus {
            let of_sku: Vec<u32> =
                all.iter().copied().filter(|&strand| self.keys[strand as usize].sku == sku).collect();
            let free = i64::from(shop.stock.get(&sku).copied().unwrap_or(0));
            let wanted: i64 =
                of_sku.iter().map(|&strand| self.reach[strand as usize] * self.cups(strand)).sum();
            if wanted <= free {
                continue;
            }
            for &strand in &of_sku {
                instance.strands[strand as usize].capacity = (free / self.cups(strand)) as i32;
            }
            if of_sku.len() > 1 {
                let terms = of_sku.iter().map(|&strand| (strand, self.cups(strand))).collect();
                instance.sides.push(Side { limit: free, terms });
            }
        }
    }

    fn cups(&self, strand: u32) -> i64 {
        i64::from(self.keys[strand as usize].quantity)
    }

    /// The lanes of these strands when more could come than `limit`; with a side when there are several.
    fn binding(&self, strands: &[u32], limit: i64, instance: &mut Instance) -> Option<Vec<u32>> {
        let wanted: i64 = strands.iter().map(|&strand| self.reach[strand as usize]).sum();
        if wanted <= limit {
            return None;
        }
        let mut lanes: Vec<u32> = strands.iter().map(|&strand| self.keys[strand as usize].lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        if lanes.len() > 1 {
            let terms = strands.iter().map(|&strand| (strand, 1)).collect();
            instance.sides.push(Side { limit, terms });
        }
        Some(lanes)
    }
}

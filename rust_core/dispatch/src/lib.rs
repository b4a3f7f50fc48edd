//! Dispatch: which shop makes an order and which rider carries it, exactly, with reasons.
//!
//! [`decide`] answers a batch of orders over a [`Park`] of shops and riders, at an instant, under a [`Policy`]:
//!
//! ```text
//! orders -> candidates.rs   who could, at what cost; for all others the reason why not; limits.rs   of shops
//!        -> assign.rs       the cheapest plan of all, or how far from it at most
//!           model.rs, simplex.rs     minimum-cost flow
//!           sided.rs, factors.rs, shares.rs   limits that no flow can hold
//!        -> decide.rs       ids, instants, metres, alternatives and their price
//! ```
//!
//! The objective is one integer, in metres: the price of every order left unassigned (far above all else, higher
//! for a higher priority), lateness, waiting and riding, weighted by the policy. Nothing reads a clock, draws a number
//! or depends on the sequence of anything: the same input gives the same answer, ties go by ids. A decision takes
//! nothing; what an assignment needs is taken by [`Park::consume`] and given back by [`Park::release`], all or
//! nothing. [`validate::validate`] re-checks decisions with code of its own.
//!
//! **What "exact" means.** The plan is the cheapest over the candidates: the nearest `max_shops_per_order` open
//! shops of an order, the nearest `max_riders_per_shop` suitable riders of a shop. [`Decisions::truncated`] counts
//! where that cut anything off. When [`Decisions::gap_bound`] is 0 the plan is proved; else no plan is cheaper by
//! more than that. Shop capacity and fridge slots count orders, stock counts cups, and all are held exactly within the
//! batch. An order whose arcs exist but that lost to others is told so (`PRIORITY_OUTBID`) apart from one that nobody
//! could take.
//!
//! **Single pairs** can be shut out, or made dearer or cheaper, by a [`Judge`]: it is asked about candidates only, once
//! for each class of orders that are one to it.
//!
//! **A day of meal delivery** is the same problem with other numbers: one allowed shop per order, riders that become
//! available later and elsewhere, minutes of service in the policy, `window_ends_at_pickup`, radii without end.
#![forbid(unsafe_code)]
mod assign;
mod candidates;
mod decide;
mod factors;
mod grid;
mod instance;
mod judge;
mod limits;
mod model;
mod order;
mod park;
mod reasons;
mod shares;
mod sided;
mod simplex;
mod trip;
pub mod validate;

pub use decide::{apply, decide, decide_under, hold_of};
pub use judge::{Judge, NoJudge, Said, AS_IT_IS, PERCENT_MAX, PERCENT_MIN};
pub use order::*;
pub use park::{Hold, HoldRefused, Park, Rider, Shop, ShopCounters, TemperatureClass, OFFERS_ALL};

"""The contract of the Rust extension `cuptime._core`; proved against the built module by stubtest."""

# --- dispatch -------------------------------------------------------------------------------------------------------

class Dispatcher:
    """Shops and riders of one park, and the exact assignment of orders to them. A cache: rebuilt from storage.

    Instants are UTC ms, coordinates planar metres, costs integers of which 1 is one metre. `decide` changes
    nothing: what an assignment needs is taken by `consume` and given back by `release`. Same state and same
    arguments give the same answer. Safe to share between threads; long calls release the GIL. A value outside its
    form raises `ValueError` and changes nothing.

    Columns of the tuples:

    - shop: (shop_id, x_m, y_m, open_from_ms, open_until_ms, paused, capacity_free, fridge_free, offers_mask,
      stock); `offers_mask` is 1 hot | 2 ambient | 4 cold; `stock` is [(sku code 0..2**32-1, cups free)]; a SKU that
      is not listed is not offered.
    - rider: (rider_id, x_m, y_m, available_from_ms, available_until_ms, load_free, min_c, max_c, speed_m_per_min,
      on_duty). A rider whose `available_from_ms` lies ahead starts then, from (x_m, y_m).
    - order: (order_id, group_id, x_m, y_m, sku, quantity, temperature, need_min_c, need_max_c, priority, ready_ms,
      target_ms, deadline_ms, allowed_shops, lost); `temperature` is 0 hot, 1 ambient, 2 cold (cold takes a fridge
      slot); the vehicle's range must contain need_min_c..need_max_c; `priority` 1 (highest) to 100; a hand-over after
      `target_ms` is late, after `deadline_ms` not allowed (use 2**62 for none); `allowed_shops` [] is any; `lost` is
      [(shop_id or -1, rider_id or -1)], pairs whose reservation was refused before.
    - hold: (shop_id, rider_id, sku, quantity, cold).
    - decision: (order_id, shop_id, rider_id, pickup_ms, dropoff_ms, rider_free_ms, cost, approach_m, delivery_m,
      reasons, alternatives); shop_id is -1 when unassigned. `reasons` is [(code, shop_id, rider_id, measured, limit,
      count)], codes named by `reason_names`; `alternatives` is [(shop_id, rider_id, extra_cost)], cheapest first.
    """

    def __init__(self) -> None: ...
    def upsert_shops(
        self, shops: list[tuple[int, float, float, int, int, bool, int, int, int, list[tuple[int, int]]]]
    ) -> None: ...
    def upsert_riders(
        self, riders: list[tuple[int, float, float, int, int, int, int, int, float, bool]]
    ) -> None: ...
    def remove_shops(self, shop_ids: list[int]) -> int:
        """How many there were."""

    def remove_riders(self, rider_ids: list[int]) -> int:
        """How many there were."""

    def move_riders(self, packed: bytes) -> int:
        """Positions as packed little-endian (i64 rider_id, f64 x_m, f64 y_m), 24 bytes each. Returns how many riders
        were not known."""

    def set_counters(
        self,
        shops: list[tuple[int, int, int]],
        stock: list[tuple[int, int, int]],
        riders: list[tuple[int, int]],
    ) -> int:
        """Sets absolute values: (shop_id, capacity_free, fridge_free), (shop_id, sku, cups free), (rider_id,
        load_free). Returns how many entries named nobody known."""

    def decide(
        self,
        orders: list[
            tuple[
                int, int, float, float, int, int, int, int, int, int, int, int, int, list[int], list[tuple[int, int]]
            ]
        ],
        now_ms: int,
        policy: dict[str, float] | None = None,
    ) -> tuple[
        list[
            tuple[
                int,
                int,
                int,
                int,
                int,
                int,
                int,
                int,
                int,
                list[tuple[int, int, int, int, int, int]],
                list[tuple[int, int, int]],
            ]
        ],
        int,
        int,
        int,
        int,
    ]:
        """Returns (decisions in the sequence of the orders, total_cost, gap_bound, nodes, truncated).

        `total_cost` counts the price of what is left unassigned; `gap_bound` 0 means proved optimal over the
        candidates, else no plan is cheaper by more than it; `truncated` counts orders and shops whose candidates were
        cut to the nearest. `policy` overrides defaults by name (see `policy_defaults`); an unknown name is a
        ValueError.
        """

    def validate(
        self,
        orders: list[
            tuple[
                int, int, float, float, int, int, int, int, int, int, int, int, int, list[int], list[tuple[int, int]]
            ]
        ],
        now_ms: int,
        policy: dict[str, float] | None = None,
    ) -> list[str]:
        """Decides, then has every assignment, reason and the total re-checked by code that shares nothing with the
        solver. Returns what is wrong; [] is right."""

    def consume(self, holds: list[tuple[int, int, int, int, bool]]) -> list[str]:
        """For each hold, in turn: "" when everything it needs was taken, else what refused it and nothing was."""

    def release(self, holds: list[tuple[int, int, int, int, bool]]) -> None: ...
    def counters(
        self,
    ) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]], list[tuple[int, int]]]:
        """What is free now, in the shapes of `set_counters`, sorted by id."""

    @staticmethod
    def policy_defaults() -> dict[str, float]:
        """Every name of a policy with its default. Distances in m, times in ms, weights in m (a metre, or a second)."""

    @staticmethod
    def reason_names() -> dict[int, str]: ...

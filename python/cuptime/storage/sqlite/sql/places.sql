-- Shops with their stock, and riders.

-- part: shop_columns
shop_id, body, daily_capacity, fridge_slots, updated_ms, etag

-- name: put_shop
INSERT INTO shops ({shop_columns}, epoch) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (shop_id) DO UPDATE SET
    body = excluded.body, daily_capacity = excluded.daily_capacity, fridge_slots = excluded.fridge_slots,
    updated_ms = excluded.updated_ms, etag = excluded.etag, epoch = excluded.epoch;

-- name: shop
SELECT {shop_columns} FROM shops WHERE shop_id = ?;

-- name: shops
SELECT {shop_columns} FROM shops WHERE shop_id > ?1 ORDER BY shop_id LIMIT ?2;

-- name: count_shops
SELECT count(*) FROM shops;

-- name: put_stock
INSERT INTO stock (shop_id, sku, on_hand, set_ms, used, epoch) VALUES (?1, ?2, ?3, ?4, 0, ?6)
ON CONFLICT (shop_id, sku) DO UPDATE SET
    on_hand = excluded.on_hand, used = iif(excluded.set_ms = set_ms, used, 0), set_ms = excluded.set_ms,
    epoch = excluded.epoch;

-- name: use_stock
UPDATE stock SET used = used + ?3, epoch = ?5 WHERE shop_id = ?1 AND sku = ?2 AND set_ms <= ?4;

-- name: stock
SELECT shop_id, sku, on_hand, set_ms, used FROM stock ORDER BY shop_id, sku;

-- name: stock_of_shop
SELECT shop_id, sku, on_hand, set_ms, used FROM stock WHERE shop_id = ? ORDER BY sku;

-- name: count_stock
SELECT count(*) FROM stock;

-- part: rider_columns
rider_id, body, max_load, updated_ms, etag

-- name: put_rider
INSERT INTO riders ({rider_columns}, epoch) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (rider_id) DO UPDATE SET
    body = excluded.body, max_load = excluded.max_load, updated_ms = excluded.updated_ms, etag = excluded.etag,
    epoch = excluded.epoch;

-- name: rider
SELECT {rider_columns} FROM riders WHERE rider_id = ?;

-- name: riders
SELECT {rider_columns} FROM riders WHERE rider_id > ?1 ORDER BY rider_id LIMIT ?2;

-- name: count_riders
SELECT count(*) FROM riders;

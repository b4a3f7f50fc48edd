-- First answers to request ids.

-- name: remember_request
INSERT INTO requests (request_id, method, fingerprint, response, expires_ms, epoch) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (request_id) DO NOTHING;

-- name: forget_requests
DELETE FROM requests
WHERE request_id IN (SELECT request_id FROM requests WHERE expires_ms < ?1 ORDER BY expires_ms LIMIT ?2);

-- name: request
SELECT request_id, method, fingerprint, response, expires_ms FROM requests WHERE request_id = ?;

-- name: count_requests
SELECT count(*) FROM requests;

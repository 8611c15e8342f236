-- When a node said last that it is there, so that one that is idle is not taken for one that died.

ALTER TABLE nodes ADD COLUMN noted_at double precision NOT NULL DEFAULT 0;

UPDATE nodes SET noted_at = extract(epoch FROM now());

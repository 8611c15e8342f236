-- What each node measured of itself in each minute of the last day, as JSON: the mean and the
-- highest value of each metric.

CREATE TABLE node_minutes (
    minute INTEGER NOT NULL,               -- Unix time / 60
    node_id TEXT NOT NULL,
    host TEXT NOT NULL,
    measured TEXT NOT NULL,
    PRIMARY KEY (minute, node_id)
) WITHOUT ROWID;

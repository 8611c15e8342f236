-- What each node measured of itself in each minute of the last day, as JSON: the mean and the
-- highest value of each metric.

CREATE TABLE node_minutes (
    minute bigint NOT NULL,                -- Unix time / 60
    node_id text COLLATE "C" NOT NULL,
    host text NOT NULL,
    measured text NOT NULL,
    PRIMARY KEY (minute, node_id)
);

-- Who was sent what. A span is one subscription of a connection: its consumer was sent every
-- message of the topic (or pattern) whose position lies behind `after` and not behind `through`.

CREATE TABLE nodes (
    node_id TEXT PRIMARY KEY,
    delivered INTEGER NOT NULL             -- the last position that it is known to have delivered
) WITHOUT ROWID;

CREATE TABLE spans (
    span_id INTEGER PRIMARY KEY,
    node_id TEXT NOT NULL,
    consumer_id INTEGER NOT NULL,
    topic TEXT NOT NULL,
    after INTEGER NOT NULL,
    began_at REAL NOT NULL,
    through INTEGER,                       -- NULL while open: what its node has delivered
    ended_at REAL,
    reason TEXT                            -- unsubscribed, disconnected or slow
);
CREATE INDEX spans_by_topic ON spans (topic, consumer_id, after);
CREATE INDEX spans_by_end ON spans (through);

-- A replay: the consumer was sent the topic's messages behind `after` up to `through` (sequences),
-- apart from those that it had consumed.
CREATE TABLE replays (
    replay_id INTEGER PRIMARY KEY,
    topic_id INTEGER NOT NULL,
    consumer_id INTEGER NOT NULL,
    after INTEGER NOT NULL,
    through INTEGER NOT NULL,
    at REAL NOT NULL
);
CREATE INDEX replays_by_topic ON replays (topic_id, through);

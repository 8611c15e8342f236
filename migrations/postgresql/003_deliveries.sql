-- Who was sent what. A span is one subscription of a connection: its consumer was sent every
-- message of the topic (or pattern) whose position lies behind `after` and not behind `through`.

CREATE TABLE nodes (
    node_id text PRIMARY KEY,
    delivered bigint NOT NULL                -- the last position that it is known to have delivered
);

CREATE TABLE spans (
    span_id bigint PRIMARY KEY,
    node_id text NOT NULL,
    consumer_id bigint NOT NULL,
    topic text COLLATE "C" NOT NULL,
    after bigint NOT NULL,
    began_at double precision NOT NULL,
    through bigint,                          -- NULL while open: what its node has delivered
    ended_at double precision,
    reason text                              -- unsubscribed, disconnected or slow
);
CREATE INDEX spans_by_topic ON spans (topic, consumer_id, after);
CREATE INDEX spans_by_end ON spans (through);

-- A replay: the consumer was sent the topic's messages behind `after` up to `through` (sequences),
-- apart from those that it had consumed.
CREATE TABLE replays (
    replay_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic_id bigint NOT NULL,
    consumer_id bigint NOT NULL,
    after bigint NOT NULL,
    through bigint NOT NULL,
    at double precision NOT NULL
);
CREATE INDEX replays_by_topic ON replays (topic_id, through);

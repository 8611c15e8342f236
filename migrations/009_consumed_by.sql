-- Each consumer's consumptions, for lists of one consumer's. Filled a little behind the table, many
-- rows at a time: an index would write a page of each consumer in nearly every commit.

CREATE TABLE consumed_by (
    consumer_id INTEGER NOT NULL,
    topic_id INTEGER NOT NULL,
    position INTEGER NOT NULL,              -- of the consumption
    PRIMARY KEY (consumer_id, topic_id, position)
) WITHOUT ROWID;

CREATE TABLE consumed_by_progress (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    position INTEGER NOT NULL               -- consumptions up to here are in it
);

INSERT INTO consumed_by (consumer_id, topic_id, position)
    SELECT consumer_id, topic_id, position FROM consumptions ORDER BY 1, 2, 3;
INSERT INTO consumed_by_progress (id, position)
    SELECT 1, coalesce(max(position), 0) FROM consumptions;

DROP INDEX consumptions_by_consumer;

CREATE TRIGGER consumptions_deleted AFTER DELETE ON consumptions BEGIN
    DELETE FROM consumed_by WHERE consumer_id = old.consumer_id
    AND topic_id = old.topic_id AND position = old.position;
END;

-- Full-text search. Filled behind the log, not in the transaction that publishes.

-- The words of each message come normalised (case, accents); they are kept as they are.
CREATE TABLE search (
    position bigint PRIMARY KEY,
    words tsvector NOT NULL
);
CREATE INDEX search_by_word ON search USING gin (words);

CREATE TABLE search_progress (
    id integer PRIMARY KEY CHECK (id = 1),
    position bigint NOT NULL                 -- messages up to here are in the index
);
INSERT INTO search_progress (id, position) VALUES (1, 0);

-- Full-text search. Filled behind the log, not in the transaction that publishes.

-- Each row's words come normalised (case, accents) and separated by spaces, with the position of
-- its message as rowid; the tokenizer only has to cut at the spaces.
CREATE VIRTUAL TABLE search USING fts5 (
    words, content = '', columnsize = 0, detail = none, tokenize = 'ascii'
);

CREATE TABLE search_progress (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    position INTEGER NOT NULL               -- messages up to here are in the index
);
INSERT INTO search_progress (id, position) VALUES (1, 0);

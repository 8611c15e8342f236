-- Whom the server lets in, beside what their tokens say. `version` changes with every change of the
-- other two, whoever makes it: running servers look at it every second.

CREATE TABLE users (
    name text COLLATE "C" PRIMARY KEY,
    created_at double precision NOT NULL,
    disabled_at double precision           -- NULL: may come in
);

CREATE TABLE revoked_tokens (
    token_id text COLLATE "C" PRIMARY KEY, -- the claim jti
    revoked_at double precision NOT NULL,
    expires_at double precision            -- when the token ends by itself; NULL: not known
);

CREATE TABLE access (
    id integer PRIMARY KEY CHECK (id = 1),
    version bigint NOT NULL
);
INSERT INTO access (id, version) VALUES (1, 1);

CREATE FUNCTION access_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE access SET version = version + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER users_changed AFTER INSERT OR UPDATE OR DELETE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed();
CREATE TRIGGER revocations_changed AFTER INSERT OR UPDATE OR DELETE ON revoked_tokens
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed();

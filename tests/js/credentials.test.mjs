import assert from "node:assert/strict";
import { test } from "node:test";

import { renewalDelay } from "../../src/python_pubsub_server/web/static/client/credentials.js";
import { connect, FakeClock, FakeServer, isConnected, isReconnecting, next } from "./fake-server.mjs";
import { tokenOf } from "./own-server.mjs";

const jwt = (claims) => `x.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.y`;
const refreshed = () => ({ status: "ok", expires_at: 1 });

test("a token is renewed a minute before its end, at three quarters of a short life", () => {
  assert.equal(renewalDelay(jwt({ exp: 3_600 }), 0), 3_540_000);
  assert.equal(renewalDelay(jwt({ exp: 40 }), 0), 30_000);
  assert.equal(renewalDelay(jwt({ exp: 1_040, sub: "Zoë ÿ" }), 1_000_000), 30_000);
});

test("a clock that is late is seen by the token's age", () => {
  assert.equal(renewalDelay(jwt({ iat: 1_000, exp: 1_040 }), 0), 30_000);
});

test("a token that is over is not asked for in a tight loop, a long one at least daily", () => {
  assert.equal(renewalDelay(jwt({ exp: 10 }), 99_000), 1_000);
  assert.equal(renewalDelay(jwt({ exp: 1e9 }), 0), 86_400_000);
});

test("what is no JWT has no end that is known", () => {
  for (const token of ["", "opaque", "a.b.c", "a.bnVsbA.c", jwt({}), jwt({ exp: "1" })]) {
    assert.equal(renewalDelay(token, 0), null, token);
  }
});

async function withToken(t, token, more = {}) {
  const clock = new FakeClock();
  const server = await FakeServer.start(t);
  server.answers.refresh = refreshed;
  const client = await connect(t, server, { clock, wallClock: clock.now, token, ...more });
  await next(client, "state", isConnected);
  return { clock, server, client };
}

test("a token function is asked at each connect and before the end of each token", async (t) => {
  let asked = 0;
  const token = async () => jwt({ exp: 40 * ++asked, n: asked });
  const { clock, server, client } = await withToken(t, token);
  server.send("2"); // the link lives
  assert.deepEqual(server.handshakes, [{ namespace: "/", auth: { token: jwt({ exp: 40, n: 1 }) } }]);
  clock.advance(29_999);
  assert.equal(asked, 1);
  clock.advance(1);
  assert.deepEqual((await server.request("refresh")).value, { token: jwt({ exp: 80, n: 2 }) });
  assert.equal(client.state.name, "connected");
  server.dropAll();
  await next(client, "state", isReconnecting);
  clock.advance(0);
  await next(client, "state", isConnected);
  assert.equal(server.handshakes[1].auth.token, jwt({ exp: 120, n: 3 }));
});

test("every namespace hears of the new token", async (t) => {
  const { server, client } = await withToken(t, "fixed");
  await next(client.namespace("/monitoring"), "connect");
  await client.refresh("other");
  const told = server.heard.filter(({ event }) => event === "refresh");
  assert.deepEqual(told.map(({ namespace, value }) => [namespace, value.token]).sort(), [
    ["/", "other"],
    ["/monitoring", "other"],
  ]);
  assert.deepEqual(server.handshakes[0].auth, { token: "fixed" });
});

test("a renewal that fails is told and tried again", async (t) => {
  let isAway = false;
  const token = () => {
    if (isAway) throw new Error("the sign-in server is away");
    return jwt({ exp: 40 });
  };
  const { clock, server, client } = await withToken(t, token);
  isAway = true;
  const failed = next(client, "error");
  clock.advance(30_000);
  assert.match((await failed).message, /is away/);
  isAway = false;
  clock.advance(1_000);
  await server.request("refresh");
});

test("a token that the server takes for another user's connects anew", async (t) => {
  const { server, client, clock } = await withToken(t, "ann's");
  server.answers.refresh = () => ({ status: "error", code: "forbidden", message: "another user's" });
  const lost = next(client, "state", isReconnecting);
  await assert.rejects(client.refresh("bob's"), { code: "forbidden" });
  await lost;
  clock.advance(0);
  await next(client, "state", isConnected);
  assert.equal(server.handshakes[1].auth.token, "bob's");
});

test("credentials beside the token stay", async (t) => {
  const { server } = await withToken(t, "a", { auth: { device: "phone" } });
  assert.deepEqual(server.handshakes[0].auth, { device: "phone", token: "a" });
});

test("a token function that gives none signs nobody in", async (t) => {
  const { server } = await withToken(t, () => null);
  assert.equal(server.handshakes[0].auth, "");
});

test("a signed token says when it ends", () => {
  const delay = renewalDelay(tokenOf("ann", 40), Date.now());
  assert.ok(delay > 25_000 && delay <= 30_001, String(delay));
});

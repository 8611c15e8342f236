/** The demo: a bell, a poll and a document, which several users see change at the same time. */
import { randomUUID } from "./client/platform.js";
import { Bell } from "./demo/bell.js";
import { LiveDocument } from "./demo/document.js";
import { Poll } from "./demo/poll.js";
import * as access from "./page/access.js";
import { byId, setText } from "./page/dom.js";
import { openShell } from "./page/shell.js";
import { keepTimes } from "./page/text.js";
import { PubSubClient } from "./pubsub-client.js";

const KEY = "pubsub-demo-user";
const FIRST_DOCUMENT = "demo-document";

const client = new PubSubClient(location.origin, { auth: access.handshake });
openShell(client);
keepTimes();

/** Who one is where the server does not ask: each window may be somebody else. */
function ownName() {
  const asked = new URLSearchParams(location.search).get("user");
  const name = asked ?? sessionStorage.getItem(KEY) ?? `user_${randomUUID().slice(0, 8)}`;
  sessionStorage.setItem(KEY, name);
  return name;
}

/** Whom the server takes a connection for by its token; it names connections after their user. */
function signedInAs({ consumer }) {
  return /^(.+)\/anonymous-[^/]{8}$/.exec(consumer)?.[1] ?? null;
}

function documentInAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1)) || FIRST_DOCUMENT;
  } catch {
    return FIRST_DOCUMENT;
  }
}

function open(report) {
  const signedIn = signedInAs(report);
  const user = signedIn ?? ownName();
  setText(byId("own-name"), user);
  byId("name").hidden = signedIn !== null;
  new Bell(client, user, signedIn !== null);
  new Poll(client, signedIn === null ? user : null);
  new LiveDocument(client, documentInAddress(), user);
}

byId("name").onsubmit = (event) => {
  event.preventDefault();
  const name = byId("name-text").value.trim();
  if (!name) return;
  sessionStorage.setItem(KEY, name);
  if (location.search) location.replace(location.pathname + location.hash);
  else location.reload();
};
addEventListener("hashchange", () => location.reload());

// The first answer says who one is; the parts look after themselves from there.
const off = client.on("subscribed", (report) => {
  off();
  open(report);
});
client.on("error", (error) => access.isRefusal(error) || setText(byId("demo-problem"), error.message));
client.on("state", ({ name }) => name === "connected" && setText(byId("demo-problem"), ""));
client.channel("suggestions:votes");

/** Tries every way to connect, and shows what goes over it: for people who debug their proxy. */
import * as access from "./page/access.js";
import { byId } from "./page/dom.js";
import { keepFields } from "./page/kept.js";
import { say } from "./page/language.js";
import { openShell } from "./page/shell.js";
import { Checks } from "./websocket-test/checks.js";
import { DOORS } from "./websocket-test/doors.js";
import { Log } from "./websocket-test/log.js";
import { Meters } from "./websocket-test/meters.js";
import { Sender } from "./websocket-test/sender.js";
import { Tester } from "./websocket-test/tester.js";

const PING_EVERY_MS = 3_000;

const tester = new Tester();
openShell(tester, { asksForToken: false }); // this page has a field for it

const form = byId("connect");
const door = byId("connect-door");
const transport = byId("connect-transport");
keepFields(form);
if (!byId("connect-token").value) byId("connect-token").value = access.token() ?? "";

const log = new Log();
const meters = new Meters();
const checks = new Checks();
const sender = new Sender(tester);

function note(event, value) {
  log.add({ kind: "note", at: Date.now() / 1000, event, value });
}

tester.on("frame", (frame) => {
  log.add(frame);
  meters.heard(frame);
});
tester.on("fact", (fact) => {
  checks.hear(fact);
  if (fact.kind === "upgrade") meters.upgraded(fact);
});
tester.on("transport", (name) => meters.transport(name));
tester.on("state", (state) => {
  meters.state(state);
  showState(state);
});

function showState({ name, error }) {
  const address = `${tester.settings?.door ?? ""}`;
  if (name === "connected") note(say("connected to {door}", { door: address }));
  else if (name === "reconnecting") note(say("connection lost"), error.message);
  else if (name === "closed") note(say("disconnected"), error && `${error.code ?? ""}: ${error.message}`);
  byId("connect-end").disabled = name === "closed";
}

/** Shows what belongs to the door that is chosen. */
function showDoor() {
  transport.disabled = DOORS[door.value].isPlain ?? false;
  sender.offer(door.value);
}

function connect() {
  const token = byId("connect-token").value.trim();
  if (token) access.keepToken(token);
  const query = byId("connect-query").value.trim().replace(/^\?/, "");
  tester.connect({ door: door.value, transport: transport.value, token, query });
}

door.onchange = () => {
  showDoor();
  connect();
};
transport.onchange = connect;
form.onsubmit = (event) => {
  event.preventDefault();
  connect();
};
byId("connect-again").onclick = () => (tester.settings ? tester.reconnect() : connect());
byId("connect-end").onclick = () => tester.disconnect();
setInterval(() => {
  if (byId("connect-ping").checked && tester.state.name === "connected" && !document.hidden) tester.ping();
}, PING_EVERY_MS);

showDoor();
connect();
